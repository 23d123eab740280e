"""Exported programs say what the model says, for any batch, with memory, latents, missing sensors and tokens."""
import json

import pytest
import tiny
import torch
from without_ros import run
import yaml

from jepa_ros import checkpoint
from jepa_ros.agent import Agent
from jepa_ros.errors import CheckpointError, ConfigError
from jepa_ros.interop import export as exporting
from jepa_ros.interop.export import export_model
from jepa_ros.interop.exported import ExportedModel
from jepa_ros.world_model.hjepa import LevelConfig, ModelConfig
from jepa_ros.world_model.predictors import Predictor

TWO_SENSORS = tiny.CONTRACT.replace(
    'readouts:', '  - {key: scan, topic: scan, type: sensor_msgs/msg/LaserScan, beams: 8, range_max_m: 9.0, '
    'required: false}\nreadouts:')


@pytest.fixture(scope='module')
def rich():
    """Two sensors, one of them optional, a task token, memory and a latent at level 0, a pooled level 1."""
    sensors = {'overhead': {'encoder': 'conv', 'options': {'channels': [4]}}, 'scan': {'options': {'channels': [4]}}}
    config = ModelConfig(
        perception=tiny.perception(sensors=sensors, fusion_width=8, task_dim=2), action_dim=2, readouts=2,
        levels=(LevelConfig(width=8, predictor='gru', options={'memory': 3}, latent={'kind': 'discrete', 'dim': 3}),
                LevelConfig(period=2, macro_dim=3, width=8, encoder='conv', dim=5)))
    return Agent.create(tiny.contract(TWO_SENSORS), 0, 'rich', config)


@pytest.fixture(scope='module')
def folder(rich, tmp_path_factory):
    folder = tmp_path_factory.mktemp('exported')
    export_model(rich, folder)
    return folder


@pytest.fixture
def exported(folder):
    return ExportedModel(folder)


def images(batch):
    return torch.randint(0, 256, (batch, 16, 16, 3), dtype=torch.uint8)


def scans(batch):
    return torch.stack([torch.rand(batch, 8) * 9, torch.ones(batch, 8)], 1)


def close(ours, theirs):
    return torch.allclose(ours, theirs, atol=1e-5)


ALONE = """
import torch
from exported import ExportedModel
model, given = ExportedModel('.'), torch.load('given.pt')
s = model.encode(given['percepts'])
found = {'s': s, 'rollout': model.rollout(0, s, given['actions']), 'readouts': model.readouts(s),
         'macro_action': model.macro_action(1, given['actions'])}
torch.save(found, 'found.pt')
print(*sorted({name.split('.')[0] for name in sys.modules} & {'jepa_ros', 'yaml', 'pydantic', 'safetensors'}))
"""


