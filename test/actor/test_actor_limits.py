"""The actor within its limits: of time, of where it may be, of how fast actions may change."""
import acting
from acting import at, GOAL, LOW, ready, reflex
import numpy as np
import pytest
import tiny
import torch

from jepa_ros.actor.actor import Actor, PLANNED, REACTIVE
from jepa_ros.actor.impasse import PATIENCE
from jepa_ros.actor.pace import ladder, Pace
from jepa_ros.actor.planners import PlannerConfig
from jepa_ros.cost.cost import Goal, Region
from jepa_ros.world_model.config import LevelConfig

FAR = Goal(levels=(torch.tensor([9.0, -9.0]),))
LARGE = {'samples': 64, 'iterations': 2, 'horizon': 8, 'elites': 4}


def known(made: Actor, *usual_ms: float) -> Actor:
    """As after a calibration on another machine: what the plans of each rung take."""
    made.pace = Pace(len(usual_ms))
    for rung, ms in enumerate(usual_ms):
        made.pace.calibrate(rung, ms)
    return made


@pytest.mark.parametrize('rung, samples, iterations, horizon, said', [
    (0, 64, 2, 8, ''), (1, 32, 2, 8, '64 of 128 samples'), (3, 16, 1, 8, '32 of 128 samples, 2 of 4 iterations'),
    (4, 16, 1, 4, '32 of 128 samples, 2 of 4 iterations, 8 of 16 steps')])
def test_plans_on_the_best_rung_that_fits_and_says_what_is_given_up(rung, samples, iterations, horizon, said):
    made = known(ready(**LARGE), *[1e6] * rung, *[1.0] * (5 - rung))
    decision = made.act(at())
    assert decision.mode == PLANNED and decision.degradation == said
    assert (decision.samples, decision.iterations, len(decision.actions)) == ([samples] * 2, [iterations] * 2, horizon)


def test_planned_takes_the_last_rung_when_none_fits_and_says_how_late_it_is():
    decision = known(ready(budget_ms=1e-3, mode='planned', **LARGE), *[1e6] * 5).act(at())
    assert decision.mode == PLANNED and len(decision.actions) == 4
    assert decision.degradation.startswith('32 of 128 samples, 2 of 4 iterations, 8 of 16 steps; ')
    assert decision.degradation.endswith(' ms late')


def test_auto_reacts_when_none_fits():
    made = known(ready(policy=acting.policy(), **LARGE), *[1e6] * 5)
    decision = made.act(at())
    assert decision.mode == REACTIVE
    assert decision.degradation == 'quickest plan takes 1000000.0 ms, budget is 10000.0 ms: Mode-1'


def test_calibration_knows_every_rung_and_changes_no_plan():
    made, plain = ready(**LARGE), ready(**LARGE)
    made.calibrate(at())
    assert all(made.pace.expected_ms(rung) > 0 for rung in range(len(ladder([PlannerConfig(**LARGE)]))))
    assert np.array_equal(made.act(at()).actions, plain.act(at()).actions)


def test_the_warm_start_goes_from_rung_to_rung_whatever_their_horizons():
    """With one sample and one iteration the plan is the warm start itself."""
    made = ready(levels=1, goal=FAR, **LARGE)
    first = made.act(at()).actions
    for hierarchy, horizon in ((made._hierarchies[0], 8), (made._hierarchies[4], 4)):
        hierarchy.planners[0].config = PlannerConfig(samples=1, iterations=1, horizon=horizon, elites=1)
    short = known(made, *[1e6] * 4, 1).act(at()).actions
    assert np.allclose(short, first[1:5], atol=1e-6)
    again = known(made, *[1] * 5).act(at()).actions
    assert np.allclose(again, np.concatenate([short[1:], np.repeat(short[-1:], 5, 0)]), atol=1e-6)


def keeping(ticks: int) -> Actor:
    model = tiny.integrator_model()
    model.levels[1].typical_error.fill_(1e-4)
    return ready(goal=FAR, model=model, replan_every=ticks)


