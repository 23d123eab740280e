"""A store as a LeRobot dataset, codebase version v3.0 (`huggingface/lerobot`, src/lerobot/datasets).

    meta/info.json  meta/stats.json  meta/tasks.parquet  meta/episodes/chunk-000/file-000.parquet
    data/chunk-000/file-000.parquet  videos/<key>/chunk-000/file-000.mp4

| here                                         | there                                             |
|----------------------------------------------|---------------------------------------------------|
| image observation <key>                      | observation.images.<key>, video (H.264)           |
| observations that are vectors, then readouts | observation.state, joined, with their names       |
| scans, depth, point clouds <key> (2, …)      | observation.<key>, float32: metres and validity   |
| valid/<key> of an observation not required   | observation.<key>_valid, bool                     |
| actions                                      | action, float32 in the contract's units           |
| contract, episode ids, bags and hashes       | meta/jepa_ros.json, which LeRobot leaves alone    |

Timestamps are step ÷ fps: steps of a store are on the control grid, whose stamps stay in the store.
"""
from collections.abc import Callable
import json
from pathlib import Path
import shutil

import numpy as np

from ... import __version__
from ...errors import DatasetError
from .. import adapters
from . import lerobot_stats
from .lerobot_files import DataFiles, VideoFiles, write_parquet, write_tasks
from .store import Store, StoredEpisode

CODEBASE_VERSION = 'v3.0'
DATA_MB, VIDEO_MB, CHUNKS_SIZE = 100, 200, 1000
SCALARS = {'timestamp': 'float32', 'frame_index': 'int64', 'episode_index': 'int64', 'index': 'int64',
           'task_index': 'int64'}


