"""Information carried by latents, on cases where it is known."""
import math

from hypothesis import given
from hypothesis import strategies as st
from no_waiting import NoWaiting
import pytest
from tiny import invariant
import torch

from jepa_ros.energy.information import (
    active_dimensions,
    discrete_bits,
    entropy_bits,
    gaussian_bits,
    gaussian_kl,
    latent_usage,
    resolved_bits,
    used_values,
    verdict,
)
from jepa_ros.energy.latent_energy import LatentEnergy
from jepa_ros.energy.latent_inference import InferenceConfig, INFERENCES
from jepa_ros.world_model.latents import Discrete, LowDimensional, NoLatent


@pytest.mark.parametrize('values', [2, 5, 16])
def test_discrete_latent_fully_used_carries_log2_of_its_values_and_unused_none(values):
    everywhere = torch.eye(values).repeat(10, 1)
    assert float(discrete_bits(everywhere)) == pytest.approx(math.log2(values), abs=1e-5)
    assert float(used_values(everywhere)) == pytest.approx(values, abs=1e-3)
    always_one = torch.eye(values)[[1] * 30]
    assert float(discrete_bits(always_one)) == 0.0
    assert float(used_values(always_one)) == 1.0


def test_a_discrete_latent_that_is_drawn_blindly_carries_nothing():
    assert float(discrete_bits(torch.full((20, 4), 0.25))) == pytest.approx(0.0, abs=1e-6)


@invariant
@given(st.integers(0, 10_000), st.integers(1, 6))
def test_discrete_bits_lie_between_none_and_the_entropy_of_the_values(seed, values):
    p = torch.softmax(3 * torch.randn(20, values, generator=torch.Generator().manual_seed(seed)), -1)
    bits = float(discrete_bits(p))
    assert 0 <= bits <= float(entropy_bits(p.mean(0))) + 1e-6 <= math.log2(values) + 1e-5


@invariant
@given(st.integers(0, 10_000))
def test_gaussian_divergence_is_that_of_torch(seed):
    g = torch.Generator().manual_seed(seed)
    mean, log_std, prior_mean, prior_log_std = torch.randn(4, 5, 3, generator=g, dtype=torch.float64)
    expected = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, log_std.exp()), torch.distributions.Normal(prior_mean, prior_log_std.exp()))
    assert torch.allclose(gaussian_kl(mean, log_std, prior_mean, prior_log_std), expected.sum(-1))
    assert bool((expected.sum(-1) >= 0).all())


def test_gaussian_codes_far_apart_tell_all_pairs_apart_and_equal_ones_none():
    generator = torch.Generator().manual_seed(0)
    apart = 100 * torch.arange(16.0).unsqueeze(1)
    assert float(gaussian_bits(apart, torch.zeros(16, 1), generator)) == pytest.approx(4.0, abs=1e-4)
    assert float(gaussian_bits(torch.zeros(16, 1), torch.zeros(16, 1), generator)) == pytest.approx(0.0, abs=1e-5)


def test_gaussian_bits_stay_below_the_rate():
    g = torch.Generator().manual_seed(0)
    mean = torch.randn(500, 2, generator=g) * 0.9
    log_std = torch.full((500, 2), 0.5 * math.log(1 - 0.81))
    rate = float(gaussian_kl(mean, log_std).mean()) / math.log(2)
    assert 0.7 * rate < float(gaussian_bits(mean, log_std, g)) < rate + 0.05


def test_resolved_bits_are_the_rate_of_a_gaussian_channel_and_none_for_a_constant():
    z = torch.randn(50_000, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 0.3])
    expected = 0.5 * (math.log2(1 + 1 / 0.01) + math.log2(1 + 0.09 / 0.01))
    assert float(resolved_bits(z, 0.1)) == pytest.approx(expected, abs=0.02)
    assert float(resolved_bits(torch.full((100, 3), 2.7), 0.1)) == pytest.approx(0.0, abs=1e-5)


def test_resolved_bits_count_what_two_dimensions_share_only_once():
    z = torch.randn(10_000, 1, generator=torch.Generator().manual_seed(0))
    assert float(resolved_bits(z.repeat(1, 2), 0.1)) == pytest.approx(float(resolved_bits(z, 0.1)) + 0.5, abs=0.01)


