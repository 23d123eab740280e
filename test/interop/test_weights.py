"""State dicts from disk: tensors are read, nothing else is run, and what cannot be read is said in one line."""
import pickle

import pytest
from safetensors.torch import save_file
import torch
from torch import nn

from jepa_ros.errors import CheckpointError
from jepa_ros.interop.weights import read_state_dict

TENSORS = {'a.weight': torch.ones(2, 3), 'a.bias': torch.zeros(2)}


class Trap:
    """Unpickling it would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), 'w'))


def equal(found):
    return found.keys() == TENSORS.keys() and all(torch.equal(found[name], TENSORS[name]) for name in TENSORS)


def test_reads_torch_save_and_safetensors(tmp_path):
    torch.save(TENSORS, tmp_path / 'a.pt')
    torch.save(TENSORS, tmp_path / 'old.pt', _use_new_zipfile_serialization=False)
    save_file(TENSORS, tmp_path / 'a.safetensors')
    assert all(equal(read_state_dict(tmp_path / name)) for name in ('a.pt', 'old.pt', 'a.safetensors'))


@pytest.mark.parametrize('key', ['state_dict', 'model', 'model_state_dict'])
def test_finds_the_state_dict_in_a_training_checkpoint(tmp_path, key):
    torch.save({key: TENSORS, 'epoch': 3, 'optimizer': {'lr': 0.1}}, tmp_path / 'a.ckpt')
    assert equal(read_state_dict(tmp_path / 'a.ckpt'))


def test_a_whole_object_is_refused_with_the_command_that_converts_it(tmp_path):
    path = tmp_path / 'model_object.ckpt'
    torch.save(nn.Sequential(nn.Linear(3, 2)), path)
    with pytest.raises(CheckpointError, match='holds a whole pickled object') as refused:
        read_state_dict(path)
    line = str(refused.value)
    assert '\n' not in line and 'on a machine that trusts it' in line
    command = line[line.index('import torch'):line.index('", then import')]
    exec(command.replace('model_object.ckpt', str(path)).replace('weights.pt', str(tmp_path / 'weights.pt')))
    assert read_state_dict(tmp_path / 'weights.pt').keys() == {'0.weight', '0.bias'}


def test_nothing_in_a_file_is_run(tmp_path):
    made = tmp_path / 'made'
    torch.save({'state_dict': TENSORS, 'extra': Trap(made)}, tmp_path / 'a.pt')
    (tmp_path / 'plain.pt').write_bytes(pickle.dumps(Trap(made), protocol=2))
    for name in ('a.pt', 'plain.pt'):
        with pytest.raises(CheckpointError):
            read_state_dict(tmp_path / name)
    assert not made.exists()


@pytest.mark.parametrize('content', [b'', b'hello, world', b'PK\x03\x04' + bytes(100)])
def test_another_file_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / 'a.pt'
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match='not a file of torch.save') as refused:
        read_state_dict(path)
    assert '\n' not in str(refused.value) and str(path) in str(refused.value)


def test_a_cut_file_is_refused(tmp_path):
    torch.save(TENSORS, tmp_path / 'a.pt')
    (tmp_path / 'a.pt').write_bytes((tmp_path / 'a.pt').read_bytes()[:300])
    with pytest.raises(CheckpointError, match='copy them again'):
        read_state_dict(tmp_path / 'a.pt')


@pytest.mark.parametrize('held', [torch.ones(3), [TENSORS], {'epoch': 3}])
def test_a_file_without_names_is_refused(tmp_path, held):
    torch.save(held, tmp_path / 'a.pt')
    with pytest.raises(CheckpointError, match='holds no tensors by name'):
        read_state_dict(tmp_path / 'a.pt')


def test_missing_and_damaged_safetensors_are_named(tmp_path):
    with pytest.raises(CheckpointError, match='no such file'):
        read_state_dict(tmp_path / 'a.safetensors')
    (tmp_path / 'a.safetensors').write_bytes(b'no')
    with pytest.raises(CheckpointError, match='not a readable safetensors file'):
        read_state_dict(tmp_path / 'a.safetensors')
