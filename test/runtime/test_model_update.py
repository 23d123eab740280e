"""Learned weights on their way to those who use them."""
import threading

from hypothesis import given
from hypothesis import strategies as st
import pytest
import tiny
import torch

from jepa_ros.cost.cost import Goal
from jepa_ros.runtime.model_update import apply, check, Inbox, pack, roll_back, UpdateError

PREDICTOR = 'levels.0.predictor.net.0.bias'


@pytest.fixture
def agent():
    return tiny.agent()


def weights(agent, organ: str) -> dict:
    return {name: value.clone() for name, value in getattr(agent.networks, organ).state_dict().items()}


def changed(agent, organ: str = 'critic', by: float = 1.0) -> dict:
    return {name: value + by if value.is_floating_point() else value for name, value in weights(agent, organ).items()}


def same(one: dict, other: dict) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize('organ', ['critic', 'policy'])
def test_an_update_reaches_another_process_s_agent_whole(agent, organ):
    other, new = tiny.agent(), changed(agent, organ)
    message = pack(agent, organ, new, 'learned')
    assert apply(other, message) and same(weights(other, organ), new)
    assert other.versions == {**agent.versions, organ: 1} and agent.versions[organ] == 0
    assert message.note == 'learned' and len(message.sha256) == 64


def test_organs_that_share_weights_may_apply_one_update_twice(agent):
    message = pack(agent, 'critic', changed(agent))
    assert apply(agent, message) and apply(agent, message)
    assert agent.versions['critic'] == 1
    restored = roll_back(agent, 'critic')       # to before the update, not to the update itself
    assert apply(agent, restored) and same(weights(agent, 'critic'), weights(tiny.agent(), 'critic'))


def test_rolling_back_restores_the_bits_under_a_new_version(agent):
    before = weights(agent, 'critic')
    apply(agent, pack(agent, 'critic', changed(agent)))
    message = roll_back(agent, 'critic')
    assert (message.version, message.note) == (2, 'rolled back from version 1')
    assert apply(agent, message) and same(weights(agent, 'critic'), before)
    assert agent.versions['critic'] == 2
    with pytest.raises(UpdateError, match='policy: nothing to roll back'):
        roll_back(agent, 'policy')


def test_a_part_of_the_world_model_may_change_and_is_planned_with(agent):
    s, action = torch.zeros(6), agent.contract.action_low
    before = agent.world_model.predict(s, action)
    part = {PREDICTOR: weights(agent, 'world_model')[PREDICTOR] + 1}
    assert apply(agent, pack(agent, 'world_model', part))
    assert not torch.equal(agent.world_model.predict(s, action), before)
    assert apply(agent, roll_back(agent, 'world_model'))
    assert torch.equal(agent.world_model.predict(s, action), before)


def test_an_update_that_leaves_out_what_an_earlier_one_changed_is_refused(agent):
    """A receiver that missed the earlier one would have a mixture of both."""
    own = weights(agent, 'world_model')
    apply(agent, pack(agent, 'world_model', {PREDICTOR: own[PREDICTOR] + 1}))
    with pytest.raises(UpdateError, match=f'world_model version 2 refused: tensor {PREDICTOR} is missing'):
        pack(agent, 'world_model', {'levels.0.predictor.net.2.bias': own['levels.0.predictor.net.2.bias']})


def _spoil(message, what: str) -> None:
    if what == 'hash':
        message.data[-1] ^= 1
    elif what == 'cut':
        del message.data[-8:]
    elif what == 'model':
        message.model_id = 'another'
    elif what == 'organ':
        message.organ = 'perception'
    elif what == 'old':
        message.version = 0


@pytest.mark.parametrize('what, words', [
    ('hash', 'critic version 1 refused: sha256 does not match its data'),
    ('cut', 'critic version 1 refused: sha256 does not match its data'),
    ('model', "critic version 1 refused: it belongs to model 'another', here runs 'untrained'"),
    ('organ', 'perception version 1 refused: no such organ learns; known are critic, policy, world_model'),
    ('old', 'critic version 0 refused: version 0 is in force already'),
])
def test_an_update_that_will_not_do_is_refused_in_one_line_and_changes_nothing(agent, what, words):
    message, before = pack(agent, 'critic', changed(agent)), weights(agent, 'critic')
    _spoil(message, what)
    with pytest.raises(UpdateError) as refused:
        apply(agent, message)
    assert str(refused.value).startswith(words) and '\n' not in str(refused.value)
    assert same(weights(agent, 'critic'), before) and agent.versions['critic'] == 0


