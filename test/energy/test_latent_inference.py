"""Inference of the latent by enumeration, gradient, encoder, and encoder with refinement."""
import dataclasses
import math

from hypothesis import given, settings
from hypothesis import strategies as st
from no_waiting import NoWaiting
import pytest
from tiny import invariant
import torch

from jepa_ros.energy.latent_energy import LatentEnergy
from jepa_ros.energy.latent_inference import best_of, descend, InferenceConfig, INFERENCES, marginal
from jepa_ros.errors import ConfigError
from jepa_ros.world_model.latents import Discrete, Gaussian, LowDimensional, NoLatent, Sparse

seeds = st.integers(0, 10_000)
few = settings(invariant, max_examples=8)


def linear(seed, latent, dim=4, batch=(3,)):
    """Pred(s, a, z) = s + B a + W z with random weights; the best z has a closed form where R = 0."""
    g = torch.Generator().manual_seed(seed)
    matrix, mixing = (torch.randn(dim, n, generator=g, dtype=torch.float64) for n in (latent.dim, 2))
    s, a, target = (torch.randn(*batch, n, generator=g, dtype=torch.float64) for n in (dim, 2, dim))
    return LatentEnergy(lambda s, a, z: s + a @ mixing.T + z @ matrix.T, latent.double(), s, a, target), matrix, mixing


def bent(seed, latent, dim=4, batch=(5,)):
    """A predictor with hills and valleys in z."""
    g = torch.Generator().manual_seed(seed)
    matrix = 2 * torch.randn(dim, latent.dim, generator=g, dtype=torch.float64)
    s, a, target = (torch.randn(*batch, n, generator=g, dtype=torch.float64) for n in (dim, 2, dim))
    energy = LatentEnergy(lambda s, a, z: s + torch.sin(3 * z @ matrix.T) + z @ matrix.T, latent.double(), s, a, target)
    return energy, torch.randn(*batch, latent.code_dim, generator=g, dtype=torch.float64)


@invariant
@given(seeds, st.integers(2, 9))
def test_exact_inference_is_the_brute_force_minimum(seed, values):
    energy, _, _ = linear(seed, Discrete(values, weight=0.3))
    found = INFERENCES.get('exact')(energy, None, InferenceConfig())
    for pair in range(3):
        alone = [float(energy(torch.eye(values, dtype=torch.float64)[[k] * 3])[pair]) for k in range(values)]
        assert float(found.energy[pair]) == pytest.approx(min(alone), abs=1e-12)
        assert int(found.code[pair].argmax()) == alone.index(min(alone))
        assert float(marginal(energy, energy.latent.values, 2.0)[pair]) == pytest.approx(
            -math.log(sum(math.exp(-2 * e) for e in alone) / values) / 2, abs=1e-9)


@invariant
@given(seeds)
def test_marginal_free_energy_over_latents_never_lies_below_the_exact_minimum_and_approaches_it(seed):
    energy, _, _ = linear(seed, Discrete(6))
    least = INFERENCES.get('exact')(energy, None, InferenceConfig()).energy
    assert bool((marginal(energy, energy.latent.values, 5.0) >= least - 1e-12).all())
    assert torch.allclose(marginal(energy, energy.latent.values, 1e6), least, atol=1e-5)


def test_a_predictor_without_latent_has_the_energy_of_its_one_prediction():
    energy, _, mixing = linear(1, NoLatent())
    found = INFERENCES.get('exact')(energy, None, InferenceConfig())
    assert found.code.shape == (3, 0)
    assert torch.allclose(found.energy, (energy.target - energy.s - energy.a @ mixing.T).square().mean(-1))


@few
@given(seeds, st.integers(1, 4))
def test_descent_finds_the_known_optimum_of_a_quadratic(seed, dim):
    """Least squares, with a Gaussian's mean as z and no regulariser; by energy, as W may be nearly singular."""
    energy, matrix, mixing = linear(seed, Gaussian(dim, weight=0.0), dim=6)
    residual = energy.target - energy.s - energy.a @ mixing.T
    best = residual @ torch.linalg.pinv(matrix).T
    least = (residual - best @ matrix.T).square().mean(-1)
    found = descend(energy, energy.start(), steps=100, rate=1.0)
    assert torch.allclose(found.energy, least, atol=1e-5)


@few
@given(seeds)
def test_descent_finds_the_known_mean_and_deviation_of_a_noisy_latent(seed):
    """D = mean (W z − y)² and KL/N(0, 1): with W diagonal, mean w y/(w² + α d/2), variance 1/(1 + 2 w²/(α d))."""
    g = torch.Generator().manual_seed(seed)
    w, weight = 0.5 + torch.rand(3, generator=g, dtype=torch.float64), 0.2
    y, zeros = torch.randn(4, 3, generator=g, dtype=torch.float64), torch.zeros(4, 3, dtype=torch.float64)
    noise = torch.ones(4, 1, 3, dtype=torch.float64)
    energy = LatentEnergy(lambda s, a, z: w * z, Gaussian(3, weight).double(), zeros, zeros, y,
                          noise=torch.cat([noise, -noise], -2))      # two draws of unit variance: an exact expectation
    mean, log_std = descend(energy, energy.start(), steps=80, rate=1.0).code.chunk(2, -1)
    assert torch.allclose(mean, w * y / (w.square() + weight * 3 / 2), atol=1e-3)
    assert torch.allclose(torch.exp(2 * log_std), (1 / (1 + 2 * w.square() / (weight * 3))).expand(4, 3), atol=1e-3)


