"""The state of an interrupted stage on disk."""
import pytest
from safetensors.torch import save_file
import torch

from jepa_ros.errors import TrainingError
from jepa_ros.training import checkpointing

IDENTITY = {'stage': {'lr': 1e-3}, 'data': {'a': 'f00'}}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / 'work' / 'level0.safetensors'
    checkpointing.write(path, {'model.w': torch.arange(6.0).reshape(2, 3), 'step': torch.tensor(4)}, IDENTITY,
                        {'step': 4})
    return path


def refusal(file, identity=IDENTITY, weights=None) -> str:
    with pytest.raises(TrainingError) as refused:
        checkpointing.read(file, identity, weights or {'w': torch.empty(2, 3)})
    assert '\n' not in str(refused.value)
    return str(refused.value)


def test_what_is_written_is_what_is_read(file):
    tensors, rest = checkpointing.read(file, IDENTITY, {'w': torch.empty(2, 3)})
    assert torch.equal(tensors['model.w'], torch.arange(6.0).reshape(2, 3)) and rest == {'step': 4}
    assert [p.name for p in file.parent.iterdir()] == ['level0.safetensors']


def test_a_write_that_fails_leaves_the_state_before_it(file, monkeypatch):
    before = file.read_bytes()
    monkeypatch.setattr(checkpointing.os, 'fsync', lambda _: (_ for _ in ()).throw(OSError(28, 'No space left')))
    with pytest.raises(OSError, match='No space'):
        checkpointing.write(file, {'model.w': torch.zeros(2, 3)}, IDENTITY, {'step': 5})
    assert file.read_bytes() == before


def test_tensors_that_share_memory_are_written_both(tmp_path):
    w = torch.ones(3)
    checkpointing.write(tmp_path / 'x', {'model.a': w, 'model.b': w}, {}, {})
    tensors, _ = checkpointing.read(tmp_path / 'x', {}, {'a': w, 'b': w})
    assert torch.equal(tensors['model.b'], w)


@pytest.mark.parametrize('identity, weights, named', [
    ({'stage': {'lr': 1e-4}, 'data': {'a': 'f00'}}, None, 'stage.lr was 0.001, is 0.0001;'),
    ({'stage': {'lr': 1e-3}, 'data': {'a': 'b4d'}}, None, 'data.a was "f00", is "b4d";'),
    ({'stage': {'lr': 1e-3}, 'data': {'a': 'f00', 'b': 'c'}}, None, 'data.b was missing, is "c";'),
    ({'stage': {'lr': 1e-3}, 'data': {}}, None, 'data.a was "f00", is missing;'),
    ({'stage': {'lr': 2}, 'data': {'a': 'x' * 99}}, None, 'stage.lr was 0.001, is 2 (and 1 more);'),
    (IDENTITY, {'w': torch.empty(2, 4)}, 'weights of w was [2, 3], is [2, 4];'),
    (IDENTITY, {'w': torch.empty(2, 3), 'v': torch.empty(1)}, 'weights of v was missing, is [1];'),
])
def test_the_state_of_another_run_is_refused_and_the_difference_named(file, identity, weights, named):
    assert refusal(file, identity, weights).startswith(
        f'{file}: left by a run with another configuration: {named} delete it or choose another --work-dir')


@pytest.mark.parametrize('keep', [0, 5, 200, -8])
def test_a_damaged_state_is_refused(file, keep):
    file.write_bytes(file.read_bytes()[:keep])
    assert refusal(file).startswith(f'{file}: cannot be read (')


def test_a_state_of_an_older_version_is_refused(tmp_path):
    save_file({'step': torch.tensor(3)}, tmp_path / 'old', metadata={'stage': '{}', 'name': 'level 0'})
    assert 'not a training state of this version; delete it' in refusal(tmp_path / 'old')
