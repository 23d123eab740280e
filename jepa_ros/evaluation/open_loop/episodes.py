"""Which episodes a model is judged on, and how far ahead they allow to look."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from jepa_ros.errors import ConfigError, TrainingError
from jepa_ros.evaluation.open_loop.level import Level
from jepa_ros.training.data import EpisodeSet

PIECES = 5              # of a single episode, so that baselines can be fitted on other pieces than they are tested on
LEAST_PIECE = 30        # steps of one
GAP = 64                # steps left out between two: one step later the world looks almost the same
MOST_PERIODS = 16       # that are looked ahead where nothing else is asked for
LEAST_WINDOWS = 20      # that a horizon chosen here leaves


@dataclass(frozen=True)
class Chosen:
    """Episodes (numbers in `data`) that figures are of, and the others, which baselines are fitted on too."""

    data: EpisodeSet
    judged: Tensor
    others: Tensor
    notes: tuple[str, ...]
    which: str = 'episode(s)'       # are judged


def choose(data: EpisodeSet, trained_on: Mapping[str, str]) -> Chosen:
    """Judge what training has not seen; `trained_on` are the bags of the model card, name -> sha256.

    Of the very bags of training, the episodes that it held out; of bags of which some were trained on, the others;
    else everything.
    """
    seen = {name for name, sha256 in data.bags.items() if sha256 in trained_on.values()}
    if not seen:
        return _in_pieces(data) if len(data.starts) == 1 else _all(data, ())
    if len(seen) == len(data.bags) and set(data.bags.values()) == set(trained_on.values()):
        return _held_out(data)
    bag_of = [name.rpartition(': episode ')[0] for name in data.names]
    unseen = [i for i, bag in enumerate(bag_of) if bag not in seen]
    if not unseen:
        return _all(data, (f'the model was trained on these bags ({_some(seen)}) and others: nothing here is held out, '
                           'figures are those of training',))
    everything = torch.arange(len(data.starts), device=data.starts.device)
    judged = everything[torch.tensor(unseen, device=everything.device)]
    return Chosen(data, judged, everything[~torch.isin(everything, judged)],
                  (f'the model was trained on {_some(seen)}: judged on the {len(judged)} episode(s) of other bags',),
                  'episode(s) that training has not seen')


def _all(data: EpisodeSet, notes: tuple[str, ...]) -> Chosen:
    everything = torch.arange(len(data.starts), device=data.starts.device)
    return Chosen(data, everything, everything[:0], notes)


def _held_out(data: EpisodeSet) -> Chosen:
    """The same split as training's. A part of a split keeps the rows of the whole, so both can be joined again."""
    try:
        training, held_out = data.split()
    except TrainingError:       # too few to hold anything out, so training did not come to an end with them
        return _all(data, ('the bags are those that the model was trained on',))
    joined = replace(data, starts=torch.cat([training.starts, held_out.starts]),
                     lengths=torch.cat([training.lengths, held_out.lengths]), names=training.names + held_out.names)
    count = len(held_out.starts)
    everything = torch.arange(len(joined.starts), device=joined.starts.device)
    return Chosen(joined, everything[-count:], everything[:-count],
                  (f'the bags are those of training: judged on the {count} episode(s) that it held out',),
                  'episode(s) that training held out')


def _in_pieces(data: EpisodeSet) -> Chosen:
    """A single episode, cut where it is long enough."""
    length = int(data.lengths[0])
    gap = min(GAP, length // (4 * PIECES))
    piece = (length - (PIECES - 1) * gap) // PIECES
    if piece < LEAST_PIECE:
        return _all(data, ())
    starts = int(data.starts[0]) + (piece + gap) * torch.arange(PIECES, device=data.starts.device)
    names = tuple(f'{data.names[0]}, piece {i}' for i in range(PIECES)) if data.names else ()
    cut = replace(data, starts=starts, lengths=torch.full_like(starts, piece), names=names)
    note = (f'there is only one episode: it was cut into {PIECES} pieces, and intervals are of pieces: the difference '
            'to another episode may be larger')
    return replace(_all(cut, (note,)), which='pieces of the only episode')


def _some(names: set[str], most: int = 3) -> str:
    ordered = sorted(names)
    return ', '.join(ordered[:most]) + (f' and {len(ordered) - most} more' if len(ordered) > most else '')


def powers(level: Level, judged: Tensor, horizon: int) -> list[int]:
    """Periods to look ahead: 1, 2, 4, … up to `horizon`, or as far as half of the episodes' length allows (0)."""
    longest = horizon or MOST_PERIODS
    found = [2 ** n for n in range(longest.bit_length()) if 2 ** n <= longest]
    if horizon:
        return sorted({*found, horizon})
    lengths = level.data.lengths[judged]

    def leaves_enough(k: int) -> bool:
        reach = level.past * level.period + k * level.period
        return int((lengths - reach).clamp_min(0).sum()) >= LEAST_WINDOWS and 2 * reach < int(lengths.max())
    return [k for k in found if k == 1 or leaves_enough(k)]


def refuse_short(levels: Sequence[Level], periods: Sequence[Sequence[int]], chosen: Chosen, horizon: int = 0,
                 seconds: Sequence[float] = ()) -> None:
    """ConfigError where no judged episode is long enough for the `periods` that each level is to look ahead.

    `horizon` and `seconds` are what was asked for: less of it may do.
    """
    longest = int(chosen.data.lengths[chosen.judged].max())
    level, most = max(((level, max(ahead)) for level, ahead in zip(levels, periods) if ahead),
                      key=lambda each: _needed(*each), default=(None, 0))
    if level is None or _needed(level, most) <= longest:
        return
    fitting = min((longest - 1) // each.period - each.past for each in levels)
    less = 'shorter --seconds, or ' if seconds else ''
    if horizon and fitting > 0:
        less = f'--horizon {fitting} at most, or '
    raise ConfigError(
        f'the longest of the {len(chosen.judged)} {chosen.which} has {longest} steps, {_needed(level, most)} are '
        f'needed: level {level.index} looks {most} period(s) of {level.period} step(s) ahead'
        f'{f" and {level.past} back" if level.past else ""}; give {less}recordings of longer episodes')


def _needed(level: Level, ahead: int) -> int:
    """Steps of an episode in which a level can look so many periods ahead."""
    return (level.past + ahead) * level.period + 1