def test_upper_plans_are_kept_from_tick_to_tick():
    made = keeping(3)
    macros = [made.act(at()).macro_actions[0] for _ in range(6)]
    assert [torch.equal(a, b) for a, b in zip(macros, macros[1:])] == [True, True, False, True, True]


def test_a_tick_without_a_plan_ends_a_kept_plan():
    made = keeping(9)
    first = made.act(at()).macro_actions[0]
    made.configure(goal=FAR, budget_ms=10_000)
    assert not torch.equal(made.act(at()).macro_actions[0], first)      # nor does it outlast its goal
    kept = made.act(at()).macro_actions[0]
    rungs = len(made._rungs)
    assert known(made, *[1e6] * rungs).act(at()).mode == REACTIVE
    assert not torch.equal(known(made, *[1] * rungs).act(at()).macro_actions[0], kept)


def test_a_plan_that_was_under_way_when_the_goal_changed_is_not_kept(monkeypatch):
    """`configure` may be called from another thread than `act`."""
    made = keeping(9)
    hierarchy = made._hierarchies[0]
    plan = hierarchy.plan

    def interrupted(*arguments, **options):
        found = plan(*arguments, **options)
        made.configure(goal=Goal(levels=(torch.tensor([-9.0, 9.0]),)), budget_ms=10_000)
        return found
    monkeypatch.setattr(hierarchy, 'plan', interrupted)
    old = made.act(at()).macro_actions[0]
    monkeypatch.undo()
    new = made.act(at()).macro_actions[0]
    assert float(old[0, 0]) > 0 > float(new[0, 0])


def test_a_plan_that_is_kept_is_no_sign_of_an_impasse():
    made = keeping(1000)
    assert not any('impasse' in made.act(at()).degradation for _ in range(2 * PATIENCE))


def test_only_whole_plans_tell_how_long_plans_take():
    made = known(keeping(1000), 1, 1, 1, 1)
    made.act(at())
    expected = made.pace.expected_ms(0)
    made.act(at())
    assert made.pace.expected_ms(0) == expected != 1


WALL, BEHIND = Region({'x_m': 0.3}, 0.2), Goal(levels=(torch.tensor([0.6, -0.2]),))


def test_drives_around_what_it_must_keep_out_of():
    made = ready(goal=Goal(levels=(torch.tensor([0.5, 0.0]),)), regions=[Region({'x_m': 0.25, 'y_m': 0.02}, 0.12)],
                 levels=1, samples=128, iterations=6, horizon=8, elites=12, min_std=0.02)
    s, nearest = torch.zeros(2), 1.0
    for _ in range(20):
        decision = made.act(at(*s.tolist()))
        assert decision.mode == PLANNED
        s = s + 0.1 * made._world.scale_actions(decision.action)
        nearest = min(nearest, float((s - torch.tensor([0.25, 0.02])).norm()))
    assert nearest >= 0.12 - 1e-4 and float((s - torch.tensor([0.5, 0.0])).norm()) < 0.1


def sliding(**values) -> Actor:
    """A robot that slides to the right, whatever it does."""
    model = tiny.integrator_model(1)
    model.levels[0].predictor.forward = lambda s, a: s + torch.tensor([0.2, 0.0])
    return ready(goal=BEHIND, levels=1, model=model, regions=[WALL], **values)


@pytest.mark.parametrize('mode', ['auto', 'planned'])
@pytest.mark.parametrize('policy, why', [(None, 'no policy for this goal'),
                                         (acting.policy(), 'Mode-1 breaks a guardrail')])
def test_stands_still_and_says_so_when_every_plan_breaks_a_guardrail(mode, policy, why):
    decision = sliding(mode=mode, policy=policy).act(at())
    assert decision.mode == REACTIVE and decision.actions.tolist() == [[0.0, 0.0]]
    assert decision.degradation == f'every plan breaks a guardrail: Mode-1; {why}: standing still'