def test_active_dimensions_are_those_that_vary():
    z = torch.randn(1000, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 0.0, 0.01, 0.5])
    assert int(active_dimensions(z)) == 2


def usage_of(predict, latent, s, target, method):
    energy = LatentEnergy(predict, latent, s, s[:, :0], target)
    proposals = torch.linspace(-0.8, 0.8, 5).view(1, 5, 1).expand(len(s), 5, latent.code_dim)
    samples = latent.sample((len(s), 8), generator=torch.Generator().manual_seed(1))
    return latent_usage(energy, lambda e: INFERENCES.get(method)(e, proposals, InferenceConfig(steps=40)), samples,
                        latent.bits).numbers()


@pytest.fixture
def fork():
    """States, and next states one step to the left or to the right of them, at random."""
    g = torch.Generator().manual_seed(0)
    s = 3 * torch.randn(400, 4, generator=g)
    side = torch.randint(2, (400, 1), generator=g) * 2.0 - 1
    return s, s + side * torch.tensor([2.0, 0.0, 0.0, 0.0]), side


def test_the_wrong_next_state_is_far_away_where_pairs_come_step_by_step():
    """The next state of the pair before is this pair's own state: to a predictor that stands still, the best of all."""
    g = torch.Generator().manual_seed(0)
    walk = torch.randn(321, 2, generator=g).cumsum(0)
    s, target = walk[:-1], walk[1:]
    energy = LatentEnergy(lambda s, a, z: s, NoLatent(), s, s[:, :0], target)
    usage = latent_usage(energy, lambda e: INFERENCES.get('exact')(e, None, InferenceConfig()),
                         s.new_zeros(len(s), 3, 0), NoLatent().bits)
    assert float(usage.contrast) == pytest.approx(1, abs=0.1)


def test_a_latent_that_tells_the_branches_apart_carries_one_bit_and_is_healthy(fork):
    s, target, _ = fork
    branches = torch.tensor([[2.0, 0, 0, 0], [-2.0, 0, 0, 0]])
    usage = usage_of(lambda s, a, z: s + z @ branches, Discrete(2), s, target, 'exact')
    assert usage['bits'] == pytest.approx(1.0, abs=0.02)
    assert usage['gain'] == pytest.approx(1.0, abs=1e-3)
    assert usage['contrast'] > 0.8
    assert verdict(usage, 1.0) == []


def test_a_predictor_that_ignores_its_latent_is_told(fork):
    s, target, _ = fork
    usage = usage_of(lambda s, a, z: s + 0 * z.sum(-1, keepdim=True), Discrete(2), s, target, 'exact')
    assert usage['bits'] == 0.0 and usage['spread'] == 0.0 and usage['gain'] == pytest.approx(0.0, abs=1e-6)
    lines = verdict(usage, 1.0)
    assert len(lines) == 1 and 'the latent is ignored: it carries 0.00 bits' in lines[0]


def test_a_predictor_that_copies_its_latent_has_a_flat_energy_and_is_told(fork):
    """LeCun §4.5: z of the dimension of s_y, Pred ignores s_x and copies z; any y then has energy 0."""
    s, target, _ = fork
    usage = usage_of(lambda s, a, z: 20 * z, LowDimensional(4), s, target, 'refined')
    assert usage['contrast'] == pytest.approx(0.0, abs=1e-3)
    lines = verdict(usage, LowDimensional(4).capacity_bits)
    assert len(lines) == 1 and 'the energy is flat' in lines[0]


def test_no_latent_is_no_collapse(fork):
    s, target, _ = fork
    usage = usage_of(lambda s, a, z: s, NoLatent(), s, target, 'exact')
    assert usage['bits'] == 0.0
    assert verdict(usage, 0.0) == []


def test_measuring_never_waits_for_the_device(fork):
    s, target, _ = fork
    latent = LowDimensional(2)
    energy = LatentEnergy(lambda s, a, z: s + z.repeat(1, 2) if z.dim() == 2 else s + z.repeat(1, 1, 2), latent, s,
                          s[:, :0], target)
    with NoWaiting():
        latent_usage(energy, lambda e: INFERENCES.get('gradient')(e, None, InferenceConfig(steps=3)),
                     latent.sample((400, 4)), latent.bits)
        gaussian_bits(s, s * 0)
        used_values(torch.softmax(s, -1))
        active_dimensions(s)
