"""Checkpoints: what is written is read back, and every damage is one line that names the file."""
import os
from pathlib import Path
import pickle
import shutil
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st
import pytest
import tiny
import torch
import yaml

from jepa_ros import checkpoint
from jepa_ros.agent import Agent
from jepa_ros.checkpoint import CARD, ModelCard, WEIGHTS
from jepa_ros.errors import CheckpointError


@pytest.fixture(scope='module')
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp('checkpoints') / 'tiny'
    tiny.agent().save(folder)
    return folder


@pytest.fixture
def folder(original, tmp_path):
    """A copy to damage."""
    return shutil.copytree(original, tmp_path / 'tiny')


def refusal(folder, **arguments) -> str:
    with pytest.raises(CheckpointError) as refused:
        Agent.load(folder, **arguments)
    line = str(refused.value)
    assert '\n' not in line
    return line


def edit_card(folder, **changes) -> None:
    card = yaml.safe_load((folder / CARD).read_text())
    (folder / CARD).write_text(yaml.safe_dump(card | changes))


def test_what_is_written_is_read_back(original):
    card, tensors = checkpoint.read(original)
    agent = tiny.agent()
    for name, tensor in agent.networks.state_dict().items():
        assert torch.equal(tensors[name], tensor)
    assert card.model_settings() == agent.networks.world_model.config
    assert card.planner_settings() == agent.card.planner_settings()


def test_an_architecture_survives_yaml():
    config = tiny.model_config(3)
    card = tiny.agent(3).card.model_copy(
        update={'architecture': yaml.safe_load(yaml.safe_dump(config.model_dump(mode='json')))})
    assert card.model_settings() == config


def test_writing_the_same_weights_twice_gives_the_same_hash(tmp_path):
    cards = [checkpoint.write(tmp_path / name, tiny.agent().card, tiny.agent().networks.state_dict())
             for name in ('a', 'b')]
    assert cards[0].sha256 == cards[1].sha256 == checkpoint.sha256(tmp_path / 'a' / WEIGHTS)


def test_writing_leaves_nothing_but_the_two_files(original):
    assert sorted(p.name for p in original.iterdir()) == [WEIGHTS, CARD]


@pytest.mark.parametrize('name', [WEIGHTS, CARD])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    assert refusal(folder).startswith(f'{folder}: {name} is missing')


def test_a_missing_folder_is_named(tmp_path):
    assert refusal(tmp_path / 'gone').startswith(f"model '{tmp_path / 'gone'}' not found")


def test_an_unknown_name_lists_the_shipped_models():
    line = refusal('two_romos')
    assert "model 'two_romos' not found (did you mean two_rooms?): shipped are two_rooms" in line


@pytest.mark.parametrize('keep', [0, 7, 1000, -1])
def test_truncated_weights_are_refused(folder, keep):
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:keep])
    assert refusal(folder).startswith(f'{path}: sha256 does not match')


@pytest.mark.parametrize('place', [0, 9, 500, -1])
def test_one_flipped_bit_is_refused(folder, place):
    path = folder / WEIGHTS
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    assert refusal(folder).startswith(f'{path}: sha256 does not match')


def test_a_wrong_hash_in_the_card_is_refused(folder):
    edit_card(folder, sha256='0' * 64)
    assert refusal(folder).startswith(f'{folder / WEIGHTS}: sha256 does not match {CARD}')


def test_weights_that_are_no_safetensors_are_refused_and_never_unpickled(folder):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(folder / 'exploded'),)
    path = folder / WEIGHTS
    path.write_bytes(pickle.dumps(Bomb()))
    edit_card(folder, sha256=checkpoint.sha256(path))
    assert refusal(folder).startswith(f'{path}: not a readable safetensors file')
    assert not (folder / 'exploded').exists()


def test_yaml_objects_in_a_card_are_never_made(folder):
    (folder / CARD).write_text(f'name: !!python/object/apply:os.mkdir ["{folder / "exploded"}"]\n')
    assert 'not YAML' in refusal(folder)
    assert not (folder / 'exploded').exists()


def test_loading_never_imports_pickle_s_loader(original):
    """safetensors only: a checkpoint is read with torch.load and pickle out of reach."""
    code = ('import pickle, torch\n'
            'def forbidden(*args, **kwargs): raise SystemExit("something was unpickled")\n'
            'from jepa_ros.agent import Agent\n'
            'torch.load = pickle.load = pickle.loads = pickle.Unpickler = forbidden\n'
            f'print(Agent.load({str(original)!r}, device="cpu").model_id)')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, checkpoint.sha256(original / WEIGHTS)[:12]), done.stderr


@pytest.mark.parametrize('text, what', [
    (b'', 'holds no model card'),
    (b'- 1\n- 2\n', 'holds no model card'),
    (b'name: [\n', 'not YAML'),
    (b'\xff\xfe\x00', 'not YAML'),
    (b'name: 2024-13-45\n', 'not YAML'),
    (b'name: a\nname: b\n', 'line 2: key name is there twice, first in line 1'),
    (b'name: tiny\n', 'contract_sha256: Field required'),
])
def test_a_garbled_card_is_refused(folder, text, what):
    (folder / CARD).write_bytes(text)
    line = refusal(folder)
    assert line.startswith(str(folder / CARD)) and what in line


