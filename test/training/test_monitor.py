"""Collapse is seen while a training runs: a real one is stopped, a healthy one is left alone."""
import math

import line_training as line
import pytest
import torch
from torch import nn

from jepa_ros.errors import TrainingError
from jepa_ros.training.engine import Settings
from jepa_ros.training.losses.regularisers import covariance, variance
from jepa_ros.training.monitor import faults, Figures, Limits, measure, Monitor
from jepa_ros.training.optimise import Optimisation

HEALTHY = Figures(effective_rank=12.0, std_mean=1.0, std_min=0.5, dead_share=0.0, inverse_error=0.1, used_codes=0.9)
LATENT = {'bits': 2.0, 'gain': 0.5, 'spread': 0.3, 'contrast': 0.9}


class Embedding(nn.Module):
    """Predicts its own next state; without `regularised` a constant does that best (LeCun §4.3)."""

    def __init__(self, regularised: bool):
        super().__init__()
        torch.manual_seed(0)
        self.regularised = regularised
        self.encoder = nn.Linear(6, 6)
        self.predictor = nn.Linear(6, 6)

    def forward(self, x):
        s = self.encoder(x)                                     # (B, T, 6)
        parts = {'prediction': (self.predictor(s[:, :-1]) - s[:, 1:]).square().mean()}
        loss = parts['prediction']
        if self.regularised:
            loss = loss + 16 * variance(s) + 8 * covariance(s)
        return loss, {k: v.detach() for k, v in parts.items()}


def train(module: Embedding) -> dict[str, float]:
    """Sequences of noise that is predictable for a step: x, then x turned round."""
    fixed = torch.randn(256, 2, 6, generator=torch.Generator().manual_seed(1))

    def draw(generator):
        x = torch.randn(64, 1, 6, generator=generator)
        return (torch.cat([x, -x], 1),)

    def probe():
        return measure(module.encoder(fixed))
    looks = []

    class Kept(Monitor):
        def look(self, update):
            looks.append(super().look(update))
            return looks[-1]
    monitor = Kept(probe, Limits(min_effective_rank=3.0, min_std=0.2), every=20, grace=100, patience=3)
    stage = line.stage(updates=400, lr=2e-2)
    Optimisation('level 0', module, stage, 0, 'cpu', engine=line.Engine(Settings(precision='32')),
                 monitor=monitor).run(draw)
    return looks[-1].figures


def test_a_training_without_variance_collapses_and_is_stopped_with_the_reason():
    with pytest.raises(TrainingError) as stopped:
        train(Embedding(regularised=False))
    words = str(stopped.value)
    assert words.startswith('level 0: the representation has collapsed, training stopped at update ')
    assert 'mean standard deviation of s is ' in words and ', under 0.2: raise the weight of variance' in words
    assert '\n' not in words


def test_a_healthy_training_is_left_alone(capsys):
    figures = train(Embedding(regularised=True))
    assert figures['effective_rank'] > 5 and figures['std_mean'] > 0.8 and figures['dead_share'] == 0
    assert capsys.readouterr().err == ''


def test_figures_of_states_count_dead_dimensions_and_what_inverse_dynamics_misses():
    g = torch.Generator().manual_seed(0)
    s, actions = torch.randn(50, 4, 8, generator=g), torch.randn(50, 3, 2, generator=g)
    s[..., :2] = 1.0
    figures = measure(s, actions, torch.zeros_like(actions))
    assert figures.dead_share == 0.25 and figures.std_min == 0 and 5 < figures.effective_rank <= 6
    assert figures.inverse_error == pytest.approx(1.0, abs=0.02)
    assert measure(s, actions, actions).inverse_error == 0


def test_a_healthy_state_has_no_fault():
    assert faults(HEALTHY, Limits()) == {}


@pytest.mark.parametrize('change, words', [
    ({'effective_rank': 1.5}, 'effective rank of s is 1.50, under 4: raise the weight of covariance'),
    ({'effective_rank': math.nan}, 'effective rank of s is nan, under 4'),
    ({'std_mean': 0.01}, 'mean standard deviation of s is 0.01, under 0.2'),
    ({'dead_share': 0.75}, 'share of dead dimensions of s is 0.75, over 0.5'),
    ({'inverse_error': 0.99}, 'share of the actions that inverse dynamics misses is 0.99, over 0.9: raise'),
    ({'used_codes': 0.02}, "share of the latent's values in use is 0.02, under 0.1"),
])
def test_each_figure_has_a_limit_and_a_remedy(change, words):
    (line,) = faults(Figures(**{**vars(HEALTHY), **change}), Limits()).values()
    assert line.startswith(words)


@pytest.mark.parametrize('change, words', [
    ({'bits': 0.0}, 'the latent is ignored: it carries 0.00 bits'),
    ({'contrast': 0.01}, 'the energy is flat: a wrong next state costs only 1.0 %'),
])
def test_a_latent_that_is_ignored_or_carries_everything_is_a_fault(change, words):
    s = torch.randn(500, 8, generator=torch.Generator().manual_seed(0))
    figures = measure(s, latent=LATENT | change, capacity_bits=4.0)
    (line,) = faults(figures, Limits()).values()
    assert line.startswith(words) and figures.numbers()['latent_spread'] == 0.3
    assert faults(measure(s, latent=LATENT, capacity_bits=4.0), Limits()) == {}


def monitored(ranks: list[float], **options) -> list:
    values = iter(ranks)
    monitor = Monitor(lambda: Figures(next(values), 1.0, 1.0, 0.0), **options)
    return [monitor.look(update) for update in range(0, monitor.every * len(ranks), monitor.every)]


def test_nothing_is_judged_before_the_grace_period_ends():
    looks = monitored([1.0] * 5, every=100, grace=300, patience=2)
    assert [bool(look.warnings) for look in looks] == [False, False, False, True, False]
    assert [look.stop is not None for look in looks] == [False] * 4 + [True]
    assert looks[4].stop.endswith('(2 checks in a row)')


def test_a_good_check_in_between_begins_the_count_again():
    looks = monitored([1, 1, 9, 1, 1, 9, 1, 1, 1], every=10, grace=0, patience=3)
    assert [look.stop is not None for look in looks] == [False] * 8 + [True]
    assert sum(len(look.warnings) for look in looks) == 1


def test_a_probe_does_not_disturb_the_random_numbers_of_the_training():
    def probe():
        torch.rand(5)
        return HEALTHY
    torch.manual_seed(3)
    wanted = torch.rand(4)
    torch.manual_seed(3)
    Monitor(probe).look(0)
    assert torch.equal(torch.rand(4), wanted)
