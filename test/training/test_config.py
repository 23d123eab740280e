"""Training configurations: what is wrong is one line that names file and field."""
import pytest
import tiny

from jepa_ros import paths
from jepa_ros.errors import ConfigError
from jepa_ros.training.config import load_config

GOOD = """
level0: {updates: 10, batch: 4, window: 4, lr: 0.001}
upper: {updates: 10, batch: 4, window: 3, lr: 0.001}
planners: [{samples: 8, iterations: 1, horizon: 4, elites: 2}]
"""


def test_every_shipped_configuration_is_valid_and_builds_a_network():
    names = paths.known('agents')
    assert 'two_rooms' in names
    for name in names:
        settings = load_config(name).model_config_for((64, 64, 3), 2, 2)
        assert settings.levels[0].period == 1 and settings.levels[0].macro_dim is None
        assert tiny.HJEPA(settings)


def test_the_shipped_checkpoint_fits_8_mb():
    settings = load_config('two_rooms').model_config_for((64, 64, 3), 2, 2)
    agent = tiny.Agent.create(tiny.RobotContract.load('two_rooms'), config=settings)
    assert sum(t.numel() * t.element_size() for t in agent.networks.state_dict().values()) < 8e6


def test_levels_get_their_periods_and_macro_actions():
    levels = tiny.training_config().model_config_for((16, 16, 3), 2, 2).levels
    assert [(level.period, level.macro_dim) for level in levels] == [(1, None), (4, 3)]


@pytest.mark.parametrize('change, what', [
    (('lr: 0.001', 'lr: 0'), 'level0.lr: Input should be greater than 0'),
    (('lr: 0.001', 'lr: .inf'), 'level0.lr: Input should be a finite number'),
    (('lr: 0.001', 'lr: fast'), 'level0.lr: Input should be a valid number'),
    (('batch: 4', 'batch: 1'), 'level0.batch: Input should be greater than 1'),
    (('window: 4', 'windoww: 4'), 'level0.windoww: unknown key (did you mean window?)'),
    (('upper:', 'uper:'), 'uper: unknown key (did you mean upper?)'),
    (('planners:', 'speed: 3\nplanners:'), 'line 4: speed: unknown key (did you mean seed?); known: architecture, '),
    (('samples: 8', 'method: mpi, samples: 8'), "planners.0.method: unknown planner 'mpi'"),
    (('planners:', 'architecture: {periods: []}\nplanners:'), 'architecture.periods: []: must begin with 1'),
    (('planners:', 'architecture: {periods: [8, 1]}\nplanners:'), 'architecture.periods: [8, 1]: must begin with 1'),
    (('planners:', 'architecture: {periods: [2, 8]}\nplanners:'), 'architecture.periods: [2, 8]: must begin with 1'),
    (('planners:', 'architecture: {channels: [8, 0]}\nplanners:'), 'architecture.channels.1: Input should be'),
    (('planners:', 'architecture: {encoder: covn}\nplanners:'),
     "architecture.encoder: unknown encoder 'covn' (did you mean conv?)"),
    (('planners:', 'architecture: {predictor: mlp}\nplanners:'),
     'architecture.predictor: unknown predictor'),
    ((GOOD, 'level0: ['), 'line 1: not YAML'),
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
