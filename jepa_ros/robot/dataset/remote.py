"""A training store behind a URL (s3://, gs://, http://, …): its files are fetched as they are read.

fsspec knows the protocols and where each keeps its credentials; the package behind a protocol (s3fs, gcsfs, aiohttp) is
installed by who needs it. Nothing is listed: the contract says which arrays there are and zarr how their chunks are
called, so a plain web server will do.
"""
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
import hashlib
from pathlib import Path
import re
import shutil
import time

import numpy as np

from ...errors import DatasetError
from . import zarrs
from .store import Store, StoredEpisode

AT_ONCE = 8             # files fetched side by side: a chunk takes longer to ask for than to send
TRIES = 3
_PAUSE_S = 0.5          # before the second try; doubles
_URL = re.compile(r'^([a-z][a-z0-9+.-]+):/+(?=.)')      # a drive letter is no protocol


def url_of(source: Path | str) -> str | None:
    """The URL that a source is, or None; a `Path` made of a URL has lost one of its slashes."""
    text = str(source)
    found = _URL.match(text)
    if found is None or Path(text).exists():
        return None
    return f'{found[1]}://{"/" if found[1] == "file" else ""}{text[found.end():]}'.rstrip('/')


class RemoteStore(Store):
    """As `Store`; the files that are needed are kept in a folder of `mirrors` until `forget` or `close`.

    `DatasetError` names the URL of a file that cannot be fetched.
    """

    def __init__(self, url: str, mirrors: Path):
        self.url, self._files = url, _Files(url)
        self._forgotten: dict[str, int] = {}    # array -> chunks that were deleted
        mirror = mirrors / f'remote-{hashlib.sha256(url.encode()).hexdigest()[:12]}'
        mirror.mkdir(parents=True, exist_ok=True)
        newest = mirror / '.zattrs.new'
        newest.unlink(missing_ok=True)
        if not self._files.fetch('.zattrs', newest):
            raise DatasetError(f'{url}: there is no such store; jepa-ros dataset build makes one from bags')
        if not (mirror / '.zattrs').exists() or (mirror / '.zattrs').read_bytes() != newest.read_bytes():
            newest = newest.replace(mirror.with_name(mirror.name + '.zattrs'))      # the store was built again
            shutil.rmtree(mirror)
            mirror.mkdir()
        newest.replace(mirror / '.zattrs')
        with self._named(mirror):
            super().__init__(mirror)

    def _at_hand(self, file: Path) -> Path:
        if not file.exists():
            self._files.fetch(file.relative_to(self.path).as_posix(), file)
        return file

    def rows(self, name: str, episode: StoredEpisode) -> np.ndarray:
        try:
            with self._named(self.path):
                return super().rows(name, episode)
        except DatasetError:
            for file in self._chunks(name, episode):    # damaged on the way, perhaps: the next try fetches them again
                file.unlink(missing_ok=True)
            raise

    def fetch(self, episode: StoredEpisode, progress: Callable[[float], None]) -> None:
        """Fetch all that `read` will need of an episode, some files side by side."""
        wanted = [file for stream in self.streams() if 0 not in stream.shape
                  for file in self._chunks(stream.name, episode)]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for number, _ in enumerate(pool.map(self._at_hand, wanted)):
                progress((number + 1) / len(wanted))

    def forget(self, before: int) -> None:
        """Delete the chunks whose rows are all before row `before`."""
        for stream in self.streams():
            array = self.array(stream.name)
            end = before // array.chunks[0]
            for number in range(self._forgotten.get(stream.name, 0), end):
                zarrs.chunk_file(self.path / stream.name, array, number).unlink(missing_ok=True)
            self._forgotten[stream.name] = end

    def close(self) -> None:
        """Delete all that was fetched."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _chunks(self, name: str, episode: StoredEpisode) -> list[Path]:
        """Files of the chunks that an episode lies in."""
        array = self.array(name)
        size, first, end = array.chunks[0], episode.start, episode.start + episode.length
        return [zarrs.chunk_file(self.path / name, array, n) for n in range(first // size, -(-end // size))]

    @contextmanager
    def _named(self, mirror: Path) -> Iterator[None]:
        """Messages about files of the mirror name the URL they came from."""
        try:
            yield
        except DatasetError as error:
            raise DatasetError(str(error).replace(str(mirror), self.url)) from error


class _Files:
    """The files below a URL."""

    def __init__(self, url: str):
        self._url = url
        try:
            from fsspec.core import url_to_fs
            self._system, self._root = url_to_fs(url)
        except ImportError as error:    # fsspec itself, or the package behind a protocol
            raise DatasetError(f'{url}: {" ".join(str(error).split())}: install it with pip') from error
        except ValueError as error:
            raise DatasetError(f'{url}: {" ".join(str(error).split())}: copy the store to this machine') from error

    def fetch(self, name: str, file: Path) -> bool:
        """Whole or not at all; False where there is no such file. Tries again when the network fails."""
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(file.name + '.part')
        reason = ''
        for number in range(TRIES):
            if number:
                time.sleep(_PAUSE_S * 2 ** (number - 1))
            try:
                self._system.get_file(f'{self._root}/{name}', str(partial))
                partial.replace(file)
                return True
            except FileNotFoundError:
                return False
            except Exception as error:      # each protocol has its own for a network that fails
                reason = f'{type(error).__name__}: {" ".join(str(error).split())[:160]}'
            finally:
                partial.unlink(missing_ok=True)
        raise DatasetError(f'{self._url}/{name}: cannot be fetched ({reason}); the same command goes on where it was')
