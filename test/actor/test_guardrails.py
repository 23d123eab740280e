"""What no plan may do, whatever its energy: enter a region, change actions too fast, take what is not offered."""
from dataclasses import replace
import math

import pytest
import tiny
import torch
from torch import Tensor

from jepa_ros.actor.hierarchy import Hierarchy, HierarchyPlan
from jepa_ros.actor.planners import PlannerConfig
from jepa_ros.cost.cost import Cost, Goal, Region
from jepa_ros.errors import ConfigError
from jepa_ros.robot.drives import Drives, Range

CONFIG = PlannerConfig(samples=128, iterations=8, horizon=8, elites=16, correlation=0.5, min_std=0.02)
ALL_OF_FOUR = {'horizon': 4, 'samples': 512, 'iterations': 13}      # 9⁴ sequences


def guarded(levels: int = 1, robot: Tensor | None = None, drives: Drives | None = None,
            **changes) -> tuple[Hierarchy, Cost]:
    """Over the integrator, whose readouts are its state."""
    model = tiny.integrator_model(levels)
    for jepa in model.levels:
        jepa.readout = torch.nn.Identity()
    cost = Cost(model, ['x_m', 'y_m'], None, drives)
    return Hierarchy(model, cost, [replace(CONFIG, **changes)] * levels, robot), cost


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def path(made: tuple[Hierarchy, Cost], start: tuple[float, float], goal: tuple[float, float],
         *regions: Region) -> tuple[HierarchyPlan, Tensor]:
    planner, cost = made
    settings = cost.make_settings(Goal(levels=(torch.tensor(goal),)), None, regions)
    plan = planner.plan((torch.tensor([start]),) * 3, settings, generator=generator())
    return plan, plan.states[0][0]


@pytest.mark.parametrize('method', ['cem', 'mppi', 'gradient', 'exhaustive'])
def test_a_plan_goes_around_a_region_that_lies_in_the_way(method):
    made = guarded(method=method, **(ALL_OF_FOUR if method == 'exhaustive' else {}))
    pillar, goal = Region({'x_m': 0.15, 'y_m': 0.01}, 0.08), (0.3, 0.0)

    def nearest(states: Tensor) -> float:
        return float((states - torch.tensor([0.15, 0.01])).norm(dim=-1).min())

    _, through = path(made, (0.0, 0.0), goal)
    plan, around = path(made, (0.0, 0.0), goal, pillar)
    assert plan.sound and nearest(through) < 0.07 < 0.08 - 1e-4 < nearest(around)
    assert float((around[-1] - torch.tensor(goal)).norm()) < 0.15


@pytest.mark.parametrize('levels', [1, 2])
def test_a_plan_stops_before_a_wall_on_every_level(levels):
    made, wall = guarded(levels), Region({'x_m': 0.3}, 0.2)
    _, through = path(made, (0.0, 0.0), (0.6, 0.0))
    plan, states = path(made, (0.0, 0.0), (0.6, 0.0), wall)
    assert float(through[-1, 0]) > 0.3
    assert plan.sound and all(float(s[0, :, 0].max()) < 0.1 + 1e-4 for s in plan.states)
    assert all(float(search.violation) == 0 for search in plan.searches)


@pytest.mark.parametrize('kind', ['collision', 'limits'])
@pytest.mark.parametrize('levels', [1, 2])
def test_no_plan_leads_into_a_collision_or_over_a_limit_of_the_robot(kind, levels):
    made = guarded(levels, drives=Drives(**{kind: [Range(readout='x_m', high=0.2), Range(readout='y_m', low=-5.0)]}))
    model, cost = made[0]._model, made[1]
    settings = replace(cost.make_settings(None, {'goal': 1e6}), goal_levels=model.still(torch.tensor([0.6, 0.0])))
    plan = made[0].plan((torch.zeros(1, 2),) * 3, settings, generator=generator())
    assert plan.sound and all(float(s[0, :, 0].max()) < 0.2 + 1e-4 for s in plan.states)
    assert made[0].violation(torch.zeros(2), settings, torch.tensor([[1.0, 0.0]] * 3)) == pytest.approx(0.1, abs=1e-4)


def test_a_plan_keeps_away_from_what_moves():
    """y_m is where another one is: the region lies around it wherever it will be."""
    made, other = guarded(samples=256), Region({'x_m': 'y_m'}, 0.15)
    _, through = path(made, (-0.3, 0.0), (0.3, 0.0))
    plan, states = path(made, (-0.3, 0.0), (0.3, 0.0), other)
    assert float((through[:, 0] - through[:, 1]).max()) > 0.15
    assert plan.sound and float((states[:, 0] - states[:, 1]).max()) < -0.15 + 1e-4


