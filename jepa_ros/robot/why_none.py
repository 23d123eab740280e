"""Why a recording yields no percept or no episode, in one line. Pure; used by `bag_reading.py` and `trial.py`."""
from collections.abc import Callable

from .contract import RobotContract
from .cutter import Cutter
from .grid import holds
from .ingest import Ingest
from .stream_buffer import StreamCounters

EVENTS = 'episode'          # topic of a recording's START, STOP, SUCCESS and FAILURE
OTHER_CLOCK_S = 60.0        # ticks and commands of one recording that are further apart are of two clocks
_DROPS = ('zero_stamp', 'future', 'bad', 'duplicate')

Named = Callable[[str], str | None]     # the contract's name of a topic -> the recording's


def why_no_percept(contract: RobotContract, ingest: Ingest, named: Named) -> str:
    """The reason why there is not a single percept."""
    for observation in (o for o in contract.observations if o.required):
        counters = ingest.counters[observation.key]
        if counters.foreign and not counters.received:
            return counters.lines['foreign']
        if not counters.received:
            return f'no message on {named(observation.topic)}'
        if counters.dropped >= counters.received:
            line = next(counters.lines[kind] for kind in _DROPS if kind in counters.lines)
            return f'none of the {counters.received} messages on {observation.topic} can be used: {line}'
    return f'no percept: {ingest.reason or "no tick of the control period"}'


def why_no_episode(contract: RobotContract, ingest: Ingest, cutter: Cutter, commands: dict[str, StreamCounters],
                   named: Named) -> str:
    """The reason why there is not a single episode. `commands` counts the messages of each action stream by its key."""
    if not cutter.started:
        return f'topic {EVENTS} has no START event, so there is no episode in it'
    if not cutter.ticks:
        return why_no_percept(contract, ingest, named)
    if not cutter.rows and not cutter.stale:
        return 'no percept lies between the START of an episode and its end: are their stamps on one clock?'
    for line, count in cutter.stale.values():
        if not cutter.rows:
            return f'none of its {count} rows can be used: {line}'
    for stream in contract.actions:
        counters = commands[stream.key]
        if not counters.received:
            return f'no message on {named(stream.topic)}, so no percept is followed by a command'
        if not counters.converted:
            return f'none of the {counters.received} messages on {stream.topic} can be used: {counters.lines["bad"]}'
    return _apart(contract, cutter)


def _apart(contract: RobotContract, cutter: Cutter) -> str:
    """There are percepts and commands, but at no tick are the commands of all actions known."""
    first, last = cutter.tick_span_ns
    where = []
    for stream, (begin, end) in zip(contract.actions, cutter.command_spans_ns):
        apart_s = max(begin - last, first - end) * 1e-9
        if apart_s > OTHER_CLOCK_S:
            return (f'its ticks and the commands of {stream.key} are {apart_s:.4g} s apart, so no percept is followed '
                    'by a command: header stamps are of another clock than the log; set stamp: receive')
        spoken = f'of {stream.key} from {_tenths(begin - first)}'
        where.append(f'{spoken} s on' if holds(stream) else f'{spoken} to {_tenths(end - first)} s')
    remedy = '; record them together, or take one out of the contract' if len(where) > 1 else ''
    ticks = f'from 0.0 to {_tenths(last - first)} s in {cutter.parts} runs without a gap'
    return (f'its episodes hold no percept that is followed by a command: ticks are {ticks}, commands are known '
            f'{", ".join(where)}: at no tick all of them{remedy}')


def _tenths(time_ns: int) -> str:
    """Seconds for a line; never −0.0."""
    return f'{round(time_ns * 1e-9, 1) + 0.0:.1f}'