@few
@given(seeds, st.sampled_from([Gaussian, LowDimensional, Sparse]))
def test_descent_never_raises_the_energy_however_bent_it_is(seed, kind):
    energy, start = bent(seed, kind(3, weight=0.05))
    last = descend(energy, start, 1, 1.0).start_energy
    for steps in (1, 2, 5, 15):
        found = descend(energy, start, steps, 1.0)
        assert bool((found.energy <= last + 1e-12).all())
        assert torch.allclose(energy(found.code), found.energy)
        last = found.energy


@few
@given(seeds)
def test_descent_ends_where_the_energy_is_flat(seed):
    """With one valley: among several it may climb into a worse one, and the best code met lies on a slope."""
    g = torch.Generator().manual_seed(seed)
    matrix = torch.randn(4, 3, generator=g, dtype=torch.float64)
    energy, start = bent(seed, Gaussian(3, weight=0.2))
    energy = dataclasses.replace(energy, predict=lambda s, a, z: s + 0.3 * torch.sin(z @ matrix.T) + z @ matrix.T)
    code = descend(energy, start, 150, 1.0).code.requires_grad_()
    slope, = torch.autograd.grad(energy(code).sum(), code)
    assert float(slope.abs().max()) < 1e-3


def test_pairs_of_a_batch_do_not_influence_each_other():
    energy, start = bent(7, Sparse(3, weight=0.05))
    together = descend(energy, start, 25, 1.0)
    for pair in range(5):
        alone = dataclasses.replace(energy, s=energy.s[pair], a=energy.a[pair], target=energy.target[pair])
        assert torch.allclose(descend(alone, start[pair], 25, 1.0).code, together.code[pair], atol=1e-9)


def test_descent_with_an_l1_term_solves_sparse_coding_in_closed_form():
    """W = identity: each z is y shrunk by α d/2, exactly 0 within it (LeCun §4.5)."""
    y = torch.tensor([[1.0, -0.05, 0.3, -2.0]], dtype=torch.float64)
    energy = LatentEnergy(lambda s, a, z: z, Sparse(4, weight=0.1).double(), torch.zeros_like(y), y[:, :0], y)
    code = descend(energy, energy.start(), 60, 1.0).code
    assert torch.allclose(code, torch.tensor([[0.8, 0.0, 0.1, -1.8]], dtype=torch.float64), atol=1e-6)
    assert float(code[0, 1]) == 0.0


def test_free_energy_of_the_ellipse_is_the_distance_to_it():
    """Dawid §3.2, Fig. 4b: E(y, z) = (y1 − r1 sin z)² + (y2 − r2 cos z)²; `squared` is half of it."""
    g = torch.Generator().manual_seed(0)
    y = 2 * torch.randn(50, 2, generator=g, dtype=torch.float64)
    axes = torch.tensor([2.0, 1.0], dtype=torch.float64)
    energy = LatentEnergy(lambda s, a, z: axes * torch.cat([(math.pi * z).sin(), (math.pi * z).cos()], -1),
                          LowDimensional(1).double(), torch.zeros_like(y), y[:, :0], y)
    starts = torch.linspace(-0.9, 0.9, 7, dtype=torch.float64).view(1, 7, 1).expand(50, 7, 1)
    found = INFERENCES.get('refined')(energy, starts, InferenceConfig(steps=60))
    grid = torch.linspace(-1, 1, 20_001, dtype=torch.float64).unsqueeze(-1)
    least = best_of(energy, grid)
    assert torch.allclose(found.energy, least.energy, atol=1e-6)
    assert bool((marginal(energy, grid, 50.0) >= least.energy).all())


@few
@given(seeds, st.sampled_from([Gaussian, LowDimensional, Sparse]))
def test_a_refined_proposal_is_never_worse_than_the_amortised_one(seed, kind):
    energy, proposal = bent(seed, kind(2, weight=0.05))
    proposal = energy.latent.code(proposal)
    quick = INFERENCES.get('amortised')(energy, proposal, InferenceConfig())
    slow = INFERENCES.get('refined')(energy, proposal, InferenceConfig())
    assert torch.allclose(slow.start_energy, quick.energy)
    assert bool((slow.energy <= quick.energy + 1e-12).all())


