"""What the latent of a level does, in a world that forks: every step goes 0.1 to the left or right by chance."""
from itertools import combinations
import math

from hypothesis import given
from hypothesis import strategies as st
import pytest
import tiny
import torch

from jepa_ros.evaluation.open_loop.latent import expected_best, latent
from jepa_ros.world_model.config import LevelConfig
from jepa_ros.world_model.latent_model import LatentConfig
from jepa_ros.world_model.predictors import Predictor

from .worlds import level_of, trial


class Fork(Predictor):
    """Goes where the first number of a one-hot z says: s + strength · (z₀ − z₁); without, nowhere."""

    def __init__(self, strength: float):
        super().__init__(2, 4)
        self.strength = strength

    def forward(self, s, c):
        return s + self.strength * (c[..., 2:3] - c[..., 3:4])


def forked(strength=0.1):
    data = tiny.episodes([60] * 6)
    torch.manual_seed(3)
    sides = torch.randint(2, (data.steps, 1)) * 0.2 - 0.1
    s = torch.cat([sides[first:first + 60].cumsum(0) for first in range(0, 360, 60)]).expand(-1, 2).clone()
    config = LevelConfig(width=8, latent=LatentConfig(kind='discrete', dim=2, weight=0.0))
    model = tiny.model((config,), perception=tiny.perception(2))
    model.levels[0].predictor = Fork(strength)
    return level_of(model, data, s), trial(data)


def test_a_latent_that_says_which_way_carries_a_bit_and_its_best_future_is_the_true_one():
    found = latent(*forked())
    assert found.kind == 'discrete' and found.verdict == ()
    assert found.bits == pytest.approx(1, abs=0.02) and found.capacity_bits == 1
    assert found.share == pytest.approx(1, abs=0.02)
    best = {b.samples: b.energy.value for b in found.best_of}
    # one guess is wrong half of the time, by 0.2; of n guesses all are wrong with probability 2^−n
    assert best[2] / best[1] == pytest.approx(0.5, rel=0.1) and best[4] / best[1] == pytest.approx(0.125, rel=0.25)
    assert best[32] < 1e-6
    assert found.mean_of_samples.value == pytest.approx(best[1] / 2, rel=0.1)


def test_a_latent_that_is_ignored_is_said_to_be():
    found = latent(*forked(strength=0.0))
    assert len({round(b.energy.value, 9) for b in found.best_of}) == 1
    assert any('ignored' in line for line in found.verdict)


def test_a_level_without_latent_has_no_figures():
    data = tiny.episodes([30] * 3)
    assert latent(level_of(tiny.integrator_model(1), data, torch.randn(90, 2)), trial(data)) is None


@tiny.invariant
@given(st.lists(st.floats(0, 10), min_size=1, max_size=7), st.data())
def test_the_expected_best_of_n_is_the_mean_over_all_choices_of_n(errors, draw):
    n = draw.draw(st.integers(1, len(errors)))
    every = [min(chosen) for chosen in combinations(errors, n)]
    found = expected_best(torch.tensor([errors], dtype=torch.float64), n)
    assert float(found) == pytest.approx(math.fsum(every) / len(every), abs=1e-9)
