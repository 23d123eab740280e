"""Gradients refine the plans of all levels together (LeCun §4.7)."""
from dataclasses import replace
import math
import time

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest
import tiny
import torch

from jepa_ros.actor.hierarchy import Hierarchy, HierarchyPlan
from jepa_ros.actor.planners import PlannerConfig
from jepa_ros.cost.cost import Cost, CostSettings, Goal, Region
from jepa_ros.world_model.config import LevelConfig
from jepa_ros.world_model.hjepa import HJEPA

CONFIG = PlannerConfig(method='cem', samples=32, iterations=3, horizon=4, elites=6, min_std=0.05)
GOAL = torch.tensor([1.2, -0.8])


def hierarchy(*changes: dict, slow: bool = False, model: HJEPA | None = None, **same) -> tuple[Hierarchy, CostSettings]:
    """Over the integrator; `slow`: below, the robot makes a fifth of the way that the level above believes in."""
    model = model or tiny.integrator_model(max(2, len(changes)))
    for jepa in model.levels:
        jepa.readout = torch.nn.Identity()
        jepa.typical_error.fill_(1e-4)
    if isinstance(model.levels[0].predictor, tiny.Integrator):
        model.levels[0].predictor.gain = 0.02 if slow else 0.1
    cost = Cost(model, ['x_m', 'y_m'])
    configs = [replace(CONFIG, **same, **change) for change in changes or ({}, {})]
    return Hierarchy(model, cost, configs), cost.make_settings(Goal(levels=(GOAL,)))


def plan(made: tuple[Hierarchy, CostSettings], batch: int = 1, seed: int = 0, **options) -> HierarchyPlan:
    planner, settings = made
    s = (torch.zeros(batch, 2),) * len(planner._model.levels)
    return planner.plan(s, settings, generator=torch.Generator().manual_seed(seed), **options)


def total(found: HierarchyPlan) -> torch.Tensor:
    return torch.stack([search.energy for search in found.searches]).sum(0)


@settings(tiny.invariant, max_examples=12)
@given(seed=st.integers(0, 1000), steps=st.integers(1, 4), rate=st.floats(0.01, 2), slow=st.booleans())
def test_the_sum_of_the_energies_never_rises(seed, steps, rate, slow):
    few = dict(model=tiny.integrator_model(), samples=8, elites=4, iterations=1, horizon=2, learning_rate=rate)
    before, after = (plan(hierarchy(slow=slow, joint=joint, **few), 4, seed) for joint in (0, steps))
    assert bool((total(after) <= total(before) + 1e-6).all())


def test_steps_that_only_make_it_worse_change_nothing():
    before, after = (plan(hierarchy(samples=256, iterations=12, joint=joint, learning_rate=5.0)) for joint in (0, 2))
    assert torch.equal(total(after), total(before))
    assert all(torch.equal(a.actions, b.actions) for a, b in zip(before.searches, after.searches))


def test_a_subgoal_that_is_out_of_reach_below_comes_nearer():
    """Top down, level 1 asks for what level 0 cannot do; together they settle on less."""
    before, after = (plan(hierarchy(slow=True, joint=joint, samples=128, iterations=10)) for joint in (0, 40))
    assert float(total(after)) < 0.95 * float(total(before))
    assert float(after.searches[0].energy) < float(before.searches[0].energy)
    assert float(after.searches[1].energy) > float(before.searches[1].energy)
    assert float(after.subgoals[0].norm()) < float(before.subgoals[0].norm())


@pytest.mark.parametrize('levels', [1, 2, 3])
def test_what_is_refined_fits_together(levels):
    """States are those of the actions, subgoals are those states, energies are those of both."""
    made = hierarchy(*[{}] * levels, joint=20)
    planner, settings = made
    found = plan(made)
    assert all(not torch.equal(a.actions, b.actions)
               for a, b in zip(found.searches, plan(hierarchy(*[{}] * levels)).searches))
    for level, search in enumerate(found.searches):
        subgoal = found.subgoals[level] if level + 1 < levels else None
        problem = planner._problem(level, torch.zeros(1, 2), settings, subgoal, None, None, None)
        assert torch.allclose(found.states[level], 0.1 * 4 ** level * search.actions.cumsum(1), atol=1e-5)
        assert float(search.energy) == pytest.approx(float(problem(search.actions[:, None]).energy), rel=1e-4)
        if subgoal is not None:
            assert torch.equal(subgoal, found.states[level + 1][:, 0])


def test_actions_stay_within_bounds_and_rates():
    made = hierarchy(joint=30, learning_rate=1.0, max_change=0.25)
    previous = torch.tensor([0.5, -0.5])
    low = plan(made, previous_action=previous).searches[0].actions[0]
    steps = torch.diff(low, dim=0, prepend=previous[None])
    assert float(low.abs().max()) <= 1 and float(steps.abs().max()) <= 0.25 + 1e-6


