"""The planners over a finite set of actions."""
from itertools import product
import math
import time

from planner_problems import bumpy, DISCRETE, generator, planner, quadratic, Recorder, solve, TARGET, with_choices
import pytest
import torch

from jepa_ros.actor.planners.base import SearchSpace, Start
from jepa_ros.errors import ConfigError


def choices(count: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 2, generator=generator(seed)) * 2 - 1


def all_plans(actions: torch.Tensor, horizon: int) -> torch.Tensor:
    """(1, C^H, H, A)."""
    return actions[torch.tensor(list(product(range(len(actions)), repeat=horizon)))][None]


def share_better(found: torch.Tensor, energy, actions: torch.Tensor, horizon: int) -> float:
    """Share of all plans that cost less than the one found."""
    return float((energy(all_plans(actions, horizon)) < float(found) - 1e-5).float().mean())


@pytest.mark.parametrize('seed', range(4))
def test_exhaustive_search_finds_the_true_optimum(seed):
    actions, energy = choices(4, seed), bumpy(seed)
    search = solve(planner('exhaustive', samples=100, iterations=3, horizon=4), energy, with_choices(actions))
    truth = torch.cat([energy(all_plans(actions, 4)), energy(torch.zeros(1, 1, 4, 2))], 1)  # the mean is tried too
    assert float(search.energy) == pytest.approx(float(truth.min()), abs=1e-5)


def test_exhaustive_search_tries_each_sequence_once_and_then_ends():
    actions, seen = choices(3), Recorder(quadratic)
    search = planner('exhaustive', samples=50, iterations=10, horizon=4).plan(seen, with_choices(actions))
    assert search.iterations == 2 and not search.deadline_hit       # 81 sequences
    tried = torch.cat(seen.candidates, 1)[0, 1:]                    # the first is the mean
    assert len(tried) == 81
    assert {tuple(plan.flatten().tolist()) for plan in tried} == \
        {tuple(plan.flatten().tolist()) for plan in all_plans(actions, 4)[0]}


def test_exhaustive_search_tries_what_changes_the_next_action_first():
    """A deadline may end it: then at least these are known."""
    actions, seen = choices(3), Recorder(quadratic)
    warm = actions[torch.tensor([2, 0, 1])][None]
    search = planner('exhaustive', samples=3, iterations=9).plan(
        seen, with_choices(actions), warm_start=warm + 1e-3, deadline=time.perf_counter() - 1)
    assert (search.iterations, search.deadline_hit) == (1, True)
    tried = seen.candidates[0][0, 1:]
    assert torch.equal(tried[:, 1:], warm[:, 1:].expand(3, -1, -1))
    assert {tuple(a.tolist()) for a in tried[:, 0]} == {tuple(a.tolist()) for a in actions}


def test_more_sequences_than_exhaustive_search_may_try_are_refused_in_one_line():
    with pytest.raises(ConfigError) as error:
        solve(planner('exhaustive', samples=100, iterations=6, horizon=4), quadratic, with_choices(choices(5)))
    assert str(error.value) == ('planner exhaustive: 5 choices over a horizon of 4 make 625 sequences, more than 100 '
                                'samples × 6 iterations: lower bins or horizon, or raise samples or iterations')


@pytest.mark.parametrize('method', DISCRETE)
def test_a_search_without_choices_is_refused_in_one_line(method):
    space = SearchSpace(-torch.ones(2), torch.ones(2), torch.zeros(2), torch.ones(2))
    line = rf'^planner {method} needs a finite set of actions .* lower bins, or [^\n]*\Z'
    with pytest.raises(ConfigError, match=line):
        solve(planner(method), quadratic, space)


@pytest.mark.parametrize('method', ['beam', 'mcts'])
def test_with_a_sixth_of_all_sequences_the_plan_is_among_the_best_hundredth(method):
    better = []
    for seed in range(8):
        actions, energy = choices(5, seed), bumpy(seed)
        search = solve(planner(method, samples=64, iterations=8, horizon=5, elites=8), energy, with_choices(actions),
                       generator=generator(seed))       # at most 512 of 3125
        better.append(share_better(search.energy, energy, actions, 5))
    assert sum(better) / len(better) < 0.01


