"""InfoNCE and hinges against loops over anchors and contrastive samples, and what they make of a collapse."""
import math

import pytest
import torch
from torch.autograd import gradcheck
from torch.testing import assert_close

from jepa_ros.energy.distance import DISTANCES
from jepa_ros.errors import TrainingError
from jepa_ros.training.losses import build, Embedded, Sizes
from jepa_ros.training.losses.contrastive import energies, hinge, info_nce

N, G, D = 5, 2, 3


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    target = random(N, G, D)
    return target + 0.5 * random(N, G, D, seed=1), target


@pytest.mark.parametrize('distance', ['squared', 'euclidean', 'cosine'])
def test_energies_are_the_distances_of_all_pairs(distance):
    a, b = random(N, G, D), 100 + random(4, G, D, seed=1)       # far from the origin
    expected = [[[DISTANCES.get(distance)(a[n, g], b[m, g]) for m in range(4)] for n in range(N)] for g in range(G)]
    assert_close(energies(a, b, distance), torch.tensor(expected))


@pytest.mark.parametrize('distance, temperature', [('cosine', 0.1), ('squared', 1.0)])
def test_info_nce_is_energy_plus_log_of_all_exponentials(distance, temperature):
    """LeCun eq. 9, with F = D / temperature."""
    predicted, target = pair()
    losses = []
    for g in range(G):
        for n in range(N):
            f = [float(DISTANCES.get(distance)(predicted[n, g], target[m, g])) / temperature for m in range(N)]
            losses.append(f[n] + math.log(sum(math.exp(-value) for value in f)))
    assert float(info_nce(predicted, target, distance, temperature)) == pytest.approx(sum(losses) / len(losses))


def naive_hinge(predicted, target, form, margin, slope, hardest) -> float:
    losses = []
    for g in range(G):
        for n in range(N):
            f = [float((predicted[n, g] - target[m, g]).square().mean()) for m in range(N)]
            others = []
            for m in range(N):
                if m == n:
                    continue
                room = margin + slope * float((target[n, g] - target[m, g]).square().sum())
                others.append({'pairwise': max(0.0, f[n] - f[m] + room), 'minimum': max(0.0, room - f[m]),
                               'square': max(0.0, room - f[m]) ** 2}[form])
            pull = {'pairwise': 0.0, 'minimum': f[n], 'square': f[n] ** 2}[form]
            losses.append(pull + (max(others) if hardest else sum(others) / len(others)))
    return sum(losses) / len(losses)


@pytest.mark.parametrize('form', ['pairwise', 'minimum', 'square'])
@pytest.mark.parametrize('hardest', [False, True])
@pytest.mark.parametrize('margin, slope', [(1.0, 0.0), (0.2, 0.3)])
def test_hinges_are_those_of_the_paper(form, hardest, margin, slope):
    """LeCun eq. 7 and Table 1, rows 5–7."""
    predicted, target = pair()
    expected = naive_hinge(predicted, target, form, margin, slope, hardest)
    assert expected > 0
    assert float(hinge(predicted, target, 'squared', form, margin, slope, hardest)) == pytest.approx(expected)


def test_outcomes_further_apart_than_the_margin_cost_nothing():
    target = 10 * torch.eye(4, dtype=torch.float64)[:, None]
    assert float(hinge(target, target)) == 0
    assert float(info_nce(target, target, 'squared', 1.0)) < 1e-10


@pytest.mark.parametrize('distance', ['squared', 'cosine'])
def test_for_constant_states_info_nce_can_only_guess(distance):
    ones = torch.ones(8, G, D, dtype=torch.float64)
    assert float(info_nce(ones, ones, distance)) == pytest.approx(math.log(8))


def test_for_constant_states_a_hinge_pays_its_margin():
    ones = torch.ones(8, G, D, dtype=torch.float64)
    assert float(hinge(ones, ones, margin=0.7)) == pytest.approx(0.7)
    assert float(hinge(ones, ones, margin=0.7, form='square')) == pytest.approx(0.49)


def test_a_margin_that_vanishes_with_the_distance_lets_the_energy_collapse():
    """Dawid §4.1: "suitable contrastive loss functions need to ensure a non-zero margin"."""
    ones = torch.ones(8, G, D, dtype=torch.float64)
    assert float(hinge(ones, ones, margin=0.0, slope=1.0)) == 0


@pytest.mark.parametrize('loss', [lambda s: info_nce(s, s, 'squared', 0.1), lambda s: info_nce(s, s),
                                  lambda s: hinge(s, s), lambda s: hinge(s, s, form='minimum', hardest=True)])
def test_states_that_nearly_collapsed_are_driven_apart(loss):
    s = (1 + 1e-2 * random(8, 1, 4)).requires_grad_()
    before = loss(s).item()
    optimiser = torch.optim.Adam([s], lr=0.05)
    for _ in range(100):
        optimiser.zero_grad()
        loss(s).backward()
        optimiser.step()
    assert s.std(0).mean().item() > 0.3 and loss(s).item() < before / 2


@pytest.mark.parametrize('name', ['info_nce', 'hinge'])
def test_pooled_over_time_the_other_steps_of_a_sequence_are_contrastive_too(name):
    s = random(4, 3, D)
    predicted = s[:, :2, None] + 0.1
    _, parts = build({name: {'over': 'batch_time'}}, Sizes(state=D))(Embedded(s, predicted))
    a, b = predicted.reshape(8, 1, D), s[:, 1:].reshape(8, 1, D)
    assert float(parts[name]) == pytest.approx(float({'info_nce': info_nce, 'hinge': hinge}[name](a, b)))
    _, per_step = build({name: {}}, Sizes(state=D))(Embedded(s, predicted))
    assert float(per_step[name]) != pytest.approx(float(parts[name]))


@pytest.mark.parametrize('loss', [
    lambda a, b: info_nce(a, b), lambda a, b: info_nce(a, b, 'squared', 0.7), lambda a, b: hinge(a, b),
    lambda a, b: hinge(a, b, 'euclidean', 'square', 2.0, 0.0, True)])
def test_the_gradient_is_that_of_finite_differences(loss):
    a, b = pair()
    assert gradcheck(loss, (a.requires_grad_(), b.requires_grad_()))


def test_the_margin_gets_no_gradient():
    """Else outcomes would move together to make it small."""
    predicted, target = pair()
    target.requires_grad_()
    flat, = torch.autograd.grad(hinge(predicted, target, margin=50.0), target)
    sloped, = torch.autograd.grad(hinge(predicted, target, margin=50.0, slope=1.0), target)
    assert_close(sloped, flat)


def test_a_single_sequence_has_nothing_to_be_contrasted_with():
    with pytest.raises(TrainingError, match='needs at least two sequences in a batch: raise batch'):
        info_nce(random(1, 1, D), random(1, 1, D))
