"""Ridge regression and its folds over episodes."""
import torch

from jepa_ros.evaluation.open_loop.linear import fit, folds


def data(rows=400, inputs=5, episodes=8, noise=0.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, inputs, generator=generator) * torch.tensor([1, 10, 0.1, 1, 1][:inputs]) + 3
    weights = torch.randn(inputs, 2, generator=generator)
    y = x @ weights + 7 + noise * torch.randn(rows, 2, generator=generator)
    return x, y, torch.arange(rows) * episodes // rows


def test_a_linear_rule_is_found_whatever_its_scales_and_offsets():
    x, y, episodes = data()
    fresh, truth, _ = data(seed=0, rows=400)
    assert (fit(x, y, episodes)(fresh) - truth).abs().max() < 1e-3


def test_noise_without_a_rule_is_answered_with_the_mean():
    """More inputs than episodes hold steps: without a strength chosen on others it would be far off."""
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(60, 50, generator=generator), torch.randn(60, 3, generator=generator)
    fresh, truth = torch.randn(500, 50, generator=generator), torch.randn(500, 3, generator=generator)
    error = (fit(x, y, torch.arange(60) // 6)(fresh) - truth).square().mean()
    assert error < 1.15 * truth.var()
    weak = (fit(x, y, torch.arange(60) // 6, strengths=(1e-7,))(fresh) - truth).square().mean()
    assert weak > 2 * truth.var()


def test_an_input_that_never_changes_is_left_out():
    x, y, episodes = data()
    x[:, 0] = 1e6
    y = x[:, 1:] @ torch.ones(4, 1)
    ridge = fit(x, y, episodes)
    assert torch.isfinite(ridge.weights).all() and (ridge(x) - y).abs().max() < 1e-2


def test_a_single_episode_chooses_on_its_end():
    x, y, _ = data(rows=50)
    assert (fit(x, y, torch.zeros(50))(x) - y).abs().max() < 1e-2


def test_every_judged_episode_is_tested_once_by_what_never_saw_it():
    judged, others = torch.arange(3, 15), torch.arange(3)
    parts = folds(judged, others)
    assert sorted(torch.cat([p.test for p in parts]).tolist()) == list(range(3, 15)) and len(parts) == 5
    for part in parts:
        assert not set(part.fit.tolist()) & set(part.test.tolist())
        assert set(part.fit.tolist()) | set(part.test.tolist()) == set(range(15))


def test_a_single_episode_has_no_fold_unless_there_are_others():
    assert folds(torch.tensor([0]), torch.tensor([], dtype=torch.int64)) == []
    one, = folds(torch.tensor([2]), torch.tensor([0, 1]))
    assert (one.fit.tolist(), one.test.tolist()) == ([0, 1], [2])
