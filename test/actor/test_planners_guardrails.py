"""Guardrails: a plan that breaks one is never preferred to one that does not."""
import math

from hypothesis import given
from hypothesis import strategies as st
from planner_problems import BOX, generator, GRADIENT, METHODS, planner, quadratic, Recorder, SAMPLING, TARGET
import pytest
from tiny import invariant
import torch

every_method = pytest.mark.parametrize('method', METHODS)


def too_far_right(candidates):
    """(B, N, H, A) -> (B, N): the target lies at 0.4, allowed is up to 0.2."""
    return (candidates[..., 0] - 0.2).clamp_min(0).sum(-1)


@every_method
@invariant
@given(seed=st.integers(0, 1000))
def test_a_violation_is_never_chosen_when_an_allowed_candidate_was_seen(method, seed):
    """Nor an allowed one that costs more than another, nor a refused one: over all that was tried."""
    normal = torch.randn(3, 2, generator=generator(seed))
    seen = Recorder(lambda c: quadratic(c).masked_fill(c[..., 1].sum(-1) > 1, math.nan),
                    lambda c: ((c * normal).sum((-1, -2)) - 0.5).clamp_min(0))
    search = planner(method, samples=8, iterations=3).plan(seen, BOX, generator=generator(seed))
    energies, violations = torch.cat(seen.energies, 1), torch.cat(seen.violations, 1)
    allowed = energies[(violations <= 0) & torch.isfinite(energies)]
    assert len(allowed)     # the mean is
    assert bool(search.sound)
    assert float(search.energy) == float(allowed.min())


@every_method
def test_the_plan_is_allowed_and_nearly_best_where_the_free_optimum_is_forbidden(method):
    search = planner(method, iterations=30).plan(Recorder(quadratic, too_far_right), BOX, generator=generator())
    assert bool(search.sound)
    assert bool((search.actions[..., 0] <= 0.2).all())
    if method in SAMPLING + GRADIENT:
        best = torch.tensor([0.2, float(TARGET[1])])
        assert float((search.actions - best).abs().max()) < 0.08


@every_method
def test_where_everything_is_forbidden_the_least_violation_is_found_and_the_plan_is_not_sound(method):
    seen = Recorder(quadratic, lambda c: 1 + too_far_right(c))
    search = planner(method).plan(seen, BOX, generator=generator())
    assert float(search.violation) == float(torch.cat(seen.violations, 1).min()) == 1.0
    assert not bool(search.sound)


@every_method
def test_a_violation_that_is_not_a_number_is_one(method):
    search = planner(method).plan(
        Recorder(quadratic, lambda c: torch.where(c[..., 0].amax(-1) > 0.2, math.nan, 0.0)), BOX, generator=generator())
    assert bool(search.sound)
    assert float(search.actions[..., 0].max()) <= 0.2


def test_the_price_of_a_violation_stays_finite_however_long_nothing_is_allowed():
    """It grows elevenfold an iteration; an infinite price would make allowed candidates NaN and choose one of them."""
    chosen, ranks = planner('cem', iterations=80, samples=16, elites=4), []
    learn = chosen.learn
    chosen.learn = lambda state, candidates, outcome: (ranks.append(outcome.ranks), learn(state, candidates, outcome))
    chosen.plan(Recorder(quadratic, lambda c: torch.ones(c.shape[:2])), BOX, generator=generator())
    assert len(ranks) == 80
    assert all(bool(torch.isfinite(r).all()) for r in ranks)
