"""Hierarchical planning, top down (LeCun §4.7, Fig. 16)."""
from dataclasses import replace
import math
import time

from hypothesis import given
from hypothesis import strategies as st
import pytest
import tiny
import torch
from torch import Tensor

from jepa_ros.actor.hierarchy import Hierarchy, HierarchyPlan
from jepa_ros.actor.planners import PlannerConfig
from jepa_ros.cost.cost import Cost, CostSettings, Goal
from jepa_ros.energy.distance import squared

CONFIG = PlannerConfig(samples=192, iterations=10, horizon=4, elites=16, correlation=0.5, min_std=0.02)


def hierarchy(levels: int, planned: int | None = None, **changes) -> tuple[Hierarchy, Cost]:
    """Over the integrator: s moves by at most 0.1 a step of level 0, 0.4 of level 1, 1.6 of level 2."""
    model = tiny.integrator_model(levels)
    cost = Cost(model, ['x_m', 'y_m'])
    config = PlannerConfig(**{**CONFIG.__dict__, **changes})
    return Hierarchy(model, cost, [config] * (planned or levels)), cost


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


GOAL = torch.tensor([0.25, -0.15])


@pytest.mark.parametrize('levels', [1, 2, 3])
def test_reaches_a_goal_within_the_horizon_with_one_two_and_three_levels(levels):
    planner, cost = hierarchy(levels)
    settings = cost.make_settings(Goal(levels=(GOAL,)))
    plan = planner.plan((torch.zeros(1, 2),) * 3, settings, generator=generator())
    assert [x.actions.shape for x in plan.searches] == [(1, 4, 2)] * levels
    assert len(plan.subgoals) == levels - 1
    assert float((plan.states[0][0, -1] - GOAL).abs().max()) < 0.08
    assert not plan.deadline_hit


def test_only_with_a_second_level_does_the_plan_look_beyond_the_first_horizon():
    """LeCun §4.7: the higher level plans further; here the goal is three level-0 horizons away."""
    far = torch.tensor([1.2, 0.0])
    reach = {}
    for levels in (1, 2):
        planner, cost = hierarchy(2, levels)
        plan = planner.plan((torch.zeros(1, 2),) * 3, cost.make_settings(Goal(levels=(far,))), generator=generator())
        reach[levels] = float((plan.states[-1][0, -1] - far).norm())
    assert reach[2] < 0.3 < 0.7 < reach[1]


@pytest.mark.parametrize('levels', [2, 3])
def test_each_level_is_asked_for_the_first_state_predicted_above_it(levels):
    """LeCun §4.7, Fig. 16: the subgoal is the state that the level above predicts."""
    planner, cost = hierarchy(levels)
    plan = planner.plan((torch.zeros(1, 2),) * 3, cost.make_settings(Goal(levels=(GOAL,))), generator=generator())
    for level in range(levels - 1):
        assert torch.equal(plan.subgoals[level], plan.states[level + 1][:, 0])


def test_states_of_a_plan_are_the_rollout_of_its_actions():
    planner, cost = hierarchy(2)
    s = torch.tensor([[0.3, 0.1]])
    plan = planner.plan((s,) * 3, cost.make_settings(Goal(levels=(GOAL,))), generator=generator())
    for level, gain in enumerate((0.1, 0.4)):
        expected = s[:, None] + gain * plan.searches[level].actions.cumsum(1)
        assert torch.allclose(plan.states[level], expected, atol=1e-6)


def test_energy_of_the_top_level_is_the_cost_of_its_states_and_that_of_the_bottom_the_way_to_the_subgoal():
    planner, cost = hierarchy(2)
    settings = cost.make_settings(Goal(levels=(GOAL,)))
    plan = planner.plan((torch.zeros(1, 2),) * 3, settings, generator=generator())
    low, top = plan.searches
    assert float(top.energy) == pytest.approx(float(cost.energy(plan.states[1], None, settings)), rel=1e-5)
    way = squared(plan.states[0], plan.subgoals[0][:, None]).sum(-1)
    own = cost.energy(plan.states[0], low.actions, cost.action_settings(settings))
    assert float(low.energy) == pytest.approx(float(way + own), rel=1e-5)


def test_fewer_planners_than_levels_plan_with_the_lowest_levels():
    planner, cost = hierarchy(3, planned=1)
    plan = planner.plan((torch.zeros(1, 2),) * 3, cost.make_settings(Goal(levels=(GOAL,))), generator=generator())
    assert (len(plan.searches), len(plan.subgoals)) == (1, 0)


