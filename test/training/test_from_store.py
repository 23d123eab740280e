"""Training data from a store: the same as from its bags."""
from pathlib import Path

import pytest
import tiny
import torch

from jepa_ros.errors import DatasetError, TrainingError
from jepa_ros.robot.dataset.build import build
from jepa_ros.training.trainer import gather

from .test_gather import record


def assert_equal(a, b) -> None:
    for name in ('images', 'actions', 'readouts', 'starts', 'lengths'):
        x, y = getattr(a, name), getattr(b, name)
        assert x.dtype == y.dtype and torch.equal(x, y), name
    assert a.readout_names == b.readout_names and a.bags == b.bags


@pytest.fixture
def bags(tmp_path) -> list[Path]:
    return [record(tmp_path / name, steps, vx)
            for name, steps, vx in (('day', 9, 0.25), ('night', 40, 0.5), ('noon', 7, 0.0))]


def test_a_store_gives_the_data_of_its_bags_bit_for_bit(tmp_path, bags):
    store = build(bags, tmp_path / 'store', tiny.contract(), workers=1).store.path
    assert_equal(gather([store], tiny.contract(), tmp_path / 'a'), gather(bags, tiny.contract(), tmp_path / 'b'))
    assert not (tmp_path / 'a').exists()        # no cache beside a store


def test_stores_and_bags_may_be_mixed(tmp_path, bags):
    store = build(bags[:2], tmp_path / 'store', tiny.contract(), workers=1).store.path
    expected = gather(bags, tiny.contract(), tmp_path / 'b')
    assert_equal(gather([store, bags[2]], tiny.contract(), tmp_path / 'a'), expected)
    assert_equal(gather([store, bags[2]], tiny.contract(), tmp_path / 'a'), expected)     # from the cache


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
