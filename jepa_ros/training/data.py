"""Training data: episodes on the control grid, gathered from bags once and kept in one compact file.

The bags stay the source of truth: the cache carries their hashes and is built again when they change.
"""
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from jepa_ros.errors import TrainingError
from jepa_ros.robot.dataset.store import Store
from jepa_ros.robot.episode import Episode


@dataclass(frozen=True)
class EpisodeSet:
    """All episodes end to end: N steps in E episodes. Actions are scaled to −1…1 by the contract's limits."""

    images: Tensor        # (N, H, W, C) uint8
    actions: Tensor       # (N, A) float32, applied over [t, t+1)
    readouts: Tensor      # (N, R) float32, units in readout_names
    starts: Tensor        # (E,) int64, first step of each episode
    lengths: Tensor       # (E,) int64
    readout_names: tuple[str, ...]
    bags: dict[str, str]  # name -> sha256

    def to(self, device: str) -> 'EpisodeSet':
        moved = {k: getattr(self, k).to(device) for k in ('images', 'actions', 'readouts', 'starts', 'lengths')}
        return EpisodeSet(**moved, readout_names=self.readout_names, bags=self.bags)

    def split(self, held_out: float = 0.05) -> tuple['EpisodeSet', 'EpisodeSet']:
        """Training and validation episodes; the last ones are held out."""
        count = max(1, round(len(self.starts) * held_out))
        if len(self.starts) - count < 1:
            raise TrainingError(f'{len(self.starts)} episode(s) are too few: record at least two')
        return self._part(slice(0, -count)), self._part(slice(-count, None))

    def _part(self, which: slice) -> 'EpisodeSet':
        return EpisodeSet(self.images, self.actions, self.readouts, self.starts[which], self.lengths[which],
                          self.readout_names, self.bags)

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


def from_episodes(episodes: list, contract, bags: dict[str, str]) -> EpisodeSet:
    """Join `robot.episode.Episode`s; scales actions by the contract and refuses what cannot be trained on."""
    usable = [e for e in episodes if len(e.stamps_ns) >= 2]
    if not usable:
        raise TrainingError(f'no episode with two or more steps in {", ".join(bags) or "the bags"}')
    key = contract.observations[0].key
    low, high = np.asarray(contract.action_low), np.asarray(contract.action_high)
    for e in usable:
        for what, values in (('action', e.actions), ('readout', e.readouts)):
            if not np.isfinite(values).all():
                step = int(np.argwhere(~np.isfinite(values))[0][0])
                raise TrainingError(f'{e.source}: episode {e.episode_id}, step {step}: {what} is not finite; '
                                    f'record it again or leave that bag out')
    actions = np.concatenate([e.actions for e in usable])
    lengths = np.array([len(e.stamps_ns) for e in usable])
    return EpisodeSet(
        images=torch.from_numpy(np.concatenate([e.percepts[key] for e in usable])),
        actions=torch.from_numpy((2 * (actions - low) / (high - low) - 1).astype(np.float32)),
        readouts=torch.from_numpy(np.concatenate([e.readouts for e in usable]).astype(np.float32)),
        starts=torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)[:-1]])), lengths=torch.from_numpy(lengths),
        readout_names=tuple(contract.readout_names), bags=bags)


def open_store(path: Path, contract) -> Store:
    """A training store of the robot that is trained for; TrainingError when it is of another."""
    store = Store(path)
    if store.contract.sha256() != contract.sha256():
        raise TrainingError(f'{path}: built for robot {store.contract.name} ({store.contract.sha256()[:12]}), training '
                            f'is for {contract.name} ({contract.sha256()[:12]}): give that --robot, or build the store '
                            'again from the bags')
    return store


def stored_episodes(store: Store, contract, progress: Callable[[float], None]) -> list[Episode]:
    """What `robot.bags.read_episodes` would give for the store's bags, with the images that are trained on."""
    episodes = []
    for number, episode in enumerate(store.episodes):
        progress(number / len(store.episodes))
        episodes.append(store.read(episode, [contract.observations[0].key]))
    return episodes


def save(data: EpisodeSet, path: Path) -> None:
    """Write atomically, so that an interrupted run never leaves half a cache."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + '.partial')
    with partial.open('wb') as file:
        np.savez_compressed(
            file, images=data.images.numpy(), actions=data.actions.numpy(), readouts=data.readouts.numpy(),
            starts=data.starts.numpy(), lengths=data.lengths.numpy(), readout_names=np.array(data.readout_names),
            bag_names=np.array(list(data.bags)), bag_hashes=np.array(list(data.bags.values())))
    partial.replace(path)


def load(path: Path) -> EpisodeSet:
    """Read a cache; TrainingError when it is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as f:
            tensors = {k: torch.from_numpy(f[k]) for k in ('images', 'actions', 'readouts', 'starts', 'lengths')}
            return EpisodeSet(**tensors, readout_names=tuple(map(str, f['readout_names'])),
                              bags=dict(zip(map(str, f['bag_names']), map(str, f['bag_hashes']))))
    except Exception as error:      # zipfile, zlib, struct and numpy each have their own for a damaged file
        raise TrainingError(f'{path}: not a readable training cache ({type(error).__name__}: '
                            f'{" ".join(str(error).split())}); delete it and train from the bags') from None
