"""Which message is due when: rate, pause, steps and passes, without ROS."""
import math

from hypothesis import given
from hypothesis import strategies as st
import pytest
from tiny import invariant

from jepa_ros.errors import BagError, ConfigError
from jepa_ros.robot.replay import GAP_NS, Item, items, NEVER, newest, Transport, Window, window

SECOND = 10**9
TICK = SECOND // 10


def tape(times_ns: list[int], pace: str = 'tick') -> list[Item]:
    """Items at these log times; every second one begins a tick."""
    return [Item('tick' if i % 2 == 0 else 'other', ns, b'', i % 2 == 0) for i, ns in enumerate(sorted(times_ns))]


def running(rate: float, now_s: float = 0.0, paused: bool = False) -> Transport:
    """A transport that stands at playback time 0 and runs from a moment on."""
    transport = Transport(rate, 0, paused)
    transport.begin(now_s)
    return transport


def play(transport: Transport, waiting: list[Item], now_s: float) -> list[Item]:
    """Send all that is due at a moment, as the node would."""
    sent = []
    while waiting and transport.wait_s(waiting[0], now_s) <= 0:
        transport.sent(waiting[0])
        sent.append(waiting.pop(0))
    return sent


# ---- the part that is played -------------------------------------------------------------------------------------

def test_the_whole_bag_is_played_unless_said_otherwise():
    assert window('b', (5 * SECOND, 9 * SECOND)) == Window(5 * SECOND, 9 * SECOND)


def test_start_and_duration_count_from_the_first_message():
    assert window('b', (5 * SECOND, 9 * SECOND), 1.0, 2.0) == Window(6 * SECOND, 8 * SECOND)


def test_a_duration_beyond_the_end_ends_with_the_bag():
    assert window('b', (5 * SECOND, 9 * SECOND), 1.0, 20.0).stop_ns == 9 * SECOND


@pytest.mark.parametrize('span, start_s, duration_s, error, words', [
    ((5 * SECOND, 9 * SECOND), 4.0, 0.0, BagError, 'start 4 s is past the end, the bag is 4.0 s long'),
    ((5 * SECOND, 9 * SECOND), -1.0, 0.0, ConfigError, 'start is -1'),
    ((5 * SECOND, 9 * SECOND), 0.0, math.inf, ConfigError, 'duration is inf'),
    ((2**63 - 1, 0), 0.0, 0.0, BagError, 'holds no message')])
def test_a_part_that_cannot_be_played_is_one_line(span, start_s, duration_s, error, words):
    with pytest.raises(error, match=words):
        window('b', span, start_s, duration_s)


# ---- messages in their order -------------------------------------------------------------------------------------

def read(times_ns):
    return lambda start, stop: [('tick', ns, b'x') for ns in times_ns if start <= ns < stop]


def test_a_loop_goes_on_later_by_its_length_and_a_gap():
    part = Window(0, SECOND)
    source = items(read([0, TICK]), part, loop=True, pace='tick', period_ns=TICK)
    first = [next(source) for _ in range(4)]
    assert [i.play_ns for i in first] == [0, TICK, SECOND + GAP_NS, SECOND + GAP_NS + TICK]
    assert [i.shift_ns for i in first] == [0, 0, SECOND + GAP_NS, SECOND + GAP_NS]
    assert [i.passes for i in first] == [1, 1, 2, 2]


@pytest.mark.parametrize('loop', [False, True])
def test_a_part_without_messages_is_refused_also_in_a_loop(loop):
    with pytest.raises(BagError, match='no message of the chosen topics'):
        list(items(read([]), Window(0, SECOND), loop, None, TICK))