def test_macro_actions_stay_within_the_bounds_of_training():
    planner, cost = hierarchy(2)
    encoder = planner._model.levels[1].action_encoder
    encoder.low.fill_(-0.25)
    encoder.high.fill_(0.125)
    planner = Hierarchy(planner._model, cost, [CONFIG] * 2)
    plan = planner.plan((torch.zeros(1, 2),) * 3, cost.make_settings(Goal(levels=(torch.tensor([9.0, -9.0]),))),
                        generator=generator())
    macro = plan.searches[1].actions
    assert float(macro.min()) == pytest.approx(-0.25, abs=0.02) and float(macro.min()) >= -0.25
    assert float(macro.max()) == pytest.approx(0.125, abs=0.02) and float(macro.max()) <= 0.125


def test_a_deadline_already_passed_gives_one_iteration_on_every_level():
    planner, cost = hierarchy(3)
    plan = planner.plan((torch.zeros(1, 2),) * 3, cost.make_settings(Goal(levels=(GOAL,))), generator=generator(),
                        deadline=time.perf_counter() - 1)
    assert [x.iterations for x in plan.searches] == [1, 1, 1]
    assert plan.deadline_hit


def test_proposals_are_not_lost():
    planner, cost = hierarchy(1, samples=4, iterations=1, elites=2)
    settings = cost.make_settings(Goal(levels=(GOAL,)), {'effort': 0.0, 'smoothness': 0.0})
    best = torch.zeros(1, 1, 4, 2)
    best[0, 0, :, 0] = torch.tensor([1.0, 1.0, 0.5, 0.0])
    best[0, 0, :, 1] = torch.tensor([-1.0, -0.5, 0.0, 0.0])
    plan = planner.plan((torch.zeros(1, 2),) * 3, settings, proposals=lambda level, config: best,
                        generator=generator())
    assert torch.equal(plan.searches[0].actions, best[0])


def test_a_warm_start_at_the_optimum_is_kept():
    planner, cost = hierarchy(1, samples=4, iterations=1, elites=2)
    settings = cost.make_settings(Goal(levels=(torch.zeros(2),)))
    warm = (torch.zeros(1, 4, 2),)
    assert torch.equal(planner.plan((torch.zeros(1, 2),) * 3, settings, warm_starts=warm,
                                    generator=generator()).searches[0].actions, warm[0])


def test_each_problem_of_a_batch_goes_to_its_own_goal():
    planner, cost = hierarchy(2)
    goals = torch.tensor([[0.2, 0.0], [-0.2, 0.2], [0.0, -0.3]])
    plan = planner.plan((torch.zeros(3, 2),) * 3, cost.make_settings(Goal(levels=(goals,))), generator=generator())
    assert float((plan.states[0][:, -1] - goals).abs().max()) < 0.1


def test_without_a_goal_the_robot_is_planned_to_stand_still():
    planner, cost = hierarchy(2)
    plan = planner.plan((torch.zeros(1, 2),) * 3, cost.make_settings(None, {'effort': 1.0}), generator=generator())
    assert float(plan.searches[0].actions.square().mean()) < 0.05


def test_a_broken_level_above_leaves_no_finite_plan_below():
    planner, cost = hierarchy(2)
    planner._model.levels[1].predictor.gain = math.nan
    plan = planner.plan((torch.zeros(1, 2),) * 3, cost.make_settings(Goal(levels=(GOAL,))), generator=generator())
    assert math.isinf(plan.searches[0].energy[0]) and math.isinf(plan.searches[1].energy[0])


@tiny.invariant
@given(x=st.floats(-0.3, 0.3), y=st.floats(-0.3, 0.3))
def test_the_first_action_goes_towards_the_goal(x, y):
    planner, cost = hierarchy(2)
    goal = torch.tensor([x, y])
    plan = planner.plan((torch.zeros(1, 2),) * 3, cost.make_settings(Goal(levels=(goal,))), generator=generator())
    assert float((plan.states[0][0, 0] - goal).norm()) <= float(goal.norm()) + 0.02


def test_macro_actions_unlike_those_of_training_can_be_made_to_cost():
    """Sampling far from the training macro-actions is what makes naive hierarchies worse than none (HWM)."""
    def size(strangeness: float) -> float:
        planner, cost = hierarchy(levels=2, strangeness=strangeness, samples=256, iterations=4)
        far = cost.make_settings(Goal(levels=(torch.tensor([9.0, -9.0]),)))
        plan = planner.plan((torch.zeros(1, 2),) * 3, far, generator=generator())
        return float(plan.searches[1].actions.abs().mean())
    assert size(1e3) < 0.5 * size(0.0)


def keeping(*replan_every: int) -> tuple[Hierarchy, CostSettings]:
    """Level 0 plans at every tick; `replan_every` of the levels above it, the lowest first."""
    model = tiny.integrator_model(1 + len(replan_every))
    for jepa in model.levels:
        jepa.typical_error.fill_(1e-4)
    cost = Cost(model, ['x_m', 'y_m'])
    few = replace(CONFIG, samples=16, iterations=1, elites=4)
    return (Hierarchy(model, cost, [few, *(replace(few, replan_every=n) for n in replan_every)]),
            cost.make_settings(Goal(levels=(torch.tensor([9.0, -9.0]),))))


