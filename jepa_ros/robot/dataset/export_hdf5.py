"""One HDF5 file of a store, laid out as robomimic reads it.

    data                attributes: total (steps), env_args (JSON: robot, control period), contract, contract_sha256
    data/demo_<e>       attributes: num_samples, episode_id, bag, bag_sha256, sha256 (of the episode in the store)
      obs/<key>         (T, …)  observations, images uint8 (T, H, W, 3)
      obs/readouts      (T, R)  attribute names
      actions           (T, A)  float32 in the contract's units, attribute names
      valid/<key>       (T,)    bool, False where an observation was missing
      stamps_ns         (T,)    int64
      rewards, dones    (T,)    zeros, and 1 at the last step: bags hold neither
    mask/train, mask/valid      names of demos; the last 5 % are for validation
"""
from collections.abc import Callable
from contextlib import suppress
import json
from pathlib import Path

import numpy as np

from ...errors import DatasetError
from .extras import extra
from .layout import Stream
from .store import Store, StoredEpisode

VALIDATION = 0.05


def export(store: Store, file: Path, tell: Callable[[str, float], None]) -> None:
    """Write `file`; `DatasetError` when it exists or cannot be written. Half a file is never left under its name."""
    h5py = extra('h5py')
    if file.exists():
        raise DatasetError(f'{file} exists: give another --hdf5')
    partial = file.with_name(file.name + '.partial')
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(partial, 'w') as out:
            _write(store, out, tell, h5py.string_dtype())
        partial.replace(file)
    except OSError as error:
        raise DatasetError(f'{file}: cannot be written ({error.strerror or error}): free space or give another --hdf5'
                           ) from error
    finally:
        with suppress(OSError):
            partial.unlink()


def _write(store: Store, out, tell: Callable[[str, float], None], text) -> None:
    contract, data = store.contract, out.create_group('data')
    data.attrs['total'] = store.steps
    data.attrs['env_args'] = json.dumps({'env_name': contract.name, 'type': 1, 'env_kwargs': {
        'control_period_s': contract.control_period_s}})
    data.attrs['contract'], data.attrs['contract_sha256'] = contract.to_yaml(), contract.sha256()
    for episode in store.episodes:
        tell('writing episodes', episode.index / len(store.episodes))
        _episode(store, episode, data.create_group(f'demo_{episode.index}'))
    names = [f'demo_{episode.index}' for episode in store.episodes]
    held_out = round(len(names) * VALIDATION)
    for mask, part in (('train', names[:len(names) - held_out]), ('valid', names[len(names) - held_out:])):
        out.create_dataset(f'mask/{mask}', data=np.array(part, object), dtype=text)


def _episode(store: Store, episode: StoredEpisode, group) -> None:
    contract = store.contract
    group.attrs.update({'num_samples': episode.length, 'episode_id': episode.episode_id, 'bag': episode.bag.name,
                        'bag_sha256': episode.bag.sha256, 'sha256': episode.sha256})
    for stream in store.streams():
        rows = store.rows(stream.name, episode)
        made = group.create_dataset(_place(stream), data=rows, **_compression(stream, rows))
        if stream.name in ('actions', 'readouts'):
            made.attrs['names'] = contract.action_names if stream.name == 'actions' else contract.readout_names
    group.create_dataset('rewards', data=np.zeros(episode.length, np.float32))
    dones = np.zeros(episode.length, np.int64)
    dones[-1] = 1
    group.create_dataset('dones', data=dones)


def _place(stream: Stream) -> str:
    return f'obs/{stream.key}' if stream.name == 'readouts' or stream.name.startswith('observations/') else stream.name


def _compression(stream: Stream, rows: np.ndarray) -> dict:
    """Large streams in chunks of few rows, with gzip at its quickest, which every HDF5 can read."""
    if not stream.large or not len(rows):
        return {}
    return {'chunks': (min(stream.chunk_rows, len(rows)), *stream.shape), 'compression': 'gzip', 'compression_opts': 1}
