"""Frozen pre-trained networks, by small random ones in the same files that the real ones come in."""
import json
import sys

import pytest
import torch

from jepa_ros.errors import CheckpointError, ConfigError
from jepa_ros.perception.backbone_encoder import BackboneEncoder

_TINY = dict(hidden_size=12, num_hidden_layers=2, num_attention_heads=3)
CONFIGS = {
    'dinov2': dict(_TINY, image_size=16, patch_size=4, mlp_ratio=2),
    'dinov2_with_registers': dict(_TINY, image_size=16, patch_size=4, mlp_ratio=2, num_register_tokens=2),
    'dinov3_vit': dict(_TINY, image_size=16, patch_size=4, intermediate_size=24, num_register_tokens=2),
    'vjepa2': dict(_TINY, crop_size=16, patch_size=4, frames_per_clip=4, mlp_ratio=2.0, pred_hidden_size=12,
                   pred_num_attention_heads=3, pred_num_hidden_layers=1)}
SHAPE, DIM = (10, 14, 3), 5
IMAGES = torch.randint(0, 256, (2, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
every = pytest.mark.parametrize('kind', CONFIGS)


@pytest.fixture(scope='module')
def transformers():
    return pytest.importorskip('transformers', reason='transformers is not installed (jepa_ros[backbones])')


def timm():
    """timm, or None where it or its torchvision is missing."""
    try:
        import timm
    except (ImportError, RuntimeError):
        return None
    return timm


needs_timm = pytest.mark.skipif(timm() is None, reason='timm, or a torchvision that fits torch, is not installed')


def encoder(kind, seed=0, **options):
    torch.manual_seed(seed)
    return BackboneEncoder(SHAPE, DIM, config=dict(CONFIGS[kind], model_type=kind), **dict(size=16, cells=2) | options)


@pytest.fixture
def folder(transformers, tmp_path):
    """Writes a network as its library does; returns the network."""
    def write(kind):
        torch.manual_seed(3)
        network = transformers.AutoModel.from_config(transformers.AutoConfig.for_model(kind, **CONFIGS[kind]))
        network.save_pretrained(tmp_path)
        return network.eval()
    return write


@every
def test_a_folder_of_weights_gives_the_network_s_own_tokens(kind, folder, tmp_path):
    network, made = folder(kind), BackboneEncoder(SHAPE, DIM, model=str(tmp_path), size=16)
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    if kind == 'vjepa2':
        expected = network(pixel_values_videos=x[:, None].repeat(1, 2, 1, 1, 1), skip_predictor=True).last_hidden_state
    else:
        expected = network(x).last_hidden_state
    cls, patches = made.backbone(x)
    torch.testing.assert_close(made.backbone.tokens(x), expected)
    torch.testing.assert_close(patches[:, :, 0, 1], expected[:, made.backbone.prefix + 1])
    assert patches.shape == (2, 12, 4, 4) and (cls is None) == (kind == 'vjepa2')


@every
def test_images_of_any_size_become_states(kind, transformers):
    s = encoder(kind)(IMAGES)
    assert s.shape == (2, DIM) and bool(torch.isfinite(s).all())
    assert float((s[0] - s[1]).detach().abs().max()) > 1e-5


@pytest.mark.parametrize('pool, features', [('mean', 12), ('cls', 12), ('cls_mean', 24), ('grid', 48)])
def test_pools_of_the_patches(pool, features, transformers):
    made = encoder('dinov2', pool=pool)
    assert made.embed(IMAGES).shape == (2, features)
    assert torch.equal(made.read(made.embed(IMAGES)), made(IMAGES))


def test_a_grey_image_is_one_of_three_equal_channels(transformers):
    made = BackboneEncoder((10, 14, 1), DIM, config=dict(CONFIGS['dinov2'], model_type='dinov2'), size=16)
    assert made(IMAGES[..., :1]).shape == (2, DIM)


@every
def test_training_leaves_the_network_frozen_and_in_eval_mode(kind, transformers):
    made = encoder(kind, task_dim=2).train()
    made.requires_grad_(True)       # as an owner may do who knows nothing of it
    before = {key: value.clone() for key, value in made.backbone.state_dict().items()}
    optimiser = torch.optim.SGD(made.parameters(), lr=0.1)
    made(IMAGES, torch.ones(2)).square().sum().backward()
    optimiser.step()
    assert not any(module.training for module in made.backbone.modules())
    assert all(torch.equal(value, before[key]) for key, value in made.backbone.state_dict().items())
    head = [key for key, p in made.named_parameters() if not key.startswith('backbone.')]
    assert len(head) == 7
    assert not [key for key, p in made.named_parameters() if key in head and not bool((p.grad != 0).any())]


def test_its_parameters_count_as_frozen_and_statistics_leave_its_normalisation(transformers):
    made = encoder('dinov3_vit')
    assert not any(p.requires_grad for p in made.backbone.parameters())
    mean = made.mean.clone()
    made.set_statistics(torch.zeros(3), torch.ones(3))
    assert torch.equal(made.mean, mean)
    torch.testing.assert_close(mean.flatten(), torch.tensor([0.485, 0.456, 0.406]))


@every
def test_a_checkpoint_is_rebuilt_without_the_weights_folder(kind, folder, tmp_path):
    folder(kind)
    one = BackboneEncoder(SHAPE, DIM, model=str(tmp_path), size=16, cells=2, width=8)
    options = json.loads(json.dumps(one.rebuild_options()))
    other = BackboneEncoder(SHAPE, DIM, **options)
    other.load_state_dict(one.state_dict())
    assert torch.equal(other(IMAGES), one(IMAGES))


def test_the_task_token_is_the_identity_at_first_and_matters_when_trained(transformers):
    made, s = encoder('dinov2', task_dim=2), encoder('dinov2')(IMAGES)
    assert torch.equal(made(IMAGES, torch.ones(2)), s)
    with torch.no_grad():
        made.films[0].weight.fill_(0.5)
    assert float((made(IMAGES, torch.ones(2)) - s).detach().abs().max()) > 1e-3


@every
def test_bfloat16_comes_close_to_float32_and_the_seed_decides(kind, transformers):
    s = encoder(kind)(IMAGES)
    assert torch.equal(encoder(kind)(IMAGES), s)
    torch.testing.assert_close(encoder(kind).bfloat16()(IMAGES).float(), s, atol=0.05, rtol=0.05)


@pytest.mark.parametrize('library', ['transformers', 'timm'])
def test_a_missing_package_ends_in_one_line(library, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)     # Python's own way to say that there is none
    with pytest.raises(ConfigError, match=rf"needs {library}.*pip install 'jepa_ros\[backbones\]'") as refused:
        BackboneEncoder(SHAPE, DIM, library=library, model='vit_tiny_patch16_224')
    assert '\n' not in str(refused.value)


@pytest.mark.skipif(timm() is not None, reason='timm works here')
def test_without_timm_or_its_torchvision_the_line_names_both():
    with pytest.raises(ConfigError, match='needs timm and torchvision of the same build as torch'):
        BackboneEncoder(SHAPE, DIM, library='timm', model='vit_tiny_patch16_224')


def refused(error, line, **options):
    with pytest.raises(error, match=line) as caught:
        BackboneEncoder(SHAPE, DIM, **options)
    assert '\n' not in str(caught.value)


def test_missing_files_are_named(transformers, folder, tmp_path):
    refused(CheckpointError, r"/none': no such folder; give one with config.json", model=str(tmp_path / 'none'))
    refused(CheckpointError, 'no config.json in it', model=str(tmp_path))
    folder('dinov2')
    (tmp_path / 'model.safetensors').unlink()
    refused(CheckpointError, r'no model.safetensors in it; .*other formats are not read', model=str(tmp_path))


def test_a_name_that_is_not_in_the_cache_ends_in_one_line(transformers):
    refused(CheckpointError, r'backbone nobody/nothing: .*not in the cache: set download: true',
            model='nobody/nothing', download=False)


def test_weights_that_are_cut_off_end_in_one_line(folder, tmp_path):
    folder('dinov2')
    file = tmp_path / 'model.safetensors'
    file.write_bytes(file.read_bytes()[:-1000])
    refused(CheckpointError, 'its weights cannot be read: ', model=str(tmp_path))


@pytest.mark.parametrize('change', [dict(hidden_size=24), dict(num_hidden_layers=3)])
def test_weights_of_another_architecture_end_in_one_line(change, folder, tmp_path):
    folder('dinov3_vit')
    config = json.loads((tmp_path / 'config.json').read_text())
    (tmp_path / 'config.json').write_text(json.dumps(config | change))
    refused(CheckpointError, r'of another architecture than its config.json says \(dinov3_vit\): \d+ tensors',
            model=str(tmp_path))


def test_a_network_that_is_no_known_backbone_is_refused(transformers, tmp_path):
    (tmp_path / 'config.json').write_text(json.dumps(dict(model_type='bert')))
    (tmp_path / 'model.safetensors').write_bytes(b'')
    refused(CheckpointError, "unknown model_type 'bert'; known: dinov2, dinov2_with_registers", model=str(tmp_path))
    (tmp_path / 'config.json').write_text('{')
    refused(CheckpointError, 'its configuration cannot be read', model=str(tmp_path))


@pytest.mark.parametrize('options, line', [
    (dict(), 'model is missing'), (dict(model='a', library='tim'), r"unknown library 'tim' \(did you mean timm\?\)"),
    (dict(model='a', pool='max'), "unknown pool 'max'"),
    (dict(model='a', weights='b'), 'weights goes with library timm'),
    (dict(config=dict(model_type='dinov2', hidden_size='wide')), 'no dinov2 has this config: .*hidden_size'),
    (dict(config=dict(CONFIGS['dinov2'], model_type='dinov2', num_channels=1)),
     'cannot encode an image of 224 pixels'),
    (dict(config=dict(model_type='dinov4')), r"unknown model_type 'dinov4' \(did you mean dinov"),
    (dict(config=dict(CONFIGS['vjepa2'], model_type='vjepa2'), pool='cls'), 'no class token; pool can be mean')])
def test_wrong_options_end_in_one_line(options, line, transformers):
    refused(ConfigError, line, **options)


TIMM = dict(embed_dim=12, depth=2, num_heads=3, patch_size=4)


@needs_timm
def test_timm_weights_from_a_file_fit_another_size_of_image(tmp_path):
    from safetensors.torch import save_file
    model = timm().create_model('vit_tiny_patch16_224', num_classes=0, img_size=32, **TIMM)
    save_file(model.state_dict(), tmp_path / 'w.safetensors')
    from jepa_ros.perception.backbones import load
    same = load('timm', 'vit_tiny_patch16_224', str(tmp_path / 'w.safetensors'), TIMM, size=32)
    x = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(same.tokens(x), model.eval().forward_features(x))
    other = load('timm', 'vit_tiny_patch16_224', str(tmp_path / 'w.safetensors'), TIMM, size=16)
    assert other(torch.randn(1, 3, 16, 16))[1].shape == (1, 12, 4, 4)
    refused(CheckpointError, 'of another architecture: Error', library='timm', model='vit_tiny_patch16_224',
            weights=str(tmp_path / 'w.safetensors'), config=TIMM | dict(embed_dim=24))


@needs_timm
def test_a_timm_network_is_rebuilt_from_its_options():
    one = BackboneEncoder(SHAPE, DIM, library='timm', model='vit_tiny_patch16_224', config=TIMM, size=16)
    other = BackboneEncoder(SHAPE, DIM, **one.rebuild_options())
    other.load_state_dict(one.state_dict())
    assert torch.equal(other(IMAGES), one(IMAGES))


@needs_timm
@pytest.mark.parametrize('options, error, line', [
    (dict(model='vit_tinny_patch16_224'), ConfigError, r'timm has no model .* \(did you mean vit_tiny_patch16_224\?\)'),
    (dict(model='resnet18', config={}), ConfigError, 'it is no vision transformer'),
    (dict(model='vit_tiny_patch16_224', config=dict(dept=1)), ConfigError, 'cannot make it of this config: .*dept'),
    (dict(model='vit_tiny_patch16_224', weights='none.safetensors'), CheckpointError, 'is no .safetensors file'),
    (dict(model='vit_tiny_patch16_224', download=False), CheckpointError, 'only by download')])
def test_wrong_timm_options_end_in_one_line(options, error, line):
    refused(error, line, library='timm', **options)
