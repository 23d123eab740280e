"""What is wrong with stamps has one outcome and one counter each; a tick never sees the future."""
from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np

from jepa_ros.errors import ContractError
from jepa_ros.robot.stream_buffer import FUTURE_S, HORIZON_S, JUMP_S, Put, StreamBuffer

MS = 1_000_000
S = 1_000 * MS


def convert(message) -> np.ndarray:
    if message == 'broken':
        raise ContractError('topic: data is broken')
    return np.array([message])


def buffer(*samples, timeout_s: float = 0.5) -> StreamBuffer:
    """Buffer with (stamp in ms, message) samples, each sent when it was measured."""
    made = StreamBuffer('topic', convert, timeout_s)
    for stamp, message in samples:
        made.put(stamp * MS, stamp * MS, message)
    return made


def at(made: StreamBuffer, tick_ms: int):
    sample = made.newest(tick_ms * MS)
    return None if sample is None else sample.value[0]


def test_a_tick_gets_the_newest_sample_that_is_not_newer():
    made = buffer((100, 1), (200, 2), (300, 3))
    assert [at(made, t) for t in (99, 100, 250, 300, 400)] == [None, 1, 2, 3, 3]


def test_only_samples_that_a_tick_wants_are_converted():
    made = buffer(*((10 * n, n) for n in range(1, 30)))
    at(made, 100), at(made, 200), at(made, 205)
    assert made.counters.converted == 2 and made.counters.received == 29


def test_a_sample_that_cannot_be_converted_is_dropped_and_the_next_older_one_is_used():
    made = buffer((100, 1), (200, 'broken'), (300, 'broken'))
    assert at(made, 300) == 1
    assert made.counters.bad == 2 and made.counters.lines['bad'] == 'topic: data is broken'
    assert len(made) == 1


def test_a_stamp_of_zero_is_dropped_with_a_remedy():
    made = buffer((0, 1))
    assert at(made, 10**6) is None and made.counters.zero_stamp == 1
    assert 'stamp is 0' in made.counters.lines['zero_stamp'] and 'stamp: receive' in made.counters.lines['zero_stamp']


def test_a_stamp_behind_its_own_sending_is_dropped_unless_it_is_two_clocks_jitter():
    made = StreamBuffer('topic', convert, 0.5)
    jitter = round(FUTURE_S * S)
    assert made.put(S + jitter, S, 1) is Put.NEWEST
    assert made.put(S + 2 * jitter + 2, S + jitter + 1, 2) is Put.DROPPED
    assert made.counters.future == 1 and 'in the future' in made.counters.lines['future']
    assert made.newest(S) is None, 'not before a tick reaches its stamp'
    assert made.newest(S + jitter).value == 1


def test_of_two_samples_with_one_stamp_the_first_counts():
    made = buffer((100, 1), (100, 2), (90, 3), (90, 4))
    assert at(made, 100) == 1 and made.counters.duplicate == 2


def test_a_sample_out_of_order_is_put_in_its_place():
    made = buffer((100, 1), (300, 3), (200, 2))
    assert made.counters.out_of_order == 1
    assert [at(made, t) for t in (250, 300)] == [2, 3]


def test_a_clock_that_goes_back_empties_the_buffer():
    made = buffer((5000, 1), (5100, 2))
    assert made.put(100 * MS, 5200 * MS, 3) is Put.CLOCK_BACK
    assert made.counters.jump_back == 1 and 'went back by 5 s' in made.counters.lines['jump_back']
    assert at(made, 9000) == 3 and len(made) == 1


def test_a_stamp_that_is_late_by_less_than_a_jump_does_not_empty_the_buffer():
    made = buffer((5000, 1), (5000 - round(JUMP_S * 1000), 0))
    assert made.counters.jump_back == 0 and at(made, 5000) == 1


def test_a_clock_that_goes_forward_is_told_from_a_gap_by_the_time_that_passed():
    made = buffer((100, 1))
    made.put(60_100 * MS, 60_200 * MS, 2)   # a minute passed
    assert (made.counters.gap, made.counters.jump_forward) == (1, 0)
    made.put(100_000 * MS, 100_000 * MS, 3)
    made.put(100_100 * MS, 200_000 * MS, 4)  # the stamps have fallen behind …
    made.put(150_000 * MS, 200_100 * MS, 5)  # … and jump to where they should be
    assert (made.counters.gap, made.counters.jump_forward) == (2, 1)
    assert at(made, 150_000) == 5


def test_a_gap_is_an_interval_longer_than_the_timeout():
    made = buffer((100, 1), (600, 2), (1101, 3), timeout_s=0.5)
    assert made.counters.gap == 1


def test_a_sample_that_comes_after_its_tick_is_late_and_serves_the_next():
    made = buffer((100, 1))
    assert at(made, 200) == 1
    made.put(150 * MS, 250 * MS, 2)
    assert made.counters.late == 1 and at(made, 300) == 2


def test_a_stream_that_nobody_asks_for_does_not_fill_the_memory():
    made = buffer(*((10 * n, n) for n in range(1, 5000)))
    assert len(made) <= HORIZON_S * 100 + 2
    assert at(made, 49_990) == 4999


def test_counts_hold_what_happened_and_nothing_else():
    made = buffer((100, 1), (100, 1))
    at(made, 100)
    assert made.counters.counts() == {'received': 2, 'converted': 1, 'duplicate': 1}
    assert made.counters.troubles() == {'duplicate': 1} and made.counters.dropped == 1


STAMPS = st.integers(-5, 4_000)


@given(st.lists(st.tuples(STAMPS, st.integers(0, 200), st.booleans()), max_size=60), st.lists(STAMPS, max_size=20))
@settings(max_examples=200, deadline=None)
def test_whatever_comes_a_tick_gets_no_future_and_no_broken_sample_and_all_messages_are_counted(puts, ticks):
    made = StreamBuffer('topic', convert, 0.1)
    ticks = sorted(ticks)
    for number, (stamp, delay, good) in enumerate(puts):
        made.put(stamp * MS, (stamp + delay) * MS, number if good else 'broken')
        if ticks and number % 3 == 0:
            tick = ticks.pop(0)
            sample = made.newest(tick * MS)
            if sample is not None:
                assert sample.stamp_ns <= tick * MS
                stamp, _, good = puts[sample.value[0]]
                assert good and stamp * MS == sample.stamp_ns > 0
    counters = made.counters
    assert counters.received == len(puts)
    assert counters.zero_stamp == sum(stamp <= 0 for stamp, *_ in puts)
    assert counters.converted + counters.dropped <= len(puts)
