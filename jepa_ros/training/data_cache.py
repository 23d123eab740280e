"""The cache of gathered training data: a folder with one .npy file per stream, mapped into memory.

    CACHE/index.json             contract, bags with their hashes, episode names, notes; written last
    CACHE/starts.npy lengths.npy (E,) int64
    CACHE/actions.npy            (N, A) float32 in −1…1         CACHE/readouts.npy     (N, R) float32
    CACHE/percepts.<key>.npy     (N, *shape)                    CACHE/valid.<key>.npy  (N,) bool

Percepts are read from the disk as they are needed and may exceed the memory; all processes of a machine share one
copy. `data_writer.py` writes it episode by episode. A cache may also be one compressed file, `*.npz`, for carrying: it
is read into memory whole.
"""
import json
from pathlib import Path
import shutil
from typing import Any
import warnings

import numpy as np
import torch
from torch import Tensor

from jepa_ros.errors import TrainingError
from jepa_ros.robot.contract import RobotContract
from jepa_ros.training.data_episodes import EpisodeSet

FORMAT, VERSION, INDEX = 'jepa_ros.training_cache', 1, 'index.json'
_SMALL = ('actions', 'readouts', 'starts', 'lengths')


def is_cache(path: Path) -> bool:
    """Whether a path is a cache, complete or damaged: a file *.npz or a folder with an index."""
    return path.suffix == '.npz' or (_index(path) or {}).get('format') == FORMAT


def load(path: Path, contract: RobotContract | None = None) -> EpisodeSet:
    """Read a cache; `TrainingError` when it is missing, damaged, or of another robot than `contract`."""
    try:
        data, made_for = _load_file(path, contract) if path.is_file() else _load_folder(path)
        _check_rows(data)
    except Exception as error:      # zipfile, zlib, struct, json and numpy each have their own for a damaged file
        raise TrainingError(f'{path}: not a readable training cache ({type(error).__name__}: '
                            f'{" ".join(str(error).split())}); delete it and train from the bags') from None
    if contract is not None and made_for not in ('', contract.sha256()):
        raise TrainingError(f'{path}: gathered with another contract ({made_for[:12]}), training is for robot '
                            f'{contract.name} ({contract.sha256()[:12]}): gather it again from the bags')
    return data


