"""The configurator organ: goals, tasks, progress and their end."""
import math

import pytest
import tiny
import torch

from jepa_ros.configurator.configurator import Configurator, READOUT_TOLERANCE
from jepa_ros.configurator.tasks import Avoid, Task
from jepa_ros.cost.cost import Cost, Goal, Region
from jepa_ros.cost.critic import Critic
from jepa_ros.errors import ConfigError, CostError
from jepa_ros.perception.perception import EncodedState

TOLERANCE = 0.04
TASKS = {'reach': Task(weights={'effort': 0.5}, timeout_s=20), 'loose': Task(success=4.0),
         'reflex': Task(mode='reactive'), 'broken': Task().model_copy(update={'weights': {'gaol': 1.0}}),
         'around': Task(avoid=[Avoid(centre={'x_m': 50.0}, radius=0.2)]),
         'lost': Task(avoid=[Avoid(centre={'z_m': 0}, radius=1)]),
         'hold': Task(goal='stay', success={'energy': 1.0, 'after_s': 5}), 'roam': Task(goal='none', timeout_s=9),
         'east': Task(goal={'readouts': {'x_m': 2.0}}, timeout_s=10),
         'far_east': Task(goal='none', success={'when': ['x_m > 3', 'y_m <= 0']}),
         'round': Task(sequence=['east', {'task': 'reach', 'goal': {'readouts': {'x_m': -2.0}}, 'timeout_s': 5}],
                       repeat=2, on_failure='next'),
         'two_goals': Task(sequence=['reach', 'east']), 'tuned': Task(modulation={'speed': 1.0}),
         'shown': Task(goal={'image': 'door.png'})}
GOAL = Goal(levels=(torch.zeros(6), torch.zeros(6)))
READOUT_GOAL = Goal(readouts={'x_m': 1.0, 'y_m': 0.0})


@pytest.fixture
def configurator() -> Configurator:
    return Configurator(Cost(tiny.model(), ['x_m', 'y_m'], Critic(6, 8)), TASKS, TOLERANCE)


def at(offset: float, x: float = 0.0, y: float = 0.0) -> EncodedState:
    s = torch.full((6,), float(offset))
    return EncodedState((s, s), {'x_m': x, 'y_m': y})


def test_starting_a_goal_gives_the_settings_of_its_task(configurator):
    settings = configurator.start(GOAL, 'reach', now_s=5.0, goal_id='g1')
    assert (settings.active, settings.task, settings.goal_id, settings.goal) == (True, 'reach', 'g1', GOAL)
    assert settings.weights['effort'] == 0.5 and settings.weights['limits'] == 10.0
    assert (settings.mode, settings.budget_ms, settings.timeout_s) == ('auto', 50.0, 20.0)


def test_regions_of_the_task_are_settings_and_checked(configurator):
    assert configurator.start(GOAL, 'around').regions == (Region({'x_m': 50.0}, 0.2),)
    with pytest.raises(CostError, match="unknown readout 'z_m'"):
        configurator.start(GOAL, 'lost')
    assert configurator.settings.task == 'around'


def test_a_goal_without_a_task_gets_reach(configurator):
    assert configurator.start(GOAL).task == 'reach'


def test_the_timeout_of_a_goal_goes_before_that_of_the_task(configurator):
    assert configurator.start(GOAL, timeout_s=3.0).timeout_s == 3.0


def test_each_change_has_a_higher_version(configurator):
    versions = [configurator.start(GOAL).version, configurator.reconfigure(budget_ms=20).version,
                configurator.start(GOAL).version, configurator.stop().version]
    assert versions == sorted(set(versions))


def test_energy_falls_and_progress_grows_on_the_way(configurator):
    configurator.start(GOAL)
    progress = [configurator.observe(at(offset), now_s=1.0) for offset in (2.0, 1.0, 0.5)]
    assert [p.energy for p in progress] == pytest.approx([4.0, 1.0, 0.25])
    assert [p.progress for p in progress] == pytest.approx([0.0, 0.75, 1 - 1 / 16])
    assert [p.outcome for p in progress] == [None] * 3


def test_progress_stays_between_zero_and_one(configurator):
    configurator.start(GOAL)
    assert [configurator.observe(at(offset), 0.0).progress for offset in (1.0, 3.0, 0.0)] == [0.0, 0.0, 1.0]


@pytest.mark.parametrize('offset, outcome', [(0.199, 'success'), (0.201, None)])
def test_the_goal_is_reached_within_the_model_s_tolerance(configurator, offset, outcome):
    configurator.start(GOAL)
    assert configurator.observe(at(offset), 1.0).outcome == outcome


def test_a_task_may_be_content_with_less(configurator):
    configurator.start(GOAL, 'loose')
    assert configurator.observe(at(0.39), 1.0).outcome == 'success'


def test_the_judgement_does_not_depend_on_the_weights_of_the_task(configurator):
    configurator.start(GOAL)
    configurator.reconfigure(weights={'goal': 0.0, 'critic': 5.0})
    assert configurator.observe(at(1.0), 1.0).energy == pytest.approx(1.0)