def test_a_tree_search_beats_random_sequences_of_the_same_number():
    searched, drawn = [], []
    for seed in range(16):
        actions, energy = choices(4, seed), bumpy(seed)
        search = solve(planner('mcts', samples=32, iterations=8, horizon=6), energy, with_choices(actions),
                       generator=generator(seed))
        sequences = torch.randint(4, (1, 256, 6), generator=generator(seed))
        searched.append(share_better(search.energy, energy, actions, 6))
        drawn.append(share_better(energy(actions[sequences]).min(), energy, actions, 6))
    assert sum(searched) < 0.5 * sum(drawn)


def test_a_tree_search_that_has_time_tries_every_sequence_and_ends():
    """Each path of 1, 2 and 3 actions is a leaf once: 3 + 9 + 27."""
    actions, energy = choices(3), bumpy(0)
    search = solve(planner('mcts', samples=10, iterations=100), energy, with_choices(actions), generator=generator())
    assert search.iterations == 4
    assert share_better(search.energy, energy, actions, 3) == 0


def test_the_leaves_of_one_batch_spread_over_the_tree():
    """Nothing is known of them yet but that they are under way."""
    actions, seen = choices(4), Recorder(quadratic)
    planner('mcts', samples=20, iterations=1).plan(seen, with_choices(actions), generator=generator())
    first = seen.candidates[0][0, 1:, 0]
    for action in actions:
        assert int((first == action).all(-1).sum()) == 5


def test_a_tree_search_begins_with_the_choices_nearest_to_the_warm_start():
    actions, seen = choices(4), Recorder(quadratic)
    planner('mcts', samples=1, iterations=1).plan(
        seen, with_choices(actions), warm_start=actions[[2, 0, 1]][None] + 1e-3, generator=generator())
    assert torch.equal(seen.candidates[0][0, 1, 0], actions[2])


def test_a_tree_search_spends_its_leaves_where_plans_are_good():
    actions, seen = torch.stack([TARGET, -TARGET, torch.ones(2)]), Recorder(quadratic)
    planner('mcts', samples=30, iterations=6, horizon=6).plan(seen, with_choices(actions), generator=generator())
    last = seen.candidates[-1][0, :, 0]
    assert float((last == TARGET).all(-1).float().mean()) > 0.6


@pytest.mark.parametrize('method', ['beam', 'mcts'])
def test_problems_of_a_batch_have_trees_of_their_own(method):
    """One is closed, the other has an energy that is nowhere finite: both end as if alone."""
    def energy(candidates):
        return bumpy(0)(candidates) * torch.tensor([[1.0], [math.nan]])[:len(candidates)]
    space, settings = with_choices(choices(3)), {'samples': 10, 'iterations': 10}
    both, alone = (solve(planner(method, **settings), energy, space, batch, generator=generator()) for batch in (2, 1))
    assert float(both.energy[0]) == pytest.approx(float(alone.energy[0]))
    assert math.isinf(float(both.energy[1]))


def test_a_beam_completes_prefixes_with_the_choices_nearest_to_the_warm_start():
    actions, seen = choices(4), Recorder(quadratic)
    warm = actions[torch.tensor([1, 3, 0, 2])][None]
    planner('beam', samples=8, elites=2, iterations=1, horizon=4).plan(
        seen, with_choices(actions), warm_start=warm + 1e-3)
    tried = seen.candidates[0][0, 1:]
    assert torch.equal(tried[:, 0], actions)
    assert torch.equal(tried[:, 1:], warm[:, 1:].expand(4, -1, -1))