def save(data: EpisodeSet, path: Path, contract: RobotContract | None = None) -> None:
    """Write atomically, so that an interrupted run never leaves half a cache: a folder, or one file *.npz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + '.partial')
    arrays = {**{f'percepts.{key}': x for key, x in data.percepts.items()},
              **{f'valid.{key}': x for key, x in data.valid.items()}, **{k: getattr(data, k) for k in _SMALL}}
    index = index_of(data, contract.sha256() if contract else '')
    if path.suffix == '.npz':
        with partial.open('wb') as file:
            np.savez_compressed(file, index=np.array(json.dumps(index)),
                                **{name: tensor.cpu().numpy() for name, tensor in arrays.items()})
        partial.replace(path)
        return
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    for name, tensor in arrays.items():
        np.save(partial / f'{name}.npy', tensor.cpu().numpy())
    write_index(partial, index)
    put_in_place(partial, path)


def index_of(data: EpisodeSet, contract_sha256: str) -> dict[str, Any]:
    """What `index.json` says of the data."""
    return {'format': FORMAT, 'version': VERSION, 'contract': contract_sha256, 'bags': data.bags,
            'readout_names': data.readout_names, 'percepts': list(data.percepts), 'valid': list(data.valid),
            'names': data.names, 'notes': data.notes}


def write_index(folder: Path, index: dict[str, Any]) -> None:
    """The last file of a cache: without it, the folder is none."""
    (folder / INDEX).write_text(json.dumps(index), encoding='utf-8')


def put_in_place(partial: Path, path: Path) -> None:
    """Rename a finished cache; an older one is removed, though processes that have mapped it keep it."""
    if path.is_dir():
        if not is_cache(path):
            raise TrainingError(f'{path}: is in the way of the training cache and none itself: move it or give '
                                'another --work-dir')
        shutil.rmtree(path)
    partial.replace(path)


def cached_bags(path: Path) -> dict[str, str] | None:
    """Bags of a cache folder with their hashes, or None where there is no readable cache."""
    found = _index(path)
    return found.get('bags') if found and found.get('format') == FORMAT and found.get('version') == VERSION else None


def _index(path: Path) -> dict | None:
    try:
        found = json.loads((path / INDEX).read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _load_folder(path: Path) -> tuple[EpisodeSet, str]:
    index = json.loads((path / INDEX).read_text(encoding='utf-8'))
    if index['format'] != FORMAT or index['version'] != VERSION:
        raise ValueError(f'{INDEX} says {index["format"]} version {index["version"]}, expected {FORMAT} {VERSION}')
    streams = {f'percepts.{key}': mapped(path / f'percepts.{key}.npy') for key in index['percepts']}
    for name in (*(f'valid.{key}' for key in index['valid']), *_SMALL):
        streams[name] = torch.from_numpy(np.load(path / f'{name}.npy', allow_pickle=False))
    return _assembled(streams, index), index['contract']


def mapped(file: Path) -> Tensor:
    """A tensor that is a read-only map of an .npy file: never write to it."""
    rows = np.load(file, mmap_mode='r', allow_pickle=False)
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='The given NumPy array is not writable')
        return torch.from_numpy(rows)


def _load_file(path: Path, contract: RobotContract | None) -> tuple[EpisodeSet, str]:
    with np.load(path, allow_pickle=False) as file:
        if 'index' not in file and 'images' in file:
            return _load_version_0(file, contract), ''
        index = json.loads(str(file['index']))
        names = [f'percepts.{key}' for key in index['percepts']] + [f'valid.{key}' for key in index['valid']]
        return _assembled({k: torch.from_numpy(file[k]) for k in (*names, *_SMALL)}, index), index['contract']


def _load_version_0(file, contract: RobotContract | None) -> EpisodeSet:
    """A cache made before robots could have several sensors: its only one is the contract's first."""
    tensors = {k: torch.from_numpy(file[k]) for k in ('images', *_SMALL)}
    images = tensors.pop('images')
    bags = dict(zip(map(str, file['bag_names']), map(str, file['bag_hashes'])))
    return EpisodeSet({contract.observations[0].key if contract else 'overhead': images}, **tensors,
                      readout_names=tuple(map(str, file['readout_names'])), bags=bags)


def _assembled(streams: dict[str, Tensor], index: dict[str, Any]) -> EpisodeSet:
    return EpisodeSet(
        percepts={key: streams[f'percepts.{key}'] for key in index['percepts']},
        valid={key: streams[f'valid.{key}'] for key in index['valid']}, **{k: streams[k] for k in _SMALL},
        readout_names=tuple(index['readout_names']), bags=dict(index['bags']), names=tuple(index['names']),
        notes=tuple(index['notes']))


def _check_rows(data: EpisodeSet) -> None:
    """`ValueError` where the tensors disagree about the rows: an index beyond them would end the process."""
    rows = {name: len(x) for name, x in (*data.percepts.items(), *data.valid.items(), ('readouts', data.readouts))}
    wrong = next((name for name, count in rows.items() if count != data.steps), None)
    if wrong:
        raise ValueError(f'{wrong} has {rows[wrong]} rows, actions has {data.steps}')
    if len(data.starts) != len(data.lengths) or not len(data.starts) or len(data.names) not in (0, len(data.starts)):
        raise ValueError(f'{len(data.starts)} starts, {len(data.lengths)} lengths, {len(data.names)} names of episodes')
    if int(data.lengths.min()) < 1 or int(data.starts.min()) < 0 or \
            int((data.starts + data.lengths).max()) > data.steps:
        raise ValueError(f'an episode is outside the {data.steps} rows')