def ticks(made: tuple[Hierarchy, CostSettings], places: list[Tensor], last: HierarchyPlan | None = None
          ) -> list[HierarchyPlan]:
    planner, settings = made
    plans, seed = [], generator()
    for s in places:
        last = planner.plan((s[None],) * 3, settings, generator=seed, last=last)
        plans.append(last)
    return plans


HERE = torch.zeros(2)


def test_an_upper_plan_is_kept_for_as_many_ticks_as_it_says():
    plans = ticks(keeping(3), [HERE] * 7)
    assert [plan.ages for plan in plans] == [(0, n) for n in (0, 1, 2, 0, 1, 2, 0)]
    for before, plan in zip(plans, plans[1:]):
        kept = plan.ages[1] > 0
        assert torch.equal(plan.searches[1].actions, before.searches[1].actions) == kept
        assert torch.equal(plan.subgoals[0], before.subgoals[0]) == kept
        assert not torch.equal(plan.searches[0].actions, before.searches[0].actions)


def test_only_a_level_that_searches_asks_for_proposals():
    planner, settings = keeping(3)
    last, asked = None, []
    for _ in range(3):
        numbers = []
        last = planner.plan((HERE[None],) * 2, settings, generator=generator(), last=last,
                            proposals=lambda number, config, numbers=numbers: numbers.append(number))
        asked.append(numbers)
    assert asked == [[1, 0], [0], [0]]


def test_by_default_every_level_plans_at_every_tick():
    assert [plan.ages for plan in ticks(keeping(1, 1), [HERE] * 3)] == [(0, 0, 0)] * 3


def test_a_subgoal_that_is_reached_is_replaced():
    made = keeping(9)
    first, = ticks(made, [HERE])
    assert ticks(made, [0.9 * first.subgoals[0][0]], first)[0].ages == (0, 1)
    assert ticks(made, [first.subgoals[0][0]], first)[0].ages == (0, 0)


def test_a_subgoal_that_is_further_away_than_when_it_was_set_is_replaced():
    made = keeping(9)
    first, = ticks(made, [HERE])
    further = [-share * first.subgoals[0][0] for share in (0.1, 0.15)]     # 1.1² < 1.25 < 1.15²
    assert [ticks(made, [s], first)[0].ages for s in further] == [(0, 1), (0, 0)]
    again = ticks(made, [HERE, 0.5 * first.subgoals[0][0], HERE], first)     # away from where it began, not from last
    assert [plan.ages for plan in again] == [(0, 1), (0, 2), (0, 3)]


@pytest.mark.parametrize('unsound', [{'violation': torch.tensor([0.1])}, {'energy': torch.tensor([torch.inf])}])
def test_an_unsound_upper_plan_is_not_kept(unsound):
    made = keeping(9)
    first, = ticks(made, [HERE])
    worse = replace(first, searches=(first.searches[0], replace(first.searches[1], **unsound)))
    assert ticks(made, [HERE], worse)[0].ages == (0, 0)


def test_a_level_below_one_that_plans_anew_plans_anew():
    assert [plan.ages for plan in ticks(keeping(9, 2), [HERE] * 5)] == [(0, n % 2, n % 2) for n in range(5)]
    assert [plan.ages for plan in ticks(keeping(2, 4), [HERE] * 5)] == [(0, n % 2, n) for n in range(4)] + [(0, 0, 0)]


@pytest.mark.parametrize('changes, expected', [
    ({'precision': 'bf16'}, ['bf16'] * 6 + ['fp32'] * 5),       # four iterations, the judgement and the states
    ({}, ['fp32'] * 10), ({'precision': 'bf16', 'scenarios': 2}, ['fp32']),
    ({'precision': 'bf16', 'method': 'cem_gradient', 'refine': 5}, ['fp32'] * 10)])
def test_rollouts_are_in_low_precision_where_that_is_asked_for_and_does_no_harm(changes, expected):
    planner, cost = hierarchy(1, **{'horizon': 3, **changes})
    level, asked = planner._model.levels[0], []
    rollout = level.rollout

    def noted(*args, numerics=None, **kwargs):
        asked.append(numerics.precision)
        return rollout(*args, numerics=numerics, **kwargs)
    level.rollout = noted
    plan = planner.plan((torch.zeros(1, 2),) * 3, cost.make_settings(Goal(levels=(GOAL,))), generator=generator())
    assert plan.sound and asked[:len(expected)] == expected and len(asked) <= len(expected) + 1
