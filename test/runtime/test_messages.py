"""Tensors and organ values survive the wire; what does not fit is refused by name."""
import math

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
import numpy as np
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import Header
import tiny
import torch

from jepa_ros.configurator.configurator import Settings
from jepa_ros.cost.cost import Goal, Region
from jepa_ros.errors import ContractError
from jepa_ros.msg import Configuration, Energy, State, Tensor
from jepa_ros.msg import Region as RegionMessage
from jepa_ros.runtime import messages


@pytest.fixture(scope='module')
def agent():
    return tiny.agent()


def through_the_wire(message):
    return deserialize_message(serialize_message(message), type(message))


arrays = st.sampled_from(messages.DTYPES).flatmap(lambda dtype: hnp.arrays(
    np.dtype(dtype), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)))


@tiny.invariant
@given(arrays)
def test_any_array_comes_back_as_it_was(array):
    message = through_the_wire(messages.tensor_message(array))
    back = messages.tensor_array(message, 'field', finite=False)
    assert back.dtype == array.dtype and back.shape == array.shape
    assert back.tobytes() == np.ascontiguousarray(array).tobytes()


@pytest.mark.parametrize('array', [
    np.arange(6, dtype='>f4').reshape(2, 3), np.arange(6, dtype=np.float32).reshape(2, 3).T,
    torch.arange(6.).view(2, 3)])
def test_byte_order_strides_and_torch_do_not_matter(array):
    back = messages.tensor_array(messages.tensor_message(array), 'field')
    assert np.array_equal(back, np.asarray(array))


@pytest.mark.parametrize('message, words', [
    (Tensor(dtype='float13', shape=[1], data=[0]), ("'float13'", 'float32')),
    (Tensor(dtype='float32', shape=[2], data=[0] * 7), ('7 bytes', '8')),
    (messages.tensor_message(np.zeros((2, 3))), ('shape (2, 3)', '(any, 4)')),
    (messages.tensor_message(np.array([[1, 2, 3, math.nan]])), ('NaN',)),
])
def test_a_tensor_that_does_not_fit_is_refused_by_its_field(message, words):
    with pytest.raises(ContractError) as caught:
        messages.tensor_array(message, 'plan.actions', (None, 4))
    assert all(word in str(caught.value) for word in ('plan.actions', *words))


def test_a_dtype_without_a_name_on_the_wire_is_refused():
    with pytest.raises(ContractError, match='complex64'):
        messages.tensor_message(np.zeros(2, np.complex64))


def test_a_state_comes_back_with_levels_and_readouts(agent):
    state = agent.perception.encode({'overhead': tiny.image(1)})
    message = through_the_wire(messages.state_message(state, agent.model_id, Header()))
    back = messages.encoded_state(message, agent.model_id)
    assert all(torch.equal(a, b) for a, b in zip(back.levels, state.levels))
    assert back.readouts == pytest.approx(state.readouts)


def test_a_state_of_another_model_is_refused():
    with pytest.raises(ContractError, match="'aaa'.*'bbb'"):
        messages.encoded_state(State(model_id='aaa'), 'bbb')


def test_goals_survive_a_configuration():
    message = Configuration()
    messages.fill_goal(message, Goal(levels=(torch.ones(3), torch.zeros(3)), readouts={'x_m': 1.5}))
    goal = messages.configured_goal(through_the_wire(message))
    assert torch.equal(goal.levels[0], torch.ones(3)) and goal.readouts == {'x_m': 1.5}
    assert messages.configured_goal(Configuration()) is None


def test_regions_survive_a_configuration():
    message = Configuration()
    regions = (Region({'x_m': 0.5, 'y_m': 'other_y_m'}, 0.2), Region({'x_m': -1.0}, 0.1))
    messages.fill_regions(message, regions)
    assert messages.configured_regions(through_the_wire(message)) == regions
    assert messages.configured_regions(Configuration()) == ()


def test_all_that_a_task_says_to_the_cost_survives_a_configuration():
    goal, region = Goal(levels=(torch.ones(3),)), Region({'x_m': 0.5}, 0.2)
    settings = Settings(3, True, 'tour', 'g', goal, {'goal': 2.0}, modulation={'hurry': 0.5}, speed=0.3,
                        regions=(region,), discomforts=(Region({'y_m': 'other_y_m'}, 0.3),),
                        program=torch.arange(6.0).reshape(2, 3), part='1/2 reach')
    message = Configuration()
    messages.fill_configuration(message, settings)
    message = through_the_wire(message)
    said = messages.configured_cost(message)
    assert torch.equal(said['goal'].levels[0], goal.levels[0]) and said['weights'] == {'goal': 2.0}
    assert said['regions'] == settings.regions and said['discomfort'] == settings.discomforts
    assert torch.equal(said['program'], settings.program) and message.part == '1/2 reach'
    assert messages.configured_modulation(message) == said['modulation'] == {'hurry': 0.5}
    assert said['speed'] == 0.3
    assert set(messages.configured_cost(Configuration())) == {'goal', 'weights', 'regions'}


def test_a_region_of_discomfort_that_does_not_pair_is_named_by_its_field():
    message = Configuration(discomfort=[RegionMessage(names=['x_m'], centre=[], follows=[''], radius=0.1)])
    with pytest.raises(ContractError, match=r'configuration.discomfort\[0\]: 1 names but 0 values'):
        messages.configured_cost(message)


@pytest.mark.parametrize('fields, word', [
    ({'names': ['x_m'], 'centre': [], 'follows': ['']}, '1 names but 0 values'),
    ({'names': ['x_m'], 'centre': [math.nan], 'follows': ['']}, 'x_m is nan'),
    ({'names': ['x_m'], 'centre': [0.0], 'follows': []}, '1 names but 0 of what they follow')])
def test_a_region_that_does_not_pair_is_refused(fields, word):
    message = Configuration(avoid=[RegionMessage(radius=0.1, **fields)])
    with pytest.raises(ContractError, match=rf'configuration.avoid\[0\]: {word}'):
        messages.configured_regions(message)


@pytest.mark.parametrize('names, values, word', [
    (['goal', 'effort'], [1.0], '2 names but 1 values'), (['goal', 'effort'], [1.0, math.inf], 'effort is inf')])
def test_names_and_values_that_do_not_pair_are_refused(names, values, word):
    with pytest.raises(ContractError, match=f'configuration.weights: .*{word}'):
        messages.configured_weights(Configuration(weight_names=names, weights=values))


def test_an_energy_message_adds_up(agent):
    states = agent.perception.encode({'overhead': tiny.image(1)}).levels[0].expand(3, -1)
    agent.cost.configure(goal=Goal(levels=(torch.zeros(states.shape[1]),) * 2), weights={})
    message = through_the_wire(messages.energy_message(agent.cost.evaluate(states, None), Header(), Energy.PLAN, 7))
    per_step = messages.tensor_array(message.per_step, 'per_step', (len(message.terms), 3))
    assert [term.value for term in message.terms] == pytest.approx(per_step.sum(1).tolist(), rel=1e-5)
    assert message.total == pytest.approx(sum(term.weight * term.value for term in message.terms))
    assert messages.intrinsic_energy(message) == pytest.approx(
        sum(term.weight * term.value for term in message.terms if term.intrinsic))
