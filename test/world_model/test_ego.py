"""The ego model: the robot's own vector under its actions."""
import math

from hypothesis import given
from hypothesis import strategies as st
import pytest
import tiny
import torch

from jepa_ros.errors import ConfigError, TrainingError
from jepa_ros.world_model.ego import EgoModel, wrapped

PI = math.pi


def make(size=3, actions=2, seed=0, **options):
    torch.manual_seed(seed)
    return EgoModel(size, actions, 16, 2, **options)


def driving(count, steps, seed=0):
    """x (N, T, 4): position in m, speed in m/s and heading in rad of a robot that is driven by a (N, T − 1, 2)."""
    g = torch.Generator().manual_seed(seed)
    a = torch.rand(count, steps - 1, 2, generator=g) * 2 - 1
    east, north, speed = torch.randn(3, count, generator=g) * torch.tensor([20.0, 20.0, 0.3])[:, None]
    heading = (torch.rand(count, generator=g) * 2 - 1) * PI
    x = [torch.stack([east, north, speed, heading], -1)]
    for t in range(steps - 1):
        speed = 0.8 * speed + 0.2 * a[:, t, 0]
        heading = wrapped(heading + 0.4 * a[:, t, 1])
        east, north = east + 0.1 * speed * heading.cos(), north + 0.1 * speed * heading.sin()
        x.append(torch.stack([east, north, speed, heading], -1))
    return torch.stack(x, 1), a


def trained(updates=250):
    x, a = driving(400, 6)
    ego = make(4, angles=(3,))
    ego.fit_statistics(x[:, :-1].flatten(0, 1), x[:, 1:].flatten(0, 1))
    optimiser = torch.optim.Adam(ego.parameters(), 1e-2)
    for update in range(updates):
        for group in optimiser.param_groups:
            group['lr'] = 1e-2 * (1 - update / updates)
        loss = ego.loss(x, a)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    ego.fit_typical_error(x[:, :-1], a, x[:, 1:])
    return ego


@pytest.fixture(scope='module')
def driver():
    return trained()


@tiny.invariant
@given(st.floats(-100, 100))
def test_an_angle_is_wrapped_to_the_same_direction(angle):
    found = float(wrapped(torch.tensor(angle, dtype=torch.float64)))
    assert -PI - 1e-9 <= found <= PI + 1e-9
    assert math.cos(found) == pytest.approx(math.cos(angle), abs=1e-9)
    assert math.sin(found) == pytest.approx(math.sin(angle), abs=1e-9)


def test_a_difference_of_angles_goes_the_short_way_round():
    ego = make(2, angles=(1,))
    one, other = torch.tensor([3.0, PI - 0.1]), torch.tensor([-3.0, -PI + 0.1])
    torch.testing.assert_close(ego.difference(one, other), torch.tensor([6.0, -0.2]))


@pytest.mark.parametrize('leading', [(), (3,), (2, 3)])
def test_keeps_the_shape_of_the_vector_for_any_batch(leading):
    ego = make()
    x, a = torch.randn(*leading, 3), torch.randn(*leading, 5, 2)
    assert ego(x, a[..., 0, :]).shape == x.shape
    assert ego.rollout(x, a).shape == (*leading, 5, 3)


def test_a_model_that_says_nothing_expects_the_mean_change():
    ego = make()
    x = torch.randn(50, 3)
    ego.fit_statistics(x, x + torch.tensor([0.1, 0.0, -2.0]))
    torch.nn.init.zeros_(ego.net[-1].weight)
    torch.nn.init.zeros_(ego.net[-1].bias)
    torch.testing.assert_close(ego(x, torch.randn(50, 2)), x + torch.tensor([0.1, 0.0, -2.0]), atol=1e-5, rtol=1e-5)


def test_units_of_the_data_change_nothing_but_the_units():
    """A vector in mm, far from 0, is predicted as the same one in m."""
    x, following, a = torch.randn(50, 3), torch.randn(50, 3), torch.randn(50, 2)
    one, other = make(), make()
    one.fit_statistics(x, following)
    other.fit_statistics(1000 * x + 7000, 1000 * following + 7000)
    torch.testing.assert_close(other(1000 * x + 7000, a), 1000 * one(x, a) + 7000, atol=0.05, rtol=1e-5)
    torch.testing.assert_close(other.error(1000 * x + 7000, 1000 * following + 7000), one.error(x, following),
                               atol=1e-4, rtol=1e-4)


