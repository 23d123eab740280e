"""One episode made ready for training: checked, scaled, named. Bags, stores and caches all come in as such parts."""
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from jepa_ros.errors import TrainingError
from jepa_ros.robot.adapters import tensor_spec
from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.episode import Episode
from jepa_ros.training import data_notes
from jepa_ros.training.data_episodes import EpisodeSet

LEAST_STEPS = 2         # a transition needs a state before and one after
_AGAIN = 'record it again or leave that bag out'


@dataclass(frozen=True)
class Part:
    """T steps of one episode, as `EpisodeSet` has them."""

    name: str                           # "<bag>: episode <id>"
    streams: dict[str, np.ndarray]      # 'percepts/<key>', 'valid/<key>', 'actions', 'readouts' -> (T, …)

    def __len__(self) -> int:
        return len(self.streams['actions'])


def stream_types(contract: RobotContract) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Stream -> shape of one row and type, of all streams that a part of this robot has."""
    number = np.dtype(np.float32)
    types: dict[str, tuple[tuple[int, ...], np.dtype]] = {}
    for observation in contract.observations:
        spec = tensor_spec(observation)
        types[f'percepts/{observation.key}'] = tuple(spec.shape), spec.dtype
        types[f'valid/{observation.key}'] = (), np.dtype(np.bool_)
    return types | {'actions': ((len(contract.action_names),), number), 'readouts': ((len(contract.readout_names),),
                                                                                    number)}


def part_of(episode: Episode, contract: RobotContract, bag: str) -> Part | None:
    """A part with actions scaled to −1…1; None for an episode of fewer than two steps, from which nothing is learned.

    `TrainingError` names file, episode, step and stream of a number that is not finite where it is valid, and of a
    tensor that the contract shapes otherwise.
    """
    if len(episode) < LEAST_STEPS:
        return None
    keys = [o.key for o in contract.observations]
    missing = [key for key in keys if key not in episode.percepts]
    if missing:
        raise TrainingError(f'{episode.source}: episode {episode.episode_id} has no observation {missing[0]}: robot '
                            f'{contract.name} has it; read the episode with that contract')
    raw = {'actions': episode.actions, 'readouts': episode.readouts}
    for key in keys:
        raw |= {f'percepts/{key}': episode.percepts[key], f'valid/{key}': episode.valid[key]}
    streams = {}
    for name, (shape, dtype) in stream_types(contract).items():
        rows = np.asarray(raw[name])
        if rows.shape[1:] != shape or (dtype == np.uint8) != (rows.dtype == np.uint8):
            raise TrainingError(f'{episode.source}: episode {episode.episode_id}: {name} has rows {rows.shape[1:]} '
                                f'{rows.dtype}, robot {contract.name} has {shape} {dtype}: read it with that contract')
        streams[name] = rows.astype(dtype, copy=False)
    for name in ('actions', 'readouts', *(f'percepts/{key}' for key in keys)):
        streams[name] = _finite(streams[name], streams.get(name.replace('percepts', 'valid')), name, episode)
    streams['actions'] = scaled(episode.actions, contract)
    return Part(f'{bag}: episode {episode.episode_id}', streams)


def _finite(rows: np.ndarray, valid: np.ndarray | None, name: str, episode: Episode) -> np.ndarray:
    """The rows, zeros where they are not valid; `TrainingError` where they are valid and not finite."""
    if rows.dtype.kind != 'f':
        return rows
    bad = ~np.isfinite(rows).reshape(len(rows), -1).all(1)
    wrong = bad if valid is None or name in ('actions', 'readouts') else bad & valid
    if wrong.any():
        what = name.removeprefix('percepts/').removesuffix('s') if name in ('actions', 'readouts') else \
            f'observation {name.removeprefix("percepts/")}'
        raise TrainingError(f'{episode.source}: episode {episode.episode_id}, step {int(np.flatnonzero(wrong)[0])}: '
                            f'{what} is not finite; {_AGAIN}')
    if bad.any():
        rows = rows.copy()
        rows[bad] = 0
    return rows


def scaled(actions: np.ndarray, contract: RobotContract) -> np.ndarray:
    """(T, A) in the contract's units -> float32, −1 at the lower limits and 1 at the upper ones."""
    low, high = contract.action_low, contract.action_high
    return (2 * (actions - low) / (high - low) - 1).astype(np.float32)


def bag_name(source: str, bags: Sequence[str]) -> str:
    """Which of `bags` an episode's path ends with; the path where it is none."""
    path = Path(source).as_posix()
    return next((name for name in bags if path == name or path.endswith(f'/{name}')), source)


def from_episodes(episodes: Sequence[Episode], contract: RobotContract, bags: dict[str, str]) -> EpisodeSet:
    """Join episodes in memory; scales actions by the contract and refuses what cannot be trained on."""
    parts = [part_of(e, contract, bag_name(e.source, list(bags))) for e in episodes]
    usable = [p for p in parts if p is not None]
    return joined(usable, contract, bags, len(parts) - len(usable))


def joined(parts: Sequence[Part], contract: RobotContract, bags: dict[str, str], skipped: int = 0) -> EpisodeSet:
    """Parts end to end; `skipped` episodes were too short. `TrainingError` when there are none."""
    refuse_none(len(parts), bags)
    streams = {name: np.concatenate([p.streams[name] for p in parts]) for name in stream_types(contract)}
    lengths = np.array([len(p) for p in parts], np.int64)
    return assembled(streams, lengths, tuple(p.name for p in parts), contract, bags, data_notes.short(skipped))


def assembled(streams: dict[str, np.ndarray], lengths: np.ndarray, names: tuple[str, ...], contract: RobotContract,
              bags: dict[str, str], notes: tuple[str, ...]) -> EpisodeSet:
    """An `EpisodeSet` of streams (N, …), with notes on what in them never changes."""
    tensors = {name: torch.from_numpy(rows) for name, rows in streams.items()}
    data = EpisodeSet(
        percepts={o.key: tensors[f'percepts/{o.key}'] for o in contract.observations},
        valid={o.key: tensors[f'valid/{o.key}'] for o in contract.observations if not streams[f'valid/{o.key}'].all()},
        actions=tensors['actions'], readouts=tensors['readouts'], readout_names=tuple(contract.readout_names),
        starts=torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)),
        lengths=torch.from_numpy(lengths), bags=bags, names=names)
    return data_notes.noted(data, contract, notes)


def refuse_none(count: int, bags: dict[str, str]) -> None:
    """`TrainingError` when no episode is left."""
    if not count:
        raise TrainingError(f'no episode with two or more steps in {", ".join(bags) or "the bags"}: record longer ones')


def check_fit(data: EpisodeSet, contract: RobotContract) -> None:
    """`TrainingError` where the data has other sensors, actions or readouts than the robot."""
    def sensors(shapes: dict) -> str:
        return ', '.join(f'{key} {"×".join(map(str, shape))} {kind}' for key, (shape, kind) in sorted(shapes.items()))

    have = (sensors({key: (x.shape[1:], str(x.dtype).removeprefix('torch.')) for key, x in data.percepts.items()}),
            data.actions.shape[1], data.readout_names)
    types = stream_types(contract)
    want = (sensors({o.key: types[f'percepts/{o.key}'] for o in contract.observations}), len(contract.action_names),
            tuple(contract.readout_names))
    if have != want:
        raise TrainingError(f'the data has sensors {have[0]}; {have[1]} actions, readouts {have[2]}; robot '
                            f'{contract.name!r} has {want[0]}; {want[1]}, {want[2]}: gather it again from the bags')