def test_a_step_is_a_share_of_the_spread_of_its_level():
    """Macro-actions of training may be tiny: a step of the same size on all levels would throw them away."""
    model = tiny.integrator_model()
    model.levels[1].action_encoder.prior_std.fill_(1e-3)
    made = hierarchy(model=model, joint=10, learning_rate=0.1)
    before = plan(hierarchy(model=model))
    moved = (plan(made).searches[1].actions - before.searches[1].actions).abs()
    assert 0 < float(moved.max()) <= 1.01e-3


@pytest.mark.parametrize('scenarios', [0, 3])
def test_gradients_work_under_inference_mode(scenarios):
    """The actor plans under it, and so may who makes the goal, the regions and the memory."""
    level = LevelConfig.model_validate({'predictor': 'gru', 'width': 8, 'options': {'memory': 3, 'context': 3},
                                        'latent': {'kind': 'sparse', 'dim': 2, 'state_prior': True}})
    made = tiny.model((level, LevelConfig(period=4, macro_dim=2, width=8)), perception=tiny.perception(2))
    config = replace(CONFIG, method='cem_gradient', refine=1, joint=3, scenarios=scenarios)
    with torch.inference_mode():
        cost = Cost(made, ['x_m', 'y_m'])
        settings = cost.make_settings(Goal(levels=(GOAL * 1,)), None, [Region({'x_m': 'y_m'}, 0.1)])
        memory = made.levels[0].remember(torch.randn(1, 2, 2), torch.randn(1, 2, 2))
        s = (torch.randn(1, 2, generator=torch.Generator().manual_seed(0)),) * 2
        found = Hierarchy(made, cost, [config, replace(config, joint=0)]).plan(
            s, settings, memory=memory, previous_action=torch.zeros(2), generator=torch.Generator().manual_seed(0))
        again = Hierarchy(made, cost, [config, config]).plan(s, settings, memory=memory, last=found)
    assert bool(torch.isfinite(total(found)).all() and torch.isfinite(total(again)).all())


def test_one_problem_without_a_finite_energy_leaves_the_others_theirs():
    planner, settings = hierarchy(slow=True, joint=20)
    s = torch.tensor([[0.0, 0.0], [math.nan, 0.0]])
    found = planner.plan((s, s), settings, generator=torch.Generator().manual_seed(0))
    top_down = hierarchy(slow=True)[0].plan((s, s), settings, generator=torch.Generator().manual_seed(0))
    assert float(total(found)[0]) < float(total(top_down)[0])
    assert math.isinf(float(found.searches[0].energy[1])) and bool(torch.isfinite(found.searches[0].actions).all())


def test_a_guardrail_that_holds_is_not_given_up_for_a_lower_sum():
    """Here the goal is worth more than the barrier and the price of a violation."""
    planner, _ = hierarchy({'joint': 20, 'learning_rate': 0.5})
    wall = planner._cost.make_settings(Goal(levels=(GOAL,)), {'goal': 1e5}, [Region({'x_m': 0.3}, 0.2)])
    found = plan((planner, wall))
    assert found.sound and float(found.states[0][0, :, 0].max()) < 0.1 + 1e-4


def test_a_level_that_keeps_its_plan_is_not_refined_and_its_subgoal_stays():
    made = hierarchy({'joint': 20}, {'replan_every': 3}, slow=True)
    first = plan(made)
    kept = plan(made, last=first, seed=1)
    assert kept.ages == (0, 1)
    assert torch.equal(kept.searches[1].actions, first.searches[1].actions)
    assert torch.equal(kept.subgoals[0], first.subgoals[0])


def test_below_a_level_that_keeps_its_plan_refinement_is_on_the_way_to_its_subgoal():
    top_down, joint = (hierarchy({'joint': joint}, {'replan_every': 3}, slow=True) for joint in (0, 20))
    first = plan(top_down)
    before, after = (plan(made, last=first, seed=1) for made in (top_down, joint))
    problem = joint[0]._problem(0, torch.zeros(1, 2), joint[1], first.subgoals[0], None, None, None)
    assert float(after.searches[0].energy) < float(before.searches[0].energy)
    assert float(after.searches[0].energy) == pytest.approx(float(problem(after.searches[0].actions[:, None]).energy))


def test_no_step_starts_after_the_deadline():
    began = time.perf_counter()
    found = plan(hierarchy({'joint': 10_000_000}, {}), deadline=began + 0.2)
    assert time.perf_counter() - began < 2
    assert found.sound
