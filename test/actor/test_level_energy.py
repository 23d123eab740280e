"""What a plan costs, level by level, and what it may not do."""
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
import pytest
import tiny
import torch
from torch import Tensor

from jepa_ros.actor.level_energy import INSIDE_SLACK, LevelEnergy
from jepa_ros.actor.planners import PlannerConfig
from jepa_ros.actor.risk import measure, Scenarios
from jepa_ros.cost.cost import Cost, Goal, Region
from jepa_ros.energy.distance import squared
from jepa_ros.world_model.config import LevelConfig
from jepa_ros.world_model.hjepa import HJEPA
from jepa_ros.world_model.predictors import Predictor

NAMES = ['x_m', 'y_m']
GOAL = Goal(levels=(torch.tensor([1.0, 0.0]),))


def seen(model: HJEPA) -> HJEPA:
    """The same model, whose readouts are the state itself."""
    for jepa in model.levels:
        jepa.readout = torch.nn.Identity()
    return model


def problem(model: HJEPA, level: int = 0, regions=(), s: Tensor | None = None, goal: Goal = GOAL, config=None,
            scenarios: Scenarios | None = None, **changes) -> LevelEnergy:
    cost = Cost(model, NAMES)
    return LevelEnergy(model, cost, level, config or PlannerConfig(), torch.zeros(1, 2) if s is None else s,
                       cost.make_settings(goal, None, regions), scenarios=scenarios, **changes)


