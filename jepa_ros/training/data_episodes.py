"""Episodes end to end, and the windows and batches that training draws from them."""
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from jepa_ros.errors import TrainingError
from jepa_ros.training import data_split

_GPU_SHARE = 0.5        # of the free memory of a GPU that percepts may fill; the rest is the network's


@dataclass(frozen=True)
class Batch:
    """What one index of rows points at; the leading dimensions, (B, T) or others, are those of the index."""

    percepts: dict[str, Tensor]     # observation key -> (…, *shape)
    valid: dict[str, Tensor]        # observation key -> (…) bool, of sensors that are missing somewhere
    actions: Tensor                 # (…, A) in −1…1
    readouts: Tensor                # (…, R)


@dataclass(frozen=True)
class EpisodeSet:
    """All episodes end to end: N steps in E episodes. Actions are scaled to −1…1 by the contract's limits.

    Percepts may be a map of a file that is larger than the memory, and stay off the device of the rest: read them with
    `take`. A part of the episodes (`split`, `shard`) keeps the rows of the whole, so states (N, D) of the whole fit it.
    """

    percepts: Mapping[str, Tensor]      # observation key -> (N, *shape) uint8 images, float32 all else
    actions: Tensor                     # (N, A) float32, applied over [t, t + 1)
    readouts: Tensor                    # (N, R) float32, units in readout_names
    starts: Tensor                      # (E,) int64, first row of each episode
    lengths: Tensor                     # (E,) int64
    readout_names: tuple[str, ...]
    bags: dict[str, str]                # name -> sha256
    valid: Mapping[str, Tensor] = field(default_factory=dict)   # key -> (N,) bool; a key that is not here never misses
    names: tuple[str, ...] = ()         # (E,) "<bag>: episode <id>", for messages
    notes: tuple[str, ...] = ()         # what a user should know of the data, a line each

    @property
    def steps(self) -> int:
        """N, rows of all tensors."""
        return len(self.actions)

    @property
    def device(self) -> torch.device:
        """Where batches come out."""
        return self.actions.device

    def take(self, index: Tensor) -> Batch:
        """Rows at an index (…) of int64, on `device`, wherever the percepts are kept."""
        return Batch({key: self._rows(x, index) for key, x in self.percepts.items()},
                     {key: x[index] for key, x in self.valid.items()}, self.actions[index], self.readouts[index])

    def _rows(self, x: Tensor, index: Tensor) -> Tensor:
        if x.device == self.device:
            return x[index]
        return x[index.to(x.device)].pin_memory().to(self.device, non_blocking=True)

    def where(self, row: int) -> str:
        """Words for a row: "<bag>: episode <id>, step <t>"."""
        inside = ((self.starts <= row) & (row < self.starts + self.lengths)).nonzero()
        if not len(inside):
            return f'row {row}'
        episode = int(inside[0])
        name = self.names[episode] if self.names else f'episode {episode}'
        return f'{name}, step {row - int(self.starts[episode])}'

    def to(self, device: str) -> 'EpisodeSet':
        """The same on a device. Percepts that would fill more than half of a GPU's free memory stay where they are."""
        bytes_ = sum(x.numel() * x.element_size() for x in self.percepts.values())
        resident = torch.device(device).type != 'cuda' or bytes_ <= _GPU_SHARE * torch.cuda.mem_get_info(device)[0]
        moved = {name: getattr(self, name).to(device) for name in ('actions', 'readouts', 'starts', 'lengths')}
        percepts = {key: x.to(device) for key, x in self.percepts.items()} if resident else self.percepts
        return replace(self, percepts=percepts, valid={key: x.to(device) for key, x in self.valid.items()}, **moved)

    def part(self, episodes: Collection[int], starts: Tensor | None = None,
             lengths: Tensor | None = None) -> 'EpisodeSet':
        """Some of the episodes, by number; `starts` and `lengths` stand in for theirs where they are cut."""
        which = torch.tensor(list(episodes), dtype=torch.int64, device=self.device)
        return replace(self, starts=self.starts[which] if starts is None else starts,
                       lengths=self.lengths[which] if lengths is None else lengths,
                       names=tuple(self.names[i] for i in episodes) if self.names else ())

    def split(self, held_out: float = data_split.HELD_OUT, gap: int = data_split.GAP
              ) -> tuple['EpisodeSet', 'EpisodeSet']:
        """Training and validation episodes: the last ones, or the end of the only one; see `data_split.held_out`."""
        return data_split.held_out(self, held_out, gap)

    def split_by_bag(self, names: Collection[str]) -> tuple['EpisodeSet', 'EpisodeSet']:
        """(episodes of all other bags, episodes of the bags `names`)."""
        return data_split.by_bag(self, names)

    def split_in_time(self, share: float = data_split.TIME_SHARE, gap: int = data_split.GAP
                      ) -> tuple['EpisodeSet', 'EpisodeSet']:
        """The beginning and the end of every episode, `gap` steps between them."""
        return data_split.in_time(self, share, gap)

    def shard(self, rank: int, world: int) -> 'EpisodeSet':
        """Every `world`-th episode, from number `rank` on: the share of one of `world` processes."""
        if not 0 <= rank < world:
            raise TrainingError(f'rank {rank} is not one of {world} processes, 0 … {world - 1}')
        if len(self.starts) < world:
            raise TrainingError(f'{len(self.starts)} episode(s) cannot be shared by {world} processes: start fewer, '
                                'or record more episodes')
        return self.part(range(rank, len(self.starts), world))

    def windows(self, count: int, length: int, generator: torch.Generator) -> Tensor:
        """Indices (count, length) of random windows that lie inside one episode each."""
        fits = (self.lengths >= length).nonzero().squeeze(1)
        if len(fits) == 0:
            raise TrainingError(f'no episode has {length} steps: record longer episodes (--steps) '
                                f'or lower the window in the training configuration')
        device = self.starts.device
        which = fits[torch.randint(len(fits), (count,), generator=generator, device=device)]
        room = self.lengths[which] - length + 1
        offset = (torch.rand(count, generator=generator, device=device) * room).long()
        return (self.starts[which] + offset)[:, None] + torch.arange(length, device=device)

    def all_windows(self, length: int, stride: int) -> Tensor:
        """Every window of `length` steps, `stride` apart, (M, length)."""
        rows = [torch.arange(int(s), int(s + n) - length + 1, stride)
                for s, n in zip(self.starts.cpu(), self.lengths.cpu()) if n >= length]
        if not rows:
            raise TrainingError(f'no episode has {length} steps: record longer episodes (--steps)')
        return (torch.cat(rows)[:, None] + torch.arange(length)).to(self.starts.device)
