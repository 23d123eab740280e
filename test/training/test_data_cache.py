"""The cache of training data: a folder that is mapped, or one file."""
import json

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
import tiny
import torch

from jepa_ros.errors import TrainingError
from jepa_ros.training import data_cache
from jepa_ros.training.data import EpisodeSet, from_episodes, load, save

from . import rover


def rovers() -> EpisodeSet:
    episodes = [rover.episode(6, 0, 'a', missing=True), rover.episode(5, 1, 'b'), rover.episode(1)]
    return from_episodes(episodes, rover.contract(), {'a': '00'})


def assert_same(one: EpisodeSet, other: EpisodeSet) -> None:
    for name in ('actions', 'readouts', 'starts', 'lengths'):
        x, y = getattr(one, name), getattr(other, name)
        assert x.dtype == y.dtype and torch.equal(x, y), name
    for name in ('percepts', 'valid'):
        a, b = getattr(one, name), getattr(other, name)
        assert list(a) == list(b) and all(a[k].dtype == b[k].dtype and torch.equal(a[k], b[k]) for k in a), name
    assert (one.readout_names, one.bags, one.names, one.notes) == \
        (other.readout_names, other.bags, other.names, other.notes)


@pytest.mark.parametrize('name', ['episodes', 'episodes.npz'])
def test_the_cache_gives_back_what_was_saved(tmp_path, name):
    path = tmp_path / 'deep' / name
    save(rovers(), path, rover.contract())
    assert_same(load(path, rover.contract()), rovers())
    assert data_cache.is_cache(path) and [p.name for p in (tmp_path / 'deep').iterdir()] == [name]
    save(tiny.episodes([5, 4]), path)           # in place of the older one
    assert_same(load(path), tiny.episodes([5, 4]))


def test_percepts_of_a_folder_are_a_map_of_the_file_and_not_a_copy(tmp_path):
    save(rovers(), tmp_path / 'cache')
    data = load(tmp_path / 'cache')
    file = tmp_path / 'cache' / 'percepts.scan.npy'
    with file.open('r+b') as stream:
        stream.seek(-4, 2)
        stream.write(np.float32(7.5).tobytes())
    assert float(data.percepts['scan'][-1, 1, -1]) == 7.5


@pytest.mark.parametrize('name', ['episodes', 'episodes.npz'])
def test_a_cache_of_another_contract_is_refused(tmp_path, name):
    save(rovers(), tmp_path / name, rover.contract())
    slower = rover.contract(rover.CONTRACT.replace('max: 1.0', 'max: 0.5'))
    with pytest.raises(TrainingError, match='gathered with another contract .* gather it again') as refused:
        load(tmp_path / name, slower)
    assert '\n' not in str(refused.value)


def test_a_cache_made_when_robots_had_one_camera_is_read(tmp_path):
    data = tiny.episodes([5, 4])
    np.savez_compressed(
        tmp_path / 'old.npz', images=data.percepts['overhead'], actions=data.actions, readouts=data.readouts,
        starts=data.starts, lengths=data.lengths, readout_names=np.array(data.readout_names),
        bag_names=np.array(['a']), bag_hashes=np.array(['00']))
    old = load(tmp_path / 'old.npz', tiny.contract())
    assert torch.equal(old.percepts['overhead'], data.percepts['overhead']) and old.bags == {'a': '00'}
    assert torch.equal(old.take(torch.tensor([3])).actions, data.actions[[3]])


@pytest.fixture(scope='module')
def file(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp('cache') / 'episodes.npz'
    save(tiny.episodes([5, 4]), path)
    return path.read_bytes()


def refusal(path) -> str:
    with pytest.raises(TrainingError) as refused:
        load(path)
    line = str(refused.value)
    assert line.startswith(f'{path}: not a readable training cache') and '\n' not in line
    return line


def test_a_missing_cache_is_named(tmp_path):
    refusal(tmp_path / 'gone.npz')


@tiny.invariant
@given(share=st.floats(0, 0.999))
def test_a_truncated_file_is_refused_in_one_line(file, tmp_path, share):
    path = tmp_path / 'episodes.npz'
    path.write_bytes(file[:int(len(file) * share)])
    refusal(path)


@tiny.invariant
@given(share=st.floats(0, 0.999), bit=st.integers(0, 7))
def test_a_flipped_bit_in_a_file_is_harmless_or_refused_in_one_line(file, tmp_path, share, bit):
    path, damaged = tmp_path / 'episodes.npz', bytearray(file)
    damaged[int(len(file) * share)] ^= 1 << bit
    path.write_bytes(damaged)
    try:
        loaded = load(path)
    except TrainingError as error:
        assert str(error).startswith(f'{path}: ') and '\n' not in str(error)
    else:
        assert_same(loaded, tiny.episodes([5, 4]))      # for instance a time stamp inside the archive


@pytest.mark.parametrize('content', [b'', b'garbage', b'\x93NUMPY\x01\x00'])
def test_another_file_as_a_cache_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / 'episodes.npz'
    path.write_bytes(content)
    refusal(path)


def test_an_array_file_and_an_archive_of_other_arrays_are_refused(tmp_path):
    np.save(tmp_path / 'a.npy', np.zeros(3))
    refusal(tmp_path / 'a.npy')
    np.savez(tmp_path / 'b.npz', images=np.zeros(3))
    refusal(tmp_path / 'b.npz')


def test_pickled_objects_in_a_cache_are_never_loaded(tmp_path):
    np.savez(tmp_path / 'a.npz', images=np.array([{'a': 1}], dtype=object))
    assert 'pickle' in refusal(tmp_path / 'a.npz')


@pytest.fixture
def folder(tmp_path):
    save(rovers(), tmp_path / 'cache')
    return tmp_path / 'cache'


@pytest.mark.parametrize('name', ['percepts.scan', 'valid.camera', 'actions', 'starts'])
@pytest.mark.parametrize('left', [None, 0, 100, -1])
def test_a_folder_with_a_lost_or_truncated_file_is_refused_in_one_line(folder, name, left):
    path = folder / f'{name}.npy'
    content = path.read_bytes()
    path.unlink() if left is None else path.write_bytes(content[:left])
    refusal(folder)


@pytest.mark.parametrize('name, rows', [('actions', np.zeros((4, 2), np.float32)), ('starts', np.array([0, 7])),
                                        ('lengths', np.array([6])), ('starts', np.array([-1, 6]))])
def test_a_folder_whose_files_disagree_is_refused_in_one_line(folder, name, rows):
    """An index beyond a map would end the process without a word."""
    np.save(folder / f'{name}.npy', rows)
    refusal(folder)


@pytest.mark.parametrize('text', ['', '[]', '{}', '{"format": "jepa_ros.training_cache", "version": 99}'])
def test_a_folder_with_a_damaged_index_is_refused_in_one_line(folder, text):
    (folder / 'index.json').write_text(text)
    refusal(folder)


def test_a_folder_that_is_no_cache_is_never_replaced(tmp_path):
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'index.json').write_text(json.dumps({'format': 'letters'}))
    with pytest.raises(TrainingError, match='is in the way of the training cache'):
        save(rovers(), tmp_path / 'mine')
    assert (tmp_path / 'mine' / 'index.json').exists()