def export(store: Store, folder: Path, task: str, tell: Callable[[str, float], None]) -> None:
    """Write the dataset into a new folder; `DatasetError` when there is something, or the disk refuses."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DatasetError(f'{folder} exists: give another --lerobot')
    partial = folder.with_name(folder.name + '.partial')
    if partial.exists():
        shutil.rmtree(partial)
    try:
        _Export(store, partial, task or store.contract.description or store.contract.name).run(tell)
        if folder.exists():
            folder.rmdir()
        partial.replace(folder)
    except OSError as error:
        raise DatasetError(f'{folder}: cannot be written ({error.strerror or error}): free space or give another '
                           '--lerobot') from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


class _Export:
    """Writes episode after episode."""

    def __init__(self, store: Store, folder: Path, task: str):
        self.store, self.folder, self.task, self.contract = store, folder, task, store.contract
        self.fps = _whole_fps(store)
        self.features = features(store)
        self.state = _state_names(store)
        low = {name: f for name, f in self.features.items() if f['dtype'] != 'video'}
        self.data = DataFiles(folder, low, DATA_MB, CHUNKS_SIZE)
        self.videos = {name: VideoFiles(folder, name, self.fps, f['shape'][:2], VIDEO_MB, CHUNKS_SIZE)
                       for name, f in self.features.items() if f['dtype'] == 'video'}
        self.pictures = {name: lerobot_stats.Pictures() for name in self.videos}
        self.all: dict[str, list[np.ndarray]] = {}
        self.episodes: list[dict] = []
        self.steps = 0

    def run(self, tell: Callable[[str, float], None]) -> None:
        """Everything."""
        with self.data:
            try:
                for episode in self.store.episodes:
                    tell('writing episodes', episode.index / len(self.store.episodes))
                    self._episode(episode)
            finally:
                for video in self.videos.values():
                    video.close()
        self._meta()

    def _episode(self, episode: StoredEpisode) -> None:
        columns = self._columns(episode)
        row: dict = {'episode_index': episode.index, 'tasks': [self.task], 'length': episode.length}
        row |= self.data.add(columns)
        row |= {'dataset_from_index': self.steps, 'dataset_to_index': self.steps + episode.length}
        statistics = {name: lerobot_stats.of_numbers(values) for name, values in columns.items()}
        for name, video in self.videos.items():
            rows = _rgb(self.store.rows(f'observations/{name.rpartition(".")[2]}', episode))
            row |= video.add(rows)
            seen = lerobot_stats.Pictures()
            seen.add(rows)
            statistics[name] = seen.statistics()
            self.pictures[name].merge(seen)
        row |= {f'stats/{name}/{what}': value.tolist() for name, found in statistics.items()
                for what, value in found.items()}
        row |= {'meta/episodes/chunk_index': 0, 'meta/episodes/file_index': 0}
        self.episodes.append(row)
        self.steps += episode.length
        for name, values in columns.items():
            if values.ndim < 3:         # statistics of all steps need all steps at once: not of range images
                self.all.setdefault(name, []).append(values)

    def _columns(self, episode: StoredEpisode) -> dict[str, np.ndarray]:
        """Feature -> (T, …) of one episode, without pictures."""
        store, steps = self.store, np.arange(episode.length)
        found = {'action': store.rows('actions', episode)}
        if self.state:
            parts = [store.rows(stream, episode) for stream, _ in self.state]
            found['observation.state'] = np.concatenate(parts, axis=1)
        for stream in store.streams():
            if (name := f'observation.{stream.key}') in self.features and stream.name.startswith('observations/'):
                found[name] = store.rows(stream.name, episode)
            if (name := f'observation.{stream.key}_valid') in self.features and stream.name.startswith('valid/'):
                found[name] = store.rows(stream.name, episode)
        found |= {'timestamp': (steps / self.fps).astype(np.float32), 'frame_index': steps,
                  'episode_index': np.full(episode.length, episode.index), 'index': self.steps + steps,
                  'task_index': np.zeros(episode.length, np.int64)}
        return found

    def _meta(self) -> None:
        meta = self.folder / 'meta'
        meta.mkdir(parents=True, exist_ok=True)
        info = {
            'codebase_version': CODEBASE_VERSION, 'robot_type': self.contract.name,
            'total_episodes': len(self.episodes), 'total_frames': self.steps, 'total_tasks': 1,
            'chunks_size': CHUNKS_SIZE, 'data_files_size_in_mb': DATA_MB, 'video_files_size_in_mb': VIDEO_MB,
            'fps': self.fps, 'splits': {'train': f'0:{len(self.episodes)}'},
            'data_path': 'data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet',
            'video_path': 'videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4'
            if self.videos else None, 'features': self.features}
        statistics = {name: lerobot_stats.of_numbers(np.concatenate(rows)) for name, rows in self.all.items()}
        statistics |= {name: seen.statistics() for name, seen in self.pictures.items()}
        _write_json(meta / 'info.json', info)
        _write_json(meta / 'stats.json', {name: {what: value.tolist() for what, value in found.items()}
                                          for name, found in statistics.items()})
        write_tasks(meta / 'tasks.parquet', [self.task])
        write_parquet(meta / 'episodes/chunk-000/file-000.parquet', self.episodes)
        _write_json(meta / 'jepa_ros.json', {
            'version': __version__, 'contract': self.contract.to_yaml(), 'contract_sha256': self.contract.sha256(),
            'bags': self.store.attributes['bags'],
            'episodes': [{'episode_id': e.episode_id, 'bag': e.bag.name, 'sha256': e.sha256}
                         for e in self.store.episodes]})


def features(store: Store) -> dict[str, dict]:
    """LeRobot's description of each column, in the order of the columns."""
    contract, found = store.contract, dict[str, dict]()
    found['action'] = _feature('float32', [len(contract.action_names)], contract.action_names)
    state = [name for _, names in _state_names(store) for name in names]
    if state:
        found['observation.state'] = _feature('float32', [len(state)], state)
    for observation in contract.observations:
        spec = adapters.tensor_spec(observation)
        if spec.dtype == np.uint8:
            info = {'video.height': spec.shape[0], 'video.width': spec.shape[1], 'video.codec': 'h264',
                    'video.pix_fmt': VideoFiles.pixel_format(spec.shape[:2]), 'video.is_depth_map': False,
                    'video.fps': _whole_fps(store), 'video.channels': 3, 'has_audio': False}
            found[f'observation.images.{observation.key}'] = {
                **_feature('video', [*spec.shape[:2], 3], ['height', 'width', 'channels']), 'info': info}
        elif len(spec.shape) > 1:
            found[f'observation.{observation.key}'] = _feature('float32', list(spec.shape), None)
        if not observation.required:
            found[f'observation.{observation.key}_valid'] = _feature('bool', [1], None)
    return found | {name: _feature(kind, [1], None) for name, kind in SCALARS.items()}


def _feature(dtype: str, shape: list[int], names: list[str] | None) -> dict:
    return {'dtype': dtype, 'shape': shape, 'names': names}


def _state_names(store: Store) -> list[tuple[str, list[str]]]:
    """(stream, names of its numbers) of all that makes up observation.state."""
    found = []
    for observation in store.contract.observations:
        spec = adapters.tensor_spec(observation)
        if len(spec.shape) == 1:
            names = [f'{observation.key}.{name}' for name in spec.names or range(spec.shape[0])]
            found.append((f'observations/{observation.key}', names))
    if store.contract.readout_names:
        found.append(('readouts', store.contract.readout_names))
    return found


def _whole_fps(store: Store) -> int:
    fps = 1 / store.contract.control_period_s
    if abs(fps - round(fps)) > 1e-6 * fps:
        raise DatasetError(f'{store.path}: LeRobot takes whole frames per second, the control period '
                           f'{store.contract.control_period_s:g} s makes {fps:.4g}: export with --hdf5')
    return round(fps)


def _rgb(rows: np.ndarray) -> np.ndarray:
    """uint8 (T, H, W, 1 or 3) -> (T, H, W, 3)."""
    return np.repeat(rows, 3, axis=3) if rows.shape[3] == 1 else rows


def _write_json(path: Path, values: dict) -> None:
    path.write_text(json.dumps(values, indent=4), encoding='utf-8')