def test_runs_with_pytorch_alone(rich, folder):
    percepts, actions = {'overhead': images(3), 'scan': scans(3)}, torch.rand(3, 2, 2)
    torch.save({'percepts': percepts, 'actions': actions}, folder / 'given.pt')
    done = run(ALONE, 'jepa_ros', 'yaml', 'pydantic', 'safetensors', cwd=folder, path=str(folder))
    assert (done.returncode, done.stdout) == (0, '\n'), done.stderr
    found, model = torch.load(folder / 'found.pt'), rich.networks.world_model
    s = model.encode(percepts)
    expected = {'s': s, 'rollout': model.levels[0].rollout(s, actions), 'readouts': model.readouts(s),
                'macro_action': model.levels[1].action_encoder(actions)}
    assert all(close(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize('batch', [1, 4])
def test_encoder_says_the_same_for_any_batch(rich, exported, batch):
    model, percepts = rich.networks.world_model, {'overhead': images(batch), 'scan': scans(batch)}
    there, token = torch.rand(batch) < 0.5, torch.randn(batch, 2)
    assert close(exported.encode(percepts, {'scan': there}, token), model.encode(percepts, {'scan': there}, token))


def test_a_sensor_that_is_left_out_is_missing(rich, exported):
    percepts = {'overhead': images(3)}
    assert close(exported.encode(percepts), rich.networks.world_model.encode(percepts))


def test_rollout_carries_memory_and_takes_latents(rich, exported):
    level = rich.networks.world_model.levels[0]
    s, a = torch.randn(3, 6), torch.rand(3, 5, 2)
    z = torch.nn.functional.one_hot(torch.randint(0, 3, (3, 5)), 3).float()
    assert close(exported.rollout(0, s, a, z), level.rollout(s, a, z))
    assert close(exported.rollout(0, s, a), level.rollout(s, a))
    memory, remembered = None, level.remember(s[:, None], a[:, :1])
    _, memory = exported.step(0, s, a[:, 0], z[:, 0], memory)
    assert len(memory) == len(remembered)


def test_the_level_above_has_states_and_actions_of_its_own(rich, exported):
    model = rich.networks.world_model
    states, actions = torch.randn(3, 2, 6), torch.rand(3, 2, 2)
    s, a = model.pool(1, states), model.levels[1].action_encoder(actions)
    assert close(exported.pool(1, states), s) and close(exported.macro_action(1, actions), a)
    assert close(exported.step(1, s, a)[0], model.levels[1].predict(s, a))
    assert exported.step(1, s, a)[1] is None


def test_manifest_says_what_goes_in_and_comes_out(rich, folder, exported):
    manifest = yaml.safe_load((folder / 'manifest.yaml').read_text())
    assert manifest == exported.manifest == json.loads((folder / 'manifest.yaml').read_text())
    assert manifest['programs'].keys() == {'encoder', 'predictor_0', 'latent_0', 'predictor_1', 'macro_action_1',
                                           'pooling_1', 'readouts'}
    assert [i['name'] for i in manifest['programs']['encoder']['inputs']] == ['overhead', 'scan', 'valid_scan',
                                                                              'task_token']
    assert manifest['observations']['scan'] == {
        'shape': [2, 8], 'dtype': 'float32', 'names': [], 'optional': True,
        'normalised_inside': manifest['observations']['scan']['normalised_inside']}
    assert manifest['actions'] == {'names': ['vx_mps', 'vy_mps'], 'low': [-0.5, -2.0], 'high': [1.0, 2.0]}
    assert [level['period'] for level in manifest['levels']] == [1, 2]
    assert all(part['largest_difference'] <= exporting.TOLERANCE for part in manifest['programs'].values())
    assert all(checkpoint.sha256(folder / part['file']) == part['sha256'] for part in manifest['programs'].values())


def test_actions_are_scaled_as_the_world_model_scales_them(rich, exported):
    actions = torch.tensor([[-0.5, 2.0], [0.25, 0.5]])
    assert close(exported.scale(actions), rich.world_model.scale_actions(actions))
    assert close(exported.unscale(exported.scale(actions)), actions)


@pytest.mark.parametrize('call, line', [
    (lambda m: m.encode({'overhead': images(2).float(), 'scan': scans(2)}), "'overhead' is float32"),
    (lambda m: m.encode({'overhead': images(2), 'scan': scans(3)}), 'different batches'),
    (lambda m: m.encode({'scan': scans(3)}), "input 'overhead' is missing"),
    (lambda m: m.encode({'overhead': images(2), 'camera': images(2)}), "takes no 'camera'"),
    (lambda m: m.step(0, torch.randn(2, 5), torch.rand(2, 2)), r"'s' is float32 \(2, 5\): it takes .*batch, 6"),
    (lambda m: m.step(7, torch.randn(2, 6), torch.rand(2, 2)), 'has no program predictor_7'),
    (lambda m: m.macro_action(0, torch.rand(2, 1, 2)), 'has no program macro_action_0'),
])
def test_what_a_program_does_not_take_is_refused_in_one_line(exported, call, line):
    with pytest.raises(CheckpointError, match=line) as refused:
        call(exported)
    assert '\n' not in str(refused.value)


def test_a_damaged_export_is_refused(folder, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / 'readouts.pt2').write_bytes(b'no')
    with pytest.raises(CheckpointError, match='readouts.pt2: missing, or not the file'):
        ExportedModel(tmp_path).readouts(torch.zeros(1, 6))
    (tmp_path / 'manifest.yaml').write_text('{"format": 9}')
    with pytest.raises(CheckpointError, match='no manifest of format 1'):
        ExportedModel(tmp_path)
    (tmp_path / 'manifest.yaml').write_text('{')
    with pytest.raises(CheckpointError, match='is damaged'):
        ExportedModel(tmp_path)
    with pytest.raises(CheckpointError, match='give the folder of an export'):
        ExportedModel(tmp_path / 'nothing')


class Growing(Predictor):
    """Remembers all that was: no program can say so."""

    context = 99

    def step(self, s, c, memory=None):
        return s, (torch.cat([memory[0], s[..., None, :]], -2) if memory else s[..., None, :],)


class Branching(Predictor):
    """What it does depends on the numbers it sees."""

    def forward(self, s, c):
        return s if float(s.sum()) > 0 else -s


@pytest.mark.parametrize('predictor, line', [
    (Growing, 'level 0: predictor Growing cannot be exported'), (Branching, 'predictor_0: torch.export refuses it')])
def test_a_predictor_that_cannot_be_exported_is_named(tmp_path, predictor, line):
    agent = tiny.agent(1)
    agent.networks.world_model.levels[0].predictor = predictor(6, 2)
    with pytest.raises(ConfigError, match=line) as refused:
        export_model(agent, tmp_path)
    assert '\n' not in str(refused.value) and not (tmp_path / 'manifest.yaml').exists()


def test_onnx_without_its_packages_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, 'ONNX_PACKAGES', ('a_package_that_nobody_has',))
    with pytest.raises(ConfigError, match='needs the package a_package_that_nobody_has'):
        export_model(tiny.agent(1), tmp_path, onnx=True)


def test_a_full_disk_is_one_line_and_leaves_no_manifest(tmp_path):
    (tmp_path / 'encoder.pt2').symlink_to('/dev/full')
    with pytest.raises(CheckpointError, match=r'encoder\.pt2: cannot be written \(.*No space left'):
        export_model(tiny.agent(1), tmp_path)
    assert not (tmp_path / 'manifest.yaml').exists()
