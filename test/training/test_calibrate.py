"""The goal tolerance."""
import pytest
import tiny
import torch

from jepa_ros.training.calibrate import goal_tolerance


def straight(readouts: bool = True):
    """Two episodes driven straight ahead, 1 cm a step; s is the position itself, in units of 10 cm."""
    data = tiny.episodes([200, 200])
    position = torch.cat([torch.arange(200.0), torch.arange(200.0)])[:, None] * torch.tensor([0.01, 0.0])
    data = type(data)(**{**data.__dict__, 'readouts': position if readouts else position[:, :0]})
    return data, 10 * position


def test_a_goal_energy_below_the_tolerance_means_within_the_radius():
    data, s = straight()
    tolerance = goal_tolerance(data, s, radius=0.055)
    metres = 0.1 * (2 * tolerance) ** 0.5           # energy is the mean square of two numbers, one of them 0
    assert 0.05 - 1e-4 <= metres < 0.061


def test_a_larger_radius_gives_a_larger_tolerance():
    data, s = straight()
    assert goal_tolerance(data, s, 0.03) < goal_tolerance(data, s, 0.06) < goal_tolerance(data, s, 0.12)


def test_the_tolerance_grows_with_the_scale_of_the_states():
    data, s = straight()
    assert goal_tolerance(data, 3 * s, 0.05) == pytest.approx(9 * goal_tolerance(data, s, 0.05), rel=1e-4)


def test_without_readouts_it_is_the_energy_of_one_control_step():
    data, s = straight(readouts=False)
    assert goal_tolerance(data, s, 0.05) == pytest.approx(0.1 ** 2 / 2, rel=1e-3)


def test_the_same_data_give_the_same_tolerance():
    data, s = straight()
    assert goal_tolerance(data, s, 0.05) == goal_tolerance(data, s, 0.05)
