"""Predictors with a latent: inferred and trained on a world that forks, drawn in planning."""
import math

from no_waiting import NoWaiting
import pytest
import torch

from jepa_ros.energy.information import verdict
from jepa_ros.energy.latent_inference import InferenceConfig
from jepa_ros.errors import ConfigError
from jepa_ros.world_model.latent_model import LatentConfig, LatentModel
from jepa_ros.world_model.latents import RESOLUTION
from jepa_ros.world_model.predictors import build_predictor

CONFIGS = [
    LatentConfig('none'),
    LatentConfig('discrete', 4),
    LatentConfig('discrete', 4, beta=20.0),
    LatentConfig('discrete', 4, state_prior=True, inference='refined'),
    LatentConfig('low_dimensional', 1),
    LatentConfig('sparse', 3),
    LatentConfig('sparse', 3, state_prior=True, inference='gradient'),
    LatentConfig('gaussian', 2),
    LatentConfig('gaussian', 2, state_prior=True, inference='refined'),
]


def name(config):
    extras = ['state_prior'] * config.state_prior + ['beta'] * bool(config.beta)
    return '-'.join([config.kind, config.inference or 'usual', *extras])


def fork(count, seed):
    """s (N, 2) and one step to the left or right of it, at random, when the action is 1; straight on when it is −1."""
    g = torch.Generator().manual_seed(seed)
    s = torch.randn(count, 2, generator=g)
    a = torch.randint(2, (count, 1), generator=g) * 2.0 - 1
    side = torch.randint(2, (count, 1), generator=g) * 2.0 - 1
    return s, a, s + torch.cat([side * (a > 0), 0.5 * torch.ones_like(a)], -1)


class Predict(torch.nn.Module):
    """Pred(s, a, z)."""

    def __init__(self, dim, action_dim, latent_dim):
        super().__init__()
        self.net = build_predictor('residual_mlp', dim, action_dim + latent_dim, 32, 2)

    def forward(self, s, a, z):
        return self.net(s, torch.cat([a, z], -1))


def build(config, dim=2, action_dim=1):
    torch.manual_seed(0)
    model = LatentModel(config, dim, action_dim)
    return model, Predict(dim, action_dim, model.latent.dim)


def trained(config, updates):
    model, predict = build(config)
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam([*model.parameters(), *predict.parameters()], 5e-3)
    s, a, target = fork(512, 1)
    for _ in range(updates):
        loss = model.loss(predict, s, a, target, generator)
        optimiser.zero_grad()
        (loss.energy + loss.amortisation).mean().backward()
        optimiser.step()
    model.latent.fit_prior(loss.code)
    return model, predict


@pytest.mark.parametrize('config', CONFIGS, ids=name)
def test_loss_trains_predictor_encoder_and_prior(config):
    model, predict = build(config)
    s, a, target = fork(64, 0)
    loss = model.loss(predict, s, a, target)
    assert loss.energy.shape == loss.amortisation.shape == loss.misfit.shape == (64,)
    assert not loss.code.requires_grad and not loss.misfit.requires_grad
    (loss.energy + loss.amortisation).mean().backward()
    for part in (predict, model.encoder, model.latent.prior_net):
        if part is not None:
            assert float(part[-1].bias.grad.abs().max() if part is not predict else
                         predict.net.net[-1].bias.grad.abs().max()) > 0


@pytest.mark.parametrize('config', CONFIGS, ids=name)
def test_draws_of_the_latent_reach_the_true_outcome_of_a_fork_where_no_latent_can(config):
    """LeCun §4.8: each draw is one plausible future; without a latent Pred can only foresee their mean."""
    dim = 1 if config.kind == 'sparse' else config.dim     # three numbers may reach any state of two: a flat energy
    config = LatentConfig(config.kind, dim, config.weight, config.state_prior, config.inference,
                          InferenceConfig(steps=4), config.beta, width=32)
    model, predict = trained(config, 150 if config.kind == 'gaussian' else 100)
    s, a, target = fork(300, 2)
    with torch.no_grad():
        z = model.sample(s, a, 16, generator=torch.Generator().manual_seed(0))
        wide = [tensor.unsqueeze(1).expand(-1, 16, -1) for tensor in (s, a)]
        best = (predict(*wide, z) - target.unsqueeze(1)).square().mean(-1).amin(1)
    uncertain = a[:, 0] > 0
    if config.kind == 'none':
        assert float(best[uncertain].mean()) == pytest.approx(0.5, abs=0.1)    # variance 1 in one of two dimensions
    else:
        assert float(best[uncertain].mean()) < 0.1
    usage = model.usage(predict, s, a, target, generator=torch.Generator().manual_seed(0)).numbers()
    assert (usage['bits'] > 0.3) == (config.kind != 'none')
    assert verdict(usage, model.latent.capacity_bits) == []


