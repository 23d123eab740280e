"""Encoders: images to states."""
from hypothesis import given
from hypothesis import strategies as st
import pytest
from tiny import invariant
import torch

from jepa_ros.perception.encoders import ConvEncoder, ENCODERS


def test_conv_is_registered():
    assert ENCODERS.get('conv') is ConvEncoder


@invariant
@given(st.integers(8, 40), st.integers(8, 40), st.integers(1, 4))
def test_every_image_size_a_contract_allows_gives_a_state(height, width, stages):
    """The contract takes any size from 8 × 8 up, also one that no power of two divides."""
    encoder = ConvEncoder((height, width, 3), 5, channels=(4,) * stages)
    assert encoder(torch.zeros(2, height, width, 3, dtype=torch.uint8)).shape == (2, 5)


def test_images_of_a_batch_are_encoded_independently():
    torch.manual_seed(0)
    encoder = ConvEncoder((16, 16, 3), 5, channels=(4, 8))
    images = torch.randint(0, 256, (3, 16, 16, 3), dtype=torch.uint8)
    alone = torch.cat([encoder(images[i:i + 1]) for i in range(3)])
    assert torch.allclose(encoder(images), alone, atol=1e-5)


def test_statistics_normalise_the_images():
    torch.manual_seed(0)
    images = torch.randint(40, 90, (8, 16, 16, 3), dtype=torch.uint8)
    scaled = images.float() / 255
    encoder = ConvEncoder((16, 16, 3), 5, channels=(4,))
    encoder.set_statistics(scaled.mean((0, 1, 2)), scaled.std((0, 1, 2)))
    seen = []
    encoder.stages.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    encoder(images)
    assert torch.allclose(seen[0].mean((0, 2, 3)), torch.zeros(3), atol=1e-4)
    assert torch.allclose(seen[0].std((0, 2, 3)), torch.ones(3), atol=1e-3)


def test_a_channel_that_never_changes_is_not_divided_by_zero():
    encoder = ConvEncoder((8, 8, 3), 4, channels=(4,))
    encoder.set_statistics(torch.tensor([0.5, 0.5, 0.5]), torch.zeros(3))
    assert bool(torch.isfinite(encoder(torch.full((1, 8, 8, 3), 128, dtype=torch.uint8))).all())


@pytest.mark.parametrize('name', ['conv', 'patch'])
def test_an_image_that_the_gpu_has_normalised_gives_the_same_state(name):
    encoder = ENCODERS.get(name)((16, 16, 3), 5)
    mean, std = torch.tensor([0.2, 0.4, 0.6]), torch.tensor([0.1, 0.3, 0.2])
    encoder.set_statistics(mean, std)
    images = torch.randint(0, 256, (2, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    normalised = ((images / 255 - mean) / std).permute(0, 3, 1, 2)
    torch.testing.assert_close(encoder(normalised), encoder(images), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('name, stages', [
    ('conv', ['0.down', '0.norm', '0.residual', '1.down', '1.norm', '1.residual']), ('patch', ['0'])])
def test_checkpoints_of_unmodulated_encoders_fit(name, stages):
    """Names of the first release: its checkpoints must load as they are."""
    encoder = ENCODERS.get(name)((16, 16, 3), 5, channels=(4, 8))
    modules = [*(f'stages.{s}' for s in stages), 'head', *(['stem'] if name == 'patch' else [])]
    assert set(encoder.state_dict()) == {'mean', 'std', *(f'{m}.{p}' for m in modules for p in ('weight', 'bias'))}


@pytest.mark.parametrize('shape', [(8, 8, 3), (16, 1, 3)])
@pytest.mark.parametrize('name', ['conv', 'resnet'])
def test_an_image_that_shrinks_to_one_pixel_has_no_gradient_out_of_nowhere_in_bfloat16(name, shape):
    torch.manual_seed(0)
    encoder = ENCODERS.get(name)(shape, 4)
    images = torch.randint(0, 256, (48, *shape), dtype=torch.uint8)
    freed = [torch.full((n * n * 9,), 1e30) for n in (32, 64, 96, 128, 256, 512) for _ in range(5)]
    del freed       # what the backward pass leaves unwritten shows this
    with torch.autocast('cpu', torch.bfloat16):
        s = encoder(images)
    s.float().square().mean().backward()
    assert max(float(p.grad.abs().max()) for p in encoder.parameters()) < 100
