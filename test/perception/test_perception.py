"""The perception organ."""
import numpy as np
import pytest
import tiny
import torch

from jepa_ros.errors import ContractError


@pytest.fixture(scope='module')
def agent():
    return tiny.agent()


def test_a_percept_becomes_one_state_per_level_and_named_readouts(agent):
    state = agent.perception.encode({'overhead': tiny.image()})
    assert [tuple(s.shape) for s in state.levels] == [(6,), (6,)]
    assert list(state.readouts) == ['x_m', 'y_m']
    assert all(isinstance(v, float) for v in state.readouts.values())


def test_the_state_is_the_model_s_own_encoding(agent):
    image = tiny.image(3)
    expected = agent.networks.world_model.encode({'overhead': torch.from_numpy(image)[None]})[0]
    assert torch.equal(agent.perception.encode({'overhead': image}).levels[0], expected)


def test_an_image_that_is_a_view_of_another_is_read_right(agent):
    image = tiny.image(4)
    flipped = image[::-1]
    assert torch.equal(agent.perception.encode({'overhead': flipped}).levels[0],
                       agent.perception.encode({'overhead': flipped.copy()}).levels[0])


def test_readouts_are_in_their_own_units(agent):
    s = torch.randn(6, generator=torch.Generator().manual_seed(0))
    model = agent.networks.world_model
    model.readout_mean.copy_(torch.tensor([10.0, -5.0]))
    model.readout_std.copy_(torch.tensor([2.0, 3.0]))
    raw = model.levels[0].readout(s)
    assert agent.perception.state(s).readouts == pytest.approx(
        {'x_m': 10 + 2 * float(raw[0]), 'y_m': -5 + 3 * float(raw[1])})


@pytest.mark.parametrize('percept, line', [
    ({}, "percept has no 'overhead': it holds nothing"),
    ({'front': np.zeros((16, 16, 3), np.uint8)}, "percept has no 'overhead': it holds front"),
    ({'overhead': np.zeros((8, 16, 3), np.uint8)}, r"percept 'overhead' is uint8 \(8, 16, 3\): .* uint8 \(16, 16, 3\)"),
    ({'overhead': np.zeros((16, 16, 3), np.float32)}, "percept 'overhead' is float32"),
])
def test_a_percept_that_does_not_fit_is_refused_in_one_line(agent, percept, line):
    with pytest.raises(ContractError, match=line) as refused:
        agent.perception.encode(percept)
    assert '\n' not in str(refused.value)


def test_a_robot_without_readouts_is_perceived():
    agent = tiny.Agent.create(
        tiny.contract().model_copy(update={'readouts': []}), 0, 'blind', tiny.model_config(readouts=0))
    assert agent.perception.encode({'overhead': tiny.image()}).readouts == {}


def test_a_percept_normalised_on_the_gpu_gives_the_same_state(agent):
    image, encoder = tiny.image(5), agent.networks.world_model.encoder.encoder('overhead')
    pixels = torch.from_numpy(image).permute(2, 0, 1) / 255
    normalised = (pixels - encoder.mean.view(-1, 1, 1)) / encoder.std.view(-1, 1, 1)
    torch.testing.assert_close(agent.perception.encode({'overhead': normalised}).levels[0],
                               agent.perception.encode({'overhead': image}).levels[0], atol=1e-5, rtol=1e-4)


def test_a_model_on_the_cpu_takes_images_in_on_the_cpu(agent):
    def convert(stream, message):
        return None
    assert agent.perception.intake(convert) is convert


LOOKING_BACK = (tiny.LevelConfig(width=16), tiny.LevelConfig(period=2, macro_dim=3, width=16, encoder='mean'),
                tiny.LevelConfig(period=6, macro_dim=2, width=16, encoder='mean'))


def test_levels_with_an_encoder_of_their_own_look_back_over_their_period():
    """LeCun §4.6, Fig. 15. Before a whole period has been observed the world is taken to have stood still."""
    perception = tiny.agent(LOOKING_BACK).perception
    lowest = []
    for number in range(8):
        state = perception.observe({'overhead': tiny.image(number)})
        lowest.append(state.levels[0])
        pairs = [(lowest[max(0, t - 1)] + lowest[t]) / 2 for t in range(len(lowest))]
        assert torch.allclose(state.levels[1], pairs[-1], atol=1e-6)
        slow = torch.stack([pairs[max(0, number - back)] for back in (4, 2, 0)]).mean(0)
        assert torch.allclose(state.levels[2], slow, atol=1e-6)


def test_after_a_reset_nothing_of_the_past_is_left():
    perception = tiny.agent(LOOKING_BACK).perception
    perception.observe({'overhead': tiny.image(1)})
    perception.reset()
    observed, alone = (look({'overhead': tiny.image(2)}) for look in (perception.observe, perception.encode))
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(observed.levels, alone.levels))


def test_several_sensors_make_one_state_with_any_of_them_missing():
    contract = tiny.contract(tiny.CONTRACT.replace('readouts:', """  - {key: pose, topic: pose, required: false,
     type: nav_msgs/msg/Odometry, fields: [pose.pose.position.x, twist.twist.linear.x]}
readouts:""", 1))
    agent = tiny.Agent.create(contract, 0, 'two', tiny.model_config())
    image, pose = tiny.image(), np.array([0.3, -0.1], np.float32)
    both = agent.perception.encode({'overhead': image, 'pose': pose})
    without = [agent.perception.encode({'overhead': image}),
               agent.perception.encode({'overhead': image, 'pose': np.full(2, np.nan, np.float32)}, {'pose': False})]
    assert torch.equal(without[0].levels[0], without[1].levels[0])
    assert not torch.allclose(both.levels[0], without[0].levels[0])
