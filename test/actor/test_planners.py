"""The sampling planners, on energies whose minimum is known."""
import math
import time

from hypothesis import given
from hypothesis import strategies as st
import pytest
from tiny import invariant
import torch

from jepa_ros.actor.planners import Evaluation, PlannerConfig, PLANNERS, SearchSpace
from jepa_ros.errors import ConfigError

METHODS = ['cem', 'mppi']
BOX = SearchSpace(-torch.ones(2), torch.ones(2), torch.zeros(2), 0.7 * torch.ones(2))
TARGET = torch.tensor([0.4, -0.7])


def planner(method: str, **changes):
    return PLANNERS.get(method)(PlannerConfig(**{'method': method, 'samples': 128, 'iterations': 12, 'horizon': 3,
                                                 'elites': 12, 'min_std': 0.02} | changes))


def quadratic(candidates):
    return (candidates - TARGET).square().sum((-1, -2))


def solve(chosen, energy, *arguments, **options):
    """Plan with an energy (B, N, H, A) -> (B, N)."""
    return chosen.plan(lambda candidates: Evaluation(energy(candidates)), *arguments, **options)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize('method', METHODS)
def test_finds_the_minimum_of_a_quadratic(method):
    search = solve(planner(method), quadratic, BOX, generator=generator())
    assert search.actions.shape == (1, 3, 2)
    assert float((search.actions - TARGET).abs().max()) < 0.1
    assert float(search.energy) == pytest.approx(float(quadratic(search.actions)), abs=1e-6)
    assert (search.iterations, search.deadline_hit, search.refused) == (12, False, 0)


@pytest.mark.parametrize('method', METHODS)
@invariant
@given(seed=st.integers(0, 1000), low=st.floats(-2, 0.5), width=st.floats(0.1, 2), mean=st.floats(-3, 3))
def test_every_candidate_respects_the_bounds(method, seed, low, width, mean):
    """Also the warm start, the proposals and the mean: they may come from a robot with other limits."""
    space = SearchSpace(torch.full((2,), low), torch.full((2,), low + width), torch.full((2,), mean), torch.ones(2))
    seen = []

    def energy(candidates):
        seen.append(candidates.clone())
        return quadratic(candidates)

    search = solve(planner(method, samples=16, iterations=3, elites=8), energy, space, warm_start=torch.full((1, 3, 2), mean),
                   proposals=torch.full((1, 2, 3, 2), mean), generator=generator(seed))
    assert len(seen) == 3
    for actions in (*seen, search.actions):
        assert bool((actions >= space.low).all() and (actions <= space.high).all())


@pytest.mark.parametrize('method', METHODS)
def test_the_minimum_outside_the_bounds_is_approached_to_the_bound(method):
    def energy(candidates):
        return (candidates - 5).square().sum((-1, -2))
    search = solve(planner(method), energy, BOX, generator=generator())
    assert float(search.actions.min()) > 0.9


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('bad', [math.nan, math.inf, -math.inf])
def test_a_candidate_without_a_finite_energy_is_refused_and_counted(method, bad):
    counts = []

    def energy(candidates):
        forbidden = candidates[..., 0].amax(-1) > 0.6
        counts.append(int(forbidden.sum()))
        return quadratic(candidates).masked_fill(forbidden, bad)

    search = solve(planner(method), energy, BOX, generator=generator())
    assert search.refused == sum(counts) > 0
    assert float((search.actions - TARGET).abs().max()) < 0.15


@pytest.mark.parametrize('method', METHODS)
def test_refused_candidates_do_not_draw_the_search_to_themselves(method):
    """Fewer finite candidates than elites: only the finite ones may say where to look next."""
    candidates = torch.linspace(-1, 1, 8)[None, :, None, None]          # (1, 8, 1, 1)
    energies = torch.full((1, 8), torch.inf)
    energies[0, 6] = 1.0
    mean, std = planner(method, elites=4, horizon=1).refit(candidates, energies)
    assert float(mean) == pytest.approx(float(candidates[0, 6]), abs=1e-5)
    assert float(std) == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize('method', METHODS)
def test_when_every_candidate_is_refused_the_energy_is_infinite_and_the_actions_finite(method):
    search = solve(planner(method), lambda c: torch.full(c.shape[:2], math.nan), BOX, generator=generator())
    assert search.energy.tolist() == [math.inf]
    assert search.refused == 12 * 128
    assert bool(torch.isfinite(search.actions).all())


@pytest.mark.parametrize('method', METHODS)
def test_a_refused_problem_does_not_disturb_its_neighbour(method):
    def energy(candidates):
        energies = quadratic(candidates)
        energies[0] = math.nan
        return energies
    search = solve(planner(method), energy, BOX, batch=2, generator=generator())
    assert math.isinf(search.energy[0])
    assert float((search.actions[1] - TARGET).abs().max()) < 0.1


@pytest.mark.parametrize('method', METHODS)
def test_the_same_seed_gives_the_same_plan_and_another_seed_another(method):
    first, again, other = (solve(planner(method, iterations=2), quadratic, BOX, generator=generator(seed)).actions
                           for seed in (7, 7, 8))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize('method', METHODS)
