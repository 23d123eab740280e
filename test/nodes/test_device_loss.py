"""A device that is lost while the robot drives: it is held still, and the agent goes on on the CPU.

No GPU is needed: 'cpu:0' is a device of its own name to the agent, whose weights turn to NaN and whose networks raise
what PyTorch raises, from the moment of the loss on.
"""
from contextlib import contextmanager
import subprocess
import sys
import threading
import time
import traceback

from dds_client import end
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
import torch

from jepa_ros.action import PursueGoal
from jepa_ros.agent import Agent
from jepa_ros.runtime.composition import NODES
from jepa_ros.runtime.model_update import apply, pack
from jepa_ros.runtime.organ_node import AgentSource

LOST = {'lost': (torch.AcceleratorError if hasattr(torch, 'AcceleratorError') else RuntimeError,
                 'CUDA error: unspecified launch failure'),
        'full': (torch.OutOfMemoryError, 'CUDA out of memory. Tried to allocate 20.00 MiB'),
        'old torch': (RuntimeError, 'CUDA error: device-side assert triggered')}
SUCCESS = TransitionCallbackReturn.SUCCESS


def other_device(model) -> Agent:
    """The agent of a checkpoint on 'cpu:0'."""
    agent = Agent.load(model, device='cpu')
    made = Agent(agent.networks, agent.card, agent.contract, 'cpu:0')
    made.warm_up()
    made.mirror()
    return made


def lose(agent: Agent, kind: type, text: str) -> None:
    """Nothing on its device can be read or computed any more."""
    def broken(*_, **_options):
        raise kind(text)
    for part in (agent.networks.world_model.encoder, agent.networks.policy, agent.networks.critic):
        part.register_forward_pre_hook(broken)
    for jepa in agent.networks.world_model.levels:
        jepa.rollout = jepa.predict = broken
    with torch.no_grad():
        for weights in agent.networks.state_dict().values():
            if weights.is_floating_point():
                weights.fill_(float('nan'))


class Organs:
    """The six real nodes in one process, spun in a thread."""

    def __init__(self, model):
        self.source, self.context = AgentSource(), rclpy.Context()
        self.context.init()
        self.source._agents[str(model), '', 'auto', '', ''] = self.agent = other_device(model)
        values = {'model': str(model), 'use_sim_time': True}
        patient = {'configurator': {'organ_timeout_s': 10.0, 'percept_timeout_s': 10.0}}    # on a busy machine
        self.nodes = {kind.ORGAN: kind(self.source, context=self.context, parameter_overrides=[
            Parameter(name, value=value) for name, value in (values | patient.get(kind.ORGAN, {})).items()])
            for kind in NODES}
        self._executor, self._ending = SingleThreadedExecutor(context=self.context), False
        for node in self.nodes.values():
            self._executor.add_node(node)
            assert node.trigger_configure() == node.trigger_activate() == SUCCESS, node.failure
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self.error: Exception | None = None
        self._thread.start()

    def _spin(self) -> None:
        try:
            while not self._ending:
                self._executor.spin_once(timeout_sec=0.05)
        except Exception as error:      # what would end the process
            traceback.print_exc()
            self.error = error

    def close(self) -> None:
        self._ending = True
        self._thread.join()
        for node in self.nodes.values():
            node.trigger_deactivate()
            node.trigger_cleanup()
        self._executor.shutdown()
        for node in self.nodes.values():
            node.destroy_node()
        self.context.try_shutdown()


@contextmanager
def process(module: str, **parameters):
    """A node in a process of its own."""
    args = [part for name, value in parameters.items() for part in ('-p', f'{name}:={value}')]
    started = subprocess.Popen([sys.executable, '-m', module, '--ros-args', *args])
    try:
        yield
    finally:
        end(started)


@pytest.fixture
def robot(ros_domain, random_model, new_client):
    """Simulator, gate, the six organs and a client."""
    with process('jepa_ros.sim.node', discovery_wait_s=0.0), \
            process('jepa_ros.robot.gate_node', autostart='true', use_sim_time='true',
                    organ_timeout_s=10.0, silence_timeout_s=10.0, sensor_timeout_s=10.0):
        organs, client = Organs(random_model), new_client()
        client.wait(lambda: client.heard('state'), 'the first state')
        yield organs, client
        client.close()
        organs.close()


