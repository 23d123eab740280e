"""Real recordings of other authors, through the shipped contracts, against an independent reading of the same files."""
from functools import cache

import cv2
import numpy as np
import pytest
from real_bags import counts, DATA, DONKEYCAR, jpegs, NEATO, needs_data, scans, stamps_of, twists

from jepa_ros.robot.bags import iter_episodes
from jepa_ros.robot.check import check_bag
from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.draft import draft
from jepa_ros.robot.survey import survey_bag

pytestmark = needs_data
QUICK = [f'neato/{name}' for name in NEATO] + ['donkeycar/seg_03']  # the others only take longer
survey = cache(lambda bag: survey_bag(DATA / bag))
ALL = [f'neato/{name}' for name in NEATO] + [f'donkeycar/{name}' for name in DONKEYCAR]
PERIOD_NS = 200_000_000


@pytest.fixture(scope='module')
def neato() -> RobotContract:
    return RobotContract.load('neato')


@pytest.fixture(scope='module')
def neato_episodes(neato):
    """Name of a bag -> its episodes."""
    return {name: list(iter_episodes(DATA / 'neato' / name, neato)) for name in NEATO}


@pytest.mark.parametrize('bag', ALL)
def test_counts_and_spans_of_all_topics_are_what_the_file_holds(bag):
    seen, held = survey(bag).topics, counts(DATA / bag)
    assert {name: t.recorded for name, t in seen.items()} == {name: n for name, (n, *_) in held.items()}
    for name, topic in seen.items():
        if not topic.unreadable:
            assert (min(topic.log_ns), max(topic.log_ns)) == held[name][1:], name


@pytest.mark.parametrize('name', NEATO)
def test_the_share_of_valid_beams_is_what_the_file_holds(name):
    topic, held = survey(f'neato/{name}').topics['/scan'], scans(DATA / 'neato' / name)
    assert topic.tallies['seen'] == held.ranges.size == held.ranges.shape[0] * 361
    assert topic.tallies['valid'] == held.valid.sum()
    assert topic.tallies['inf'] + topic.tallies['zero'] == (~held.valid).sum()
    assert 0.04 <= held.valid.mean() <= 0.41


@pytest.mark.parametrize('name', NEATO)
def test_each_row_holds_the_newest_scan_with_its_invalid_beams_masked(neato_episodes, name):
    held = scans(DATA / 'neato' / name)
    for episode in neato_episodes[name]:
        for row, tick in zip(episode.percepts['scan'], episode.stamps_ns):
            known = np.flatnonzero((held.stamps <= tick) & (held.logs <= tick))
            newest = known[np.argmax(held.stamps[known])]
            assert np.array_equal(row[1] == 1, held.valid[newest])
            assert np.array_equal(row[0], np.where(held.valid[newest], held.ranges[newest], 0))


@pytest.mark.parametrize('name', NEATO)
def test_a_command_holds_until_the_next(neato_episodes, name):
    """Rows without a new command repeat the last one, however long ago it came."""
    logs, values = twists(DATA / 'neato' / name)
    held_longest_s, repeated = 0.0, 0
    for episode in neato_episodes[name]:
        for tick, action in zip(episode.stamps_ns, episode.actions):
            last = np.searchsorted(logs, tick, side='right') - 1
            if last >= 0 and np.searchsorted(logs, tick + PERIOD_NS) == last + 1:
                assert np.array_equal(action, values[last, [0, 5]].astype(np.float32))
                held_longest_s, repeated = max(held_longest_s, (tick - logs[last]) * 1e-9), repeated + 1
    assert repeated > 0
    if name in ('obstacle-avoider', 'person_follower', 'test-bag'):  # commands only on change
        assert held_longest_s > 2.0


