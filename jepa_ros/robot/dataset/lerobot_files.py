"""Files of a LeRobot v3.0 dataset: parquet tables and videos of many episodes, begun anew when they get large.

Used by `export_lerobot.py`.
"""
import json
from pathlib import Path
from typing import Any

import numpy as np

from .extras import extra

GOP = 2                 # frames from one key frame to the next: training reads single frames
CRF = 18                # H.264's quality: hardly to be told from the original


class _Numbered:
    """File numbers: chunk-000/file-000, and so on."""

    def __init__(self, pattern: str, megabytes: float, chunks_size: int):
        self.pattern, self.megabytes, self.chunks_size, self.number = pattern, megabytes, chunks_size, 0

    @property
    def chunk(self) -> int:
        return self.number // self.chunks_size

    @property
    def file(self) -> int:
        return self.number % self.chunks_size

    def path(self, folder: Path) -> Path:
        path = folder / self.pattern.format(self.chunk, self.file)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


class DataFiles:
    """data/: one row for each step, one row group for each episode."""

    def __init__(self, folder: Path, features: dict[str, dict], megabytes: float, chunks_size: int):
        self._pa, self._parquet = extra('pyarrow'), extra('pyarrow.parquet')
        self._names = _Numbered('data/chunk-{:03d}/file-{:03d}.parquet', megabytes, chunks_size)
        self._folder, self._path = folder, folder
        self._writer: Any = None
        self._schema = self._pa.schema([(name, self._type(f)) for name, f in features.items()])

    def _type(self, feature: dict):
        kind = getattr(self._pa, {'bool': 'bool_'}.get(feature['dtype'], feature['dtype']))()
        shape = feature['shape']
        if shape == [1]:
            return kind
        if len(shape) == 1:
            return self._pa.list_(kind, shape[0])
        for _ in shape:
            kind = self._pa.list_(kind)
        return kind

    def add(self, columns: dict[str, np.ndarray]) -> dict[str, int]:
        """Append the steps of one episode; returns where they are."""
        if self._writer is not None and self._path.stat().st_size > self._names.megabytes * 2**20:
            self._writer.close()
            self._writer, self._names.number = None, self._names.number + 1
        if self._writer is None:
            self._path = self._names.path(self._folder)
            self._writer = self._parquet.ParquetWriter(self._path, self._schema, compression='snappy')
        arrays = [self._array(columns[field.name], field.type) for field in self._schema]
        self._writer.write_table(self._pa.Table.from_arrays(arrays, schema=self._schema))
        return {'data/chunk_index': self._names.chunk, 'data/file_index': self._names.file}

    def _array(self, values: np.ndarray, kind):
        """(T, …) as an arrow array."""
        if values.ndim > 1 and values.shape[1:] == (1,):
            values = values[:, 0]
        inner = self._pa.array(values.ravel())
        if values.ndim == 2:
            return self._pa.FixedSizeListArray.from_arrays(inner, values.shape[1])
        for axis in range(values.ndim - 1, 0, -1):
            size = values.shape[axis]
            offsets = np.arange(0, len(inner) + 1, size, dtype=np.int32)
            inner = self._pa.ListArray.from_arrays(self._pa.array(offsets), inner)
        return inner

    def __enter__(self) -> 'DataFiles':
        return self

    def __exit__(self, *_error) -> None:
        if self._writer is not None:
            self._writer.close()


class VideoFiles:
    """videos/<key>/: the pictures of many episodes end to end, at a constant rate."""

    def __init__(self, folder: Path, key: str, fps: int, size: tuple[int, int], megabytes: float, chunks_size: int):
        self._ffmpeg = extra('imageio_ffmpeg', 'imageio-ffmpeg')
        self._names = _Numbered(f'videos/{key}/chunk-{{:03d}}/file-{{:03d}}.mp4', megabytes, chunks_size)
        self._folder, self._key, self._fps, self._size = folder, key, fps, size
        self._path, self._frames = folder, 0
        self._writer: Any = None

    @staticmethod
    def pixel_format(size: tuple[int, ...]) -> str:
        """Colours at half the resolution where H.264 can: it needs even sides for that."""
        return 'yuv420p' if size[0] % 2 == size[1] % 2 == 0 else 'yuv444p'

    def add(self, rows: np.ndarray) -> dict[str, float]:
        """Append uint8 (T, H, W, 3); returns where they are, in seconds from the start of the file."""
        if self.is_full:
            self.close()
            self._names.number += 1
        if self._writer is None:
            self._open()
        first = self._frames
        for row in rows:
            self._writer.send(np.ascontiguousarray(row))
        self._frames += len(rows)
        name = f'videos/{self._key}'
        return {f'{name}/chunk_index': self._names.chunk, f'{name}/file_index': self._names.file,
                f'{name}/from_timestamp': first / self._fps, f'{name}/to_timestamp': self._frames / self._fps}

    @property
    def is_full(self) -> bool:
        """Whether the next episode begins a new file. The encoder is another process, some frames behind."""
        return self._path.is_file() and self._path.stat().st_size > self._names.megabytes * 2**20

    def _open(self) -> None:
        self._path, self._frames = self._names.path(self._folder), 0
        height, width = self._size
        self._writer = self._ffmpeg.write_frames(
            str(self._path), (width, height), fps=self._fps, codec='libx264', macro_block_size=1, quality=None,
            pix_fmt_out=self.pixel_format(self._size), ffmpeg_log_level='error',
            output_params=['-crf', str(CRF), '-g', str(GOP), '-bf', '0', '-preset', 'veryfast'])
        self._writer.send(None)

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer, self._path = None, self._folder


def write_parquet(path: Path, rows: list[dict]) -> None:
    """One table of rows with the same keys."""
    pa, parquet = extra('pyarrow'), extra('pyarrow.parquet')
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.Table.from_pylist(rows), path)


def write_tasks(path: Path, tasks: list[str]) -> None:
    """meta/tasks.parquet: LeRobot reads it with pandas, the task being the index of its row."""
    pa, parquet = extra('pyarrow'), extra('pyarrow.parquet')
    column = {'metadata': None, 'name': 'task_index', 'field_name': 'task_index', 'pandas_type': 'int64',
              'numpy_type': 'int64'}
    index = {'metadata': None, 'name': 'task', 'field_name': 'task', 'pandas_type': 'unicode', 'numpy_type': 'object'}
    pandas = {'index_columns': ['task'], 'columns': [column, index], 'pandas_version': '2.0.0', 'column_indexes': [
        {'name': None, 'field_name': None, 'pandas_type': 'unicode', 'numpy_type': 'object',
         'metadata': {'encoding': 'UTF-8'}}]}
    schema = pa.schema([('task_index', pa.int64()), ('task', pa.string())], {b'pandas': json.dumps(pandas).encode()})
    parquet.write_table(pa.Table.from_pydict({'task_index': list(range(len(tasks))), 'task': tasks}, schema), path)
