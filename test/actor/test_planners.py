"""What holds for every planner, on energies whose minimum is known."""
import math
import time

from hypothesis import given
from hypothesis import strategies as st
from planner_problems import (
    BOX,
    CONTINUOUS,
    DISCRETE,
    generator,
    GRADIENT,
    METHODS,
    planner,
    quadratic,
    Recorder,
    SAMPLING,
    solve,
    TARGET,
    with_choices,
)
import pytest
from tiny import invariant
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from jepa_ros.actor.planners import PLANNERS, SearchSpace

every_method = pytest.mark.parametrize('method', METHODS)
# luck finds six numbers at once less well than learning does
NEAR = dict.fromkeys(METHODS, 0.1) | {'random_shooting': 0.7}


def test_every_registered_planner_is_tested_here():
    assert sorted(METHODS) == PLANNERS.names()


@every_method
def test_finds_the_minimum_of_a_quadratic(method):
    search = solve(planner(method), quadratic, BOX, generator=generator())
    assert search.actions.shape == (1, 3, 2)
    assert float((search.actions - TARGET).abs().max()) < NEAR[method]
    assert float(search.energy) == pytest.approx(float(quadratic(search.actions)), abs=1e-6)
    assert (search.deadline_hit, search.refused) == (False, 0)
    assert bool(search.sound)


@every_method
@invariant
@given(seed=st.integers(0, 1000), low=st.floats(-2, 0.5), width=st.floats(0.1, 2), mean=st.floats(-3, 3))
def test_every_candidate_respects_the_bounds(method, seed, low, width, mean):
    """Also the warm start, the proposals, the mean and the choices: they may come from a robot with other limits."""
    choices = torch.full((2, 2), mean) * torch.tensor([[1], [-1]])
    space = SearchSpace(torch.full((2,), low), torch.full((2,), low + width), torch.full((2,), mean), torch.ones(2),
                        choices)
    seen = Recorder(quadratic)
    search = planner(method, samples=16, iterations=3).plan(
        seen, space, warm_start=torch.full((1, 3, 2), mean), proposals=torch.full((1, 2, 3, 2), mean),
        generator=generator(seed))
    assert len(seen.candidates) == search.iterations
    for actions in (*seen.candidates, search.actions):
        assert bool((actions >= space.low).all() and (actions <= space.high).all())


@every_method
@pytest.mark.parametrize('previous', [None, torch.tensor([0.9, -0.2])])
def test_every_candidate_respects_the_rate_limits(method, previous):
    """From the action in force to the first, and from step to step."""
    limit = torch.tensor([0.05, 0.4])
    space = SearchSpace(BOX.low, BOX.high, BOX.mean, BOX.std, BOX.choices, limit)
    seen = Recorder(quadratic)
    search = planner(method, samples=16, iterations=3).plan(
        seen, space, generator=generator(), previous=previous, proposals=torch.rand(1, 2, 3, 2))
    for actions in (*seen.candidates, search.actions[:, None]):
        before = actions[:, :, :1] if previous is None else previous.expand(*actions.shape[:2], 1, 2)
        steps = torch.cat([before, actions], 2).diff(dim=2).abs()
        assert bool((steps <= limit + 1e-6).all())


@every_method
def test_the_warm_start_is_tried_first_and_the_proposals_next(method):
    warm, proposals = torch.rand(2, 3, 2, generator=generator()), torch.rand(2, 2, 3, 2, generator=generator(1))
    seen = Recorder(quadratic)
    planner(method).plan(seen, BOX, 2, warm, proposals, generator())
    assert torch.equal(seen.candidates[0][:, 0], warm)
    assert torch.equal(seen.candidates[0][:, 1:3], proposals)


@every_method
@invariant
@given(seed=st.integers(0, 1000), place=st.integers(0, 3))
def test_a_proposal_at_the_optimum_is_never_lost(method, seed, place):
    proposals = torch.rand(1, 4, 3, 2, generator=generator(seed)) * 2 - 1
    proposals[0, place] = TARGET
    search = solve(planner(method, samples=8, iterations=3), quadratic, BOX, proposals=proposals,
                   generator=generator(seed))
    assert torch.equal(search.actions[0], TARGET.expand(3, 2))
    assert float(search.energy) == 0.0


@every_method
@invariant
@given(seed=st.integers(0, 1000))
def test_a_warm_start_at_the_optimum_is_never_lost(method, seed):
    warm = torch.rand(1, 3, 2, generator=generator(seed)) * 2 - 1
    search = solve(planner(method, samples=8, iterations=3), lambda c: (c - warm[:, None]).square().sum((-1, -2)), BOX,
                   warm_start=warm, generator=generator(seed))
    assert torch.equal(search.actions, warm)


@every_method
def test_more_iterations_never_make_the_plan_worse(method):
    settings = {'refine': 1} if method == 'cem_gradient' else {}     # otherwise n decides where its descent begins
    choices = torch.cat([BOX.choices, 0.8 * BOX.choices, 0.6 * BOX.choices])
    space = BOX if method == 'exhaustive' else with_choices(choices)
    energies = [float(solve(planner(method, samples=8, iterations=n, **settings), quadratic, space,
                            generator=generator()).energy) for n in range(1, 8)]
    assert energies == sorted(energies, reverse=True)
    assert energies[-1] < energies[0] or method == 'exhaustive'     # it is done after the first