@invariant
@given(times=st.lists(st.integers(0, 5 * SECOND), min_size=1))
def test_without_a_pace_topic_each_period_has_one_tick_at_most(times):
    played = list(items(read(sorted(times)), Window(0, 6 * SECOND), False, None, TICK))
    periods = [item.play_ns // TICK for item in played if item.tick]
    assert periods == sorted({ns // TICK for ns in times})


def test_what_was_set_before_the_start_is_the_newest_of_each_topic():
    before = [('a', 1, b'a1'), ('b', 2, b'b1'), ('a', 3, b'a2'), ('a', 4, b'a3')]
    assert list(newest(before, {'a': 2, 'b': 1})) == [('a', b'a2'), ('a', b'a3'), ('b', b'b1')]


# ---- the transport -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize('rate', [0.5, 1.0, 4.0])
def test_rate_divides_the_wait(rate):
    transport = running(rate, 100.0)
    assert transport.wait_s(Item('t', 2 * SECOND, b'', True), 100.0) == pytest.approx(2 / rate)


def test_rate_0_never_waits():
    transport = running(0.0, 100.0)
    assert len(play(transport, tape([n * SECOND for n in range(50)]), 100.0)) == 50


@pytest.mark.parametrize('rate', [-1.0, math.nan, math.inf, 2000.0])
def test_a_rate_that_makes_no_sense_is_one_line(rate):
    with pytest.raises(ConfigError, match='rate is'):
        Transport(rate, 0)


def test_paused_time_stands_still_and_goes_on_from_there():
    transport = running(1.0)
    transport.pause(1.0)
    assert transport.position_ns(50.0) == SECOND
    assert transport.wait_s(Item('t', 2 * SECOND, b'', True), 50.0) == NEVER
    transport.resume(50.0)
    assert transport.wait_s(Item('t', 2 * SECOND, b'', True), 50.0) == pytest.approx(1.0)


def test_a_step_plays_one_tick_and_all_until_the_next():
    transport = running(1.0, paused=True)
    waiting = [Item('odom', 0, b'', False), Item('image', 1, b'', True), Item('odom', 2, b'', False),
               Item('command', 3, b'', False), Item('image', 4, b'', True), Item('odom', 5, b'', False)]
    assert play(transport, waiting, 0.0) == []
    transport.step(0.0)
    assert [i.play_ns for i in play(transport, waiting, 0.0)] == [0, 1, 2, 3]
    assert play(transport, waiting, 9.0) == []
    transport.step(9.0)
    assert [i.play_ns for i in play(transport, waiting, 9.0)] == [4, 5]


def test_a_step_asked_for_before_the_beginning_holds():
    transport = Transport(1.0, 0, paused=True)
    transport.step(3.0)
    transport.begin(5.0)
    assert len(play(transport, tape([0, TICK, 2 * TICK, 3 * TICK]), 5.0)) == 2


def test_resumed_before_the_beginning_time_still_waits_for_it():
    transport = Transport(1.0, 7, paused=True)
    transport.resume(3.0)
    assert transport.position_ns(100.0) == 7


def test_time_stands_until_it_begins():
    transport = Transport(1.0, 7)
    assert transport.position_ns(100.0) == 7
    assert transport.wait_s(Item('t', 7, b'', True), 100.0) == NEVER


def test_a_step_while_playing_pauses_behind_one_tick():
    transport, waiting = running(1.0), tape([n * TICK for n in range(20)])
    play(transport, waiting, 0.45)
    transport.step(0.45, waiting[0])
    assert transport.paused
    assert [i.tick for i in play(transport, waiting, 0.45)].count(True) == 1


def test_a_slow_machine_gives_up_the_lag_instead_of_rushing():
    transport, waiting = running(1.0), tape([n * TICK for n in range(100)])
    sent = play(transport, waiting, 5.0)
    assert len(sent) == 1 and transport.lost_s == pytest.approx(5.0)
    assert transport.wait_s(waiting[0], 5.0) == pytest.approx(0.1)


def test_waiting_for_a_consumer_is_no_lag():
    transport, waiting = running(1.0), tape([n * TICK for n in range(100)])
    for now_s in (0.0, 1.0, 2.0, 3.0):
        transport.stall(waiting[0], now_s)
    play(transport, waiting, 3.0)
    assert transport.lost_s == 0.0
    assert transport.wait_s(waiting[0], 3.0) == pytest.approx(0.1)


operations = st.lists(st.tuples(st.sampled_from(['pause', 'resume', 'step', 'wait', 'stall']), st.floats(0, 0.4)),
                      max_size=60)


@invariant
@given(times=st.lists(st.integers(0, 5 * SECOND), min_size=1, max_size=40), rate=st.sampled_from([0.0, 0.5, 1.0, 3.0]),
       done=operations, paused=st.booleans())
def test_whatever_is_done_time_never_goes_back_and_nothing_is_early_lost_or_out_of_order(times, rate, done, paused):
    transport, waiting, now_s = running(rate, 10.0, paused), tape(times), 10.0
    wanted, sent, positions, steps = list(waiting), [], [0], 0
    for what, pause_s in done:
        now_s += pause_s
        ahead = waiting[0] if waiting else None
        if what == 'resume':
            transport.resume(now_s)
        elif what == 'stall' and ahead and transport.wait_s(ahead, now_s) <= 0:
            transport.stall(ahead, now_s)
        elif what in ('pause', 'step'):
            getattr(transport, what)(now_s, ahead)
            steps += what == 'step'
        for item in play(transport, waiting, now_s):
            sent.append(item)
            positions.append(transport.position_ns(now_s, item))
            assert item.play_ns <= positions[-1] + 1000, 'sent before its time'
        positions.append(transport.position_ns(now_s, waiting[0] if waiting else None))
        assert not waiting or positions[-1] <= max(waiting[0].play_ns, positions[-2]), 'beyond what is still to be sent'
    assert sent == wanted[:len(sent)]
    assert positions == sorted(positions)


@invariant
@given(times=st.lists(st.integers(0, 5 * SECOND), min_size=4, max_size=40), steps=st.integers(1, 30))
def test_as_many_ticks_pass_as_steps_are_asked_for(times, steps):
    transport, waiting = running(1.0, paused=True), tape(times)
    ticks = sum(item.tick for item in waiting)
    for _ in range(steps):
        transport.step(0.0, waiting[0] if waiting else None)
    assert sum(item.tick for item in play(transport, waiting, 0.0)) == min(steps, ticks)
