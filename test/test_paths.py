"""Folders that were made for nothing are removed again; files are written whole or not at all."""
from contextlib import contextmanager
import os
import resource

import pytest

from jepa_ros.paths import tidied, write_whole


@contextmanager
def full_disk(free: int = 100):
    """No file can grow beyond so many bytes: the writing fails half way, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_an_empty_new_folder_is_removed_with_those_it_was_made_in(tmp_path):
    with pytest.raises(ValueError), tidied(tmp_path / 'a' / 'b'):
        (tmp_path / 'a' / 'b').mkdir(parents=True)
        raise ValueError
    assert not list(tmp_path.iterdir())


def test_what_was_there_before_or_holds_something_stays(tmp_path):
    (tmp_path / 'old').mkdir()
    with tidied(tmp_path / 'old'):
        pass
    with tidied(tmp_path / 'a' / 'b' / 'c'):
        (tmp_path / 'a' / 'b' / 'c').mkdir(parents=True)
        (tmp_path / 'a' / 'kept').touch()
    assert sorted(p.name for p in tmp_path.iterdir()) == ['a', 'old']
    assert [p.name for p in (tmp_path / 'a').iterdir()] == ['kept']


@pytest.mark.parametrize('before', [None, 'old'])
def test_a_file_that_the_disk_does_not_take_stays_as_it_was(tmp_path, before):
    file = tmp_path / 'x.json'
    if before is not None:
        file.write_text(before)
    with pytest.raises(OSError), full_disk():
        write_whole(file, 1000 * '1')
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == ({} if before is None else {'x.json': before})


def test_a_file_is_replaced_and_a_link_to_it_stays_one(tmp_path):
    (tmp_path / 'x.json').write_text('old')
    (tmp_path / 'link.json').symlink_to('x.json')
    write_whole(tmp_path / 'link.json', 'new')
    assert (tmp_path / 'link.json').is_symlink() and (tmp_path / 'x.json').read_text() == 'new'
    assert len(list(tmp_path.iterdir())) == 2


def test_what_is_no_file_is_written_to(tmp_path):
    os.mkfifo(tmp_path / 'pipe')
    reader = os.open(tmp_path / 'pipe', os.O_RDONLY | os.O_NONBLOCK)
    write_whole(tmp_path / 'pipe', 'text')
    assert os.read(reader, 10) == b'text'
    os.close(reader)
    assert [p.name for p in tmp_path.iterdir()] == ['pipe']