@tiny.invariant
@given(data=st.binary(max_size=60) | st.text(alphabet='{}[]:-,&*!%@|>\n\t a1#?', max_size=60).map(str.encode))
def test_any_bytes_as_a_card_are_refused_in_one_line(folder, data):
    (folder / CARD).write_bytes(data)
    with pytest.raises(CheckpointError) as refused:
        checkpoint.read_card(folder)
    assert str(refused.value).startswith(str(folder / CARD)) and '\n' not in str(refused.value)


@pytest.mark.parametrize('changes, what', [
    ({'goal_tolerance': -1.0}, 'goal_tolerance: Input should be greater than 0'),
    ({'goal_tolerance': 'near'}, 'goal_tolerance: Input should be a valid number'),
    ({'colour': 'red'}, 'colour: Extra inputs are not permitted'),
    ({'planners': []}, 'planners: List should have at least 1 item'),
    ({'architecture': {'dim': 6}}, 'architecture: dim: unknown key'),
    ({'architecture': {'levels': [{'period': 1, 'wheels': 4}]}}, 'levels.0.wheels: unknown key'),
    ({'architecture': {'levels': 3}}, 'architecture: levels: '),
    ({'architecture': {'perception': {'sensors': {'overhead': {'encoder': 'covn'}}}}},
     "unknown encoder 'covn' (did you mean conv?)"),
    ({'architecture': {'perception': {'dim': 'wide'}}}, 'perception.dim: '),
    ({'architecture': {'perception': {'dim': -6}}}, 'perception.dim: '),
    ({'architecture': {'levels': []}}, 'levels: '),
    ({'contract': {'name': 'tiny'}}, 'contract, architecture or planners cannot be used'),
    ({'planners': [{'method': 'mpi'}]}, "unknown planner 'mpi' (did you mean mppi?)"),
    ({'planners': [{'speed': 3}]}, 'speed'),
    ({'planners': [{'samples': 0}]}, 'samples is 0'),
    ({'planners': [{'horizon': 2.5}]}, 'horizon is 2.5'),
    ({'planners': [{'correlation': 1.0}]}, 'correlation is 1.0'),
    ({'planners': [{'temperature': 0.0}]}, 'temperature is 0.0: it must be positive'),
    ({'planners': [{}, {}, {}]}, '3 planners for a model of 2 level(s)'),
])
def test_a_card_that_makes_no_sense_is_refused(folder, changes, what):
    edit_card(folder, **changes)
    line = refusal(folder)
    assert line.startswith(f'{folder / CARD}: ') and what in line


def test_a_card_of_a_later_format_is_refused_before_its_fields_are_looked_at(folder):
    edit_card(folder, format=99, colour='red')
    assert refusal(folder) == (f'{folder / CARD}: format 99 is not known to this version (it reads up to 2): '
                               f'update jepa_ros')


@pytest.mark.parametrize('changes', [
    {'perception': {'dim': 8}}, {'perception': {'sensors': {}}}, {'readouts': 1}, {'action_dim': 3}])
def test_weights_of_another_architecture_are_refused(folder, changes):
    architecture = yaml.safe_load((folder / CARD).read_text())['architecture']
    edit_card(folder, architecture=architecture | changes)
    assert refusal(folder).startswith(f'{folder}: weights do not fit the architecture in {CARD}')


def test_a_checkpoint_for_another_contract_is_refused(folder):
    other = tiny.contract(tiny.CONTRACT.replace('name: tiny', 'name: huge'))
    line = refusal(folder, contract=other)
    assert line.startswith(f"{folder}: trained for robot 'tiny'") and "not for 'huge'" in line


def test_a_contract_that_only_renames_a_topic_is_accepted(folder):
    renamed = tiny.contract(tiny.CONTRACT.replace('topic: cmd_vel', 'topic: base/cmd_vel'))
    assert Agent.load(folder, contract=renamed).contract.actions[0].topic == 'base/cmd_vel'


def test_a_card_keeps_bags_commands_and_metrics(tmp_path):
    card = tiny.agent().card.model_copy(update={
        'bags': {'a': 'f' * 64}, 'commands': ['jepa-ros train a'], 'metrics': {'std': 0.5}})
    checkpoint.write(tmp_path / 'm', card, tiny.agent().networks.state_dict())
    again = checkpoint.read_card(tmp_path / 'm')
    assert isinstance(again, ModelCard)
    assert (again.bags, again.commands, again.metrics) == ({'a': 'f' * 64}, ['jepa-ros train a'], {'std': 0.5})


def test_a_folder_that_cannot_be_written_is_named_before_the_work(tmp_path):
    (tmp_path / 'file').touch()
    for folder in (tmp_path / 'file', tmp_path / 'file' / 'below', Path('/proc/nowhere')):
        with pytest.raises(CheckpointError, match='cannot be written here') as refused:
            checkpoint.check_writable(folder)
        assert str(refused.value).startswith(f'{folder}: ')


def test_asking_whether_a_folder_can_be_written_leaves_nothing_behind(tmp_path):
    checkpoint.check_writable(tmp_path / 'models' / 'mine')
    assert not list(tmp_path.iterdir())
