"""The benchmark of world models on real recordings: its baselines and features, on made-up data."""
import importlib
from pathlib import Path

import pytest
import tiny
import torch

from jepa_ros.evaluation.open_loop.level import Level
from jepa_ros.training.data import EpisodeSet
from jepa_ros.training.states import encode_all


@pytest.fixture(scope='module')
def bench():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2] / 'benchmark')
        yield importlib.import_module('real_bags_model')


@pytest.fixture(scope='module')
def judge(bench):
    """An untrained model of a world whose features x are the sum of the actions so far."""
    data = tiny.episodes([60] * 8)
    model = tiny.model(1)
    level = Level(model, 0, data, encode_all(model, data), 0.1)
    return bench.Judge(level, data.part(range(6)), data.part([6, 7]))


def sums(data: EpisodeSet) -> torch.Tensor:
    before = torch.cumsum(data.actions, 0) - data.actions
    return before - before[data.starts].repeat_interleave(data.lengths, 0)


def test_the_linear_model_foresees_a_linear_world(judge):
    x = sums(judge.level.data)
    t, _ = judge.steps(judge.held_out, 6, 10**9)
    assert len(t) == 2 * (60 - 6) and int(t.min()) == int(judge.held_out.starts[0])
    for k in (1, 6):
        assert torch.allclose(judge.linear(x, t, k), x[t + k].double(), atol=1e-3)


def test_an_untrained_model_is_worse_than_persistence_and_the_linear_model_is_better(judge, bench):
    x = sums(judge.level.data)
    for k, errors in judge.errors(x, [2, 5]):
        found = bench.skills(errors, f'{k}')
        assert found[f'raw_linear_skill_persistence_{k}'] > 0.99
        assert found[f'skill_persistence_{k}'] < 0 and found[f'skill_linear_{k}'] < 0


def test_skill_is_the_share_of_the_error_of_the_baseline_that_is_saved(bench):
    errors = {'model': 1.0, 'persistence': 4.0, 'linear': 2.0, 'raw_model': 3.0, 'raw_persistence': 2.0,
              'raw_linear': 3.0}
    assert bench.skills(errors, '1s') == {
        'skill_persistence_1s': 0.75, 'skill_linear_1s': 0.5, 'linear_skill_persistence_1s': 0.5,
        'raw_skill_persistence_1s': -0.5, 'raw_skill_linear_1s': 0.0, 'raw_linear_skill_persistence_1s': -0.5}


def test_a_sector_without_a_valid_beam_is_far_away(bench):
    scan = torch.zeros(40, 2, 48)
    scan[:, 0] = torch.rand(40, 48) + 0.5
    scan[:, 1, 2:] = 1
    data = tiny.episodes([40])
    data = EpisodeSet({'scan': scan, 'odom': torch.rand(40, 2)}, data.actions, data.readouts, data.starts, data.lengths,
                      (), {})
    sectors = bench.distances_and_speeds(data, torch.arange(40))
    assert sectors.shape == (40, bench.SECTORS + 2)
    assert torch.allclose(sectors[:, 0], torch.zeros(40))       # never changes
    nearest = scan[:, 0, 2:4].amin(1)
    assert torch.allclose(sectors[:, 1], (nearest - nearest.mean()) / nearest.std(), atol=1e-5)


def test_image_components_are_those_of_the_training_images(bench):
    data = tiny.episodes([60, 60])
    images = EpisodeSet({'camera': data.percepts['overhead']}, data.actions, data.readouts, data.starts, data.lengths,
                        (), {})
    rows = torch.arange(60)
    components = bench.image_components(images, rows)
    assert components.shape == (120, bench.COMPONENTS)
    spread = components[rows].std(0)
    assert torch.allclose(components[rows].mean(0), torch.zeros(bench.COMPONENTS), atol=1e-4)
    assert bool((spread.diff() <= 1e-5).all())      # the largest first
