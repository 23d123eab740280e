"""When messages come, against what a contract says of it: rates, gaps, timeouts, stamps, clocks. Part of `check.py`."""
import numpy as np

from .arrivals import Arrivals
from .contract import RobotContract
from .findings import ERROR, Finding, NOTE, round_out, seconds, Suggestion, WARNING

PAUSE_S = 5.0           # a longer silence of a sensor is a pause in what was done with it, not its rate
TWO_CLOCKS_S = 1.0      # header and log times further apart than this are two clocks, not a delay
FUTURE_S = 0.01         # stamps later than their log time by more than this break the order of time
UNEVEN = 1.5            # times the usual interval: where a percept is missing, an episode is cut
PERIOD_TOLERANCE = 0.1
BOOT_STAMP_S = 1e9      # earlier stamps (before 2001) count from the start of a simulator or a computer

Found = tuple[list[Finding], list[Suggestion]]


def usual_gap_s(intervals_s: np.ndarray) -> float:
    """Longest of the intervals (N,) that is not a pause."""
    if not len(intervals_s):
        return 0.0
    return float(intervals_s[intervals_s <= max(PAUSE_S, 10 * float(np.median(intervals_s)))].max(initial=0.0))


def good_timeout_s(intervals_s: np.ndarray, delay_s: float = 0.0) -> float:
    """A timeout that lets samples through that come at these intervals (N,), `delay_s` after they were taken.

    Three samples may be lost, or the longest gap come again.
    """
    usual = float(np.median(intervals_s)) if len(intervals_s) else 0.5
    return min(60.0, round_out(max(3 * usual, 1.1 * usual_gap_s(intervals_s), 0.05) + lag_s(delay_s)))


def lag_s(delay_s: float) -> float:
    """How old samples are when they come; 0 where log times and stamps are of two clocks."""
    return delay_s if 0 < delay_s < TWO_CLOCKS_S else 0.0


def time_findings(stream, name: str, own: Arrivals, contract: RobotContract, simulated: bool = False) -> Found:
    """Gaps, stamps and frames of what arrived of one observation, on topic `name`. `simulated`: there is a /clock."""
    findings, suggestions = _gaps(stream, own, stream.align == 'asof' or stream is contract.pacing)
    if stream.stamp == 'header':
        findings += _stamps(stream, own, contract, simulated)
    frames = {} if stream.child_frame else own.frames       # a transform says which frames it speaks of
    if stream.frame:
        wrong = {frame: count for frame, count in frames.items() if frame != stream.frame}
        if wrong:
            findings.append(Finding(WARNING, stream.key, f'{sum(wrong.values())} messages are in frame '
                                    f'{", ".join(map(repr, wrong))}, the contract expects {stream.frame!r}'))
    elif len(frames) > 1:
        findings.append(Finding(NOTE, stream.key, f'several frames share {name}: {", ".join(frames)}; '
                                'set frame: to the one that is meant'))
    return findings, suggestions


def readout_findings(readout, own: Arrivals, contract: RobotContract) -> list[Finding]:
    """Stamps of a readout on another clock than the contract's: it would be read at the wrong ticks."""
    if contract.clock != 'system' or abs(own.delay_s[1]) <= TWO_CLOCKS_S:
        return []
    return [Finding(WARNING, readout.name, f'header stamps are {seconds(own.delay_s[1])} before the log times: '
                    "synchronise the computers' clocks, or leave this readout out")]


def _gaps(stream, own: Arrivals, counts: bool) -> Found:
    """Gaps beyond the timeout, where that `counts`: a sample that is held is used whatever its age."""
    lag = lag_s(own.delay_s[1]) if stream.stamp == 'header' else 0.0
    gap = usual_gap_s(own.intervals_s)
    pauses = int((own.intervals_s > max(PAUSE_S, 10 * own.median_s)).sum())
    findings = []
    if pauses:
        findings.append(Finding(NOTE, stream.key, f'{pauses} pauses, the longest of {seconds(own.gap_s)}'))
    if gap + lag <= stream.timeout_s or not counts:
        return findings, []
    late = int((own.intervals_s + lag > stream.timeout_s).sum())
    effect = 'the agent would wait, the robot stop' if stream.required else 'its tensor would be invalid'
    findings.append(Finding(WARNING if stream.required else NOTE, stream.key, f'{late} times a sample gets older than '
                            f'timeout_s {stream.timeout_s:g}, up to {seconds(gap + lag)}: {effect}'))
    good = good_timeout_s(own.intervals_s, lag)
    why = f'longest gap {seconds(gap)}, usual interval {seconds(own.median_s)}, age {seconds(lag)}'
    return findings, [Suggestion(f'observations.{stream.key}.timeout_s', stream.timeout_s, good, why)]


