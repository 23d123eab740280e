"""All figures of a model together, as tables, as JSON and as pictures."""
from dataclasses import replace
import json

import cv2
import pytest
from rich.console import Console
import tiny
import torch

from jepa_ros.errors import ConfigError
from jepa_ros.evaluation.open_loop.evaluate import judge, LevelPictures
from jepa_ros.evaluation.open_loop.plots import plot_all
from jepa_ros.evaluation.open_loop.report import print_report
from jepa_ros.training.states import encode_all
from jepa_ros.world_model.config import LevelConfig
from jepa_ros.world_model.latent_model import LatentConfig

from .worlds import integrator, moved

LEVELS = (LevelConfig(width=8, latent=LatentConfig(kind='discrete', dim=2)),
          LevelConfig(period=4, macro_dim=3, width=8, encoder='mean'),
          LevelConfig(period=8, macro_dim=2, width=8))


@pytest.fixture(scope='module')
def result():
    """An untrained model of three levels: a latent, an encoder of its own, a shared state space."""
    data = tiny.episodes([60] * 6)
    model = tiny.model(LEVELS)
    return judge(model, data, encode_all(model, data), 0.1)


def text_of(result):
    console = Console(width=200, record=True, file=open('/dev/null', 'w'))
    print_report('tiny', result, console)
    return console.export_text()


def test_every_level_is_judged(result):
    figures = result.figures()
    assert (figures['episodes'], figures['steps'], figures['notes']) == (6, 360, [])
    levels = figures['levels']
    assert [(v['level'], v['period'], v['period_s']) for v in levels] == [(0, 1, 0.1), (1, 4, 0.4), (2, 8, 0.8)]
    assert [[h['periods'] for h in v['horizons']] for v in levels] == [[1, 2, 4, 8, 16], [1, 2, 4], [1, 2]]
    for level in levels:
        assert [p['readout'] for p in level['probes']] == ['x_m', 'y_m']
        assert 1 <= level['effective_rank_within'] <= level['dim'] and level['std_within'] <= level['std'] + 1e-6
        assert all(h['linear']['value'] > 0 for h in level['horizons'])
        assert len(level['surprise']) == 4
    assert levels[0]['latent']['kind'] == 'discrete' and levels[1]['latent'] is None


def test_figures_are_json_without_nan(result):
    assert 'pictures' not in json.loads(json.dumps(result.figures(), allow_nan=False))


def test_the_same_model_and_data_give_the_same_figures(result):
    data, model = tiny.episodes([60] * 6), tiny.model(LEVELS)
    again = judge(model, data, encode_all(model, data), 0.1)
    assert again.figures() == result.figures()


def test_the_table_names_levels_baselines_and_what_was_tampered_with(result):
    text = text_of(result)
    for words in ('360 steps in 6 episode(s)', 'level 2: 8 step(s), 0.8 s a period', 'skill over persistence', 'x_m',
                  'blocked wheels', 'latent: discrete', 'best of 32', 'R² 1.6 s ahead'):
        assert words in text


def test_pictures_are_written_of_what_was_judged(result, tmp_path):
    two = replace(result, levels=result.levels[:2], pictures=(result.pictures[0], LevelPictures(1, (), None)))
    files = plot_all(tmp_path / 'new' / 'plots', two)
    assert [f.name for f in files] == ['prediction.png', 'probes_0.png', 'surprise_0.png']
    for file in files:
        picture = cv2.imread(str(file))
        assert min(picture.shape[:2]) > 300 and picture.std() > 10


def test_a_folder_that_cannot_be_written_is_one_line(result, tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(ConfigError, match='file/plots: plots cannot be written: '):
        plot_all(tmp_path / 'file' / 'plots', result)


def judged(lengths, changes=None, s=None, **options):
    data = tiny.episodes(lengths)
    data = type(data)(**{**data.__dict__, **(changes or {})})
    return judge(integrator(), data, moved(data) if s is None else s, 0.1, **options)


def test_moments_ahead_are_whole_periods_and_others_are_noted():
    found = judged([40] * 4, seconds=[0.8, 0.2])
    assert [[h.periods for h in level.horizons] for level in found.levels] == [[2, 8], [2]]
    assert found.notes == ('level 1: its periods of 0.4 s do not lead near 0.2 s',)


def test_the_nearest_period_stands_for_a_moment_between_two():
    found = judged([40] * 4, seconds=[0.45])
    assert [[h.periods for h in level.horizons] for level in found.levels] == [[4], [1]]
    assert found.notes[0] == 'level 0: 0.4 s stands for 0.45 s: its periods are of 0.1 s'


def test_a_level_with_none_of_the_moments_has_no_horizons():
    found = judged([40] * 4, seconds=[0.1])
    assert found.levels[1].horizons == () and found.levels[1].probes == ()
    assert 'level 1' in text_of(found)


def test_a_robot_without_readouts_is_not_probed():
    found = judged([40] * 4, {'readouts': torch.zeros(160, 0), 'readout_names': ()})
    assert found.notes == ('the robot has no readouts: nothing is probed',)
    assert all(level.probes == () for level in found.levels)


def test_a_single_short_episode_has_values_without_intervals_and_says_so():
    found = judged([60])
    first = found.levels[0].horizons[0]
    assert first.prediction.value < 1e-9 and (first.prediction.low, first.linear) == (None, None)
    assert found.notes[0] == 'there is only one episode: no linear model, no probes and no intervals'
    assert found.notes[1].startswith('level 0: surprise is not judged: 59 steps')
    assert json.dumps(found.figures(), allow_nan=False) and text_of(found)


def test_a_collapsed_representation_is_noted_and_breaks_nothing(tmp_path):
    found = judged([40] * 4, s=torch.ones(160, 2))
    assert 'level 0: s does not change within episodes' in found.notes[0]
    assert found.levels[0].horizons[0].prediction.value is None and found.levels[0].effective_rank == 1
    assert json.dumps(found.figures(), allow_nan=False) and text_of(found)
    assert [f.name for f in plot_all(tmp_path, replace(found, levels=found.levels[:1], pictures=()))]


def test_a_horizon_that_no_episode_has_is_refused_with_what_is_needed():
    with pytest.raises(ConfigError, match=r'the longest of the 4 episode\(s\) has 40 steps, 257 are needed: level 1 '
                                          r'looks 64 period\(s\) of 4 step\(s\) ahead; give --horizon 9 at most'):
        judged([40] * 4, horizon=64)


def test_a_state_that_is_not_finite_is_named_by_its_step():
    s = torch.zeros(160, 2)
    s[47, 1] = torch.inf
    with pytest.raises(ConfigError, match='episode e1, step 7: the state is not finite'):
        judged([40] * 4, s=s)
