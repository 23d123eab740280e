"""Messages come back in the order in which they were sent, with log times that grow."""
from hypothesis import given, settings
from hypothesis import strategies as st

from jepa_ros.robot.order import Arrival, HOLD_NS, Sequencer, SKEW_NS, TIME_ONLY

END = 10**18


def test_commands_stand_between_their_percept_and_the_next():
    sequencer = Sequencer(sim_time=True)
    sent = [('image', 10, 1_000), ('cmd_vel', 20, None), ('image', 30, 2_000), ('cmd_vel', 40, None)]
    for topic, sent_ns, stamp in reversed(sent):  # an executor that hands over in the worst order
        sequencer.put(Arrival(topic, b'', sent_ns, sent_ns, stamp))
    assert [(t, a.topic) for t, a in sequencer.ready(END)] == [
        (1_000, 'image'), (1_001, 'cmd_vel'), (2_000, 'image'), (2_001, 'cmd_vel')]


def test_nothing_is_given_out_before_it_was_held():
    sequencer = Sequencer(sim_time=False)
    sequencer.put(Arrival('a', b'', 1_000, 1_000))
    assert sequencer.ready(1_000 + HOLD_NS - 1) == []
    assert len(sequencer.ready(1_000 + HOLD_NS)) == 1


def test_on_a_live_robot_log_times_are_times_of_sending():
    sequencer = Sequencer(sim_time=False)
    sequencer.put(Arrival('a', b'', 5, 105, stamp_ns=1))
    assert sequencer.ready(END)[0][0] == 5


def test_a_publisher_whose_clock_is_off_gets_the_time_of_arrival():
    sequencer = Sequencer(sim_time=False)
    now = 10 * SKEW_NS
    sequencer.put(Arrival('ahead', b'', now + 2 * SKEW_NS, now))
    sequencer.put(Arrival('behind', b'', now - 2 * SKEW_NS, now + 5))
    sequencer.put(Arrival('right', b'', now - 3, now + 2))
    assert [(t, a.topic) for t, a in sequencer.ready(END)] == [(now - 3, 'right'), (now, 'ahead'), (now + 5, 'behind')]
    assert sequencer.skewed == 2


def test_what_comes_before_the_first_stamp_is_dated_right_before_it():
    sequencer = Sequencer(sim_time=True)
    sequencer.put(Arrival('latched', b'', 10, 10))
    assert sequencer.ready(END) == []
    sequencer.put(Arrival('image', b'', 20, 20, stamp_ns=5_000))
    assert [(t, a.topic) for t, a in sequencer.ready(END)] == [(4_999, 'latched'), (5_000, 'image')]


def test_a_clock_dates_what_has_no_stamps_and_is_not_given_out():
    sequencer = Sequencer(sim_time=True)
    for sent, topic, stamp in ((10, 'latched', None), (20, TIME_ONLY, 5_000), (30, 'array', None), (40, 'cmd', None),
                               (50, TIME_ONLY, 6_000), (60, 'array', None)):
        sequencer.put(Arrival(topic, b'', sent, sent, stamp))
    assert [(t, a.topic) for t, a in sequencer.ready(END)] == [
        (4_999, 'latched'), (5_000, 'array'), (5_001, 'cmd'), (6_000, 'array')]


def test_late_messages_are_counted_and_kept():
    sequencer = Sequencer(sim_time=False)
    sequencer.put(Arrival('a', b'', 1_000, 1_000))
    sequencer.ready(END)
    sequencer.put(Arrival('b', b'', 10, 20))
    assert sequencer.late == 1 and len(sequencer.ready(END)) == 1


@given(st.lists(st.tuples(st.integers(0, 100), st.none() | st.integers(0, 50)), max_size=40), st.booleans())
@settings(max_examples=60, deadline=None)
def test_log_times_always_grow_and_nothing_is_lost(messages, sim_time):
    sequencer, out = Sequencer(sim_time), []
    for sent, stamp in messages:
        sequencer.put(Arrival('a', b'', sent, sent, stamp))
        out += sequencer.ready(sent + HOLD_NS // 2)
    times = [time for time, _ in out + sequencer.flush()]
    assert len(times) == len(messages) and times == sorted(set(times))