def _stamps(stream, own: Arrivals, contract: RobotContract, simulated: bool) -> list[Finding]:
    stamps = np.frombuffer(own.stamp_ns, np.int64)
    if not len(stamps):
        return []  # no header: receive times count whatever the contract says
    key, findings = stream.key, []
    zeros = int((stamps == 0).sum())
    if zeros:
        findings.append(Finding(ERROR if zeros == len(stamps) else WARNING, key, f'{zeros} of {len(stamps)} header '
                                'stamps are zero; set stamp: receive'))
    steps = np.diff(stamps[stamps > 0])
    for count, what in ((int((steps == 0).sum()), 'repeat the stamp before'), (int((steps < 0).sum()), 'go back')):
        if count:
            findings.append(Finding(WARNING, key, f'{count} header stamps {what}'))
    return findings + _clock(stream, own, contract, simulated and stamps.max() * 1e-9 < BOOT_STAMP_S)


def _clock(stream, own: Arrivals, contract: RobotContract, simulated: bool) -> list[Finding]:
    earliest, usual, _ = own.delay_s
    if contract.clock == 'system' and abs(usual) > TWO_CLOCKS_S:
        if simulated:
            return [Finding(NOTE, stream.key, 'stamps are of the simulator that publishes /clock: set clock: sim, or '
                            'use_sim_time where the agent runs')]
        boot = max(own.stamp_ns) * 1e-9 < BOOT_STAMP_S
        remedy = 'set clock: sim if a simulator stamps them, else stamp: receive' if boot else \
            "synchronise the computers' clocks or set stamp: receive; a replayed bag with /clock needs clock: sim"
        return [Finding(WARNING, stream.key, f'header stamps are {seconds(usual)} before the log times: {remedy}')]
    if contract.clock == 'system' and earliest < -FUTURE_S:
        return [Finding(WARNING, stream.key, f'header stamps are up to {seconds(-earliest)} later than the log times: '
                        "synchronise the computers' clocks or set stamp: receive")]
    if TWO_CLOCKS_S >= usual > stream.timeout_s and stream.align == 'asof':
        return [Finding(WARNING, stream.key, f'samples are {seconds(usual)} old when they come, timeout_s is '
                        f'{stream.timeout_s:g}: all of them are too late')]
    return []


def pace_findings(contract: RobotContract, arrivals: dict[str, Arrivals]) -> Found:
    """Whether control_period_s and pace fit the rates. `arrivals` holds what came of each observation, by its key."""
    rates = {key: own.median_s for key, own in arrivals.items()}
    period_s = contract.control_period_s
    if contract.pacing is None:
        quickest = min((r for r in rates.values() if r > 0), default=0.0)
        if quickest > 2 * period_s:
            text = f'every tick is {seconds(period_s)}, but no observation is quicker than {seconds(quickest)}'
            return [Finding(WARNING, 'control_period_s', text)], [Suggestion(
                'control_period_s', period_s, round(quickest, 2), 'usual interval of the quickest observation')]
        return [], []
    pace = contract.pacing
    if not rates.get(pace.key):
        return [], []
    return _paced(pace.key, arrivals[pace.key], period_s)


def _paced(key: str, own: Arrivals, period_s: float) -> Found:
    usual = own.median_s
    findings: list[Finding] = []
    suggestions: list[Suggestion] = []
    if abs(usual - period_s) > PERIOD_TOLERANCE * period_s:
        findings.append(Finding(WARNING, 'control_period_s', f'{key} sets the pace with one sample every '
                                f'{seconds(usual)}, control_period_s is {period_s:g}'))
        suggestions.append(Suggestion('control_period_s', period_s, round(usual, 3), f'usual interval of {key}'))
    cuts = int((own.intervals_s > UNEVEN * period_s).sum())
    if cuts > 0.01 * own.recorded:
        findings.append(Finding(NOTE, 'pace', f'{cuts} intervals of {key} are longer than {UNEVEN:g} control periods: '
                                'each cuts an episode; pace: clock does not'))
    return findings, suggestions
