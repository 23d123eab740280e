"""Unpleasant regions; forbidden ones are in test_intrinsic.py."""
import pytest
import torch

from jepa_ros.cost.intrinsic import Bounds, Context, discomfort

BOUNDS = Bounds(chosen=torch.tensor([[1.0, 1.0], [1.0, 0.0]]), centre=torch.tensor([[1.0, 2.0], [5.0, 0.0]]),
                moving=torch.zeros(2, 2, 2), radius=torch.tensor([0.5, 0.25]), mean=torch.zeros(2), std=torch.ones(2))


@pytest.mark.parametrize('at, expected', [((1.0, 2.0), 1.0), ((1.25, 2.0), 0.25), ((1.5, 2.0), 0.0), ((5.0, 9.0), 1.0),
                                          ((3.0, 3.0), 0.0)])
def test_discomfort_is_one_in_the_centre_and_nothing_outside(at, expected):
    found = discomfort(torch.tensor([at]), None, Context(None, None, lambda s: s, soft=BOUNDS))
    assert found.tolist() == pytest.approx([expected], abs=1e-4)