@pytest.mark.parametrize('what', LOST)
def test_the_agent_goes_on_on_the_cpu_with_the_goal_and_the_weights_it_had(robot, what):
    organs, client = robot
    policy = {name: value + 0.01 for name, value in organs.agent.networks.policy.state_dict().items()}
    assert apply(organs.agent, pack(organs.agent, 'policy', policy), timeout_s=1.0)
    goal = client.send(kind=PursueGoal.Goal.READOUT, names=['x_m'], values=[9.0], timeout=60.0)
    client.fresh('action', lambda action: action.policy_version == 1)
    lost_s = time.monotonic()
    with organs.agent.weights_lock:
        lose(organs.agent, *LOST[what])
    first = client.fresh('configuration', lambda message: not message.active)       # the robot is to stay
    again = client.fresh('configuration', lambda message: message.active)
    assert again.goal_id == bytes(goal.goal_id.uuid).hex()[:12] and again.version > first.version
    plan = client.fresh('plan')
    assert plan.policy_version == 1 and plan.actions.shape[0] > 0
    agents = {node.agent for node in organs.nodes.values()}
    assert organs.error is None and organs.agent not in agents and len(agents) == 1
    moved = agents.pop()
    assert moved.device == 'cpu' and all(v.isfinite().all() for v in moved.networks.state_dict().values())
    assert all(torch.equal(value, moved.networks.policy.state_dict()[name]) for name, value in policy.items())
    stopped = [m for m in client.sent('cmd_vel', lost_s) if not (m.linear.x or m.linear.y)]
    assert stopped, 'the robot was not held still'
    rest = next(m for m in client.sent('action', lost_s) if not m.plan_id)
    assert not any(rest.values)
    said = client.fresh('/diagnostics', lambda m: any('going on on the CPU' in s.message for s in m.status))
    line = next(s.message for s in said.status if 'going on on the CPU' in s.message)
    assert 'device cpu:0 is ' + ('out of memory' if what == 'full' else 'lost') in line and '\n' not in line
    assert not goal.answer.done()
    client.wait(goal.cancel_goal_async().done, 'the end')
    assert client.result(goal).error_code == PursueGoal.Result.CANCELED


def test_an_error_that_is_not_the_device_s_is_not_taken_for_it(random_model):
    agent = other_device(random_model)
    from jepa_ros.runtime.device_loss import is_device_error
    assert not any(map(is_device_error, (RuntimeError('mat1 and mat2 shapes cannot be multiplied'), ValueError('CUDA'),
                                         MemoryError())))
    assert all(is_device_error(kind(text)) for kind, text in LOST.values())
    assert agent.host is not None and Agent.load(random_model, device='cpu').host is None


def test_updates_and_what_takes_them_back_are_kept_on_the_host_too(random_model):
    agent = other_device(random_model)
    before = agent.networks.critic.state_dict()
    new = {name: value + 1 for name, value in before.items()}
    apply(agent, pack(agent, 'critic', new))
    lose(agent, *LOST['lost'])
    moved = agent.on_cpu()
    assert all(torch.equal(value, moved.networks.critic.state_dict()[name]) for name, value in new.items())
    assert moved.versions == {'critic': 1, 'policy': 0, 'world_model': 0} and moved.memory is agent.memory


def test_a_device_that_fails_at_the_start_is_not_used(random_model, monkeypatch):
    load, asked = Agent.load, []

    def without_memory(*args, device: str = 'auto', **options):
        asked.append(device)
        if device != 'cpu':
            raise torch.OutOfMemoryError('CUDA out of memory')
        return load(*args, device=device, **options)
    monkeypatch.setattr(Agent, 'load', without_memory)
    source = AgentSource()
    assert source.get(str(random_model), '', 'cuda').device == 'cpu' and asked == ['cuda', 'cpu']
    assert source.lost == 'device cuda is out of memory (OutOfMemoryError: CUDA out of memory)'
