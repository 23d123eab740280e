"""What every trainable encoder must hold to, whatever its sensor: small ones of each name."""
import pytest
import torch

from jepa_ros.errors import ConfigError
from jepa_ros.perception.base import IMAGE, RANGE_IMAGE, SCAN, VECTOR
from jepa_ros.perception.build import build_encoder

IMAGES, CLOUDS, SCANS, VECTORS = (18, 13, 3), (2, 11, 14), (2, 21), (5,)    # sizes that no power of two divides
SMALL = {
    'conv': (IMAGES, dict(channels=(4, 8))),
    'patch': ((16, 16, 3), dict(channels=(6, 8))),
    'impala': (IMAGES, dict(channels=(4, 6), blocks=1)),
    'resnet': (IMAGES, dict(channels=(4, 6), blocks=(1, 2))),
    'resnet large': ((33, 40, 3), dict(channels=(4, 6), blocks=(1, 1), stem='large', pool='mean')),
    'vit': (IMAGES, dict(patch=4, width=12, depth=2)),
    'lewm_vit': (IMAGES, dict(size=12, patch=4, width=12, depth=2, projector=10, norm='layer')),
    'vit mean': (IMAGES, dict(patch=4, width=12, depth=1, pool='mean')),
    'scan': (SCANS, dict(channels=(4, 6))),
    'scan circular': (SCANS, dict(channels=(4, 6), circular=True)),
    'range_image': (CLOUDS, dict(encoder='impala', options=dict(channels=[4, 6]))),
    'mlp': (VECTORS, dict(width=8, angles=(1,))),
}
DIM, TASK = 5, 3
every = pytest.mark.parametrize('name', SMALL)


def make(name, seed=0, task_dim=0, **more):
    torch.manual_seed(seed)
    shape, options = SMALL[name]
    integers = len(shape) == 3 and shape[0] > 2
    return build_encoder(name.split()[0], shape, DIM, task_dim, options | more, integers=integers)


def data(name, batch=3, seed=1):
    shape, generator = SMALL[name][0], torch.Generator().manual_seed(seed)
    if len(shape) == 3 and shape[0] > 2:
        return torch.randint(0, 256, (batch, *shape), dtype=torch.uint8, generator=generator)
    x = torch.randn(batch, *shape, generator=generator)
    if len(shape) > 1:
        x[:, 1] = (x[:, 1] > -0.5).float()
    return x


@every
def test_a_batch_becomes_states(name):
    s = make(name)(data(name))
    assert s.shape == (3, DIM) and bool(torch.isfinite(s).all())


@every
def test_what_a_state_is_does_not_depend_on_the_rest_of_the_batch(name):
    encoder, x = make(name).train(), data(name)
    torch.testing.assert_close(encoder(x), torch.cat([encoder(x[i:i + 1]) for i in range(3)]), atol=1e-5, rtol=1e-5)


@every
def test_different_percepts_give_different_states(name):
    s = make(name)(data(name)).detach()
    assert float((s[0] - s[1]).abs().max()) > 1e-4


@every
def test_the_same_seed_and_percept_give_the_same_state(name):
    assert torch.equal(make(name, seed=7)(data(name)), make(name, seed=7)(data(name)))


@every
def test_a_new_encoder_with_a_task_token_is_as_one_without(name):
    plain, tasked, x = make(name), make(name, task_dim=TASK), data(name)
    assert set(plain.state_dict()) < set(tasked.state_dict())
    assert torch.equal(tasked(x, torch.randn(3, TASK)), plain(x))
    assert torch.equal(tasked(x), plain(x))


@every
def test_a_trained_task_token_changes_the_state_and_each_row_has_its_own(name):
    encoder, x = make(name, task_dim=TASK), data(name)
    with torch.no_grad():
        for key, parameter in encoder.named_parameters():
            if 'films' in key or 'task_weight' in key:
                parameter.normal_(std=0.5)
    tokens = torch.randn(3, TASK, generator=torch.Generator().manual_seed(2))
    s = encoder(x, tokens)
    assert float((s - encoder(x)).detach().abs().max()) > 1e-3
    torch.testing.assert_close(s[1:2], encoder(x[1:2], tokens[1]), atol=1e-5, rtol=1e-5)
    assert torch.equal(encoder(x, torch.zeros(TASK)), encoder(x))


