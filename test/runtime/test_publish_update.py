"""An organ of a checkpoint for the agent that runs: what may be sent, and what the nodes say to it."""
import threading

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
import tiny
import torch

from jepa_ros.actor.node import ActorNode
from jepa_ros.agent import Agent
from jepa_ros.cli.main import main
from jepa_ros.errors import CheckpointError
from jepa_ros.runtime import publish_update
from jepa_ros.runtime.model_update import check, pack, UpdateError
from jepa_ros.runtime.names import ORGANS
from jepa_ros.runtime.publish_update import tensors_for, users
from jepa_ros.runtime.qos import HEARTBEATS


@pytest.fixture
def agent(tmp_path):
    made = tiny.agent()
    made.save(tmp_path / 'running')
    return made


def other(agent, folder, organ: str, seed: int = 0):
    """The agent's checkpoint with new weights in one organ, or a part of it."""
    made, part = tiny.agent(), organ.split('.')
    torch.manual_seed(seed)
    module = made.networks
    for name in part:
        module = getattr(module, name)
    for weights in module.parameters():
        weights.add_(torch.randn_like(weights))
    made.save(folder)
    return folder


@pytest.mark.parametrize('organ', ['policy', 'critic'])
def test_the_organ_of_a_checkpoint_comes_whole_and_says_where_from(agent, tmp_path, organ):
    tensors, note = tensors_for(agent, other(agent, tmp_path / 'other', organ), organ)
    assert set(check(agent, pack(agent, organ, tensors, note))) == set(getattr(agent.networks, organ).state_dict())
    assert note.startswith('from ')


def test_the_dynamics_of_a_checkpoint_come_with_all_that_adaptation_may_have_changed(agent, tmp_path):
    folder = tmp_path / 'other'
    changed = tiny.agent()
    for weights in changed.networks.world_model.levels[0].predictor.parameters():
        weights.add_(1.0)
    changed.save(folder)
    tensors, _ = tensors_for(agent, folder, 'world_model')
    assert 'levels.0.action_map' in tensors and any(n.startswith('levels.0.predictor.') for n in tensors)
    assert not any('encoder.' == n[:8] or '.readout.' in n for n in tensors)
    check(agent, pack(agent, 'world_model', tensors))


def test_a_policy_for_another_encoder_is_refused(agent, tmp_path):
    folder = other(agent, tmp_path / 'other', 'world_model.encoder')
    with pytest.raises(CheckpointError, match='learned on the states of another encoder'):
        tensors_for(agent, folder, 'policy')


def test_the_weights_that_run_already_are_not_sent_but_may_be_gone_back_to(agent, tmp_path):
    with pytest.raises(CheckpointError, match='there is nothing to send'):
        tensors_for(agent, tmp_path / 'running', 'policy')
    tensors, _ = tensors_for(agent, tmp_path / 'running', 'policy', version=3)
    assert set(tensors) == set(agent.networks.policy.state_dict())


def test_a_policy_of_another_width_is_refused_by_its_first_tensor(agent, tmp_path):
    from jepa_ros.agent import Networks
    card = agent.card.model_copy(update={'policy_width': 32})
    networks = Networks(card.model_settings(), agent.contract.observations, card)
    networks.load_state_dict({n: v for n, v in agent.networks.state_dict().items() if not n.startswith('policy.')},
                             strict=False)
    Agent(networks, card, agent.contract).save(tmp_path / 'wide')
    tensors, note = tensors_for(agent, tmp_path / 'wide', 'policy')
    with pytest.raises(UpdateError, match='policy version 1 refused: tensor net.* is .*, this model has'):
        pack(agent, 'policy', tensors, note)


def test_a_policy_that_doubts_goes_to_one_that_does_not_without_its_doubt(agent, tmp_path):
    from jepa_ros.agent import Networks
    card = agent.card.model_copy(update={'policy_doubts': True})
    networks = Networks(card.model_settings(), agent.contract.observations, card)
    networks.load_state_dict({n: v for n, v in agent.networks.state_dict().items() if not n.startswith('policy.')},
                             strict=False)
    Agent(networks, card, agent.contract).save(tmp_path / 'doubts')
    tensors, note = tensors_for(agent, tmp_path / 'doubts', 'policy')
    check(agent, pack(agent, 'policy', tensors))
    assert 'without its doubt' in note


