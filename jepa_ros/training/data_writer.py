"""Writes a training cache episode by episode, so that the data need not fit into memory, and goes on where it was.

Until it is complete the cache is a folder `*.partial` with a journal: its first line says what it is made of, each
other one which episode is whole on the disk. What a killed run left after the newest of these is written again.
"""
from contextlib import ExitStack
import json
from pathlib import Path
import shutil
from types import TracebackType

import numpy as np
import torch
from torch import Tensor

from jepa_ros.robot.contract import RobotContract
from jepa_ros.training import data_notes
from jepa_ros.training.data_cache import index_of, mapped, put_in_place, write_index
from jepa_ros.training.data_episodes import EpisodeSet
from jepa_ros.training.data_parts import Part, refuse_none, stream_types

_JOURNAL = 'journal.jsonl'
_HEADER_BYTES = 128     # of an .npy file: the same for any number of rows, so that it can be written again at the end


class CacheWriter:
    """Writes `path` by way of `path.partial`; a context manager that keeps the partial folder when it is left early."""

    def __init__(self, path: Path, contract: RobotContract, bags: dict[str, str]):
        self.path, self.contract, self.bags = path, contract, bags
        self._partial = path.with_name(path.name + '.partial')
        self._types = stream_types(contract)
        self._head = {'contract': contract.sha256(), 'bags': bags}
        self._lengths: list[int] = []
        self._names: list[str] = []
        self.done = 0           # episodes taken, those that were too short included
        self.sources: list[int] = []    # episodes of each source that was read to its end
        self._open = ExitStack()

    def __enter__(self) -> 'CacheWriter':
        rows = self._resume()
        journal = self._partial / _JOURNAL
        self._files = {name: self._open.enter_context(self._file(name).open('r+b')) for name in self._types}
        for name, file in self._files.items():
            file.truncate(_HEADER_BYTES + rows * self._row_bytes(name))
            file.seek(0, 2)
        self._journal = self._open.enter_context(journal.open('a', encoding='utf-8'))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self._open.close()

    def add(self, part: Part | None) -> None:
        """Append an episode; None stands for one that was too short."""
        if part is not None:
            for name, file in self._files.items():
                file.write(np.ascontiguousarray(part.streams[name]).data)
            for file in self._files.values():
                file.flush()
        self._note({'name': part.name, 'steps': len(part)} if part is not None else {'name': '', 'steps': 0})

    def source_done(self, episodes: int) -> None:
        """A source was read to its end; it has so many episodes, whether they were wanted or not."""
        self._note({'source': episodes})

    def finish(self) -> None:
        """Write what belongs to the whole, and put the cache in place; `TrainingError` when it has no episode."""
        refuse_none(len(self._lengths), self.bags)
        self._open.close()
        rows = sum(self._lengths)
        for name, (shape, dtype) in self._types.items():
            with self._file(name).open('r+b') as file:
                file.write(_npy_header(dtype, (rows, *shape)))
        lengths = np.array(self._lengths, np.int64)
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
        np.save(self._partial / 'starts.npy', starts)
        np.save(self._partial / 'lengths.npy', lengths)
        data = self._noted(starts, lengths)
        (self._partial / _JOURNAL).unlink()
        write_index(self._partial, index_of(data, self.contract.sha256()))
        put_in_place(self._partial, self.path)

    def _noted(self, starts: np.ndarray, lengths: np.ndarray) -> EpisodeSet:
        """The data with notes, and without the masks of sensors that are always there."""
        streams: dict[str, Tensor] = {}
        for name in self._types:
            file = self._file(name)
            streams[name] = mapped(file) if name.startswith('percepts') else torch.from_numpy(np.load(file))
        keys = [o.key for o in self.contract.observations]
        valid = {key: streams[f'valid/{key}'] for key in keys}
        for key in [key for key, mask in valid.items() if bool(mask.all())]:
            del valid[key]
            self._file(f'valid/{key}').unlink()
        data = EpisodeSet({key: streams[f'percepts/{key}'] for key in keys}, streams['actions'], streams['readouts'],
                          torch.from_numpy(starts), torch.from_numpy(lengths), tuple(self.contract.readout_names),
                          self.bags, valid, tuple(self._names))
        return data_notes.noted(data, self.contract, data_notes.short(self.done - len(lengths)))

    def _resume(self) -> int:
        """Rows that a killed run left whole; begins anew where it was of other bags."""
        entries = self._left()
        if entries is None:
            shutil.rmtree(self._partial, ignore_errors=True)
            self._partial.mkdir(parents=True)
            for name, (shape, dtype) in self._types.items():
                self._file(name).write_bytes(_npy_header(dtype, (0, *shape)))
            entries = []
        for entry in entries:
            self._take(entry)
        lines = [json.dumps(line) + '\n' for line in (self._head, *entries)]
        (self._partial / _JOURNAL).write_text(''.join(lines), encoding='utf-8')
        return sum(self._lengths)

    def _left(self) -> list[dict] | None:
        """Journal entries whose rows are in all files, or None."""
        try:
            lines = (self._partial / _JOURNAL).read_text(encoding='utf-8').split('\n')[:-1]
            if not lines or json.loads(lines[0]) != self._head:
                return None
            whole = min((self._file(name).stat().st_size - _HEADER_BYTES) // self._row_bytes(name)
                        for name in self._types if self._row_bytes(name))
            entries, rows = [], 0
            for line in lines[1:]:
                entry = json.loads(line)
                rows += entry.get('steps', 0)
                if rows > whole:
                    break
                entries.append(entry)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return entries

    def _note(self, entry: dict) -> None:
        self._journal.write(json.dumps(entry) + '\n')
        self._journal.flush()
        self._take(entry)

    def _take(self, entry: dict) -> None:
        if 'source' in entry:
            self.sources.append(entry['source'])
            return
        self.done += 1
        if entry['steps']:
            self._lengths.append(entry['steps'])
            self._names.append(entry['name'])

    def _file(self, stream: str) -> Path:
        return self._partial / f'{stream.replace("/", ".")}.npy'

    def _row_bytes(self, stream: str) -> int:
        shape, dtype = self._types[stream]
        return int(np.prod(shape, dtype=np.int64)) * dtype.itemsize


def _npy_header(dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    """Header of an .npy file of version 1.0 with a fixed length, as numpy's `lib.format` describes it."""
    text = repr({'descr': dtype.str, 'fortran_order': False, 'shape': shape})
    prefix = b'\x93NUMPY\x01\x00' + (_HEADER_BYTES - 10).to_bytes(2, 'little')
    return prefix + text.ljust(_HEADER_BYTES - 11).encode('latin1') + b'\n'