def test_plans_again_where_a_guardrail_can_be_kept():
    made = sliding()
    assert [made.act(at(x)).mode for x in (0.0, 0.6)] == [REACTIVE, PLANNED]


@pytest.mark.parametrize('chunk, sent', [([(1.0, 0.0)] * 4, False), ([(-1.0, 0.0)] * 4, True),
                                         ([(0.0, 1.0)] * 3 + [(1.0, 0.0)], True),
                                         ([(0.0, 1.0)] * 2 + [(1.0, 0.0)] * 2, False)])
def test_a_reflex_that_breaks_a_guardrail_is_not_sent(chunk, sent):
    decision = ready(BEHIND, mode='reactive', policy=reflex(*chunk), regions=[WALL]).act(at(-0.05))
    assert decision.mode == REACTIVE and np.any(decision.action) == sent
    assert decision.degradation == ('' if sent else 'Mode-1 breaks a guardrail: standing still')


def test_a_way_out_of_an_impasse_that_breaks_a_guardrail_is_not_taken():
    walls = [Region({name: side * 0.3}, 0.2) for name in ('x_m', 'y_m') for side in (-1, 1)]
    made = ready(goal=FAR, regions=walls, levels=1, samples=16, iterations=1)
    decisions = [made.act(at()) for _ in range(PATIENCE + 2)]       # it never leaves the place
    assert [d.mode for d in decisions] == [PLANNED] * PATIENCE + [REACTIVE, PLANNED]
    assert decisions[-2].degradation == ('the way out of an impasse breaks a guardrail; no policy for this goal: '
                                         'standing still')
    assert not np.any(decisions[-2].action)


def test_a_new_configuration_may_lift_a_guardrail():
    made = sliding()
    assert made.act(at()).mode == REACTIVE
    made.configure(goal=GOAL, budget_ms=10_000)
    assert made.act(at()).mode == PLANNED


def test_the_first_action_follows_from_the_one_in_force():
    rate = np.array([3.0, 10.0])
    made, previous = ready(goal=FAR, max_rate=rate, samples=64), LOW.copy()
    for _ in range(5):
        decision = made.act(at(), previous)
        steps = np.abs(np.diff(np.concatenate([previous[None], decision.actions]), axis=0))
        assert (steps <= 0.1 * rate + 1e-5).all()
        previous = decision.action
    assert previous[0] > 0.9        # by 0.3 a tick from -0.5 it gets there


@pytest.mark.parametrize('mode', ['reactive', 'planned'])
def test_only_the_seed_decides_also_over_scenarios(mode):
    level = LevelConfig.model_validate({'width': 8, 'latent': {'kind': 'gaussian', 'dim': 2}})
    actions = []
    for noise in (1, 2):
        model = tiny.model((level,), perception=tiny.perception(2))
        made = ready(BEHIND, levels=1, model=model, mode=mode, policy=acting.policy(), scenarios=3, regions=[WALL])
        torch.manual_seed(noise)
        before = torch.get_rng_state()
        actions.append(made.act(at(-0.2)).actions)
        assert torch.equal(torch.get_rng_state(), before)       # PyTorch's own sequence is left alone
    assert np.array_equal(*actions)


def test_too_little_memory_for_a_plan_makes_all_later_ones_smaller():
    made, asked = ready(), []

    def too_little(*values, **options):
        asked.append(1)
        raise torch.OutOfMemoryError('CUDA out of memory')
    made._hierarchies[0].plan = too_little
    for _ in range(3):
        decision = made.act(at())
        assert decision.mode == PLANNED and 'samples' in decision.degradation
    assert len(asked) == 1


def test_no_memory_for_the_smallest_plan_is_an_error_for_the_planner_s_thread():
    """It lets Mode-1 act and says why."""
    made = ready()

    def too_little(*values, **options):
        raise torch.OutOfMemoryError('CUDA out of memory')
    for hierarchy in made._hierarchies:
        hierarchy.plan = too_little
    with pytest.raises(torch.OutOfMemoryError):
        made.act(at())