@pytest.mark.parametrize('now, outcome', [(10.0, None), (29.9, None), (30.0, 'timeout'), (99.0, 'timeout')])
def test_time_runs_out_after_the_timeout(configurator, now, outcome):
    configurator.start(GOAL, 'reach', now_s=10.0)
    progress = configurator.observe(at(2.0), now)
    assert (progress.outcome, progress.elapsed_s) == (outcome, pytest.approx(now - 10))


def test_a_goal_reached_in_the_last_moment_is_reached(configurator):
    configurator.start(GOAL, 'reach')
    assert configurator.observe(at(0.0), 20.0).outcome == 'success'


def test_a_readout_goal_is_judged_in_its_own_unit(configurator):
    configurator.start(READOUT_GOAL)
    assert configurator.observe(at(9.0, x=1.3, y=0.4), 0.0).energy == pytest.approx(0.5)
    assert configurator.observe(at(9.0, x=1.0 - 0.99 * READOUT_TOLERANCE), 0.0).outcome == 'success'
    assert configurator.observe(at(9.0, x=1.0 - 1.01 * READOUT_TOLERANCE), 0.0).outcome is None


def test_a_readout_not_asked_for_does_not_count(configurator):
    configurator.start(Goal(readouts={'x_m': 1.0}))
    assert configurator.observe(at(0.0, x=1.0, y=77.0), 0.0).outcome == 'success'


def test_another_goal_replaces_the_first(configurator):
    configurator.start(GOAL, now_s=0.0)
    configurator.observe(at(3.0), 1.0)
    configurator.start(Goal(levels=(torch.full((6,), 2.0),)), now_s=50.0)
    progress = configurator.observe(at(3.0), 50.5)
    assert (progress.energy, progress.progress, progress.elapsed_s) == (pytest.approx(1.0), 0.0, pytest.approx(0.5))


def test_after_stop_there_is_no_goal(configurator):
    configurator.start(GOAL)
    settings = configurator.stop()
    assert (settings.active, settings.goal) == (False, None)
    with pytest.raises(ConfigError, match='no goal is being pursued'):
        configurator.observe(at(0.0), 0.0)


def test_observing_before_any_goal_is_refused(configurator):
    with pytest.raises(ConfigError, match='no goal is being pursued'):
        configurator.observe(at(0.0), 0.0)


@pytest.mark.parametrize('arguments, error, line', [
    ((GOAL, 'raech'), ConfigError, r"unknown task 'raech' \(did you mean reach\?\); known: reach, loose"),
    ((Goal(),), ConfigError, 'the goal is empty: give an image, readout values or a moment of a bag'),
    ((Goal(readouts={'z_m': 0.0}),), CostError, "unknown readout 'z_m'"),
    ((Goal(levels=(torch.zeros(5),)),), CostError, 'goal state has 5 numbers'),
    ((None, 'reach'), ConfigError, 'the goal is empty'), ((None, 'two_goals'), ConfigError, 'the goal is empty'),
    ((GOAL, 'hold'), ConfigError, r"task 'hold' knows its goal itself \(to stay\): give none with it"),
    ((GOAL, 'round'), ConfigError, r"task 'round' knows its goal itself \(a sequence\)"),
    ((None, 'hold'), ConfigError, "task 'hold' is to stay in the present state, and there is none yet"),
    ((None, 'shown'), ConfigError, "task 'shown' shows an image or a recording, which needs an agent with perception"),
    ((GOAL, 'tuned'), ConfigError, 'modulation speed: this model was trained without task tokens'),
    ((GOAL, 'broken'), CostError, r"unknown cost term 'gaol'"),
    ((READOUT_GOAL, 'reflex'), ConfigError, "task 'reflex' acts by reflex, which needs a goal image"),
    ((GOAL, 'reach', -1.0), ConfigError, 'timeout is -1.0 s'),
    ((GOAL, 'reach', math.nan), ConfigError, 'timeout is nan s'),
    ((GOAL, 'reach', math.inf), ConfigError, 'timeout is inf s'),
])
def test_a_goal_that_cannot_be_is_refused_in_one_line_and_the_running_one_goes_on(configurator, arguments, error, line):
    before = configurator.start(GOAL)
    with pytest.raises(error, match=line) as refused:
        configurator.start(*arguments)
    assert '\n' not in str(refused.value)
    assert configurator.settings is before
    assert configurator.observe(at(1.0), 1.0).energy == pytest.approx(1.0)


def test_reconfiguring_changes_what_is_named_and_keeps_the_rest(configurator):
    configurator.start(GOAL, 'reach')
    settings = configurator.reconfigure(weights={'smoothness': 0.7}, mode='planned')
    assert settings.weights['smoothness'] == 0.7 and settings.weights['effort'] == 0.5
    assert (settings.mode, settings.budget_ms, settings.active, settings.goal) == ('planned', 50.0, True, GOAL)
    assert configurator.reconfigure(budget_ms=12.0).mode == 'planned'