def test_inference_recovers_which_branch_was_taken():
    model, predict = trained(LatentConfig('discrete', 2, width=32), 100)
    s, a, target = fork(300, 2)
    value = model.infer(model.energy(predict, s, a, target)).code.argmax(-1)
    uncertain = a[:, 0] > 0
    side = (target - s)[uncertain, 0] > 0
    agreement = float((value[uncertain] == side.long()).float().mean())
    assert agreement < 0.02 or agreement > 0.98       # which value means which side is free


def test_a_trained_encoder_proposes_what_exact_inference_finds():
    """LeCun Appendix, Fig. 19: H(ž, z̃) is minimised."""
    model, predict = trained(LatentConfig('discrete', 2, inference='amortised', width=32), 150)
    s, a, target = fork(300, 2)
    uncertain = a[:, 0] > 0
    energy = model.energy(predict, s[uncertain], a[uncertain], target[uncertain])
    quick, best = model.infer(energy), energy.over(model.latent.values).argmin(-1)
    assert float((quick.code.argmax(-1) == best).float().mean()) > 0.97


def test_free_energy_over_all_values_never_lies_below_the_best_one():
    s, a, target = fork(64, 0)
    cold, predict = build(LatentConfig('discrete', 4, beta=20.0))
    best, _ = build(LatentConfig('discrete', 4))
    assert bool((cold.loss(predict, s, a, target).energy >= best.loss(predict, s, a, target).energy - 1e-6).all())


@pytest.mark.parametrize('config', CONFIGS, ids=name)
def test_codes_are_read_as_in_training_with_noise_where_the_latent_has_some(config):
    model, predict = build(config)
    code = model.loss(predict, *fork(200, 0)).code
    z = model.read(code, torch.Generator().manual_seed(0))
    assert z.shape == (200, model.latent.dim)
    noiseless = model.latent.realise(code)
    if model.latent.candidates() is not None:
        assert torch.equal(z, noiseless)
        return
    scale = code.chunk(2, -1)[1].exp() if config.kind == 'gaussian' else RESOLUTION
    offset = (z - noiseless) / scale
    assert float(offset.mean()) == pytest.approx(0, abs=0.2) and float(offset.std()) == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize('config', CONFIGS, ids=name)
def test_the_same_weights_and_pairs_give_the_same_fitted_prior(config):
    model, predict = build(config)
    pairs = fork(64, 0)
    model.fit(predict, *pairs)
    first = model.latent.fitted.clone()
    model.fit(predict, *pairs)
    assert torch.equal(model.latent.fitted, first)


def test_the_most_probable_latent_is_the_one_that_training_met_most_often():
    model, predict = build(LatentConfig('discrete', 4))
    s, a, _ = fork(64, 0)
    model.latent.fit_prior(torch.eye(4)[[2] * 5 + [0]])
    assert torch.equal(model.most_probable(s, a), torch.eye(4)[[2] * 64])


class Near(torch.nn.Module):
    """An encoder that knows next states near s only: z̃ = s', at most 1 away from s."""

    def forward(self, x):
        s, target = x[:, :2], x[:, -2:]
        return torch.cat([s + (target - s).clamp(-1, 1), torch.full_like(s, -7)], -1)


