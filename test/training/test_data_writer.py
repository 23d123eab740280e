"""Writing the cache episode by episode, through interruptions."""
from hypothesis import given
from hypothesis import strategies as st
import pytest
import tiny

from jepa_ros.errors import TrainingError
from jepa_ros.training.data import from_episodes, load
from jepa_ros.training.data_parts import part_of
from jepa_ros.training.data_writer import CacheWriter

from . import rover
from .test_data_cache import assert_same

BAGS = {'a': '00'}
EPISODES = [rover.episode(n, i, f'e{i}', missing=i == 2) for i, n in enumerate((6, 1, 4, 9, 2))]


def parts():
    return [part_of(e, rover.contract(), 'a') for e in EPISODES]


def test_what_is_written_bit_by_bit_is_what_is_joined_in_memory(tmp_path):
    with CacheWriter(tmp_path / 'cache', rover.contract(), BAGS) as writer:
        for part in parts():
            writer.add(part)
        writer.finish()
    assert_same(load(tmp_path / 'cache', rover.contract()), from_episodes(EPISODES, rover.contract(), BAGS))
    assert sorted(p.name for p in (tmp_path / 'cache').iterdir()) == [
        'actions.npy', 'index.json', 'lengths.npy', 'percepts.camera.npy', 'percepts.odom.npy', 'percepts.scan.npy',
        'readouts.npy', 'starts.npy', 'valid.camera.npy']
    assert not (tmp_path / 'cache.partial').exists()


@tiny.invariant
@given(stop=st.integers(0, 5), lost=st.integers(0, 400), name=st.sampled_from(['percepts.camera.npy', 'actions.npy',
                                                                               'journal.jsonl']))
def test_a_killed_run_goes_on_from_the_newest_whole_episode(tmp_path_factory, stop, lost, name):
    """The kill may have cut what was being written; nothing but that is written again."""
    path = tmp_path_factory.mktemp('killed') / 'cache'
    with CacheWriter(path, rover.contract(), BAGS) as writer:
        for part in parts()[:stop]:
            writer.add(part)
    assert not path.exists()
    file = path.with_name('cache.partial') / name
    file.write_bytes(file.read_bytes()[:-lost or None])
    with CacheWriter(path, rover.contract(), BAGS) as writer:
        assert writer.done <= stop and (lost or writer.done == stop)
        for part in parts()[writer.done:]:
            writer.add(part)
        writer.finish()
    assert_same(load(path), from_episodes(EPISODES, rover.contract(), BAGS))


def test_what_was_left_of_other_bags_is_not_gone_on_with(tmp_path):
    with CacheWriter(tmp_path / 'cache', rover.contract(), {'b': '11'}) as writer:
        writer.add(parts()[0])
        writer.source_done(1)
    with CacheWriter(tmp_path / 'cache', rover.contract(), BAGS) as writer:
        assert (writer.done, writer.sources) == (0, [])


def test_a_cache_without_an_episode_is_refused(tmp_path):
    with CacheWriter(tmp_path / 'cache', rover.contract(), BAGS) as writer:
        writer.add(None)
        with pytest.raises(TrainingError, match='no episode with two or more steps in a'):
            writer.finish()
    assert not (tmp_path / 'cache').exists()