@every
def test_gradient_reaches_every_parameter(name):
    encoder = make(name, task_dim=TASK)
    encoder(data(name), torch.ones(3, TASK)).square().sum().backward()
    silent = [key for key, p in encoder.named_parameters() if p.grad is None or not bool((p.grad != 0).any())]
    assert not silent


@every
def test_bfloat16_comes_close_to_float32(name):
    encoder, x = make(name), data(name)
    s = encoder(x).detach()
    with torch.autocast('cpu', torch.bfloat16):
        mixed = encoder(x)
    whole = encoder.bfloat16()(x)
    assert whole.dtype == torch.bfloat16
    for other in (mixed, whole):
        torch.testing.assert_close(other.float(), s, atol=0.05 * float(s.abs().max()) + 0.02, rtol=0.05)


@pytest.mark.parametrize('name', ['conv', 'patch', 'impala', 'resnet', 'vit'])
def test_an_image_that_the_gpu_has_normalised_gives_the_same_state(name):
    encoder, images = make(name), data(name)
    mean, std = torch.tensor([0.2, 0.4, 0.6]), torch.tensor([0.1, 0.3, 0.2])
    encoder.set_statistics(mean, std)
    normalised = ((images / 255 - mean) / std).permute(0, 3, 1, 2)
    torch.testing.assert_close(encoder(normalised), encoder(images), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('token', [torch.zeros(2), torch.zeros(2, TASK), torch.zeros(3, 1, TASK)])
def test_a_task_token_that_does_not_fit_is_refused(token):
    with pytest.raises(ConfigError, match=r'this encoder takes \(3,\) or \(3, 3\)'):
        make('mlp', task_dim=TASK)(data('mlp'), token)


def test_an_encoder_without_modulation_refuses_a_token():
    with pytest.raises(ConfigError, match='takes no task token: it was built with task_dim 0'):
        make('impala')(data('impala'), torch.zeros(TASK))


@pytest.mark.parametrize('name, shape, integers, options, line', [
    ('inpala', IMAGES, True, {}, r"unknown encoder 'inpala' \(did you mean impala\?\)"),
    ('vit', SCANS, False, {}, r'encoder vit takes image, not scan \(2, 21\); for scan: scan'),
    ('scan', VECTORS, False, {}, 'encoder scan takes scan, not vector'),
    ('vit', IMAGES, True, dict(pach=4), r"encoder vit has no option 'pach' \(did you mean patch\?\); it has patch, w"),
    ('vit', IMAGES, True, dict(patch=0), r'encoder vit: patch: .*greater than 0 \(got 0\)'),
    ('vit', IMAGES, True, dict(width=10), 'width 10 cannot have 3 heads'),
    ('vit', IMAGES, True, dict(pool='max'), "pool 'max' is neither cls nor mean"),
    ('impala', IMAGES, True, dict(channels=[8, 'x']), r"encoder impala: channels.1: .*integer.* \(got 'x'\)"),
    ('resnet', IMAGES, True, dict(channels=[4]), 'resnet: 4 blocks for 1 channels'),
    ('scan', SCANS, False, dict(kernel=4), 'kernel 4 is even'),
    ('mlp', VECTORS, False, dict(angles=[5]), 'angle 5 is no index of a vector of 5'),
    ('conv', IMAGES, True, dict(channels=[-4]), r'encoder conv: channels.0: .*greater than 0 \(got -4\)'),
    ('patch', IMAGES, True, dict(channels=[]), 'encoder patch: channels: .*at least 1 item'),
    ('patch', IMAGES, True, {}, 'whole multiples of 16 pixels, not 18 × 13; encoder conv takes any size'),
    ('range_image', CLOUDS, False, dict(encoder='scan'), 'encoder scan takes scan, not image'),
])
def test_a_wrong_choice_ends_in_one_line(name, shape, integers, options, line):
    with pytest.raises(ConfigError, match=line) as refused:
        build_encoder(name, shape, DIM, 0, options, integers=integers)
    assert '\n' not in str(refused.value)


@pytest.mark.parametrize('shape, integers, kind', [
    (IMAGES, True, IMAGE), ((8, 8, 1), True, IMAGE), (CLOUDS, False, RANGE_IMAGE), (SCANS, False, SCAN),
    (VECTORS, False, VECTOR)])
def test_each_kind_of_tensor_has_a_default_encoder(shape, integers, kind):
    encoder = build_encoder('', shape, DIM, integers=integers)
    assert kind in encoder.KINDS and encoder.shape == shape