def test_a_plan_from_inside_leads_out():
    plan, states = path(guarded(), (0.25, 0.0), (0.6, 0.0), Region({'x_m': 0.2}, 0.15))
    assert plan.sound and float(states[-1, 0]) > 0.35


def test_where_every_plan_breaks_a_guardrail_the_plan_is_not_sound():
    made = guarded()
    made[0]._model.levels[0].predictor.forward = lambda s, a: s + torch.tensor([0.2, 0.0])     # it slides
    plan, _ = path(made, (0.0, 0.0), (0.6, 0.0), Region({'x_m': 0.3}, 0.2))
    assert not plan.sound and float(plan.searches[0].violation) > 0 and math.isfinite(plan.searches[0].energy)


def test_the_violation_of_any_actions_can_be_asked_for():
    planner, cost = guarded()
    wall = cost.make_settings(None, None, [Region({'x_m': 0.3}, 0.2)])
    actions = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    assert planner.violation(torch.zeros(2), wall, actions) == pytest.approx(0.5 + 1, abs=1e-4)
    assert planner.violation(torch.zeros(2), wall, -actions) == 0
    assert planner.violation(torch.zeros(2), cost.make_settings(None), actions) == 0
    assert planner.violation(torch.tensor([math.nan, 0.0]), wall, -actions) == math.inf


@pytest.mark.parametrize('method', ['cem', 'mppi', 'icem', 'gradient', 'random_shooting', 'beam', 'mcts'])
@pytest.mark.parametrize('own, expected', [(0.0, (0.2, 0.5)), (0.3, (0.2, 0.3))])
def test_no_plan_changes_an_action_faster_than_the_robot_or_the_configuration_allows(method, own, expected):
    planner, cost = guarded(robot=torch.tensor([0.2, 0.5]), max_change=own, method=method, samples=64, horizon=6)
    previous = torch.tensor([-0.5, 0.9])
    plan = planner.plan((torch.zeros(1, 2),), cost.make_settings(Goal(levels=(torch.tensor([9.0, -9.0]),))),
                        proposals=lambda *_: torch.ones(1, 1, 6, 2), previous_action=previous, generator=generator())
    steps = torch.diff(plan.searches[0].actions[0], dim=0, prepend=previous[None]).abs().amax(0)
    assert bool((steps <= torch.tensor(expected) + 1e-6).all())
    assert bool((steps > 0.5 * torch.tensor(expected)).all())       # and it makes use of it


def test_a_tree_search_plans_with_a_grid_of_actions_and_macro_actions_like_those_of_training():
    planner, cost = guarded(2, method='exhaustive', horizon=2)
    model = planner._model
    encoder = model.levels[1].action_encoder
    encoder.prior_mean.copy_(torch.tensor([0.1, -0.2]))
    encoder.low.fill_(-0.3)
    planner, again = (Hierarchy(model, cost, [planner.planners[0].config] * 2) for _ in range(2))
    plan = planner.plan((torch.zeros(1, 2),) * 2, cost.make_settings(Goal(levels=(torch.tensor([0.2, -0.1]),))),
                        generator=generator())
    low, macro = plan.searches
    choices = planner._spaces[1].choices
    assert choices.shape == (3, 2) and torch.equal(choices[0], encoder.prior_mean)
    assert bool((choices >= encoder.low).all() and (choices <= encoder.high).all())
    assert all(any(torch.equal(a, c) for c in choices) for a in macro.actions[0])
    assert set(low.actions.flatten().tolist()) <= {-1.0, 0.0, 1.0}
    assert torch.equal(choices, again._spaces[1].choices)       # the same for the same model


def test_an_exhaustive_search_finds_the_best_of_all_sequences():
    planner, cost = guarded(method='exhaustive', horizon=2)
    settings = cost.make_settings(Goal(levels=(torch.tensor([0.2, -0.1]),)), {'effort': 0.0, 'smoothness': 0.0})
    plan = planner.plan((torch.zeros(1, 2),), settings, generator=generator())
    assert plan.searches[0].actions[0].tolist() == [[1.0, -1.0], [1.0, 0.0]]


def test_a_grid_too_fine_for_a_tree_is_refused_in_one_line():
    planner, cost = guarded(method='beam', bins=40)
    with pytest.raises(ConfigError, match='planner beam needs a finite set of actions') as refused:
        planner.plan((torch.zeros(1, 2),), cost.make_settings(Goal(levels=(torch.ones(2),))), generator=generator())
    assert '\n' not in str(refused.value)
