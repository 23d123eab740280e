"""Live messages, handed over in any order, make the percepts that a bag of them makes."""
from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from jepa_ros.robot.ingest import Ingest
from jepa_ros.robot.live_order import LiveOrder, MOST_WAITING, sending_time_ns
from jepa_ros.robot.order import Arrival, Sequencer
from jepa_ros.robot.sim_dates import SimDates

from .test_ingest import MS, pose, robot, S

SETTLE = 5 * MS
START = 10**18      # wall time
TWO = ({'key': 'a'}, {'key': 'b'})


def live(contract, **options) -> LiveOrder:
    return LiveOrder(Ingest(contract), {o.topic for o in contract.observations}, **options)


def drive(order: LiveOrder, arrivals) -> list:
    """`(topic, message, sent, received)` in the order of reception; between them the timer fires when it is due."""
    percepts = []
    for topic, message, sent, received in arrivals:
        while (due := order.due_ns()) is not None and due < received:
            percepts += order.poll(due)
        percepts += order.receive(topic, message, sent, received)
    while (due := order.due_ns()) is not None:
        percepts += order.poll(due)
    return percepts


def alike(ours, theirs) -> bool:
    return len(ours) == len(theirs) and all(
        p.stamp_ns == q.stamp_ns and p.valid == q.valid and all((p.values[k] == q.values[k]).all() for k in p.values)
        for p, q in zip(ours, theirs))


def test_one_stream_is_never_waited_for():
    order = live(robot({'key': 'a'}))
    assert not order.needs_timer
    assert len(order.receive('a', pose(100), START, START + 3)) == 1 and order.due_ns() is None


def test_a_tick_waits_for_what_was_sent_before_it():
    order = live(robot(*TWO))
    assert order.receive('a', pose(100, 1), START, START + MS) == []
    assert order.due_ns() == START + SETTLE
    assert order.receive('b', pose(90, 2), START - MS, START + 2 * MS) == []
    (percept,) = order.poll(START + SETTLE)
    assert percept.values['b'][0] == 2 and order.due_ns() is None


def test_messages_that_make_no_tick_need_no_timer_until_they_are_many():
    order = live(robot(*TWO))
    for n in range(MOST_WAITING + 1):
        assert order.due_ns() is None
        order.receive('b', pose(90 + n), START + n, START + n)
    assert order.due_ns() == START + SETTLE
    order.poll(START + S)
    assert order.due_ns() is None and order.ingest.counters['b'].received == MOST_WAITING + 1


def test_what_comes_too_late_is_counted_and_used_at_the_next_tick():
    order = live(robot(*TWO))
    order.receive('b', pose(50, 1), START - 50 * MS, START - 40 * MS)
    order.receive('a', pose(100, 2), START, START)
    (percept,) = order.poll(START + SETTLE)
    assert percept.values['b'][0] == 1
    order.receive('b', pose(90, 3), START - MS, START + 2 * SETTLE)
    order.receive('a', pose(200, 4), START + 100 * MS, START + 100 * MS)
    (percept,) = order.poll(START + 110 * MS)
    assert percept.values['b'][0] == 3 and order.ingest.counters['b'].late == 1


def test_a_publisher_whose_clock_is_ahead_makes_nobody_wait_longer():
    order = live(robot(*TWO))
    order.receive('b', pose(90), START, START)
    order.receive('a', pose(100), START + 800 * MS, START + MS)
    assert order.due_ns() == START + MS + SETTLE and len(order.poll(START + MS + SETTLE)) == 1


@pytest.mark.parametrize('source, expected', [(S, S), (0, 5 * S), (4 * S, 4 * S), (6 * S, 6 * S), (7 * S, 5 * S)])
def test_sending_times_of_another_clock_are_not_used(source, expected):
    assert sending_time_ns(source, 5 * S if source != S else S + 1) == expected


def test_simulated_time_is_the_newest_stamp_so_far_as_in_the_recorder():
    stamps = [None, 5000, None, 5000, 4000, 9000, None]
    dates, sequencer = SimDates(), Sequencer(sim_time=True)
    for number, stamp in enumerate(stamps[1:]):
        sequencer.put(Arrival('t', b'', number, number, stamp))
    assert [dates.date(stamp) for stamp in stamps][1:] == [time for time, _ in sequencer.flush()]


def test_with_a_simulated_clock_the_ticks_of_the_clock_come_with_the_messages():
    order = live(robot(*TWO, pace='clock', clock='sim'))
    percepts = drive(order, [(t, pose(stamp), START + n, START + n) for n, (t, stamp) in enumerate(
        [('a', 1050), ('b', 1060), ('a', 1150), ('b', 1160), ('a', 1350)])])
    assert [p.stamp_ns // MS for p in percepts] == [1100, 1200, 1300]


STEPS = st.lists(st.tuples(st.sampled_from('ab'), st.integers(1, 40), st.integers(0, 4), st.integers(0, 20)),
                 max_size=40)


@given(STEPS, st.sampled_from(['', 'b', 'clock']), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_interleaving_within_the_settling_time_makes_the_percepts_of_the_bag(steps, pace, sim_time):
    """Each message is under way for 0 to 4 ms, less than settle_s; the executor turns their order around."""
    contract = robot(*TWO, pace=pace)
    sent, messages = START, []
    for number, (topic, step, under_way, age) in enumerate(steps, 1):
        sent += step * MS // 2
        measured = sent - START + S if sim_time else sent
        messages.append((topic, pose(0), sent, sent + under_way * MS))
        stamp = messages[-1][1].header.stamp
        stamp.sec, stamp.nanosec = divmod(measured - age * MS, S)
        messages[-1][1].pose.position.x = float(number)
    bag, dates = Ingest(contract), SimDates()
    recorded = []
    for topic, message, sent, _ in messages:
        stamp = message.header.stamp.sec * S + message.header.stamp.nanosec
        recorded += bag.put(topic, message, dates.date(stamp) if sim_time else sent)
    order = live(contract, sim_time=sim_time)
    percepts = drive(order, sorted(messages, key=lambda m: m[3]))
    # Live ticks of the clock also come behind the last message; a bag ends with it.
    assert alike(percepts[:len(recorded)], recorded)
    assert pace == 'clock' or len(percepts) == len(recorded)
