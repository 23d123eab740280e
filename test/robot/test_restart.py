"""A simulation that is started again within a recording: nothing of the run before counts in the next."""
from hypothesis import given, settings
from hypothesis import strategies as st
from made_bags import base_bag, every, odometry, scan, STORE, twist, WALL_NS, write_bag
import numpy as np
import pytest
from rclpy.serialization import serialize_message

from jepa_ros.msg import EpisodeEvent
from jepa_ros.robot.bag_metadata import Provenance
from jepa_ros.robot.bag_writer import BagWriter
from jepa_ros.robot.bags import read_episodes
from jepa_ros.robot.check import check_bag
from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.cutter import Cutter, START
from jepa_ros.robot.draft import draft
from jepa_ros.robot.ingest import Ingest
from jepa_ros.robot.live_order import LiveOrder
from jepa_ros.robot.order import Arrival, PAUSE_NS, Sequencer, TIME_ONLY
from jepa_ros.robot.sim_dates import LogDates, SimDates
from jepa_ros.robot.survey import survey_bag

from .conftest import stamped
from .test_cutter import CONTRACT, MS, S, spans, tick
from .test_ingest import feed, robot, seen

END = 10**18
FIRST, SECOND = 30, 50      # ticks of the two runs


def sim_ns(number: int) -> int:
    """Stamp of the number-th tick: from 1 s on, and again from 1 s on."""
    return S + 100 * MS * (number if number < FIRST else number - FIRST)


def command(number: int) -> float:
    return 0.01 * (number + 1)


def reset_bag(path, **more):
    """Stamps of a simulator that was reset, logged at wall times; each scan is answered by its command."""
    count = FIRST + SECOND
    return write_bag(path, {
        '/scan': every(0.1, count, lambda i, t: scan(sim_ns(i), [1.0] * 8)),
        '/cmd_vel': every(0.1, count, lambda i, t: twist(command(i)), WALL_NS + 4 * MS)} | more)


@pytest.fixture
def drafted(tmp_path):
    bag = reset_bag(tmp_path / 'bag')
    return bag, RobotContract.parse(draft(survey_bag(bag)))


# ---- a bag

def test_each_run_has_its_own_commands(drafted):
    bag, contract = drafted
    first, second = read_episodes(bag, contract)
    for episode, numbers in ((first, range(FIRST)), (second, range(FIRST, FIRST + SECOND))):
        assert episode.stamps_ns.tolist() == [sim_ns(i) for i in numbers]
        np.testing.assert_allclose(episode.actions[:, 0], [command(i) for i in numbers], atol=1e-6)


def test_a_check_counts_the_steps_of_both_runs_and_says_that_stamps_go_back(drafted):
    bag, contract = drafted
    report = check_bag(contract, bag)
    assert report.usable and (report.episodes, report.steps) == (2, FIRST + SECOND)
    assert any('header stamps go back' in f.text for f in report.findings)


def test_the_runs_do_not_make_a_sensor_twice_as_quick(tmp_path):
    """The stamps of the second run lie between those of the first."""
    shifted = every(0.1, 80, lambda i, t: scan(sim_ns(i) + 50 * MS * (i >= FIRST), [1.0] * 8))
    assert RobotContract.parse(draft(survey_bag(reset_bag(tmp_path / 'bag', **{
        '/scan': shifted})))).control_period_s == 0.1


def test_readouts_of_the_run_before_are_not_read(tmp_path):
    """Odometry of the second run begins a second late: until then there is none, not that of the first run."""
    odoms = [m for i, m in enumerate(every(0.1, 80, lambda i, t: odometry(sim_ns(i), float(i)), WALL_NS - MS))
             if not FIRST <= i < FIRST + 10]
    bag = reset_bag(tmp_path / 'bag', **{'/odom': odoms})
    values = RobotContract.parse(draft(survey_bag(bag))).model_dump(exclude_defaults=True)
    values['observations'] = [o for o in values['observations'] if o['key'] == 'scan']
    first, second = read_episodes(bag, RobotContract.model_validate(values))
    assert first.readouts[:, 0].tolist() == list(range(FIRST))
    assert second.readouts[:, 0].tolist() == list(range(FIRST + 10, FIRST + SECOND))


