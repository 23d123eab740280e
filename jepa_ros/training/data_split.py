"""Which episodes a model is trained on, and which it is judged on."""
from collections.abc import Collection
from typing import TYPE_CHECKING

import torch

from jepa_ros.errors import TrainingError

if TYPE_CHECKING:
    from jepa_ros.training.data_episodes import EpisodeSet

HELD_OUT = 0.05         # share of the episodes
TIME_SHARE = 0.1        # share of one long episode
GAP = 64                # steps between its two parts; no shipped window is longer
LEAST = 2               # steps of an episode that something can be learned from


def held_out(data: 'EpisodeSet', share: float = HELD_OUT, gap: int = GAP) -> tuple['EpisodeSet', 'EpisodeSet']:
    """Training and validation episodes; the last ones are held out, at least one.

    Of a single long episode, as many real recordings are, the last tenth in time is held out. `TrainingError` when
    that leaves too little.
    """
    count = max(1, round(len(data.starts) * share))
    total = len(data.starts)
    if total == 1:
        return in_time(data, TIME_SHARE, gap)
    if total - count < 1:
        raise TrainingError(f'{total} episode(s) are too few to hold out {share:.0%}: record more')
    return data.part(range(total - count)), data.part(range(total - count, total))


def in_time(data: 'EpisodeSet', share: float = TIME_SHARE, gap: int = GAP) -> tuple['EpisodeSet', 'EpisodeSet']:
    """The beginning and the last `share` of every episode.

    The `gap` steps before the end belong to neither part: one step later the world looks almost the same, so a model
    would be judged on what it has seen. Episodes too short for both parts are for training only.
    """
    ends = (data.lengths * share).round().long()
    begins = data.lengths - ends - gap
    cut = (ends >= LEAST) & (begins >= LEAST)
    if not bool(cut.any()):
        raise TrainingError(f'{len(data.starts)} episode(s) of at most {int(data.lengths.max())} steps are too few to '
                            f'hold out the last {share:.0%}, {gap} steps away from the rest: record at least two '
                            'episodes, or a longer one')
    training = data.part(range(len(data.starts)), data.starts, torch.where(cut, begins, data.lengths))
    which = cut.nonzero().squeeze(1)
    return training, data.part(which.tolist(), (data.starts + data.lengths - ends)[which], ends[which])


def by_bag(data: 'EpisodeSet', names: Collection[str]) -> tuple['EpisodeSet', 'EpisodeSet']:
    """(all other bags, the bags `names`), for a test on recordings that training has never seen."""
    unknown = [name for name in names if name not in data.bags]
    if unknown:
        raise TrainingError(f'no bag {unknown[0]!r} in the data: {", ".join(data.bags)}')
    chosen = [i for i, name in enumerate(data.names) if name.rpartition(': episode ')[0] in names]
    rest = [i for i in range(len(data.starts)) if i not in set(chosen)]
    for what, part in (('are in the bags named', chosen), ('are left to train on', rest)):
        if not part:
            raise TrainingError(f'no episodes {what} ({", ".join(names)}): name other bags')
    return data.part(rest), data.part(chosen)
