"""The few calls into zarr, which differ between zarr 2 (Python 3.10) and zarr 3.

Stores are in zarr's format 2, which both read and write.
"""
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import zarr

from .layout import Stream

_NEW = int(zarr.__version__.split('.')[0]) >= 3
_FORMAT: dict = {'zarr_format': 2} if _NEW else {}
_WRITE: dict = _FORMAT if _NEW else {'write_empty_chunks': True}


BLOSC_HEADER = 16


def make_group(path: Path) -> zarr.Group:
    """A group, new or as it is."""
    return zarr.open_group(str(path), mode='a', **_FORMAT)


def open_group(path: Path) -> zarr.Group:
    """A group that exists, for reading; raises what zarr raises."""
    return zarr.open_group(str(path), mode='r', **_FORMAT)


def make_array(root: Path, stream: Stream, rows: int) -> zarr.Array:
    """Array (rows, *shape) in its groups, in place of an older one."""
    for parent in reversed(Path(stream.name).parents):
        make_group(root / parent)
    with _every_chunk():
        return zarr.open_array(
            store=str(root / stream.name), mode='w', shape=(rows, *stream.shape), dtype=stream.dtype.str,
            chunks=(stream.chunk_rows, *(max(n, 1) for n in stream.shape)), compressor=stream.compressor,
            fill_value=False if stream.dtype == np.bool_ else 0, **_WRITE)


def make_table(root: Path, name: str, values: np.ndarray) -> None:
    """Array of whatever numpy type, in one chunk."""
    for parent in reversed(Path(name).parents):
        make_group(root / parent)
    with _every_chunk():
        array = zarr.open_array(store=str(root / name), mode='w', shape=values.shape, dtype=values.dtype.str,
                                chunks=tuple(max(n, 1) for n in values.shape), compressor=None,
                                fill_value='' if values.dtype.kind == 'U' else 0, **_WRITE)
    if len(values):
        array[:] = values


def open_array(root: Path, name: str, write: bool = False) -> zarr.Array:
    """An array that exists; raises what zarr raises."""
    with _every_chunk():
        return zarr.open_array(store=str(root / name), mode='r+' if write else 'r', **(_WRITE if write else _FORMAT))


def _every_chunk():
    """Let zarr 3 write chunks of zeros too, or a lost one could not be told from them.

    It would also compare every chunk with zeros before it writes it: 8 ms for one that is compressed in 1 ms.
    """
    return zarr.config.set({'array.write_empty_chunks': True}) if _NEW else nullcontext()


def chunk_file(folder: Path, array: zarr.Array, number: int) -> Path:
    """File of a chunk of rows."""
    return folder / f'{number}{".0" * (array.ndim - 1)}'


def is_cut(file: Path) -> bool:
    """Whether a chunk's file is shorter or longer than its Blosc header says; Blosc itself would read past its end."""
    with file.open('rb') as stream:
        head = stream.read(BLOSC_HEADER)
    return len(head) < BLOSC_HEADER or int.from_bytes(head[12:16], 'little') != file.stat().st_size


def one_thread() -> None:
    """Keep zarr and its compressors in this process to one thread; other processes work beside it."""
    from numcodecs import blosc
    blosc.set_nthreads(1)
    blosc.use_threads = False
    if _NEW:
        zarr.config.set({'threading.max_workers': 1, 'async.concurrency': 1})