def test_a_flat_energy_is_found_though_the_encoder_proposes_no_latent_for_wrong_next_states():
    """LeCun §4.5: flat is the least energy over z, whatever an encoder thinks of."""
    model = LatentModel(LatentConfig('gaussian', 2, weight=1e-9), 2, 1)
    model.encoder = Near()
    g = torch.Generator().manual_seed(0)
    s, a = 3 * torch.randn(300, 2, generator=g), torch.zeros(300, 1)
    usage = model.usage(lambda s, a, z: z, s, a, s + 0.1 * torch.randn(300, 2, generator=g), generator=g).numbers()
    assert usage['contrast'] == pytest.approx(0, abs=0.01)
    assert 'the energy is flat' in ' '.join(verdict(usage, model.latent.capacity_bits))


def test_draws_have_one_more_dimension_for_any_leading_ones():
    for config in CONFIGS:
        model, predict = build(config)
        s, a = torch.randn(2, 3, 2), torch.randn(2, 3, 1)
        z = model.sample(s, a, 5)
        assert z.shape == (2, 3, 5, model.latent.dim)
        wide = s.unsqueeze(-2).expand(2, 3, 5, 2), a.unsqueeze(-2).expand(2, 3, 5, 1)
        assert predict(*wide, z).shape == (2, 3, 5, 2)


@pytest.mark.parametrize('config', CONFIGS, ids=name)
def test_training_step_and_draws_do_not_wait_for_the_device_nor_loop_over_pairs(config):
    model, predict = build(config)
    counts = []
    for count in (4, 64):
        s, a, target = fork(count, 0)
        with NoWaiting() as counter:
            model.loss(predict, s, a, target).energy.mean().backward()
            model.sample(s, a, 3)
        counts.append(counter.operations)
    assert counts[0] == counts[1] > 0


def test_codes_and_draws_follow_the_precision_of_the_model():
    model, predict = build(LatentConfig('gaussian', 2, state_prior=True, inference='refined'))
    s, a, target = (tensor.double() for tensor in fork(8, 0))
    loss = model.double().loss(predict.double(), s, a, target)
    assert loss.energy.dtype == loss.code.dtype == model.sample(s, a, 2).dtype == torch.float64


@pytest.mark.parametrize('config', CONFIGS, ids=name)
def test_mixed_precision_keeps_codes_and_energies_whole(config):
    model, predict = build(config)
    with torch.autocast('cpu', torch.bfloat16):
        loss = model.loss(predict, *fork(16, 0))
    assert loss.energy.dtype == loss.misfit.dtype == torch.float32
    assert bool(torch.isfinite(loss.energy).all()) and bool(torch.isfinite(loss.code).all())


@pytest.mark.parametrize('config', CONFIGS, ids=name)
def test_state_dict_brings_back_draws_and_inference(config):
    model, predict = build(config)
    s, a, target = fork(16, 0)
    model.latent.fit_prior(model.loss(predict, s, a, target).code)
    again = LatentModel(config, 2, 1)
    again.load_state_dict(model.state_dict())
    one, other = (m.sample(s, a, 3, generator=torch.Generator().manual_seed(0)) for m in (model, again))
    assert torch.equal(one, other)
    one, other = (m.infer(m.energy(predict, s, a, target, torch.Generator().manual_seed(0))) for m in (model, again))
    assert torch.equal(one.code, other.code)


@pytest.mark.parametrize(('arguments', 'message'), [
    (dict(kind='fuzzy'), 'unknown latent'),
    (dict(kind='sparse', weight=math.nan), 'latent weight is nan'),
    (dict(kind='sparse', weight=-1.0), 'latent weight is -1.0'),
    (dict(kind='sparse', beta=1.0), 'only a discrete latent can be summed over'),
    (dict(kind='discrete', beta=0.0), 'it must be > 0'),
    (dict(kind='gaussian', inference='exact'), 'exact inference needs discrete'),
    (dict(kind='discrete', inference='gradient'), 'has no slope'),
    (dict(kind='discrete', inference='guess'), 'unknown inference'),
    (dict(kind='discrete', distance='squard'), 'did you mean squared'),
])
def test_settings_that_do_not_fit_are_refused_in_one_line(arguments, message):
    with pytest.raises(ConfigError, match=message):
        LatentConfig(**arguments)