@pytest.mark.parametrize('name', NEATO)
def test_episodes_cover_the_recording_from_its_first_command_on(neato_episodes, neato, name):
    held, (commands, _) = counts(DATA / 'neato' / name), twists(DATA / 'neato' / name)
    begin = max(commands[0], held['/scan'][1], held['/odom'][1])
    end = max(held['/scan'][2], held['/odom'][2])
    episodes = neato_episodes[name]
    stamps = np.concatenate([e.stamps_ns for e in episodes])
    assert (stamps % PERIOD_NS == 0).all() and (np.diff(stamps) > 0).all()
    assert begin <= stamps[0] <= begin + 2 * PERIOD_NS and end - 2 * PERIOD_NS <= stamps[-1] <= end
    gaps = np.diff(stamps_of(DATA / 'neato' / name, '/scan')) * 1e-9
    missing = sum(np.ceil((gap - neato.observations[0].timeout_s) / 0.2) for gap in gaps if gap > 1.0)
    assert (stamps[-1] - stamps[0]) // PERIOD_NS + 1 - len(stamps) <= missing
    assert len(episodes) == 1 + (np.diff(stamps) > PERIOD_NS).sum()


def test_gaps_are_as_long_as_the_stamps_say():
    """Odometry pauses for up to 0.78 s, scans for up to 1.25 s."""
    for topic, longest_s in (('/odom', 0.775), ('/scan', 1.252)):
        gaps = {}
        for name in NEATO:
            gaps[name] = survey(f'neato/{name}').topics[topic].gap_s
            held = np.diff(np.sort(stamps_of(DATA / 'neato' / name, topic))).max() * 1e-9
            assert gaps[name] == pytest.approx(held, abs=1e-6)
        assert max(gaps.values()) == pytest.approx(longest_s, abs=1e-3)


@pytest.mark.parametrize('name', ['seg_03'])
def test_each_image_of_the_car_is_one_row_with_its_command(name):
    contract = RobotContract.load('donkeycar')
    images, (logs, values) = dict(jpegs(DATA / 'donkeycar' / name)), twists(DATA / 'donkeycar' / name)
    episodes = list(iter_episodes(DATA / 'donkeycar' / name, contract))
    assert sum(map(len, episodes)) == len(images) == 987
    for episode in episodes:
        for stamp, row, action in zip(episode.stamps_ns, episode.percepts['camera'], episode.actions):
            pixels = cv2.imdecode(np.frombuffer(images[int(stamp)], np.uint8), cv2.IMREAD_COLOR)
            assert np.array_equal(row, pixels[:, :, ::-1])
            assert np.array_equal(action, values[np.searchsorted(logs, stamp), [0, 5]].astype(np.float32))


def test_the_car_is_driven_within_the_limits_of_its_contract():
    contract = RobotContract.load('donkeycar')
    for name in DONKEYCAR:
        _, values = twists(DATA / 'donkeycar' / name)
        used = values[:, [0, 5]].astype(np.float32)
        assert (used >= contract.action_low).all() and (used <= contract.action_high).all()
        assert np.abs(used).max(axis=0) == pytest.approx([0.5, 1.0])


@pytest.mark.parametrize('bag', QUICK)
def test_the_shipped_contract_is_usable_with_the_bag(bag):
    report = check_bag(RobotContract.load(bag.split('/')[0]), DATA / bag)
    assert report.usable, report.findings
    outside = [f.text for f in report.findings if 'outside' in f.text or 'max_rate' in f.text]
    assert not outside


@pytest.mark.parametrize('bag', QUICK)
def test_a_contract_drafted_from_a_bag_is_usable_with_it(bag):
    text = draft(survey(bag))
    contract = RobotContract.parse(text)
    report = check_bag(contract, DATA / bag)
    assert report.usable, report.findings
    assert report.percepts > 0.9 * report.span_s / contract.control_period_s
    if bag.startswith('neato'):
        assert {'scan', 'odom'} <= {o.key for o in contract.observations} and contract.pace == 'clock'
        assert {'x_m', 'y_m', 'yaw_rad'} == set(contract.readout_names)
        assert '/accel: its message type neato2_interfaces/msg/Accel' in text
    assert [f.field for f in contract.actions[0].fields] == ['linear.x', 'angular.z']
