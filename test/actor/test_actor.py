"""The actor organ: Mode-2 with Mode-1 as proposal and fallback."""
from acting import actor, at, CONFIG, GOAL, HIGH, LOW, policy, ready, reflex
import numpy as np
import pytest
import torch

from jepa_ros.actor.actor import PLANNED, REACTIVE
from jepa_ros.actor.impasse import PATIENCE
from jepa_ros.actor.planners import PlannerConfig
from jepa_ros.actor.policy import Policy
from jepa_ros.cost.cost import Goal
from jepa_ros.errors import ConfigError, CostError


def test_decides_in_si_units_within_the_contract():
    decision = ready().act(at())
    assert decision.mode == PLANNED
    assert decision.actions.shape == (4, 2)
    assert np.array_equal(decision.action, decision.actions[0])
    assert (decision.actions >= LOW - 1e-6).all() and (decision.actions <= HIGH + 1e-6).all()


def test_a_decision_tells_how_it_was_made():
    decision = ready().act(at())
    assert [tuple(g.shape) for g in decision.subgoals] == [(4, 2)]
    assert [tuple(m.shape) for m in decision.macro_actions] == [(4, 2)]
    assert len(decision.energies) == 2 and all(np.isfinite(decision.energies))
    assert (decision.samples, decision.iterations) == ([32, 32], [3, 3])
    assert (decision.deadline_hit, decision.degradation, decision.budget_ms) == (False, '', 10_000)
    assert decision.latency_ms > 0


@pytest.mark.parametrize('levels', [1, 2, 3])
def test_drives_to_the_goal_in_closed_loop(levels):
    made, s = ready(levels=levels, samples=192, iterations=8, elites=16, min_std=0.02), torch.zeros(2)
    for _ in range(12):
        action = made.act(at(*s.tolist())).action
        s = s + 0.1 * made._world.scale_actions(action)
    assert float((s - GOAL.levels[0]).abs().max()) < 0.08


def test_after_a_reset_the_same_states_give_the_same_plans():
    made = ready()
    first = [made.act(at(x)).actions for x in (0.0, 0.05)]
    made.reset()
    again = [made.act(at(x)).actions for x in (0.0, 0.05)]
    assert all(np.array_equal(a, b) for a, b in zip(first, again))
    assert not np.array_equal(ready(seed=1).act(at()).actions, first[0])


def test_the_next_plan_starts_from_the_last_one_moved_on_by_a_step():
    """With one sample and one iteration the plan is the warm start itself."""
    made = ready(levels=1)
    first = made.act(at()).actions
    made._hierarchies[0].planners[0].config = PlannerConfig(samples=1, iterations=1, horizon=4, elites=1)
    second = made.act(at()).actions
    assert np.allclose(second, np.concatenate([first[1:], first[-1:]]), atol=1e-6)


def test_a_new_configuration_forgets_the_warm_start():
    made = ready(levels=1)
    made.act(at())
    made.configure(goal=GOAL, budget_ms=10_000)
    made._hierarchies[0].planners[0].config = PlannerConfig(samples=1, iterations=1, horizon=4, elites=1)
    assert np.allclose(made.act(at()).actions, (LOW + HIGH) / 2)


def test_mode_1_s_chunk_is_tried_as_a_proposal():
    """LeCun §3.1.3: the policy gives Mode-2 a first proposal; with nothing better sampled it is the plan."""
    straight = reflex((1.0, -1.0), (1.0, -1.0), (0.0, 0.0), (0.0, 0.0))         # to the goal, and stays
    made = ready(levels=1, policy=straight, samples=2, iterations=1)
    assert np.allclose(made.act(at()).actions[:2], [HIGH[0], LOW[1]], atol=1e-4)


def test_delay_is_bridged_by_prediction():
    """The plan starts from the state in which its action will take effect."""
    action = np.array([1.0, 2.0])               # +1 in both scaled actions: 0.1 a step
    made = actor()
    assert torch.allclose(made._past.at_effect(torch.zeros(2), action, 0.05), torch.tensor([0.05, 0.05]), atol=1e-6)
    assert torch.allclose(made._past.at_effect(torch.zeros(2), action, 0.1), torch.tensor([0.1, 0.1]), atol=1e-6)
    assert torch.equal(made._past.at_effect(torch.zeros(2), action, 0.0), torch.zeros(2))
    assert torch.equal(made._past.at_effect(torch.zeros(2), None, 0.05), torch.zeros(2))


def test_a_short_budget_gives_a_shorter_plan_and_says_so():
    decision = ready(budget_ms=1e-3, iterations=50).act(at())
    assert decision.mode == PLANNED and decision.deadline_hit
    assert decision.iterations == [1, 1]
    assert decision.degradation.startswith('level 0: 1 of 50 iterations; level 1: 1 of 50 iterations; ')
    assert decision.degradation.endswith(' ms late')


