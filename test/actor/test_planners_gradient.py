"""The planners that descend by gradient."""
import math

from planner_problems import BOX, bumpy, generator, GRADIENT, planner, quadratic, Recorder, solve, TARGET
import pytest
import torch

from jepa_ros.actor.planners import Evaluation, SearchSpace
from jepa_ros.actor.planners.base import Outcome
from jepa_ros.actor.planners.descent import Descent, LEAST, MEAN_KEPT, SQUARE_KEPT
from jepa_ros.errors import ConfigError

both = pytest.mark.parametrize('method', GRADIENT)


@both
def test_reaches_the_minimum_of_a_quadratic_precisely(method):
    search = solve(planner(method, samples=16, iterations=80, learning_rate=0.2), quadratic, BOX, generator=generator())
    assert float((search.actions - TARGET).abs().max()) < 1e-3


@both
def test_improves_on_the_best_of_its_draws_where_there_are_many_minima(method):
    """By more than the same number of further draws does."""
    ratios = []
    for seed in range(6):
        seen = Recorder(bumpy(seed))
        search = planner(method, samples=32, iterations=20, horizon=5).plan(seen, BOX, generator=generator(seed))
        drawn = solve(planner('random_shooting', samples=32, iterations=20, horizon=5), bumpy(seed), BOX,
                      generator=generator(seed))
        assert float(search.energy) < float(seen.energies[0].min())
        ratios.append(float(search.energy / drawn.energy))
    assert sum(ratios) / len(ratios) < 0.97


def test_a_step_is_that_of_adam():
    """Kingma & Ba 2015, algorithm 1; torch's as the reference."""
    start = torch.rand(2, 3, 4, 2, generator=generator())
    theirs = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([theirs], lr=0.1, betas=(MEAN_KEPT, SQUARE_KEPT), eps=LEAST)
    ours = Descent.begin(start)
    for _ in range(15):
        optimiser.zero_grad()
        (theirs ** 4).sum().backward()
        ours.step(ours.candidates, Outcome(torch.zeros(2, 3), torch.zeros(2, 3), gradient=4 * ours.candidates ** 3),
                  torch.full((2, 4, 2), 0.1))
        optimiser.step()
    assert torch.allclose(ours.candidates, theirs.detach(), atol=1e-5)


@pytest.mark.parametrize('rank, slope', [(math.inf, 1.0), (0.0, math.nan), (0.0, math.inf)])
def test_a_candidate_without_a_finite_energy_or_gradient_waits_and_the_others_go_on(rank, slope):
    start, rate = torch.rand(1, 3, 4, 2, generator=generator()), torch.full((1, 4, 2), 0.1)
    ranks, slopes = torch.zeros(1, 3), torch.ones(1, 3, 4, 2)
    disturbed, alone = Descent.begin(start), Descent.begin(start)
    ranks[0, 1], slopes[0, 1, 2, 0] = rank, slope
    disturbed.step(start, Outcome(ranks, ranks, gradient=slopes), rate)
    alone.step(start, Outcome(torch.zeros(1, 3), torch.zeros(1, 3), gradient=torch.ones(1, 3, 4, 2)), rate)
    assert torch.equal(disturbed.candidates[:, 1], start[:, 1])
    assert torch.equal(disturbed.candidates[:, ::2], alone.candidates[:, ::2])
    # once it has a gradient it takes its first step as the others took theirs
    disturbed.step(disturbed.candidates, Outcome(torch.zeros(1, 3), torch.zeros(1, 3), gradient=torch.ones(1, 3, 4, 2)),
                   rate)
    assert torch.allclose(disturbed.candidates[:, 1], alone.candidates[:, 1])


@both
def test_a_cliff_without_gradient_does_not_spoil_the_search(method):
    """√ has an infinite slope at 0, where the warm start lies; one half of the space is refused."""
    def energy(candidates):
        root = (candidates - TARGET).abs().sum((-1, -2)) + 1e-3 * candidates.abs().sqrt().sum((-1, -2))
        return root.masked_fill(candidates[..., 0].amax(-1) > 0.6, math.nan)
    search = solve(planner(method, iterations=60, learning_rate=0.2), energy, BOX, generator=generator())
    assert float((search.actions - TARGET).abs().max()) < 0.05


def test_a_candidate_at_a_bound_comes_back_where_the_gradient_points_inside():
    warm = torch.ones(1, 3, 2)
    search = solve(planner('gradient', samples=1, iterations=60), quadratic, BOX, warm_start=warm)
    assert float((search.actions - TARGET).abs().max()) < 0.02


def test_a_step_held_back_by_a_rate_limit_pulls_at_the_steps_before_it():
    """Only the last action costs anything, and it can be reached only by beginning early."""
    space = SearchSpace(BOX.low, BOX.high, BOX.mean, BOX.std, max_change=torch.full((2,), 0.25))
    search = solve(planner('gradient', samples=1, iterations=60, horizon=4, learning_rate=0.2),
                   lambda c: (c[..., -1, :] - 0.9).square().sum(-1), space, previous=torch.zeros(2))
    assert float((search.actions[:, -1] - 0.9).abs().max()) < 0.02


def test_a_high_price_does_not_keep_a_candidate_from_descending_once_it_is_allowed():
    """The guardrail forbids where the search starts; the energy's minimum is allowed."""
    search = planner('gradient', samples=1, iterations=60, penalty=1000.0, learning_rate=0.1).plan(
        Recorder(quadratic, lambda c: (0.1 + c[..., 1]).clamp_min(0).sum(-1)), BOX)
    assert bool(search.sound)
    assert float((search.actions - TARGET).abs().max()) < 0.02


def test_only_the_last_iterations_of_cem_gradient_descend_and_only_from_mean_and_elites():
    sizes, differentiated = [], []

    def energy(candidates):
        sizes.append(candidates.shape[1])
        differentiated.append(candidates.requires_grad)
        return Evaluation(quadratic(candidates))

    planner('cem_gradient', samples=50, elites=5, iterations=6, refine=2).plan(energy, BOX, generator=generator())
    assert sizes == [50, 50, 50, 50, 6, 6]
    assert differentiated == [False, False, False, False, True, True]


def test_cem_gradient_begins_its_descent_where_cem_ended():
    seen = Recorder(quadratic)
    planner('cem_gradient', samples=50, elites=5, iterations=3, refine=1).plan(seen, BOX, generator=generator())
    elites = seen.candidates[1][0, seen.energies[1][0].argsort()[:5]]
    assert torch.equal(seen.candidates[2][0, 1:], elites)
    assert torch.allclose(seen.candidates[2][0, 0], elites.mean(0), atol=1e-6)


@both
@pytest.mark.parametrize('refine', [2, 4])
def test_an_energy_without_a_gradient_is_refused_in_one_line(method, refine):
    with pytest.raises(ConfigError, match=rf'^planner {method}: the energy has no gradient.*\Z') as error:
        solve(planner(method, iterations=4, refine=refine), lambda c: quadratic(c.detach()), BOX, generator=generator())
    assert '\n' not in str(error.value)


@both
def test_the_model_gets_no_gradient_of_its_own(method):
    weight = torch.ones(2, requires_grad=True)
    solve(planner(method, iterations=4), lambda c: quadratic(weight * c), BOX, generator=generator())
    assert weight.grad is None
