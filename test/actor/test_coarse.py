"""A search in low precision that ends in full."""
from planner_problems import BOX, generator, planner, quadratic
import pytest
import torch

from jepa_ros.actor.coarse import CoarseToFine
from jepa_ros.actor.planners import Evaluation

BAND = 0.3


def exact(candidates):
    return Evaluation(quadratic(candidates))


def rough(candidates):
    """Energies in steps, as few digits make them."""
    return Evaluation((quadratic(candidates) / BAND).round() * BAND)


def search(coarse, fine=exact, iterations=12):
    energy = CoarseToFine(coarse, fine, iterations)
    found = planner('cem', iterations=iterations).plan(energy, BOX, 2, generator=generator())
    return energy, found


@pytest.mark.parametrize('iterations, coarse', [(1, 0), (2, 1), (3, 2), (30, 20)])
def test_the_last_third_of_the_iterations_is_exact_and_the_only_one_is(iterations, coarse):
    asked = []
    search(lambda x: asked.append('coarse') or exact(x), lambda x: asked.append('exact') or exact(x), iterations)
    assert asked == ['coarse'] * coarse + ['exact'] * (iterations - coarse)


def test_what_low_precision_favours_does_not_win():
    energy, found = search(rough)
    assert found.energy.tolist() == [0, 0]      # by the rough energies, which the planner met first
    judged = energy.judged(found)
    assert torch.equal(judged.energy, quadratic(judged.actions[:, None])[:, 0])
    assert float(judged.energy.max()) < 0.2 * BAND < float(quadratic(found.actions[:, None]).max())


def test_a_search_that_is_cut_short_is_judged_exactly():
    energy = CoarseToFine(rough, exact, 12)
    found = planner('cem').plan(energy, BOX, 2, generator=generator(), deadline=0.0)
    assert found.deadline_hit and found.iterations == 1
    judged = energy.judged(found)
    assert torch.equal(judged.actions, found.actions) and not torch.equal(judged.energy, found.energy)
    assert torch.equal(judged.energy, quadratic(found.actions[:, None])[:, 0])


def test_the_violation_is_judged_too():
    def forbidding(candidates):
        return Evaluation(quadratic(candidates), candidates[..., 0].amax(-1).relu())
    energy, found = search(rough, forbidding)
    judged = energy.judged(found)
    assert torch.equal(judged.violation, judged.actions[..., 0].amax(-1).relu())
    assert float(found.violation.max()) == 0 < float(judged.violation.min())
    assert bool((judged.violation <= found.actions[..., 0].amax(-1).relu()).all())


def test_a_search_of_which_every_candidate_was_refused_stays_refused():
    energy = CoarseToFine(lambda x: Evaluation(torch.full(x.shape[:2], torch.nan)), exact, 30)
    found = planner('cem', iterations=2).plan(energy, BOX, 2, generator=generator())
    assert not bool(energy.judged(found).sound.any())