def test_a_deadline_already_passed_still_gives_a_plan_of_one_iteration(method):
    search = solve(planner(method), quadratic, BOX, generator=generator(), deadline=time.perf_counter() - 1)
    assert (search.iterations, search.deadline_hit) == (1, True)
    assert math.isfinite(search.energy)


@pytest.mark.parametrize('method', METHODS)
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


@pytest.mark.parametrize('method', METHODS)
@invariant
@given(seed=st.integers(0, 1000), place=st.integers(0, 3))
def test_a_proposal_at_the_optimum_is_never_lost(method, seed, place):
    proposals = torch.rand(1, 4, 3, 2, generator=generator(seed)) * 2 - 1
    proposals[0, place] = TARGET
    search = solve(planner(method, samples=8, iterations=3, elites=4), quadratic, BOX, proposals=proposals,
                   generator=generator(seed))
    assert torch.equal(search.actions[0], TARGET.expand(3, 2))
    assert float(search.energy) == 0.0


@pytest.mark.parametrize('method', METHODS)
@invariant
@given(seed=st.integers(0, 1000))
def test_the_plan_is_never_worse_than_its_warm_start(method, seed):
    warm = torch.rand(1, 3, 2, generator=generator(seed)) * 2 - 1
    search = solve(planner(method, samples=4, iterations=1, elites=2), quadratic, BOX, warm_start=warm, generator=generator(seed))
    assert float(search.energy) <= float(quadratic(warm[None])) + 1e-6


@pytest.mark.parametrize('method', METHODS)
def test_more_iterations_never_make_the_plan_worse(method):
    energies = [float(solve(planner(method, iterations=n), quadratic, BOX, generator=generator()).energy)
                for n in range(1, 8)]
    assert energies == sorted(energies, reverse=True)


@pytest.mark.parametrize('method', METHODS)
def test_problems_of_a_batch_are_solved_as_well_as_one_by_one(method):
    """Each problem has its own optimum; the noise differs, the solution does not."""
    targets = torch.tensor([[0.4, -0.7], [-0.5, 0.1], [0.0, 0.9]])

    def energies(candidates):
        return (candidates - targets[:len(candidates), None, None]).square().sum((-1, -2))

    batch = solve(planner(method), energies, BOX, batch=3, generator=generator())
    assert float((batch.actions - targets[:, None]).abs().max()) < 0.1
    alone = solve(planner(method), energies, BOX, generator=generator())
    assert torch.allclose(batch.actions[0], alone.actions[0], atol=0.1)


@pytest.mark.parametrize('method', METHODS)
def test_the_scale_of_the_energies_does_not_matter(method):
    """The temperature is a share of the spread of the energies, so a cost in other units plans the same."""
    one = solve(planner(method), quadratic, BOX, generator=generator())
    scaled = solve(planner(method), lambda c: 1024 * quadratic(c), BOX, generator=generator())
    assert torch.allclose(one.actions, scaled.actions, atol=1e-4)


def test_mppi_s_mean_follows_the_gibbs_distribution_of_its_elites():
    """Williams et al. 2017: w ∝ exp(−(E − E_min)/λ); here λ = temperature × (mean − minimum of the elites)."""
    candidates = torch.tensor([0.0, 1.0, 3.0, 9.0])[None, :, None, None]
    energies = torch.tensor([[0.0, 1.0, 2.0, 50.0]])
    mean, std = planner('mppi', elites=3, temperature=0.5, horizon=1).refit(candidates, energies)
    weights = torch.softmax(-torch.tensor([0.0, 1.0, 2.0]) / (0.5 * 1.0), 0)
    expected = float((weights * torch.tensor([0.0, 1.0, 3.0])).sum())
    assert float(mean) == pytest.approx(expected, rel=1e-5)
    assert float(std) == pytest.approx(
        math.sqrt(float((weights * (torch.tensor([0.0, 1.0, 3.0]) - expected).square()).sum())), rel=1e-4)


def test_cem_s_mean_is_that_of_the_elites():
    candidates = torch.tensor([0.0, 1.0, 3.0, 9.0])[None, :, None, None]
    mean, std = planner('cem', elites=2, horizon=1).refit(candidates, torch.tensor([[5.0, 1.0, 2.0, 50.0]]))
    assert (float(mean), float(std)) == (2.0, 1.0)


@pytest.mark.parametrize('correlation', [0.0, 0.5, 0.9])
def test_noise_has_unit_variance_and_the_asked_correlation_from_step_to_step(correlation):
    noise = planner('mppi', correlation=correlation, horizon=4)._noise(
        (1, 20_000, 4, 2), torch.device('cpu'), generator())
    assert torch.allclose(noise.std(1), torch.ones(1, 4, 2), atol=0.03)
    assert float((noise[0, :, 1] * noise[0, :, 2]).mean()) == pytest.approx(correlation, abs=0.03)


def test_unknown_method_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"unknown planner 'mpi' \(did you mean mppi\?\); known: .*cem.*, mppi"):
        PLANNERS.get('mpi')