def test_ticks_of_a_sensor_whose_clock_was_set_back_are_left_out_and_said(tmp_path):
    """The log goes on: a command of two seconds ago is no answer to what is seen now. Later it is set right."""
    bag = base_bag(tmp_path / 'bag', 80, scan=every(
        0.1, 80, lambda i, t: scan(t - 2 * S * (40 <= i < 50), [1.0] * 8), WALL_NS + MS), odom=None,
        cmd_vel=every(0.1, 80, lambda i, t: twist(command(i))))
    contract = RobotContract.model_validate({
        'name': 'r', 'control_period_s': 0.1,
        'observations': [{'key': 'scan', 'topic': 'scan', 'type': 'sensor_msgs/msg/LaserScan', 'beams': 8}],
        'actions': [{'key': 'base', 'topic': 'cmd_vel', 'type': 'geometry_msgs/msg/Twist', 'align': 'hold', 'fields': [
            {'name': 'v', 'field': 'linear.x', 'min': -1, 'max': 1, 'max_rate': 9}]}]})
    lines: list[str] = []
    first, second = read_episodes(bag, contract, report=lines.append)
    for episode, numbers in ((first, range(40)), (second, range(50, 80))):
        np.testing.assert_allclose(episode.actions[:, 0], [command(i) for i in numbers], atol=1e-6)
    assert '10 rows are left out, first: stamps went back by 2 s and the log did not' in '\n'.join(lines)


@pytest.mark.parametrize('clock', ['sim', 'lockstep'])
def test_a_recording_of_ones_own_reads_as_it_was_seen_live(tmp_path, drafted, clock):
    _, contract = drafted
    sequencer = Sequencer(sim_time=True)
    live, percepts = LiveOrder(Ingest(contract), {'scan'}), []
    for i in range(FIRST + SECOND):
        sent, seen_now, said = WALL_NS + i * 100 * MS, scan(sim_ns(i), [1.0] * 8, 'laser'), twist(command(i))
        percepts += live.receive('scan', seen_now, sent, sent)
        for topic, made, at, stamp in (('/scan', seen_now, sent, sim_ns(i)), ('/cmd_vel', said, sent + 4 * MS, None)):
            sequencer.put(Arrival(topic, (made.__msgtype__, made), at, at, stamp))
    writer = BagWriter(tmp_path / 'own', Provenance(contract, clock))
    for topic, kind in (('/scan', 'sensor_msgs/msg/LaserScan'), ('/cmd_vel', 'geometry_msgs/msg/Twist'),
                        ('/episode', 'jepa_ros/msg/EpisodeEvent')):
        writer.add_topic(topic, kind)
    for log_ns, arrival in sequencer.flush():
        kind, made = arrival.raw
        writer.write(arrival.topic, log_ns, bytes(STORE.serialize_cdr(made, kind)))
        if arrival.stamp_ns == sim_ns(0) and not writer.counts.get('/episode'):
            event = stamped(EpisodeEvent, sim_ns(0), event=EpisodeEvent.START, episode_id='e')
            writer.write('/episode', log_ns + 1, serialize_message(event))
    writer.close()
    first, second = read_episodes(tmp_path / 'own', contract)
    assert [*first.stamps_ns, *second.stamps_ns] == [p.stamp_ns for p in percepts]
    np.testing.assert_allclose([*first.actions[:, 0], *second.actions[:, 0]],
                               [command(i) for i in range(FIRST + SECOND)], atol=1e-6)


# ---- dates

def test_dates_begin_anew_with_a_topic_whose_stamps_go_back():
    dates = SimDates()
    assert [dates.date(ns, topic) for ns, topic in (
        (10 * S, 'scan'), (None, 'cmd'), (2 * S, 'scan'), (None, 'cmd'), (2 * S + 100, 'scan'))] == [
        10 * S, 10 * S + 1, 2 * S, 2 * S + 1, 2 * S + 100]
    assert dates.restarts == 1


def test_a_sensor_that_is_always_late_begins_nothing():
    dates = SimDates()
    stamps = [(t * S - late, topic) for t in range(5, 20) for topic, late in (('scan', 0), ('camera', 3 * S))]
    times = [dates.date(ns, topic) for ns, topic in stamps]
    assert dates.restarts == 0 and times == sorted(times) and times[-1] == 19 * S + 1


def test_an_image_of_the_run_before_that_comes_after_the_restart_does_not_turn_time_forward():
    dates = SimDates()
    for ns, topic in ((9 * S, 'camera'), (10 * S, 'scan')):
        dates.date(ns, topic)
    assert dates.date(1 * S, 'scan') == 1 * S
    assert dates.date(10 * S, 'camera') == 1 * S + 1
    assert dates.date(1 * S + 500 * MS, 'camera') == 1 * S + 500 * MS and dates.restarts == 1