def test_auto_falls_back_to_mode_1_when_not_even_the_quickest_plan_is_in_time():
    made = ready(budget_ms=1e-3, policy=policy())
    made.calibrate(at())
    decision = made.act(at())
    assert decision.mode == REACTIVE
    expected = made._world.unscale_actions(made._policy(torch.zeros(2), GOAL.levels[0]))
    assert np.allclose(decision.actions, expected)
    assert decision.degradation.startswith('quickest plan takes')


def test_auto_stands_still_when_it_has_neither_time_nor_a_policy():
    made = ready(budget_ms=1e-3)
    made.calibrate(at())
    decision = made.act(at())
    assert decision.mode == REACTIVE and decision.action.tolist() == [0.0, 0.0]
    assert 'standing still' in decision.degradation


def test_auto_tries_mode_2_again_after_a_while():
    made = ready(budget_ms=1e-3, policy=policy())
    made.act(at())
    made.calibrate(at())
    made.pace.took(0, 2 * made.pace.expected_ms(0))         # the machine is slow
    made.configure(goal=GOAL, budget_ms=1.3 * min(made.pace._usual_ms))
    modes = [made.act(at()).mode for _ in range(60)]
    assert modes[0] == REACTIVE and PLANNED in modes


def test_planned_never_leaves_mode_2_for_lack_of_time():
    made = ready(budget_ms=1e-3, mode='planned', policy=policy())
    assert [made.act(at()).mode for _ in range(3)] == [PLANNED] * 3


def test_reactive_never_plans():
    made = ready(mode='reactive', policy=policy())
    decision = made.act(at())
    assert decision.mode == REACTIVE and decision.degradation == ''
    assert decision.samples == [] and decision.subgoals == []


@pytest.mark.parametrize('mode', ['auto', 'planned', 'reactive'])
@pytest.mark.parametrize('bad', [np.nan, np.inf])
def test_a_state_that_is_not_finite_makes_the_robot_stand_still(mode, bad):
    decision = ready(mode=mode, policy=policy()).act(at(bad))
    assert decision.mode == REACTIVE
    assert decision.action.tolist() == [0.0, 0.0]
    assert 'not finite' in decision.degradation and '\n' not in decision.degradation


def test_after_a_state_that_was_not_finite_it_plans_again():
    made = ready(policy=policy())
    made.act(at(np.nan))
    decision = made.act(at())
    assert decision.mode == PLANNED and np.isfinite(decision.actions).all()


@pytest.mark.parametrize('values, error, line', [
    ({'mode': 'fast'}, ConfigError, "mode 'fast' is unknown; known: auto, reactive, planned"),
    ({'budget_ms': 0.0}, ConfigError, 'planner budget is 0.0 ms: it must be positive'),
    ({'budget_ms': -5.0}, ConfigError, 'planner budget is -5.0 ms'),
    ({'budget_ms': float('nan')}, ConfigError, 'planner budget is nan ms'),
    ({'weights': {'limits': 1.0}}, CostError, "guardrail 'limits'"),
    ({'mode': 'reactive'}, ConfigError, 'mode reactive needs a checkpoint with a policy'),
])
def test_settings_that_cannot_be_are_refused_in_one_line_and_change_nothing(values, error, line):
    made = ready()
    before = made._settings
    with pytest.raises(error, match=line) as refused:
        made.configure(**({'goal': GOAL} | values))
    assert '\n' not in str(refused.value)
    assert made._settings is before


def test_reactive_needs_a_goal_state():
    with pytest.raises(ConfigError, match='a goal given as a state'):
        actor(policy=policy()).configure(goal=Goal(readouts={'x_m': 1.0}), mode='reactive')


def test_acting_before_a_goal_is_given_is_refused():
    with pytest.raises(ConfigError, match='the actor has no goal'):
        actor().act(at())


def test_a_policy_of_another_horizon_is_no_proposal_but_does_not_break_the_plan():
    torch.manual_seed(0)
    assert ready(policy=Policy(2, 2, 7, 16)).act(at()).mode == PLANNED


def test_plans_without_progress_end_in_a_way_out():
    """LeCun §5: the actor explores where planning leads nowhere, and says so."""
    made = ready()
    decisions = [made.act(at()) for _ in range(10 * PATIENCE)]      # it never leaves the place
    left = ['impasse' in d.degradation for d in decisions]
    assert any(left) and not any(left[:PATIENCE])
    first = left.index(True)
    assert left[first:first + CONFIG.horizon + 1] == [True] * CONFIG.horizon + [False]


def test_at_the_goal_there_is_no_impasse():
    made = ready()
    made._tolerance = 1e-3
    there = [made.act(at(*GOAL.levels[0].tolist())) for _ in range(3 * PATIENCE)]
    assert not any('impasse' in d.degradation for d in there)
    away = [made.act(at()) for _ in range(10 * PATIENCE)]
    assert any('impasse' in d.degradation for d in away)
