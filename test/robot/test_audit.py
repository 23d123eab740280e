"""What the audit of an episode finds, and what it must not complain of."""
import json

import pytest

from jepa_ros.robot.audit import Auditor, LATENCY_NS, summary
from jepa_ros.robot.contract import RobotContract

MS = 1_000_000
START, SUCCESS, STOP = 0, 2, 4
IMAGE, ODOM, COMMAND = 'camera/image_raw', 'odom', 'cmd_vel'
PERIOD_MS = 100     # of robot two_rooms; its camera's timeout_s is 0.3, its command's 0.25


class Tape:
    """Messages of an episode as the recorder shows them to the audit; stamps are 7 s behind log times."""

    def __init__(self, contract: RobotContract, skew_ms: int = 7000):
        self.auditor, self._skew, self.audits = Auditor(contract), skew_ms, []

    def put(self, topic: str, ms: int, latency_ms: int = 5, stamped: bool = True) -> None:
        log_ns = (ms + self._skew + latency_ms) * MS
        self._keep(self.auditor.take(topic, log_ns, ms * MS if stamped else None))

    def event(self, kind: int, ms: int, name: str = 'a') -> None:
        self._keep(self.auditor.event(kind, name, ms * MS, (ms + self._skew + 6) * MS))

    def rows(self, moments, without: str = '') -> None:
        for ms in moments:
            for topic, stamped in ((IMAGE, True), (ODOM, True), (COMMAND, False)):
                if topic != without:
                    self.put(topic, ms, stamped=stamped)

    def episode(self, moments, without: str = '', end_ms: int | None = None):
        """The audit of an episode with a row at each of `moments` (ms)."""
        moments = list(moments)
        self.rows(moments[:1], without)
        self.event(START, moments[0])
        self.rows(moments[1:], without)
        self.event(STOP, moments[-1] + PERIOD_MS if end_ms is None else end_ms)
        self._keep(self.auditor.close())
        return self.audits[-1]

    def _keep(self, audit) -> None:
        if audit is not None:
            self.audits.append(audit)


@pytest.fixture
def tape(contract):
    return Tape(contract)


def test_an_episode_as_it_should_be_passes(tape):
    audit = tape.episode(range(0, 5000, PERIOD_MS))
    assert audit.passed and audit.duration_s == pytest.approx(5.0)
    image, command = audit.streams[IMAGE], audit.streams[COMMAND]
    assert (image.count, image.rate_hz, image.longest_gap_s, image.lost) == (50, 10.0, 0.1, 0)
    assert command.count == 49      # the first one came before the word that the episode had begun


@pytest.mark.parametrize(('moments', 'without', 'words'), [
    ([*range(0, 2000, 100), *range(2400, 5000, 100)], '', 'camera/image_raw has a gap of 0.50 s, its timeout_s is 0.3'),
    (range(0, 5000, 33), '', 'camera/image_raw comes at 30.3 Hz, control_period_s says 10 Hz'),
    (range(0, 9000, 150), '', 'camera/image_raw comes at 6.7 Hz, control_period_s says 10 Hz'),
    (range(0, 5000, 100), IMAGE, 'nothing on camera/image_raw'),
    (range(0, 5000, 100), ODOM, 'nothing on odom'),
    (range(0, 5000, 100), COMMAND, 'no command on cmd_vel')])
def test_what_is_missing_is_said(tape, moments, without, words):
    audit = tape.episode(moments, without)
    assert audit.problems == [words]
    assert audit.line == f'episode a ({audit.duration_s:.1f} s) failed its audit: {words}'


def test_a_sensor_that_dies_within_the_episode_is_a_gap_up_to_its_end(tape):
    audit = tape.episode(range(0, 2000, 100), end_ms=6000)
    assert any('gap of 4.10 s' in problem for problem in audit.problems)


def test_lost_messages_fail_the_episode_in_which_they_were_lost(tape):
    tape.auditor.lost(IMAGE, 4)         # before it
    assert tape.episode(range(0, 2000, 100)).passed
    tape.event(START, 3000, 'b')
    tape.rows(range(3000, 5000, 100))
    tape.auditor.lost(IMAGE, 6)
    tape.event(STOP, 5000, 'b')
    assert tape.auditor.close().problems == ['2 messages lost on camera/image_raw']


def test_a_percept_that_was_still_under_way_at_the_end_counts(tape):
    tape.event(START, 0)
    tape.rows(range(0, 2000, 100))
    tape.event(STOP, 2400)
    for ms in (2000, 2100, 2200, 2300):
        tape.put(IMAGE, ms, latency_ms=250)
    tape.put(IMAGE, 2400)       # that of the end is no part of the episode
    assert tape.audits == []
    tape.put(ODOM, 2400 + LATENCY_NS // MS + 10)
    assert tape.audits[0].streams[IMAGE].count == 24 and tape.audits[0].passed


def test_an_episode_without_an_end_is_not_judged(tape):
    tape.event(START, 0)
    tape.rows(range(0, 1000, 100))
    tape.event(START, 1000, 'b')
    assert tape.audits == [] and tape.auditor.close() is None


def test_an_end_of_another_episode_means_nothing(tape):
    tape.event(START, 0)
    tape.event(SUCCESS, 100, 'other')
    assert tape.auditor.close() is None


def test_an_episode_of_a_moment_passes(tape):
    assert tape.episode([0], end_ms=0).passed


def test_commands_that_hold_need_not_come(contract):
    action = contract.actions[0].model_copy(update={'align': 'hold'})
    tape = Tape(contract.model_copy(update={'actions': [action]}))
    assert tape.episode(range(0, 5000, 100), COMMAND).passed


def test_with_the_clock_as_pace_no_sensor_has_to_keep_the_period(contract):
    tape = Tape(contract.model_copy(update={'pace': 'clock'}))
    assert tape.episode(range(0, 5000, 250)).passed


def test_audits_are_kept_as_json(tape):
    kept = json.loads(tape.episode(range(0, 5000, 100), IMAGE).to_json())
    assert kept['episode'] == 'a' and not kept['passed'] and kept['streams'][ODOM]['count'] == 50
    assert json.loads(summary(2, {'a': kept['problems']})) == {
        'episodes': 2, 'failed': {'a': ['nothing on camera/image_raw']}}