@every_method
@pytest.mark.parametrize('bad', [math.nan, math.inf, -math.inf])
def test_a_candidate_without_a_finite_energy_is_refused_and_counted(method, bad):
    counts = []

    def energy(candidates):
        forbidden = candidates[..., 0].amin(-1) < -0.3
        counts.append(int(forbidden.sum()))
        return quadratic(candidates).masked_fill(forbidden, bad)

    search = solve(planner(method), energy, BOX, generator=generator())
    assert search.refused == sum(counts) > 0
    assert float((search.actions - TARGET).abs().max()) < max(0.15, NEAR[method])


@every_method
def test_when_every_candidate_is_refused_the_energy_is_infinite_and_the_actions_finite(method):
    seen = Recorder(lambda c: math.nan * quadratic(c))
    search = planner(method).plan(seen, BOX, generator=generator())
    assert search.energy.tolist() == [math.inf]
    assert not bool(search.sound)
    assert search.refused == sum(e.numel() for e in seen.energies)
    assert bool(torch.isfinite(search.actions).all())


@every_method
def test_a_refused_problem_does_not_disturb_its_neighbour(method):
    def energy(candidates):
        return quadratic(candidates) * torch.tensor([[math.nan], [1.0]])
    search = solve(planner(method), energy, BOX, batch=2, generator=generator())
    assert math.isinf(search.energy[0])
    assert float((search.actions[1] - TARGET).abs().max()) < NEAR[method]


@every_method
def test_problems_of_a_batch_are_solved_as_well_as_one_by_one(method):
    """Each problem has its own optimum; the noise differs, the solution does not."""
    targets = torch.tensor([[0.4, -0.7], [-0.5, 0.1], [0.0, 0.9]])
    near = NEAR[method]

    def energies(candidates):
        return (candidates - targets[:len(candidates), None, None]).square().sum((-1, -2))

    space = with_choices(targets)
    batch = solve(planner(method), energies, space, batch=3, generator=generator())
    assert float((batch.actions - targets[:, None]).abs().max()) < near
    alone = solve(planner(method), energies, space, generator=generator())
    assert torch.allclose(batch.actions[0], alone.actions[0], atol=2 * near)


@every_method
def test_the_same_seed_gives_the_same_plan_and_another_seed_another(method):
    space = with_choices(torch.rand(4, 2, generator=generator()) * 2 - 1)
    first, again, other = (solve(planner(method, samples=33, iterations=2), quadratic, space, generator=generator(seed))
                           for seed in (7, 7, 8))
    assert torch.equal(first.actions, again.actions)
    if method not in DISCRETE:      # these may find the same sequence, two of them without chance
        assert not torch.equal(first.actions, other.actions)


@every_method
def test_the_scale_of_the_energies_does_not_matter(method):
    """Temperature, steps and costs of leaves are relative to the energies, so a cost in other units plans the same."""
    one = solve(planner(method), quadratic, BOX, generator=generator())
    scaled = solve(planner(method), lambda c: 1024 * quadratic(c), BOX, generator=generator())
    assert torch.allclose(one.actions, scaled.actions, atol=1e-4)


@every_method
def test_a_deadline_already_passed_still_gives_a_plan_of_one_iteration(method):
    search = solve(planner(method, samples=4), quadratic, BOX, generator=generator(), deadline=time.perf_counter() - 1)
    assert (search.iterations, search.deadline_hit) == (1, True)
    assert math.isfinite(search.energy)


@every_method
def test_a_far_deadline_changes_nothing(method):
    free = solve(planner(method), quadratic, BOX, generator=generator())
    timed = solve(planner(method), quadratic, BOX, generator=generator(), deadline=time.perf_counter() + 60)
    assert torch.equal(free.actions, timed.actions)
    assert not timed.deadline_hit


def test_no_iteration_starts_that_would_end_after_the_deadline():
    def slow(candidates):
        time.sleep(0.05)
        return quadratic(candidates)
    began = time.perf_counter()
    search = solve(planner('mppi'), slow, BOX, generator=generator(), deadline=began + 0.12)
    assert search.deadline_hit and 1 <= search.iterations <= 2


@every_method
def test_plans_in_inference_mode_as_an_actor_does(method):
    space = SearchSpace(BOX.low, BOX.high, BOX.mean, BOX.std, BOX.choices, 0.5 * torch.ones(2))
    with torch.inference_mode():
        search = planner(method).plan(
            Recorder(quadratic, lambda c: (c[..., 0].amax(-1) - 0.5).clamp_min(0)), space,
            warm_start=torch.zeros(1, 3, 2), proposals=torch.zeros(1, 1, 3, 2), previous=TARGET.clone(),
            generator=generator())
    assert float((search.actions - TARGET).abs().max()) < NEAR[method]
    assert not search.actions.requires_grad


class Waits(TorchDispatchMode):
    """Counts the times that Python reads a value: on a GPU the host would wait for the device."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize('method', CONTINUOUS)
def test_nothing_in_a_plan_waits_for_the_device(method):
    with Waits() as waits:
        solve(planner(method, keep_elites=0.5), quadratic, BOX, generator=generator(), previous=torch.zeros(2),
              proposals=torch.zeros(1, 2, 3, 2))
    assert waits.count == 0


@pytest.mark.parametrize('method', SAMPLING + GRADIENT)
def test_a_tolerance_ends_the_search_early(method):
    settings = {'min_std': 0.0, 'iterations': 100}
    eager = solve(planner(method, tolerance=0.05, **settings), quadratic, BOX, generator=generator())
    assert eager.iterations < 100 and not eager.deadline_hit
    assert float((eager.actions - TARGET).abs().max()) < 0.1
    assert solve(planner(method, **settings), quadratic, BOX, generator=generator()).iterations == 100
