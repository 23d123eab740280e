"""Training configurations: what is wrong is one line that names file and field."""
from pathlib import Path
import re

import pytest
import tiny
import yaml

from jepa_ros import paths
from jepa_ros.errors import ConfigError
from jepa_ros.training.config import load_config, TrainingConfig
from jepa_ros.world_model.hjepa import HJEPA

GOOD = """
level0: {updates: 10, batch: 4, window: 4, lr: 0.001}
upper: {updates: 10, batch: 4, window: 3, lr: 0.001}
planners: [{samples: 8, iterations: 1, horizon: 4, elites: 2}]
"""


def test_every_shipped_configuration_is_valid():
    names = paths.known('agents')
    assert 'two_rooms' in names
    for name in names:
        settings = load_config(name).model_config_for(2, 2)
        assert settings.levels[0].period == 1 and settings.levels[0].macro_dim is None


def test_the_example_in_the_documentation_is_valid():
    text = (Path(__file__).parents[2] / 'docs' / 'world_model.md').read_text(encoding='utf-8')
    example = re.search(r'```yaml\n(.*?)```', text, re.S)[1]
    assert len(TrainingConfig.model_validate(yaml.safe_load(example)).levels) == 3


@pytest.mark.parametrize('robot', paths.known('robots'))
def test_the_default_configuration_fits_every_shipped_robot(robot):
    contract = tiny.RobotContract.load(robot)
    settings = load_config('default').model_config_for(len(contract.action_names), len(contract.readout_names))
    model = HJEPA(settings, contract.observations)
    assert [jepa.dim for jepa in model.levels] == [64, 64]


def test_the_shipped_checkpoint_fits_8_mb():
    settings = load_config('two_rooms').model_config_for(2, 2)
    agent = tiny.Agent.create(tiny.RobotContract.load('two_rooms'), config=settings)
    assert sum(t.numel() * t.element_size() for t in agent.networks.state_dict().values()) < 8e6


def test_levels_get_their_periods_and_macro_actions():
    levels = tiny.training_config().model_config_for(2, 2).levels
    assert [(level.period, level.macro_dim) for level in levels] == [(1, None), (4, 3)]


@pytest.mark.parametrize('change, what', [
    (('lr: 0.001', 'lr: 0'), 'level0.lr: Input should be greater than 0'),
    (('lr: 0.001', 'lr: .inf'), 'level0.lr: Input should be a finite number'),
    (('lr: 0.001', 'lr: fast'), 'level0.lr: Input should be a valid number'),
    (('batch: 4', 'batch: 1'), 'level0.batch: Input should be greater than 1'),
    (('window: 4', 'windoww: 4'), 'level0.windoww: unknown key (did you mean window?)'),
    (('upper:', 'uper:'), 'uper: unknown key (did you mean upper?)'),
    (('planners:', 'speed: 3\nplanners:'), 'line 4: speed: unknown key (did you mean seed?); known: perception, '),
    (('samples: 8', 'method: mpi, samples: 8'), "planners.0: unknown planner 'mpi'"),
    (('planners:', 'levels: [{period: 8}]\nplanners:'), 'levels: periods [8]: must begin with 1'),
    (('planners:', 'levels: [{}, {period: 8, macro_dim: 2}, {period: 4, macro_dim: 2}]\nplanners:'),
     'levels: periods [1, 8, 4]: must begin with 1, the control step, and grow'),
    (('elites: 2}', 'elites: 2}, {samples: 8, iterations: 1, horizon: 4, elites: 2}]\nlevels: [{}'),
     'planners: 2 for 1 level(s): one for each'),
    (('planners:', 'levels: [{}, {period: 8}]\nplanners:'), 'levels: 1: macro_dim is missing'),
    (('planners:', 'levels: [{macro_dim: 3}]\nplanners:'), 'levels: 0: level 0 has the state of perception'),
    (('planners:', 'levels: [{}, {period: 4, macro_dim: 2}, {period: 6, macro_dim: 2, encoder: gru}]\nplanners:'),
     'levels: 2: period 6 is no multiple of 4'),
    (('planners:', 'levels: [{predictor: mlp}]\nplanners:'), 'levels.0.predictor: unknown predictor'),
    (('planners:', 'levels: [{width: 0}]\nplanners:'), 'levels.0.width: Input should be greater than 0'),
    (('planners:', 'levels: [{ensembel: 3}]\nplanners:'), 'levels.0.ensembel: unknown key (did you mean ensemble?)'),
    (('planners:', 'levels: [{latent: {kind: discreet}}]\nplanners:'),
     "line 4: levels.0.latent: unknown latent 'discreet' (did you mean discrete?)"),
    (('planners:', 'levels: [{latent: {kind: sparse, inference: exact}}]\nplanners:'),
     'line 4: levels.0.latent: latent sparse has no list of values'),
    (('planners:', 'levels: [{latent: {kind: discrete, beeta: 2}}]\nplanners:'),
     'levels.0.latent.beeta: unknown key (did you mean beta?)'),
    (('planners:', 'levels: [{latent: {kind: sparse, search: {stps: 2}}}]\nplanners:'),
     'levels.0.latent.search.stps: unknown key (did you mean steps?)'),
    (('planners:', 'seed: 99999999999999999999\nplanners:'), 'line 4: seed: Input should be less than 2147483648'),
    (('planners:', 'perception: {dim: 0}\nplanners:'), 'perception.dim: Input should be greater than 0'),
    (('planners:', 'perception: {sensors: {a: {encoder: covn}}}\nplanners:'),
     "perception.sensors.a.encoder: unknown encoder 'covn' (did you mean conv?)"),
    (('planners:', 'losses: {vicrge: {}}\nplanners:'), "unknown loss_term 'vicrge' (did you mean vicreg?)"),
    (('planners:', 'losses: {vicreg: {varianec: 3}}\nplanners:'), 'varianec: unknown key (did you mean variance?)'),
    (('window: 4', 'window: 4, horizon: 4'), 'level0: horizon 4 does not fit window 4'),
    ((GOOD, 'level0: ['), 'line 1: not YAML'),
    (('planners:', 'seed: 1\ngoal_radius: 2\nseed: 3\nplanners:'),
     'mine.yaml, line 6: key seed is there twice, first in line 4: leave one out'),
    (('window: 4', 'window: 4, window: 9'), 'key window is there twice'),
    ((GOOD, ''), 'level0: is missing'),
    ((GOOD, '- 1'), 'a mapping of keys to values is expected'),
    ((GOOD, 'seed: 2024-13-45'), 'not YAML: month must be'),
])
def test_a_mistake_is_one_line_that_names_file_and_field(tmp_path, change, what):
    path = tmp_path / 'mine.yaml'
    path.write_text(GOOD.replace(*change, 1) if change[0] != GOOD else change[1])
    with pytest.raises(ConfigError) as refused:
        load_config(str(path))
    line = str(refused.value)
    assert line.startswith(str(path)) and what in line and '\n' not in line


def test_a_file_that_is_no_text_is_one_line_that_names_it(tmp_path):
    path = tmp_path / 'mine.yaml'
    path.write_bytes(b'\xff\xfe\x00')
    with pytest.raises(ConfigError, match=r'mine\.yaml: not YAML') as refused:
        load_config(str(path))
    assert '\n' not in str(refused.value)


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown agent configuration 'two_room' \(did you mean two_rooms\?\)"):
        load_config('two_room')
