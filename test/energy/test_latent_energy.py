"""E(x, y, z) and its batches of candidates."""
import pytest
import torch

from jepa_ros.energy.latent_energy import LatentEnergy
from jepa_ros.world_model.latents import Discrete, Gaussian, Sparse
from jepa_ros.world_model.predictors import PREDICTORS


def pairs(latent, batch=(3, 2), **fields):
    torch.manual_seed(0)
    net = PREDICTORS.get('adaln_mlp')(4, 2 + latent.dim, 8, 1)
    s, target, a = torch.randn(*batch, 4), torch.randn(*batch, 4), torch.randn(*batch, 2)
    return LatentEnergy(lambda s, a, z: net(s, torch.cat([a, z], -1)), latent, s, a, target, **fields)


def test_is_the_distance_to_the_prediction_plus_the_regulariser():
    """LeCun eq. 10 and Fig. 13."""
    energy = pairs(Sparse(3, weight=0.1))
    z = torch.randn(3, 2, 3)
    expected = (energy.target - energy.predict(energy.s, energy.a, z)).square().mean(-1) + 0.1 * z.abs().sum(-1)
    assert torch.allclose(energy(z), expected)


def test_energies_of_many_codes_are_those_of_each_alone():
    energy = pairs(Sparse(3, weight=0.1), prior=torch.randn(3, 2, 3), noise=torch.randn(3, 2, 2, 3))
    codes = torch.randn(3, 2, 5, 3)
    together = energy.over(codes)
    assert together.shape == (3, 2, 5)
    for n in range(5):
        assert torch.allclose(together[..., n], energy(codes[..., n, :]), atol=1e-6)


def test_a_common_list_of_codes_serves_all_pairs():
    energy = pairs(Discrete(5))
    assert torch.equal(energy.over(torch.eye(5)), energy.over(torch.eye(5).expand(3, 2, 5, 5)))


def test_noise_turns_the_distance_into_its_mean_over_the_draws():
    """Dawid §4.2.2: the expected energy."""
    latent, noise = Gaussian(3, weight=0.0), torch.randn(3, 2, 4, 3)
    energy, code = pairs(latent, noise=noise), torch.randn(3, 2, 6)
    draws = [energy.distance(energy.target, energy.predict(energy.s, energy.a, latent.realise(code, noise[..., m, :])))
             for m in range(4)]
    assert torch.allclose(energy(code), torch.stack(draws).mean(0), atol=1e-6)


def test_gradients_reach_the_code_and_the_weights_of_the_predictor():
    energy = pairs(Sparse(3, weight=0.1))
    code = torch.randn(3, 2, 3, requires_grad=True)
    slope, = torch.autograd.grad(energy(code).sum(), code)
    assert float(slope.abs().min()) > 0


@pytest.mark.parametrize('kind', [Discrete, Gaussian, Sparse])
def test_starts_from_the_latents_origin_in_every_pair(kind):
    energy = pairs(kind(3))
    assert energy.start().shape == (3, 2, energy.latent.code_dim)
    assert torch.equal(energy.start()[0, 0], energy.latent.origin())
