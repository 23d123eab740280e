"""Figures of the benchmark of latents, on draws whose figures are known; and that its runs come to an end."""
import json
import math
from pathlib import Path
import sys

import pytest
import torch

BENCHMARK = str(Path(__file__).parents[2] / 'benchmark')


@pytest.fixture(scope='module')
def bench():
    sys.path.insert(0, BENCHMARK)
    try:
        import stochastic
    finally:
        sys.path.remove(BENCHMARK)
    return stochastic


@pytest.fixture
def forks():
    """600 forks: both outcomes, chances of the right one, and what came."""
    g = torch.Generator().manual_seed(0)
    chance = torch.tensor([0.2, 0.5, 0.8]).repeat(200)
    left, right = torch.zeros(600, 4), torch.ones(600, 4)
    return left, right, chance, torch.rand(600, generator=g) < chance, g


def draws(left, right, probability, count, g):
    to_right = torch.rand(len(left), count, 1, generator=g) < probability[:, None, None]
    return torch.where(to_right, right[:, None], left[:, None])


def test_draws_as_frequent_as_the_outcomes_are_calibrated(bench, forks):
    left, right, chance, came, g = forks
    found = bench.stochastic_figures.branches(draws(left, right, chance, 256, g), left, right, chance, came)
    assert found['expected_calibration_error'] < 0.01 and found['astray'] == 0
    assert found['calibration_error'] == pytest.approx(0.8 * math.sqrt(0.18 / 256), abs=0.01)   # of counting 256 draws
    assert found['brier'] == pytest.approx(found['brier_ideal'], abs=0.01)
    assert found['said_0.2'] == pytest.approx(0.2, abs=0.02)


def test_draws_that_do_not_know_the_chances_are_off_by_as_much(bench, forks):
    left, right, chance, came, g = forks
    even = draws(left, right, torch.full((600,), 0.5), 256, g)
    found = bench.stochastic_figures.branches(even, left, right, chance, came)
    assert found['expected_calibration_error'] == pytest.approx(0.2, abs=0.02)      # 0.3 off in two of three
    assert found['brier'] > found['brier_ideal'] + 0.03


def test_the_mean_of_both_outcomes_is_neither(bench, forks):
    left, right, chance, came, _ = forks
    between = ((left + right) / 2 + 0.01)[:, None].expand(-1, 8, -1)
    assert bench.stochastic_figures.branches(between, left, right, chance, came)['astray'] == 1


def test_draws_from_the_true_distribution_cover_as_often_as_they_say(bench):
    g = torch.Generator().manual_seed(0)
    came, said = 2 * torch.randn(2000, 2, generator=g), 2 * torch.randn(2000, 256, 2, generator=g)
    found = bench.stochastic_figures.spread(said, came, 2.0)
    assert found['coverage_error'] < 0.01
    assert found['crps_px'] == pytest.approx(found['crps_ideal_px'], rel=0.03)
    narrow = bench.stochastic_figures.spread(said / 4, came, 2.0)
    assert narrow['coverage_0.95'] < 0.5 and narrow['crps_px'] > found['crps_px']


def test_a_single_prediction_covers_nothing_and_scores_its_absolute_error(bench):
    came = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    found = bench.stochastic_figures.spread(torch.zeros(500, 8, 2), came, 1.0)
    assert found['coverage_0.95'] == 0 and found['std_px'] == 0
    assert found['crps_px'] == pytest.approx(float(came.abs().mean()), abs=1e-6)


@pytest.mark.parametrize(('training', 'kind'), [('frozen', 'discrete'), ('joint', 'none')])
def test_a_run_has_finite_figures_and_is_not_repeated(bench, tmp_path, monkeypatch, training, kind):
    monkeypatch.setattr(bench, 'TEST_EPISODES', 60)
    monkeypatch.setattr(bench.runs.Setting.__init__, '__defaults__', (20,))
    made = bench.Bench(tmp_path, bench.runs.Effort(updates=3, batch=4), bench.Console(quiet=True))
    found = made.figures('fork', training, kind, 0)
    assert all(math.isfinite(value) for value in found.values())
    monkeypatch.setattr(made, '_trained', None)         # would be called
    assert made.figures('fork', training, kind, 0) == found
    monkeypatch.setattr(bench.stochastic_figures, 'MEASURED', 0)        # other figures: judged again, not trained
    again = made.figures('fork', training, kind, 0)
    assert again['energy_best_of_16_k8'] == pytest.approx(found['energy_best_of_16_k8'], rel=1e-3)
    entry = bench.row('fork', training, kind, [found, found])
    assert entry['method'] == ('latent_discrete' if training == 'frozen' else 'latent_none_joint')
    assert entry['figures']['energy_best_of_16_k8']['std'] == 0
    json.dumps(entry, allow_nan=False)
    again = made.model('fork', training, kind, 0)
    s = torch.zeros(1, bench.runs.DIM)
    assert again.levels[0].imagine(s, torch.zeros(1, 2, 1), 3).shape == (1, 3, 2, bench.runs.DIM)
