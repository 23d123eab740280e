"""What the demo counts as success, and what its report says."""
import json

from made_up_demo import BEGIN_NS, PERIOD_NS, pursuit, tape
import pytest

from jepa_ros.evaluation.tape import demo_report

KEYS = {'episodes', 'successes', 'success_rate', 'collisions', 'control_hz', 'deadline_miss_rate', 'plan_latency_ms',
        'percept_to_action_ms', 'time_to_goal_s', 'composition', 'model_sha256', 'seed', 'rows', 'task',
        'reactive_share'}


@pytest.mark.parametrize('changes, verdict', [
    ({}, 'reached in 3.0 s'),
    ({'distance_m': 0.2}, 'judged reached, but 0.20 m away'),
    ({'error': 'TIMEOUT', 'message': 'too slow'}, 'not reached (TIMEOUT): too slow')])
def test_success_needs_the_agents_word_and_the_truth(changes, verdict):
    assert pursuit(**changes).verdict == verdict
    assert pursuit(**changes).success == (not changes)


def test_more_than_a_minute_is_no_success():
    assert not pursuit(elapsed_s=60.1).success


def test_the_report_has_its_keys_and_figures():
    pursuits = [pursuit(), pursuit(index=1, error='TIMEOUT', first_ns=0, last_ns=0)]
    report = demo_report(tape(), pursuits, True, 'abc', 7, 'reach')
    assert set(report) == KEYS
    assert (report['episodes'], report['successes'], report['success_rate']) == (2, 1, 0.5)
    assert report['collisions'] == 2 and (report['task'], report['reactive_share']) == ('reach', 0.0)
    assert report['control_hz'] == pytest.approx(10)
    assert report['deadline_miss_rate'] == 0
    assert report['percept_to_action_ms']['p99'] == pytest.approx(30)
    assert report['plan_latency_ms'] == {'p50': 25, 'p95': 25, 'p99': 25}
    assert report['time_to_goal_s'] == {'p50': 3, 'p95': 3}
    json.dumps(report, allow_nan=False)


def test_a_report_without_success_is_still_json():
    report = demo_report(tape(), [pursuit(error='TIMEOUT', message='x')], False, 'abc', 0, 'reach')
    assert report['time_to_goal_s'] == {'p50': None, 'p95': None}
    json.dumps(report, allow_nan=False)


def test_an_episode_takes_its_own_part_of_a_track():
    short = pursuit(first_ns=BEGIN_NS + 1, last_ns=BEGIN_NS + 2 * PERIOD_NS)
    assert tape().during(tape().poses, short) == [BEGIN_NS + PERIOD_NS, BEGIN_NS + 2 * PERIOD_NS]
