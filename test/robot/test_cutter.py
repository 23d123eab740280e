"""Percepts, commands, readouts and events of a bag, in the order of its log, become episodes."""
from geometry_msgs.msg import PoseStamped
from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np

from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.cutter import Cutter, LAG_S, START
from jepa_ros.robot.ingest import Percept

from .conftest import stamped

MS, S, STOP = 10**6, 10**9, 4
POSE = 'geometry_msgs/msg/PoseStamped'
CONTRACT = RobotContract.model_validate({
    'name': 'r', 'control_period_s': 0.1,
    'observations': [{'key': 'a', 'topic': 'a', 'type': POSE, 'fields': ['pose.position.x']}],
    'readouts': [{'name': 'x_m', 'topic': 'truth', 'type': POSE, 'field': 'pose.position.x'}],
    'actions': [{'key': 'base', 'topic': 'cmd_vel', 'type': 'geometry_msgs/msg/Twist', 'fields': [
        {'name': 'v', 'field': 'linear.x', 'min': -9, 'max': 9, 'max_rate': 1}]}]})


def tick(cutter: Cutter, ms: int, log_ms: int | None = None, truth_ms: int | None = None) -> list:
    """A percept with its number in every array, its truth measured with it, and the command that answers it."""
    log_ns = (ms if log_ms is None else log_ms) * MS
    measured = stamped(PoseStamped, (ms if truth_ms is None else truth_ms) * MS)
    measured.pose.position.x = float(ms)
    cutter.percept(Percept(ms * MS, {'a': np.array([ms], np.float32)}, {'a': True}, np.zeros(1, np.float32)), log_ns)
    cutter.readout('truth', measured, log_ns + MS)      # sent after the percept, measured with it
    cutter.command(0, log_ns + 2 * MS, np.array([ms / 1000], np.float32))
    return list(cutter.ready(log_ns))


def spans(episodes) -> list[tuple[str, int, int]]:
    return [(e.episode_id, int(e.stamps_ns[0]) // MS, int(e.stamps_ns[-1]) // MS) for e in episodes]


def run(cutter: Cutter, *stamps_ms: int) -> list:
    return [e for ms in stamps_ms for e in tick(cutter, ms)] + list(cutter.finish())


def test_a_readout_measured_at_the_tick_counts_even_if_it_was_sent_after_it():
    (episode,) = run(Cutter(CONTRACT, 'bag', False, 'bag'), *range(1000, 1500, 100))
    assert episode.readouts[:, 0].tolist() == [1000, 1100, 1200, 1300, 1400]
    assert episode.actions[:, 0].tolist() == np.float32([1.0, 1.1, 1.2, 1.3, 1.4]).tolist()


def test_an_event_counts_by_its_stamp_though_it_is_logged_after_the_ticks():
    cutter = Cutter(CONTRACT, 'bag', False)
    for ms in range(1000, 1500, 100):
        assert not tick(cutter, ms)
    cutter.event(1200 * MS, START, 'e')
    for ms in range(1500, 2000, 100):
        assert not tick(cutter, ms)
    cutter.event(1700 * MS, STOP, 'e')
    assert spans(cutter.finish()) == [('e', 1200, 1600)]


def test_an_end_of_another_episode_ends_nothing():
    cutter = Cutter(CONTRACT, 'bag', False)
    cutter.event(1000 * MS, START, 'e')
    for ms in (1000, 1100):
        tick(cutter, ms)
    cutter.event(1150 * MS, STOP, 'other')
    tick(cutter, 1200)
    assert spans(cutter.finish()) == [('e', 1000, 1200)]


def test_an_episode_is_given_out_when_the_log_has_gone_on_and_not_before():
    cutter = Cutter(CONTRACT, 'bag', False)
    cutter.event(1000 * MS, START, 'e')
    for ms in range(1000, 1300, 100):
        tick(cutter, ms)
    cutter.event(1300 * MS, STOP, 'e')
    out = {ms: spans(tick(cutter, ms)) for ms in range(1300, 5000, 100)}
    given_out = [ms for ms, episodes in out.items() if episodes]
    assert len(given_out) == 1 and out[given_out[0]] == [('e', 1000, 1200)]
    assert 1300 + LAG_S * 1000 <= given_out[0] <= 1300 + LAG_S * 1000 + 200


def test_between_episodes_nothing_is_kept():
    cutter = Cutter(CONTRACT, 'bag', False)
    for ms in range(1000, 101_000, 100):
        tick(cutter, ms)
    assert len(cutter._ticks) <= LAG_S * 10 + 2 and len(cutter._commands[0].times) <= LAG_S * 10 + 3


def test_a_clock_that_goes_back_cuts():
    cutter = Cutter(CONTRACT, 'bag', False, 'bag')
    episodes = run(cutter, 9000, 9100, 1000, 1100, 1200)
    assert [len(e) for e in episodes][-1] == 3 and spans(episodes)[-1] == ('bag+1', 1000, 1200)


@given(st.lists(st.tuples(st.sampled_from([100, 100, 100, 140, 300]), st.integers(0, 80)), min_size=1, max_size=60),
       st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=4))
@settings(max_examples=100, deadline=None)
def test_reading_on_gives_the_same_as_knowing_the_whole_bag(steps, episodes):
    """Rows of an episode are the ticks within its events, cut at gaps of more than 1.5 periods."""
    stamps = 1000 + np.cumsum([step for step, _ in steps])
    log = [(int(s) + late, 'tick', int(s)) for s, (_, late) in zip(stamps, steps)]
    expected, last = [], 1000
    for number, (wait, length) in enumerate(episodes):
        first, last = last + wait * 100, last + (wait + length) * 100
        log += [(first + 50, 'start', first, str(number)), (last + 50, 'end', last, str(number))]
        inside = stamps[(stamps >= first) & (stamps < last)]
        runs = np.split(inside, np.flatnonzero(np.diff(inside) > 150) + 1) if len(inside) else []
        expected += [(f'{number}+{i}' if i else str(number), int(run[0]), int(run[-1])) for i, run in enumerate(runs)]
    cutter, found = Cutter(CONTRACT, 'bag', False), []
    for log_ms, what, ms, *name in sorted(log, key=lambda entry: entry[0]):
        if what == 'tick':
            found += tick(cutter, ms, log_ms)
        else:
            cutter.event(ms * MS, START if what == 'start' else STOP, name[0])
    found += cutter.finish()
    assert spans(found) == expected
    assert all(e.readouts[:, 0].tolist() == (e.stamps_ns / MS).tolist() for e in found)