@invariant
@given(seeds, st.integers(1, 6))
def test_a_refined_shortlist_lies_between_the_amortised_and_the_exact_value(seed, shortlist):
    energy, _, _ = linear(seed, Discrete(6))
    raw = torch.randn(3, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    proposals, config = energy.latent.proposals(raw, shortlist), InferenceConfig(shortlist=shortlist)
    quick = INFERENCES.get('amortised')(energy, proposals, config).energy
    listed = INFERENCES.get('refined')(energy, proposals, config).energy
    least = INFERENCES.get('exact')(energy, None, config).energy
    assert bool((least <= listed).all()) and bool((listed <= quick).all())
    if shortlist == 6:
        assert torch.equal(listed, least)


def test_gradient_of_the_free_energy_in_the_weights_is_that_of_the_energy_at_the_inferred_code():
    """Envelope theorem: what training relies on when it takes ž as a constant."""
    y = torch.tensor([[0.7, -1.0, 0.4]], dtype=torch.float64)
    w = torch.tensor([1.3, -0.8, 0.5], dtype=torch.float64, requires_grad=True)

    def free(weights):
        energy = LatentEnergy(lambda s, a, z: weights * z, Sparse(3, weight=0.05).double(), y * 0, y[:, :0], y)
        return energy, descend(energy, energy.start(), 300, 1.0)

    energy, found = free(w)
    slope, = torch.autograd.grad(energy(found.code).sum(), w)
    for i in range(3):
        step = 1e-5 * torch.eye(3, dtype=torch.float64)[i]
        difference = (free(w.detach() + step)[1].energy - free(w.detach() - step)[1].energy) / 2e-5
        assert float(slope[i]) == pytest.approx(float(difference), abs=1e-4)


def test_inference_works_on_states_made_in_inference_mode_and_leaves_no_gradient_in_the_predictor():
    torch.manual_seed(0)
    layer, latent = torch.nn.Linear(5, 3), LowDimensional(2)
    with torch.inference_mode():
        s, target = torch.randn(6, 3), torch.randn(6, 3)
        energy = LatentEnergy(lambda s, a, z: layer(torch.cat([s, z], -1)), latent, s, s[:, :0], target)
        found = INFERENCES.get('gradient')(energy, None, InferenceConfig())
        assert bool((found.energy < found.start_energy).any())
    assert layer.weight.grad is None and not found.code.requires_grad


def test_a_predictor_that_does_not_look_at_the_latent_leaves_the_code_where_it_was():
    s = torch.randn(4, 3)
    energy = LatentEnergy(lambda s, a, z: s, LowDimensional(2), s, s, s + 1)
    assert torch.equal(descend(energy, torch.full((4, 2), 0.3), 5, 1.0).code, torch.full((4, 2), 0.3))


def test_a_pair_of_infinite_or_undefined_energy_stays_at_its_proposal_and_spoils_no_other():
    energy, start = bent(3, Gaussian(2, weight=0.05))
    energy.target[0] = math.nan
    found = descend(energy, start, 10, 1.0)
    assert torch.equal(found.code[0], start[0])
    assert bool(torch.isfinite(found.energy[1:]).all())
    assert bool((found.energy[1:] < found.start_energy[1:]).all())


@pytest.mark.parametrize('name', ['exact', 'gradient', 'amortised', 'refined'])
def test_inference_never_waits_for_the_device_and_does_not_loop_over_the_pairs(name):
    counts = []
    for batch in (2, 64):
        latent = Discrete(5) if name == 'exact' else Sparse(3)
        energy, _, _ = linear(0, latent, batch=(batch,))
        proposal = torch.randn(batch, latent.code_dim, dtype=torch.float64)
        with NoWaiting() as counter:
            INFERENCES.get(name)(energy, proposal, InferenceConfig(steps=4))
        counts.append(counter.operations)
    assert counts[0] == counts[1] > 0


def test_leading_dimensions_are_free():
    for batch in ((), (2,), (2, 3, 4)):
        energy, _, _ = linear(0, Sparse(3), batch=batch)
        found = INFERENCES.get('gradient')(energy, None, InferenceConfig(steps=2))
        assert found.code.shape == (*batch, 3) and found.energy.shape == batch
        energy, _, _ = linear(0, Discrete(5), batch=batch)
        assert INFERENCES.get('exact')(energy, None, InferenceConfig()).code.shape == (*batch, 5)


def test_methods_that_do_not_fit_the_latent_say_so_in_one_line():
    sparse, discrete = linear(0, Sparse(3))[0], linear(0, Discrete(3))[0]
    with pytest.raises(ConfigError, match='exact inference needs a discrete latent'):
        INFERENCES.get('exact')(sparse, None, InferenceConfig())
    with pytest.raises(ConfigError, match='gradient inference needs a continuous latent'):
        INFERENCES.get('gradient')(discrete, None, InferenceConfig())
    with pytest.raises(ConfigError, match='need the proposal of a latent encoder'):
        INFERENCES.get('refined')(sparse, None, InferenceConfig())
    with pytest.raises(ConfigError, match=r"unknown inference 'exakt' \(did you mean exact\?\)"):
        INFERENCES.get('exakt')
    with pytest.raises(ConfigError, match='steps ≥ 1'):
        InferenceConfig(steps=0)