def test_a_single_sensor_that_starts_again_stops_the_time_for_a_moment_only():
    dates = SimDates()
    for ns, topic in ((100 * S, 'scan'), (100 * S, 'camera'), (1 * S, 'camera'), (100 * S + 100 * MS, 'scan')):
        dates.date(ns, topic)
    assert dates.date(101 * S + 100 * MS, 'scan') == 101 * S + 100 * MS
    assert dates.date(2 * S, 'camera') == 101 * S + 100 * MS + 1


def test_log_times_of_simulated_recordings_count_until_the_simulation_began_anew():
    dates = LogDates(simulated=True)
    log = [(1000, 1000, 'scan'), (1007, None, 'cmd'), (S + 10**10, S + 10**10, 'scan'), (2 * 10**10, S, 'scan'),
           (3 * 10**10, None, 'cmd')]
    assert [dates.date(*each) for each in log] == [1000, 1007, S + 10**10, S, S + 1]


@given(st.lists(st.tuples(st.sampled_from('abc'), st.integers(0, 999) | st.none()), max_size=60))
@settings(max_examples=60, deadline=None)
def test_dates_always_grow_while_no_stamp_goes_back_by_more_than_a_second(stamps):
    dates = SimDates()
    times = [dates.date(None if ms is None else 5 * S + ms * MS, topic) for topic, ms in stamps]
    assert times == sorted(set(times)) and dates.restarts == 0


# ---- percepts

def test_samples_of_the_run_before_are_forgotten_when_sending_times_go_back():
    ingest = Ingest(robot({'key': 'a'}, {'key': 'b'}))
    feed(ingest, ('b', 1000, 1000), ('a', 9000, 9000))      # b is old enough to lie before the next ticks
    after = feed(ingest, ('a', 1500, 1500), ('b', 1550, 1550), ('a', 1600, 1600))
    assert [p.stamp_ns for p in after] == [1600 * MS] and seen(after, 'b') == [1]
    assert ingest.withheld == {'b': 1}


def test_what_is_latched_still_stands_after_a_restart():
    ingest = Ingest(robot({'key': 'a'}, {'key': 'b', 'qos': 'latched'}))
    feed(ingest, ('b', 5000, 5000), ('a', 9000, 9000))
    after = feed(ingest, ('a', 1500, 1500), ('b', 1550, 1550), ('a', 1600, 1600))
    assert seen(after, 'b') == [0, 1]


# ---- episodes

def test_an_episode_that_nobody_ended_goes_on_in_a_part_of_its_own_and_ended_ones_do_not():
    cutter = Cutter(CONTRACT, 'bag', False)
    cutter.event(5000 * MS, START, 'a')
    done = [e for ms in range(5000, 5500, 100) for e in tick(cutter, ms)]
    cutter.event(5500 * MS, START, 'b')
    done += [e for ms in (*range(5500, 6000, 100), *range(1000, 1500, 100)) for e in tick(cutter, ms)]
    assert spans([*done, *cutter.finish()]) == [('a', 5000, 5400), ('b', 5500, 5900), ('b+1', 1000, 1400)]


# ---- the recorder

def recorded(*arrivals):
    sequencer = Sequencer(sim_time=True)
    for sent, (topic, stamp) in enumerate(arrivals):
        sequencer.put(Arrival(topic, b'', sent, sent, stamp))
    return [(time, arrival.topic) for time, arrival in sequencer.ready(END)]


def test_the_log_of_a_recorder_goes_on_when_the_simulation_begins_anew():
    """Readers sort by it. What comes then is as far apart as its stamps are."""
    log = recorded(('scan', 10 * S), ('cmd', None), ('scan', 2 * S), ('cmd', None), ('scan', 2 * S + 100 * MS))
    again = 10 * S + 1 + PAUSE_NS
    assert log == [(10 * S, 'scan'), (10 * S + 1, 'cmd'), (again, 'scan'), (again + 1, 'cmd'),
                   (again + 100 * MS, 'scan')]


def test_a_clock_that_begins_anew_dates_what_has_no_stamps():
    log = recorded((TIME_ONLY, 10 * S), ('array', None), (TIME_ONLY, 2 * S), ('array', None), (TIME_ONLY, 3 * S),
                   ('array', None))
    assert log[1][0] == log[0][0] + PAUSE_NS and log[2][0] == log[1][0] + S