@pytest.mark.parametrize('change, error, line', [
    ({'weights': {'gaol': 1.0}}, CostError, "unknown cost term 'gaol'"),
    ({'weights': {'limits': 0.0}}, CostError, "guardrail 'limits'"),
    ({'mode': 'fast'}, ConfigError, "mode 'fast' is unknown; known: auto, reactive, planned"),
    ({'budget_ms': 0.0}, ConfigError, 'planner budget is 0.0 ms'),
    ({'budget_ms': math.nan}, ConfigError, 'planner budget is nan ms'),
])
def test_a_change_that_cannot_be_is_refused_and_changes_nothing(configurator, change, error, line):
    before = configurator.start(GOAL)
    with pytest.raises(error, match=line):
        configurator.reconfigure(**change)
    assert configurator.settings is before


def test_a_readout_goal_cannot_be_switched_to_reflex(configurator):
    before = configurator.start(READOUT_GOAL)
    with pytest.raises(ConfigError, match='needs a goal image or a moment of a bag'):
        configurator.reconfigure(mode='reactive')
    assert configurator.settings is before


# ---- tasks that know their goals, and sequences of them
def test_to_stay_is_to_go_back_to_where_it_began(configurator):
    settings = configurator.start(None, 'hold', state=at(3.0), now_s=1.0)
    assert torch.equal(settings.goal.levels[0], at(3.0).levels[0])
    assert configurator.observe(at(3.0), 5.9).outcome is None           # there, but not for long enough
    assert configurator.observe(at(4.0), 6.1).outcome is None           # pushed away
    assert configurator.observe(at(3.0), 7.0).outcome == 'success'


def test_a_task_without_a_goal_runs_until_time_is_up(configurator):
    assert configurator.start(None, 'roam').goal is None
    progress = configurator.observe(at(0.0), 8.9)
    assert progress.outcome is None and math.isnan(progress.energy) and progress.progress == 0.0
    assert configurator.observe(at(0.0), 9.0).outcome == 'timeout'


def test_success_may_be_conditions_on_readouts_all_of_which_must_hold(configurator):
    configurator.start(None, 'far_east')
    assert [configurator.observe(at(0.0, x, y), 1.0).outcome for x, y in ((3.1, 0.1), (3.0, 0.0), (3.1, 0.0))] == \
        [None, None, 'success']


def test_a_sequence_goes_from_goal_to_goal_with_a_new_version_each(configurator):
    first = configurator.start(None, 'round')
    assert (first.task, first.part, first.goal.readouts) == ('round', '1/2 east', {'x_m': 2.0})
    progress = configurator.observe(at(0.0, x=2.0), 1.0)
    assert (progress.outcome, progress.ended.success, progress.ended.part) == (None, True, '1/2 east')
    second = configurator.settings
    assert second.version > first.version and second.part == '2/2 reach' and second.goal.readouts == {'x_m': -2.0}
    assert second.weights['effort'] == 0.5      # of the task `reach`


def test_a_part_whose_time_is_up_is_passed_over_and_the_sequence_ends_after_its_rounds(configurator):
    configurator.start(None, 'round')
    seen = [configurator.observe(at(0.0, x=x), now) for now, x in ((1, 2.0), (6.5, 0.0), (7, 2.0), (8, -2.0))]
    assert [p.ended.success for p in seen] == [True, False, True, True]
    assert seen[1].ended.reason == 'not reached within 5 s' and seen[2].part == '1/2 east, round 2'
    assert [p.outcome for p in seen] == [None, None, None, 'success']


def test_a_sequence_takes_the_goal_of_the_action_where_a_part_has_none(configurator):
    assert configurator.start(GOAL, 'two_goals').goal is GOAL


def test_a_part_that_cannot_begin_fails_and_the_configurator_goes_on(configurator):
    tasks = {'in': Task(goal={'readouts': {'x_m': 2.0}}), 'stay': Task(goal='stay', success='never'),
             'both': Task(sequence=['in', 'stay'], on_failure='next')}
    made = Configurator(configurator._cost, tasks, TOLERANCE)
    made.start(None, 'both', state=at(0.0))
    made._cost.make_settings = lambda *args, **kwargs: (_ for _ in ()).throw(CostError('the goal lies inside'))
    made.observe(at(0.0, x=2.0), 1.0)
    ended = made.observe(at(0.0, x=2.0), 1.1)
    assert ended.ended.reason == 'the goal lies inside' and ended.outcome == 'success'  # the first part was reached


def test_a_token_that_the_model_has_is_a_setting(configurator):
    tuned = Configurator(configurator._cost, TASKS, TOLERANCE, token_names=['speed'])
    assert tuned.start(GOAL, 'tuned').modulation == {'speed': 1.0}
    with pytest.raises(ConfigError, match=r"unknown token 'speed' \(did you mean sped\?\); known: sped"):
        Configurator(configurator._cost, TASKS, TOLERANCE, token_names=['sped']).start(GOAL, 'tuned')


def test_a_task_of_the_user_s_own_is_checked_against_the_model(configurator):
    configurator.check('round')
    with pytest.raises(CostError, match="unknown readout 'z_m'"):
        configurator.check('lost')
    with pytest.raises(ConfigError, match='without task tokens'):
        configurator.check('tuned')