def test_both_sides_of_half_a_turn_are_the_same_heading():
    ego, a = make(2, angles=(1,)), torch.randn(2)
    one, other = ego(torch.tensor([0.5, PI]), a), ego(torch.tensor([0.5, -PI]), a)
    torch.testing.assert_close(ego.difference(one, other), torch.zeros(2), atol=1e-5, rtol=0)


def test_loss_is_the_error_of_the_whole_rollout_in_units_of_one_change():
    ego = make()
    x, a = torch.randn(4, 6, 3), torch.randn(4, 5, 2)
    ego.fit_statistics(x[:, :-1].flatten(0, 1), x[:, 1:].flatten(0, 1))
    predicted, now = [], x[:, 0]
    for t in range(5):
        now = ego(now, a[:, t])
        predicted.append(now)
    change = (x[:, 1:] - x[:, :-1]).flatten(0, 1).std(0, correction=0)
    expected = ((torch.stack(predicted, 1) - x[:, 1:]) / change).square().mean()
    torch.testing.assert_close(ego.loss(x, a), expected)


def test_gradients_of_the_last_vector_reach_the_first_action():
    a = torch.zeros(6, 2, requires_grad=True)
    make(angles=(0,)).rollout(torch.randn(3), a)[-1].sum().backward()
    assert float(a.grad[0].abs().max()) > 0


def test_learns_to_drive_far_better_than_standing_still(driver):
    x, a = driving(200, 9, seed=1)
    driver_error = driver.error(driver.rollout(x[:, 0], a), x[:, 1:]).detach()
    still = driver.error(x[:, :1].expand(-1, 8, -1), x[:, 1:])
    assert float(driver_error[:, 0].mean()) < 0.05 * float(still[:, 0].mean())
    assert float(driver_error[:, -1].mean()) < 0.1 * float(still[:, -1].mean())


def test_wheels_that_are_held_surprise(driver):
    """LeCun §4.8.1: what an action does to the robot itself is predictable; where it is not, something holds it."""
    x, a = driving(200, 3, seed=2)
    usual = driver.surprise(x[:, 0], a[:, 0], x[:, 1]).detach()
    held = x[:, 0].clone()
    held[:, 2] = 0
    assert float(usual.mean()) == pytest.approx(1, abs=0.5)
    assert float(driver.surprise(x[:, 0], a[:, 0], held).detach().mean()) > 10


def test_positions_keep_their_digits_under_autocast():
    ego = make(1)
    x, a = torch.tensor([[1000.125]]), torch.zeros(1, 2)
    with torch.autocast('cpu', torch.bfloat16):
        following = ego(x, a)
    assert following.dtype == torch.float32
    torch.testing.assert_close(following, ego(x, a), atol=0.2, rtol=0)


def test_a_number_that_never_changes_is_expected_to_stay():
    ego = make()
    x = torch.randn(50, 3)
    x[:, 1] = 7.0
    ego.fit_statistics(x, x)
    assert float((ego(x, torch.randn(50, 2))[:, 1] - 7).detach().abs().max()) < 1e-5


def test_statistics_are_saved_with_the_weights():
    ego, other = make(angles=(2,)), make(seed=1, angles=(2,))
    ego.fit_statistics(torch.randn(9, 3), torch.randn(9, 3))
    other.load_state_dict(ego.state_dict())
    x, a = torch.randn(3), torch.randn(2)
    assert torch.equal(ego(x, a), other(x, a))


def test_one_exported_program_takes_any_batch():
    ego, batch = make(angles=(2,)), torch.export.Dim('batch', min=2, max=4096)
    program = torch.export.export(ego, (torch.randn(3, 3), torch.randn(3, 2)), dynamic_shapes=({0: batch},) * 2)
    x, a = torch.randn(7, 3), torch.randn(7, 2)
    torch.testing.assert_close(program.module()(x, a), ego(x, a))


def test_an_angle_that_is_no_number_of_the_vector_is_named():
    with pytest.raises(ConfigError, match='ego: angle 3 is no index of a vector of 3 numbers'):
        make(angles=(0, 3))


def test_data_that_is_missing_or_not_finite_is_named():
    with pytest.raises(TrainingError, match='no two vectors follow one another'):
        make().fit_statistics(torch.zeros(0, 3), torch.zeros(0, 3))
    x = torch.randn(9, 3)
    x[4, 1] = math.nan
    with pytest.raises(TrainingError, match='number 1 of the vector is not finite'):
        make().fit_statistics(x, x)
