"""The cost organ: weights, guardrails, goals, energies and their report."""
import math

from hypothesis import given
from hypothesis import strategies as st
import pytest
import tiny
import torch

from jepa_ros.cost.cost import Cost, Goal, Region
from jepa_ros.cost.critic import Critic
from jepa_ros.cost.intrinsic import TERMS
from jepa_ros.errors import CostError
from jepa_ros.world_model.hjepa import HJEPA

NAMES = ['x_m', 'y_m']


@pytest.fixture
def cost() -> Cost:
    torch.manual_seed(1)
    return Cost(tiny.model(), NAMES, Critic(6, 8))


@pytest.fixture
def plan() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(5, 6, generator=generator), 1.5 * torch.randn(5, 2, generator=generator)


GOAL = Goal(levels=(torch.full((6,), 0.5),), readouts={'y_m': 1.0})
weights = st.fixed_dictionaries({
    'goal': st.floats(0, 10), 'readout_goal': st.floats(0, 10), 'effort': st.floats(0, 1),
    'smoothness': st.floats(0, 1), 'limits': st.floats(10, 100), 'avoid': st.floats(10, 100),
    'critic': st.floats(0, 3)})


@tiny.invariant
@given(weights=weights)
def test_total_is_the_weighted_sum_of_the_terms_and_what_the_planner_pays(cost, plan, weights):
    """LeCun §3.2–3.3: C(s) = Σ u_i IC_i(s) + Σ v_j TC_j(s)."""
    cost.configure(goal=GOAL, weights=weights)
    report = cost.evaluate(*plan)
    assert report.total == pytest.approx(sum(t.weight * t.value for t in report.terms))
    assert report.total == pytest.approx(float(cost.energy(*plan).detach()), rel=1e-4, abs=1e-5)
    for t in report.terms:
        assert t.weight == {**cost.default_weights(), **weights}[t.name]
        assert t.per_step.shape == (5,)
        assert t.value == pytest.approx(float(t.per_step.sum()), rel=1e-5, abs=1e-6)


def test_every_term_says_what_it_is(cost, plan):
    cost.configure(goal=GOAL)
    kinds = {t.name: (t.intrinsic, t.guardrail) for t in cost.evaluate(*plan).terms}
    guardrails = {'limits', 'avoid', 'collision', 'readout_limits'}
    assert kinds == {name: (True, name in guardrails) for name in TERMS.names()} | {'critic': (False, False)}


def test_a_term_not_named_keeps_its_default(cost):
    cost.configure(goal=GOAL, weights={'effort': 0.5})
    assert cost.settings.weights == {**cost.default_weights(), 'effort': 0.5}
    cost.configure(goal=GOAL)
    assert cost.settings.weights == cost.default_weights()


@pytest.mark.parametrize('weights, line', [
    ({'gaol': 1}, r"unknown cost term 'gaol' \(did you mean goal\?\); known: .*limits"),
    ({'goal': -1}, "weight of cost term 'goal' is -1: it must be finite and not negative"),
    ({'goal': math.nan}, "weight of cost term 'goal' is nan"),
    ({'effort': math.inf}, "weight of cost term 'effort' is inf"),
    ({'limits': 9.9}, "weight 9.9 of guardrail 'limits' is below its floor 10"),
    ({'limits': 0}, "guardrail 'limits'"),
])
def test_a_weight_that_cannot_be_is_refused_in_one_line_and_changes_nothing(cost, weights, line):
    before = cost.settings
    with pytest.raises(CostError, match=line) as refused:
        cost.configure(goal=GOAL, weights=weights)
    assert '\n' not in str(refused.value)
    assert cost.settings is before


def test_without_a_critic_there_is_no_critic_term():
    with pytest.raises(CostError, match="unknown cost term 'critic'"):
        Cost(tiny.model(), NAMES).configure(goal=None, weights={'critic': 1.0})


def test_a_goal_state_of_another_model_is_refused(cost):
    with pytest.raises(CostError, match='goal state has 9 numbers, this model has 6'):
        cost.configure(goal=Goal(levels=(torch.zeros(9),)))