def test_a_beam_keeps_the_best_prefixes_and_tries_all_next_actions_of_each():
    actions, seen = choices(4), Recorder(quadratic)
    planner('beam', samples=8, elites=2, iterations=2, horizon=4).plan(seen, with_choices(actions))
    first = seen.candidates[0][0, 1:]
    kept = first[seen.energies[0][0, 1:].argsort()[:2], 0]
    second = seen.candidates[1][0]
    assert torch.equal(second[:, 0], kept.repeat_interleave(4, 0))
    assert torch.equal(second[:, 1], actions.repeat(2, 1))


def test_a_beam_adds_as_many_actions_at_once_as_its_samples_allow():
    seen = Recorder(quadratic)
    planner('beam', samples=70, elites=2, iterations=2, horizon=5).plan(seen, with_choices(choices(4)))
    assert [c.shape[1] for c in seen.candidates] == [1 + 4 ** 3, 2 * 4 ** 2]


def test_a_beam_sweeps_again_with_the_better_plan_until_that_changes_nothing():
    """One sweep of this problem is four iterations; the last one proves that nothing changes."""
    once, twice, often = (solve(planner('beam', samples=5, elites=1, iterations=n, horizon=4), bumpy(0),
                                with_choices(choices(5))) for n in (4, 8, 100))
    assert float(often.energy) <= float(twice.energy) < float(once.energy)
    assert often.iterations % 4 == 0 and 8 < often.iterations < 100


def test_a_beam_is_done_at_once_where_one_iteration_holds_every_sequence():
    actions, energy = choices(3), bumpy(0)
    search = solve(planner('beam', samples=27, iterations=10), energy, with_choices(actions))
    assert search.iterations == 1
    assert share_better(search.energy, energy, actions, 3) == 0


def test_a_beam_that_cannot_hold_one_action_each_is_refused_in_one_line():
    with pytest.raises(ConfigError, match=r'^planner beam: 5 choices do not fit into 4 samples: .*\Z'):
        solve(planner('beam', samples=4), quadratic, with_choices(choices(5)))


def test_sequences_are_ordered_by_what_they_break_then_by_what_they_cost_refused_ones_last():
    chosen = planner('beam')
    space = with_choices(choices(6))
    state = chosen.begin(Start(space, torch.zeros(1, 1, 2), torch.ones(1, 1, 2), torch.zeros(1, 1, 1, 2)))
    state.tried = torch.arange(6)[None, :, None]
    order = state.take(torch.tensor([[5.0, math.inf, 1.0, 3.0, 2.0, 4.0]]),
                       torch.tensor([[0.0, math.inf, 2.0, 0.0, 2.0, 1.0]]))
    assert order.tolist() == [[3, 0, 5, 2, 4, 1]]
    assert (state.best.tolist(), state.energy.tolist(), state.violation.tolist()) == ([[3]], [[3.0]], [[0.0]])


def test_a_refused_sequence_is_worse_than_one_that_breaks_a_guardrail():
    """Only what has an energy can be continued: the beam goes on from the plan that breaks least."""
    actions = choices(3)

    def second(candidates):
        return (candidates[..., 0, :] == actions[1]).all(-1)

    seen = Recorder(lambda c: quadratic(c).masked_fill(second(c), math.nan), lambda c: 1.0 - second(c).float())
    planner('beam', samples=3, elites=1, iterations=2, horizon=2).plan(seen, with_choices(actions))
    assert not bool(second(seen.candidates[1]).any())


@pytest.mark.parametrize('method', DISCRETE)
def test_rate_limits_do_not_confuse_what_was_tried(method):
    """Limited actions are no choices any more; the search must know its sequences all the same."""
    actions = torch.tensor([[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    space = SearchSpace(-torch.ones(2), torch.ones(2), torch.zeros(2), torch.ones(2), actions, torch.full((2,), 0.3))
    search = solve(planner(method, samples=27, iterations=12), lambda c: (c[..., 0] - 0.9).square().sum(-1), space,
                   previous=torch.zeros(2), generator=generator())
    assert search.actions[0, :, 0].tolist() == pytest.approx([0.3, 0.6, 0.9], abs=1e-5)
