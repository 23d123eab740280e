"""Training data from a store: the same as from its bags."""
from pathlib import Path
from types import SimpleNamespace

import fsspec
import pytest
import tiny

from jepa_ros.errors import DatasetError, TrainingError
from jepa_ros.robot.dataset.build import build
from jepa_ros.robot.dataset.remote import RemoteStore
from jepa_ros.training.gather import gather

from .test_data_cache import assert_same
from .test_gather import record


@pytest.fixture
def bags(tmp_path) -> list[Path]:
    return [record(tmp_path / name, steps, vx)
            for name, steps, vx in (('day', 9, 0.25), ('night', 40, 0.5), ('noon', 7, 0.0))]


def test_a_store_gives_the_data_of_its_bags_bit_for_bit(tmp_path, bags):
    store = build(bags, tmp_path / 'store', tiny.contract(), workers=1).store.path
    assert_same(gather([store], tiny.contract(), tmp_path / 'a'), gather(bags, tiny.contract(), tmp_path / 'b'))


def test_stores_and_bags_may_be_mixed(tmp_path, bags):
    store = build(bags[:2], tmp_path / 'store', tiny.contract(), workers=1).store.path
    expected = gather(bags, tiny.contract(), tmp_path / 'b')
    assert_same(gather([store, bags[2]], tiny.contract(), tmp_path / 'a'), expected)
    assert_same(gather([store, bags[2]], tiny.contract(), tmp_path / 'a'), expected)     # from the cache


def test_a_bag_beside_a_store_that_has_it_is_refused(tmp_path, bags):
    store = build(bags[:2], tmp_path / 'store', tiny.contract(), workers=1).store.path
    with pytest.raises(TrainingError, match='two bags have the same name'):
        gather([store, bags[0]], tiny.contract(), tmp_path / 'work')


def test_a_store_of_another_contract_is_refused(tmp_path, bags):
    store = build(bags, tmp_path / 'store', tiny.contract(), workers=1).store.path
    slower = tiny.contract(tiny.CONTRACT.replace('max: 1.0', 'max: 0.5'))
    words = 'built for robot tiny .*training is for tiny .*build the store again'
    with pytest.raises(TrainingError, match=words) as caught:
        gather([store], slower, tmp_path / 'work')
    assert '\n' not in str(caught.value)


def test_a_half_built_store_is_refused(tmp_path, bags, monkeypatch):
    monkeypatch.setattr('jepa_ros.robot.dataset.build.finish', lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        build(bags, tmp_path / 'store', tiny.contract(), workers=1)
    with pytest.raises(DatasetError, match='half built'):
        gather([tmp_path / 'store'], tiny.contract(), tmp_path / 'work')


@pytest.fixture
def url(tmp_path, bags):
    """A store in memory."""
    system = fsspec.filesystem('memory')
    store = build(bags[:2], tmp_path / 'store', tiny.contract(), workers=1).store.path
    system.put(str(store), '/data/store', recursive=True)
    yield 'memory://data/store'
    system.rm('/data', recursive=True)


def test_a_store_behind_a_url_may_stand_beside_bags(tmp_path, bags, url):
    expected = gather(bags, tiny.contract(), tmp_path / 'b')
    assert_same(gather([url, bags[2]], tiny.contract(), tmp_path / 'a'), expected)
    assert [p.name for p in (tmp_path / 'a').iterdir()] == [p.name for p in (tmp_path / 'b').iterdir()]
    assert_same(gather([Path(url), bags[2]], tiny.contract(), tmp_path / 'a'), expected)      # from the cache
    assert not list((tmp_path / 'a').glob('remote-*'))


def test_fetching_goes_on_where_it_was_interrupted(tmp_path, bags, url, monkeypatch):
    fetched, fetch = [], RemoteStore.fetch

    def interrupted(store, episode, progress):
        fetched.append(str(episode))
        if len(fetched) == 2:
            raise KeyboardInterrupt
        fetch(store, episode, progress)
    monkeypatch.setattr(RemoteStore, 'fetch', interrupted)
    with pytest.raises(KeyboardInterrupt):
        gather([url], tiny.contract(), tmp_path / 'a')
    data = gather([url], tiny.contract(), tmp_path / 'a')
    assert fetched == ['episode a of day', 'episode a of night', 'episode a of night']
    assert_same(data, gather(bags[:2], tiny.contract(), tmp_path / 'b'))


def test_a_store_larger_than_the_disk_is_refused_before_it_is_read(tmp_path, url, monkeypatch):
    monkeypatch.setattr('jepa_ros.training.gather.shutil.disk_usage', lambda _: SimpleNamespace(free=1000))
    with pytest.raises(TrainingError, match='the training cache needs 0.0 GB, 0.0 GB are free'):
        gather([url], tiny.contract(), tmp_path / 'work')