@pytest.mark.parametrize('readouts, line', [
    ({'z_m': 1.0}, "unknown readout 'z_m'.*this model reads out: x_m, y_m"),
    ({'x_m': math.nan}, "goal value of readout 'x_m' is nan: it must be finite"),
    ({'x_m': math.inf}, "goal value of readout 'x_m' is inf"),
])
def test_a_readout_goal_that_cannot_be_is_refused_in_one_line(cost, readouts, line):
    with pytest.raises(CostError, match=line):
        cost.configure(goal=Goal(readouts=readouts))


def test_a_readout_goal_is_measured_in_standard_deviations_of_training():
    model = tiny.model()
    model.readout_mean.copy_(torch.tensor([1.0, 2.0]))
    model.readout_std.copy_(torch.tensor([0.5, 4.0]))
    cost = Cost(model, NAMES)
    s = torch.randn(1, 6, generator=torch.Generator().manual_seed(0))
    here = model.readouts(s)[0]
    cost.configure(goal=Goal(readouts={'x_m': float(here[0]) + 1.0}))       # 1 m is two deviations
    assert {t.name: t.value for t in cost.evaluate(s).terms}['readout_goal'] == pytest.approx(4.0, rel=1e-3)
    cost.configure(goal=Goal(readouts={'x_m': float(here[0]), 'y_m': float(here[1])}))
    assert cost.evaluate(s).total == pytest.approx(0.0, abs=1e-6)


def test_energy_is_differentiable_in_states_and_actions(cost, plan):
    """LeCun §3.2: gradients of the cost reach the action through the world model."""
    states, actions = (x.clone().requires_grad_() for x in plan)
    cost.configure(goal=GOAL, weights={'critic': 1.0, 'effort': 1.0})
    cost.energy(states, actions).backward()
    assert float(states.grad.abs().sum(1).min()) > 0
    assert float(actions.grad.abs().sum(1).min()) > 0


def test_energy_of_a_batch_is_that_of_each_plan(cost):
    generator = torch.Generator().manual_seed(3)
    states, actions = torch.randn(2, 3, 4, 6, generator=generator), torch.randn(2, 3, 4, 2, generator=generator)
    cost.configure(goal=GOAL, weights={'critic': 0.5})
    batch = cost.energy(states, actions)
    assert batch.shape == (2, 3)
    alone = torch.stack([torch.stack([cost.energy(states[b, n], actions[b, n]) for n in range(3)]) for b in range(2)])
    assert torch.allclose(batch, alone, rtol=1e-5)


@pytest.mark.parametrize('weights', [{}, {'critic': 0.5}])
@pytest.mark.parametrize('candidates', [2, 3])
def test_each_problem_of_a_batch_may_have_its_own_goal(cost, weights, candidates):
    generator = torch.Generator().manual_seed(3)
    states, goals = torch.randn(2, candidates, 4, 6, generator=generator), torch.randn(2, 6, generator=generator)
    batch = cost.energy(states, None, cost.make_settings(Goal(levels=(goals,)), weights))
    for b in range(2):
        alone = cost.energy(states[b], None, cost.make_settings(Goal(levels=(goals[b],)), weights))
        assert torch.allclose(batch[b], alone, rtol=1e-5)


def test_the_previous_action_counts_in_the_planner_s_smoothness(cost, plan):
    cost.configure(goal=None, weights={'smoothness': 1.0, 'effort': 0.0})
    states, actions = plan
    jump = (actions[0] + 1).square().mean()
    with_previous = cost.energy(states, actions, previous_action=-torch.ones(2))
    assert float(with_previous - cost.energy(states, actions)) == pytest.approx(float(jump), rel=1e-4)


def test_a_lower_level_pays_for_its_actions_but_not_for_the_goal(cost, plan):
    settings = cost.make_settings(GOAL, {'critic': 2.0})
    without = cost.make_settings(None, {'critic': 2.0})
    assert float(cost.energy(*plan, cost.action_settings(settings))) == float(cost.energy(*plan, without))


