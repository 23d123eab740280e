"""Following a demonstration."""
import pytest
import torch
from torch import Tensor

from jepa_ros.cost.intrinsic import Context, Program, program

WAY = torch.stack([torch.arange(10.0), torch.zeros(10)], -1)       # along x, one unit a control step


def energy(states: Tensor, start: Tensor | None = None, stride: int = 1, way: Tensor = WAY) -> Tensor:
    return program(states, None, Context(None, None, lambda s: s, program=Program(way, stride), start=start))


def test_who_follows_the_demonstration_from_where_it_is_nearest_pays_nothing():
    assert energy(WAY[4:8], WAY[3]).tolist() == [0, 0, 0, 0]
    assert energy(WAY[4:8]).tolist() == [0, 0, 0, 0]


def test_each_step_pays_its_distance_to_the_state_that_is_due():
    states = torch.tensor([[3.0, 0.0], [3.0, 0.0], [3.0, 2.0]])
    assert energy(states, torch.tensor([3.0, 0.5])).tolist() == [0.5, 2.0, (9 + 4) / 2]     # due are 4, 5, 6


def test_standing_still_costs_until_the_end_and_nothing_there():
    assert energy(WAY[[2, 2]], WAY[2]).tolist() == [0.5, 2.0]
    assert energy(WAY[[9, 9]], WAY[9]).tolist() == [0.0, 0.0]


def test_a_step_of_a_higher_level_is_many_of_the_demonstration():
    assert energy(WAY[[4, 8]], WAY[0], stride=4).tolist() == [0.0, 0.0]


def test_a_pause_in_the_demonstration_ends():
    """Standing in the pause: what is due is what comes after it."""
    way = torch.cat([WAY[:1]] * 5 + [WAY[1:]])
    assert energy(WAY[[1, 2]], WAY[0], way=way).tolist() == [0.0, 0.0]
    assert energy(WAY[[0, 0]], WAY[0], way=way).tolist() == [0.5, 2.0]


def test_each_problem_of_a_batch_is_where_it_is():
    start = WAY[[0, 5]][:, None, None]                                          # (B, 1, 1, D)
    states = torch.stack([WAY[1:4], WAY[6:9]])[:, None].expand(2, 4, 3, 2)
    assert energy(states, start).shape == (2, 4, 3)
    assert float(energy(states, start).abs().max()) == 0


def test_the_gradient_leads_to_the_state_that_is_due():
    s = torch.tensor([[3.2, 1.0]], requires_grad=True)
    energy(s, WAY[3]).sum().backward()
    assert s.grad[0].sign().tolist() == [-1.0, 1.0]


@pytest.mark.parametrize('length', [1, 3])
def test_a_demonstration_shorter_than_the_plan_holds_its_last_state(length):
    assert energy(WAY[[length - 1] * 5], WAY[length - 1], way=WAY[:length]).tolist() == [0.0] * 5