def test_who_uses_what():
    assert users('policy') == ('actor',) and set(users('critic')) == {'actor', 'cost'}
    assert set(users('world_model')) == set(ORGANS)


class Actor:
    """The real node, spun in a thread."""

    def __init__(self, model):
        self._context = rclpy.Context()     # of its own, as another process has
        self._context.init()
        self.node = ActorNode(context=self._context, parameter_overrides=[Parameter('model', value=str(model))])
        assert self.node.trigger_configure() == self.node.trigger_activate() == TransitionCallbackReturn.SUCCESS
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._ending = False
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        while not self._ending:
            self._executor.spin_once(timeout_sec=0.02)

    def close(self) -> None:
        self._ending = True
        self._thread.join()
        self.node.trigger_deactivate()
        self.node.trigger_cleanup()
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()


@pytest.fixture
def actor(ros_domain, random_model):
    made = Actor(random_model)
    yield made
    made.close()


def fresh(random_model, folder):
    agent = Agent.load(random_model, device='cpu')
    for weights in agent.networks.policy.parameters():
        weights.add_(0.01)
    agent.save(folder)
    return folder


def test_a_policy_comes_into_force_and_back_under_a_new_version(actor, random_model, tmp_path, capfd):
    assert main(['model', 'publish', str(fresh(random_model, tmp_path / 'new'))]) == 0
    assert 'policy version 1 in force in actor: from untrained ' in capfd.readouterr().out
    running = actor.node.agent.networks.policy.state_dict()
    assert all(torch.equal(v, running[n]) for n, v in Agent.load(tmp_path / 'new').networks.policy.state_dict().items())
    assert main(['model', 'publish', str(random_model)]) == 0
    assert actor.node.agent.versions['policy'] == 2


def test_what_the_node_refuses_is_told_in_its_words(actor, random_model, tmp_path, capfd, monkeypatch):
    def spoiled(*args, **options):
        message = pack(*args, **options)
        message.sha256 = '0' * 64
        return message
    monkeypatch.setattr(publish_update, 'pack', spoiled)
    assert main(['model', 'publish', str(fresh(random_model, tmp_path / 'new'))]) == 1
    assert 'actor refused it: policy version # refused: sha# does not match' in capfd.readouterr().err
    assert actor.node.agent.versions['policy'] == 0


def test_another_checkpoint_than_the_one_that_runs_is_refused_before_anything_is_sent(actor, random_model, tmp_path,
                                                                                     capfd):
    new = fresh(random_model, tmp_path / 'new')
    assert main(['model', 'publish', str(random_model), '--model', str(new)]) == 2
    assert 'the agent runs model ' in capfd.readouterr().err
    assert main(['model', 'publish', str(new), '--organ', 'memory']) == 2
    assert 'no such organ learns; known are policy, critic, world_model' in capfd.readouterr().err


def test_without_an_agent_one_line_says_what_to_start(ros_domain, random_model, monkeypatch, capfd):
    monkeypatch.setattr(publish_update, 'DISCOVERY_S', 0.3)
    assert main(['model', 'publish', str(random_model)]) == 2
    assert 'no agent answers in namespace / (actor): start it with jepa-ros up' in capfd.readouterr().err


def test_an_actor_without_parameters_is_asked_in_vain(ros_domain, random_model, monkeypatch, capfd):
    monkeypatch.setattr(publish_update, 'DISCOVERY_S', 1.0)
    context = rclpy.Context()
    context.init()
    node = rclpy.create_node('actor', context=context, start_parameter_services=False)
    publisher = node.create_publisher(DiagnosticStatus, 'heartbeat', HEARTBEATS)
    node.create_timer(0.05, lambda: publisher.publish(DiagnosticStatus(
        name='actor', values=[KeyValue(key='model_id', value='123')])))
    executor, ending = SingleThreadedExecutor(context=context), threading.Event()
    executor.add_node(node)
    thread = threading.Thread(target=lambda: [executor.spin_once(0.02) for _ in iter(ending.is_set, True)], daemon=True)
    thread.start()
    try:
        assert main(['model', 'publish', str(random_model)]) == 2
        assert 'the actor does not tell its parameters: give the checkpoint it runs with --model' in \
            capfd.readouterr().err
    finally:
        ending.set()
        thread.join()
        executor.shutdown()
        node.destroy_node()
        context.try_shutdown()