@pytest.mark.parametrize('tensors, words', [
    (lambda own: {k: v for k, v in own.items() if k != 'net.0.bias'}, 'tensor net.0.bias is missing'),
    (lambda own: own | {'net.0.bias': own['net.0.bias'][:3]}, r'tensor net.0.bias is \(3,\) torch.float32, this model'),
    (lambda own: own | {'net.0.bias': own['net.0.bias'].double()}, 'tensor net.0.bias is .* torch.float64, this'),
    (lambda own: own | {'net.0.bias': own['net.0.bias'] * torch.nan}, 'tensor net.0.bias holds NaN or infinity'),
    (lambda own: own | {'net.9.bias': torch.zeros(1)}, 'tensor net.9.bias is not in this model'),
])
def test_tensors_that_do_not_fit_are_refused_by_name(agent, tensors, words):
    with pytest.raises(UpdateError, match=f'critic version 1 refused: {words}'):
        pack(agent, 'critic', tensors(weights(agent, 'critic')))


@pytest.mark.parametrize('prefix', ['encoder.', 'levels.0.readout.'])
def test_what_goals_and_guardrails_depend_on_never_changes_while_running(agent, prefix):
    own = weights(agent, 'world_model')
    name = next(n for n in own if n.startswith(prefix))
    with pytest.raises(UpdateError, match=f'tensor {name} never changes while the robot runs'):
        pack(agent, 'world_model', {name: own[name]})


def test_data_that_are_no_safetensors_are_refused(agent):
    import hashlib
    message = pack(agent, 'critic', changed(agent))
    message.data = list(b'not a file of tensors')
    message.sha256 = hashlib.sha256(bytes(message.data)).hexdigest()
    with pytest.raises(UpdateError, match='critic version 1 refused: its data are no safetensors'):
        check(agent, message)


def test_an_update_waits_for_the_end_of_a_plan(agent):
    inbox, message, new = Inbox(agent, ('critic',)), pack(agent, 'critic', changed(agent)), changed(agent)
    with agent.weights_lock:
        inbox.offer(message)
        assert inbox.work() == [] and agent.versions['critic'] == 0
    assert inbox.work() == [message] and same(weights(agent, 'critic'), new)
    assert inbox.work() == []


def test_of_several_that_wait_the_newest_counts_and_other_organs_are_left_alone(agent):
    inbox = Inbox(agent, ('critic',))
    first, newer = pack(agent, 'critic', changed(agent)), pack(agent, 'critic', changed(agent, by=2.0), at_least=4)
    with agent.weights_lock:
        inbox.offer(newer)
        inbox.offer(first)
        inbox.offer(pack(agent, 'policy', changed(agent, 'policy')))
    inbox.work()
    assert agent.versions == {'critic': 5, 'policy': 0, 'world_model': 0}


def test_a_planner_in_another_thread_never_sees_half_of_an_update(agent):
    """Each plan is made with weights of one version: all biases of the critic carry its number."""
    marked = {v: {n: torch.full_like(t, float(v)) for n, t in weights(agent, 'critic').items()} for v in range(1, 6)}
    assert apply(agent, pack(agent, 'critic', marked[1]))
    seen, ending = [], threading.Event()

    def plan():
        while not ending.is_set():
            with agent.weights_lock:
                values = {float(p.flatten()[0]) for p in agent.networks.critic.parameters()}
                values |= {float(p.flatten()[-1]) for p in agent.networks.critic.parameters()}
            seen.append(values)
    thread = threading.Thread(target=plan)
    thread.start()
    for version in range(2, 6):
        message = pack(agent, 'critic', marked[version])
        while not apply(agent, message):
            pass
    ending.set()
    thread.join()
    assert agent.versions['critic'] == 5 and all(len(values) == 1 for values in seen)


@tiny.invariant
@given(st.integers(0, 10**6), st.integers(0, 255))
def test_no_byte_can_be_changed_on_the_way(position, value):
    agent = tiny.agent()
    message, before = pack(agent, 'critic', changed(agent)), weights(agent, 'critic')
    index = position % len(message.data)
    if message.data[index] != value:
        message.data[index] = value
        with pytest.raises(UpdateError):
            apply(agent, message)
        assert same(weights(agent, 'critic'), before)


def test_an_updated_critic_changes_the_plans_that_ask_it(agent):
    goal = Goal(levels=agent.perception.encode({'overhead': tiny.image(2)}).levels)
    agent.cost.configure(goal=goal, weights={'critic': 1.0})
    states = torch.zeros(3, 6)
    before = agent.cost.evaluate(states).total
    apply(agent, pack(agent, 'critic', changed(agent)))
    assert agent.cost.evaluate(states).total != before