def test_settings_can_be_made_without_coming_into_force(cost):
    before = cost.settings
    assert cost.make_settings(GOAL, {'goal': 3.0}).weights['goal'] == 3.0
    assert cost.settings is before


def seen(levels: int = 2) -> tuple[Cost, HJEPA]:
    """A model of two numbers whose readouts are 1 + 0.5 x and 2 + 4 y."""
    model = tiny.integrator_model(levels)
    for jepa in model.levels:
        jepa.readout = torch.nn.Identity()
    model.readout_mean.copy_(torch.tensor([1.0, 2.0]))
    model.readout_std.copy_(torch.tensor([0.5, 4.0]))
    return Cost(model, NAMES), model


def test_depth_of_states_is_that_of_their_readouts_in_each_region():
    cost, _ = seen()
    settings = cost.make_settings(None, None, [Region({'x_m': 1.5}, 0.5), Region({'x_m': 1.0, 'y_m': 6.0}, 2.0),
                                               Region({'y_m': 'x_m'}, 1.0)])
    states = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, -0.25], [9.0, 9.0]])       # (1.5, 2), (1, 6), (1, 1), far away
    expected = torch.tensor([[1.0, 0.0, 0.5], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    for level in range(2):
        assert torch.allclose(cost.depth(states, settings, level), expected, atol=1e-5)


def test_without_regions_nothing_is_forbidden():
    cost, _ = seen()
    assert cost.depth(torch.zeros(1, 2), cost.make_settings(None)) is None


def test_a_region_costs_and_is_reported_and_stays_when_the_goal_is_left_out():
    cost, _ = seen()
    cost.configure(goal=None, regions=[Region({'x_m': 1.0}, 0.5)])
    states = torch.zeros(3, 2)
    assert {t.name: t.value for t in cost.evaluate(states).terms}['avoid'] == pytest.approx(3 * 9, rel=1e-4)
    below = cost.action_settings(cost.settings)
    assert float(cost.energy(states, None, below)) == pytest.approx(10 * 3 * 9, rel=1e-4)
    cost.configure(goal=None)
    assert float(cost.energy(states, None)) == 0


@pytest.mark.parametrize('region, line', [
    (Region({'z_m': 1.0}, 1.0), "unknown readout 'z_m'.*this model reads out: x_m, y_m"),
    (Region({'x_m': 'z_m'}, 1.0), "unknown readout 'z_m'"),
    (Region({'x_m': 'x_m'}, 1.0), 'region 2 to avoid: x_m is compared with itself'),
    (Region({'x_m': 1.0}, 0.0), 'region 2 to avoid: it needs a centre and a positive radius'),
    (Region({'x_m': 1.0}, -1.0), 'a positive radius'),
    (Region({'x_m': 1.0}, math.nan), 'a positive radius'),
    (Region({'x_m': 1.0}, math.inf), 'a positive radius'),
    (Region({}, 1.0), 'it needs a centre'),
    (Region({'x_m': math.nan}, 1.0), 'region 2 to avoid: x_m is nan: it must be finite'),
    (Region({'x_m': 0.0, 'y_m': -math.inf}, 1.0), 'y_m is -inf'),
])
def test_a_region_that_cannot_be_is_refused_in_one_line_and_changes_nothing(cost, region, line):
    before = cost.settings
    with pytest.raises(CostError, match=line) as refused:
        cost.configure(goal=GOAL, regions=[Region({'x_m': 0.0}, 1.0), region])
    assert '\n' not in str(refused.value)
    assert cost.settings is before


def test_a_model_that_reads_nothing_out_takes_no_region():
    with pytest.raises(CostError, match='this model reads out: nothing'):
        Cost(tiny.model(readouts=0), []).configure(goal=None, regions=[Region({'x_m': 0.0}, 1.0)])


def test_the_barrier_cannot_be_taken_away(cost):
    with pytest.raises(CostError, match="weight 0 of guardrail 'avoid' is below its floor 10"):
        cost.configure(goal=None, weights={'avoid': 0}, regions=[Region({'x_m': 0.0}, 1.0)])