def actions(count: int = 5, horizon: int = 3, batch: int = 1) -> Tensor:
    return torch.rand(batch, count, horizon, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_at_the_top_a_plan_costs_what_the_cost_says():
    energy = problem(tiny.integrator_model())
    found = energy(actions())
    states = 0.1 * actions().cumsum(2)
    assert found.violation is None
    assert torch.allclose(found.energy, energy.cost.energy(states, actions(), energy.settings), atol=1e-6)


def test_below_it_costs_the_way_to_the_subgoal_and_the_actions_but_not_the_goal():
    subgoal, previous = torch.tensor([[0.2, -0.1]]), torch.tensor([1.0, -1.0])
    energy = problem(tiny.integrator_model(), subgoal=subgoal, previous_action=previous)
    states = 0.1 * actions().cumsum(2)
    own = energy.cost.energy(states, actions(), energy.cost.action_settings(energy.settings), previous)
    assert torch.allclose(energy(actions()).energy, squared(states, subgoal[:, None, None]).sum(-1) + own, atol=1e-6)


@pytest.mark.parametrize('level', [0, 1])
def test_curiosity_asks_the_ensemble_about_each_step_from_where_the_plan_starts(level):
    model = tiny.model(tuple(each.model_copy(update={'ensemble': 2}) for each in tiny.LEVELS[:2]))
    s, given = torch.randn(1, 6), torch.rand(1, 4, 3, model.levels[level].action_encoder.dim)
    energy = problem(model, level, s=s, goal=None)
    energy = replace(energy, settings=energy.cost.make_settings(None, {'curiosity': 1.0, 'effort': 0, 'smoothness': 0}))
    states = energy.rollout(given)
    before = torch.cat([s[:, None, None].expand(1, 4, 1, 6), states[:, :, :-1]], 2)
    expected = (1 / (1 + model.levels[level].disagreement(before, given))).sum(-1)
    assert torch.allclose(energy(given).energy, expected, atol=1e-6)


def test_strangeness_counts_above_level_0_only():
    plain, strange = (PlannerConfig(strangeness=weight) for weight in (0.0, 3.0))
    model = tiny.integrator_model()
    low, top = (problem(model, level, config=strange)(actions()).energy
                - problem(model, level, config=plain)(actions()).energy for level in (0, 1))
    assert float(low.abs().max()) == 0
    assert torch.allclose(top, 3 * model.levels[1].action_encoder.strangeness(actions()).sum(-1), rtol=1e-3)


def pooled() -> HJEPA:
    levels = (LevelConfig(width=8), LevelConfig(period=3, encoder='mean', macro_dim=2, width=8))
    return tiny.model(levels, perception=tiny.perception(2))


def test_what_the_level_above_sees_of_a_rollout_is_the_window_that_ends_in_each_step():
    """LeCun Fig. 16: Enc_2 of the states of one period; before the first step they are the present one."""
    s, states = torch.tensor([[1.0, 2.0]]), torch.randn(1, 4, 5, 2, generator=torch.Generator().manual_seed(0))
    above = problem(pooled(), s=s).above(states)
    whole = torch.cat([s[:, None, None].expand(1, 4, 2, 2), states], 2)
    expected = torch.stack([whole[:, :, t:t + 3].mean(2) for t in range(5)], 2)
    assert torch.allclose(above, expected, atol=1e-6)


# A wall of one radius around x = 0.5, and a ball at the upper end of it.
WALL, BALL = Region({'x_m': 0.5}, 0.2), Region({'x_m': 0.5, 'y_m': 0.7}, 0.3)


def going(*steps: tuple[float, float]) -> Tensor:
    return torch.tensor(steps, dtype=torch.float32)[None, None]


def test_a_violation_is_the_depth_in_radii_summed_over_the_steps():
    energy = problem(seen(tiny.integrator_model()), regions=[WALL], s=torch.tensor([[0.2, 0.0]]))
    found = energy(going((1, 0), (1, 0), (1, 0), (1, 0), (1, 0), (1, 0)))   # x = .3, .4, .5, .6, .7, .8
    assert float(found.violation) == pytest.approx(0 + 0.5 + 1 + 0.5 + 0 + 0, abs=1e-4)


def test_depths_of_several_regions_add_up():
    energy = problem(seen(tiny.integrator_model()), regions=[WALL, BALL])
    assert float(energy.violation(torch.tensor([[[[0.5, 0.7]]]]))) == pytest.approx(2, abs=1e-4)
    assert float(energy.violation(torch.tensor([[[[0.5, 0.0]]]]))) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize('level', [0, 1])
def test_guardrails_hold_at_every_level_whatever_the_subgoal(level):
    energy = problem(seen(tiny.integrator_model(3)), level, [WALL], s=torch.tensor([[0.2, 0.0]]),
                     subgoal=torch.tensor([[0.5, 0.0]]))
    towards = going((1, 0), (1, 0), (1, 0)) / 4 ** level        # x = .3, .4, .5
    assert float(energy(towards).violation) == pytest.approx(1.5, abs=1e-4)
    assert float(energy(-towards).violation) == 0


def test_from_inside_a_way_out_is_allowed_and_a_way_deeper_is_not():
    energy = problem(seen(tiny.integrator_model()), regions=[WALL], s=torch.tensor([[0.4, 0.0]]))
    assert float(energy(going((-1, 0), (-1, 0))).violation) == 0
    assert float(energy(going((0, 1), (0, 1))).violation) == 0      # no deeper
    assert float(energy(going((0.5, 0), (-1, 0))).violation) == pytest.approx(0.25 - INSIDE_SLACK, abs=1e-3)
    assert float(energy(going((0.01, 0), (-1, 0))).violation) == 0      # readouts are not exact


def test_from_inside_of_one_region_the_way_does_not_lead_into_another():
    left, right = Region({'x_m': 0.0}, 0.2), Region({'x_m': 0.5}, 0.2)
    energy = problem(seen(tiny.integrator_model()), regions=[left, right], s=torch.tensor([[0.1, 0.0]]))
    assert float(energy(going((1, 0), (0.5, 0))).violation) == 0                            # x = .2, .25
    deeper = energy(going((1, 0), (0.5, 0), (1, 0)))            # x = .35: not as deep as now, but somewhere else
    assert float(deeper.violation) == pytest.approx(0.25, abs=1e-4)


WALLED = seen(tiny.integrator_model(1))


@tiny.invariant
@given(x=st.floats(-1, 1), ax=st.floats(-1, 1), ay=st.floats(-1, 1))
def test_a_violation_is_at_least_what_the_deepest_state_is_deeper_than_now(x, ax, ay):
    s, plan = torch.tensor([[x, 0.0]]), going((ax, ay), (ay, ax), (-ax, ay))
    energy = problem(WALLED, regions=[WALL], s=s)
    now, deepest = (float(torch.relu(1 - (at[..., 0] - 0.5).abs() / 0.2).max()) for at in (s, energy.rollout(plan)))
    violation = float(energy(plan).violation)
    assert deepest <= now + violation + INSIDE_SLACK + 1e-4
    assert violation == 0 or deepest > now - 1e-4


class Gust(Predictor):
    """ŝ = s + 0.1 · a, and half a metre to the right where z is 1."""

    def forward(self, s: Tensor, c: Tensor) -> Tensor:
        return s + 0.1 * c[..., :2] + 0.5 * c[..., 3:] * torch.tensor([1.0, 0.0])


def gusty(chance: float) -> HJEPA:
    level = LevelConfig.model_validate({'width': 8, 'latent': {'kind': 'discrete', 'dim': 2}})
    model = seen(tiny.model((level,), perception=tiny.perception(2)))
    model.levels[0].predictor = Gust(2, 4)
    model.levels[0].latent.latent.fitted.copy_(torch.log(torch.tensor([1 - chance, chance])))
    return model


@pytest.mark.parametrize('config', [PlannerConfig(), PlannerConfig(risk='mean_std'),
                                    PlannerConfig(risk='cvar', risk_share=0.3)])
def test_over_scenarios_a_plan_costs_the_measure_of_what_each_costs(config):
    model = gusty(0.2)
    judged = problem(model, config=config, scenarios=Scenarios(model.levels[0], 8))
    futures = Scenarios(model.levels[0], 8).futures(judged.s, actions())
    alone = torch.stack([judged.of(futures.states[:, :, i], actions()).energy for i in range(8)], -1)
    assert torch.allclose(judged(actions()).energy, measure(alone, futures.weights, config), rtol=1e-4)


@pytest.mark.parametrize('allowed, broken', [(0.0, True), (0.05, True), (0.15, False)])
def test_a_guardrail_may_be_broken_in_as_many_scenarios_as_chance_allows(allowed, broken):
    model = gusty(0.1)
    judged = problem(model, regions=[WALL], config=PlannerConfig(chance=allowed),
                     scenarios=Scenarios(model.levels[0], 2))
    assert bool(judged(going((0, 1))).violation > 0) == broken


def test_without_scenarios_only_the_most_probable_future_counts():
    assert float(problem(gusty(0.4), regions=[WALL])(going((0, 1))).violation) == 0


def test_problems_of_a_batch_do_not_mix():
    model, batch = gusty(0.3), torch.tensor([[0.0, 0.0], [0.35, 0.1]])

    def of(s, plan, goal):
        return problem(model, regions=[WALL], s=s, goal=Goal(levels=(goal,)), config=PlannerConfig(chance=0.0),
                       scenarios=Scenarios(model.levels[0], 4, torch.Generator().manual_seed(0)))(plan)

    plans, goals = actions(batch=2), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    together = of(batch, plans, goals)
    for i in range(2):
        alone = of(batch[i:i + 1], plans[i:i + 1], goals[i])
        assert torch.allclose(together.energy[i], alone.energy[0], rtol=1e-5)
        assert torch.allclose(together.violation[i], alone.violation[0], atol=1e-5)
