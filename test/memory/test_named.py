"""Entities with names, in memory and on disk."""
import numpy as np
import pytest
import torch

from jepa_ros.errors import ConfigError
from jepa_ros.memory import chunks
from jepa_ros.memory.chunks import Contents, Header
from jepa_ros.memory.memory import Memory
from jepa_ros.memory.named import NamedEntities

S = 1_000_000_000


def test_only_what_changed_has_a_new_stamp_and_what_is_hidden_keeps_its_value():
    """LeCun §4.9: "only the part of the world-state memory affected by the event is to be updated"."""
    world = NamedEntities()
    assert world.see(['x_m', 'door_m'], [1.0, 0.5], S)
    assert not world.see(['x_m', 'door_m'], [1.01, 0.5], 2 * S)
    assert world.see(['x_m', 'door_m'], [2.0, np.nan], 3 * S)
    known = world.about()
    assert known.names == ('x_m', 'door_m') and known.values.tolist() == [2.0, 0.5]
    assert known.changed_ns.tolist() == [3 * S, S] and known.seen_ns.tolist() == [3 * S, 2 * S]


def test_what_was_never_seen_is_nan_and_what_is_unknown_is_listed():
    world = NamedEntities()
    assert not len(world.about()) and not world.see([], [], S)
    world.see(['x_m', 'door_m'], [1.0, np.nan], S)
    assert np.isnan(world.about('door_m').values[0])
    with pytest.raises(ConfigError, match=r"is called 'dor_m' \(did you mean door_m\?\); entities: x_m, door_m"):
        world.about('dor_m')


def test_another_set_of_names_begins_anew():
    world = NamedEntities()
    world.see(['a'], [1.0], S)
    world.see(['b', 'c'], [2.0, 3.0], 2 * S)
    assert world.about().names == ('b', 'c')


def test_entities_outlive_the_process(tmp_path):
    for value, stamp in ((0.5, S), (0.9, 2 * S)):
        memory = Memory(3)
        memory.keep_in(tmp_path / 'life', 'm')
        memory.store(stamp, torch.zeros(3), 0.0)
        memory.know(['x_m', 'door_m', 'never_m'], [1.0, value, np.nan], stamp)
        memory.close()
    memory = Memory(3)
    memory.keep_in(tmp_path / 'life', 'm')
    known = memory.known()
    memory.close()
    assert not memory.warnings and known.names == ('x_m', 'door_m', 'never_m')
    np.testing.assert_allclose(known.values, [1.0, 0.9, np.nan], rtol=1e-6)
    assert known.changed_ns.tolist()[:2] == [S, 2 * S] and known.seen_ns.tolist()[:2] == [2 * S, 2 * S]


def test_a_file_from_before_there_were_entities_is_read():
    contents = Contents(np.zeros(1, np.int64), np.zeros((1, 3), np.float32), np.zeros(1), np.full(1, -1), {},
                        np.zeros((1, 0), np.float32), [], None, 1)
    data = Header('m', 3).packed() + chunks.packed_all(contents, 3)
    problem, start = chunks.header_problem(data, Header('m', 3))
    found, end, damage = chunks.read(data, start, 3)
    assert (problem, damage, end, len(found), len(found.entities)) == ('', '', len(data), 1, 0)
