"""LeWM checkpoints: sizes from shapes, the same numbers as their equations, one line for what does not fit."""
import json

import lewm_state as reference
import pytest
import torch

from jepa_ros.errors import CheckpointError, ConfigError
from jepa_ros.interop import lewm

HEADS = dict(encoder_heads=reference.HEADS, predictor_heads=reference.PREDICTOR_HEADS)


@pytest.fixture
def file(tmp_path):
    torch.save(reference.state(), tmp_path / 'weights.pt')
    return tmp_path / 'weights.pt'


def saved(path, tensors):
    torch.save(tensors, path)
    return path


def test_sizes_are_read_from_the_shapes(file):
    found = lewm.read(file, **HEADS)
    assert (found.dim, found.inputs, found.action_inputs) == (reference.DIM, 3, reference.BLOCK)
    assert found.encoder == dict(size=12, patch=4, width=24, depth=2, heads=3, projector=32, norm='batch')
    assert found.predictor == dict(width=20, depth=2, context=3, heads=2, head_dim=6, mlp=30, smoothed=10,
                                   action_width=80, projector=32, norm='batch')


def test_encoder_gives_the_numbers_of_the_equations(file):
    images = torch.randint(0, 256, (3, 12, 12, 3), dtype=torch.uint8)
    with torch.no_grad():
        ours = lewm.read(file, **HEADS).build_encoder()(images)
        theirs = reference.encoded(reference.state(), images)
    assert theirs.std() > 0.1 and torch.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize('steps', [1, 2, 3, 7])
def test_predictor_gives_the_numbers_of_the_equations(file, steps):
    predictor, raw = lewm.read(file, **HEADS).build_predictor(), reference.state()
    s, c = torch.randn(2, steps, reference.DIM), torch.randn(2, steps, reference.BLOCK)
    memory = None
    with torch.no_grad():
        at_once = predictor.sequence(s, c)
        for t in range(steps):
            first = max(0, t + 1 - reference.CONTEXT)
            theirs = reference.predicted(raw, s[:, first:t + 1], c[:, first:t + 1])
            one, memory = predictor.step(s[:, t], c[:, t], memory)
            begun = predictor.step(s[:, t], c[:, t], predictor.begin(s[:, :t], c[:, :t]))[0]
            for ours in (one, begun, at_once[:, t]):
                assert torch.allclose(ours, theirs, atol=1e-5)


def test_one_action_held_is_a_block_of_equal_actions(file):
    found = lewm.read(file, **HEADS)
    s, a = torch.randn(5, reference.DIM), torch.randn(5, 2)
    with torch.no_grad():
        held, block = found.build_predictor(2, repeat=2)(s, a), found.build_predictor()(s, torch.cat([a, a], 1))
    assert torch.equal(held, block)


RAW = reference.state()
ROUNDED = {name: x.bfloat16() if x.is_floating_point() else x for name, x in RAW.items()}


@pytest.mark.parametrize('saved_as, raw', [
    ({'state_dict': {f'model.{name}': x for name, x in RAW.items()} | {'sigreg.t': torch.ones(3)}}, RAW),
    ({f'_orig_mod.{name}': x for name, x in RAW.items()}, RAW),
    (reference.state(transformers=4), RAW),
    (RAW | {'encoder.embeddings.mask_token': torch.zeros(1, 1, reference.WIDTH)}, RAW),
    (ROUNDED, {name: x.float() for name, x in ROUNDED.items()}),
], ids=['lightning', 'compiled', 'transformers 4', 'mask token', 'bfloat16'])
def test_what_frameworks_make_of_names_and_types_does_not_matter(tmp_path, saved_as, raw):
    found = lewm.read(saved(tmp_path / 'w.pt', saved_as), **HEADS)
    images = torch.randint(0, 256, (2, 12, 12, 3), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.allclose(found.build_encoder()(images), reference.encoded(raw, images), atol=1e-5)


def test_heads_come_from_the_config_beside_it(file):
    config = {'encoder': {'num_attention_heads': 6}, 'predictor': {'heads': 4}}
    file.with_name('config.json').write_text(json.dumps(config))
    found = lewm.read(file)
    assert found.encoder['heads'] == 6 and (found.predictor['heads'], found.predictor['head_dim']) == (4, 3)


def test_heads_that_nothing_tells_are_asked_for(file):
    with pytest.raises(ConfigError, match='config.json of the model beside it, or give --encoder-heads'):
        lewm.read(file)


def test_image_size_that_patches_do_not_fill_comes_from_the_config(file):
    file.with_name('config.json').write_text(json.dumps({'encoder': {'image_size': 14}}))
    found = lewm.read(file, **HEADS)
    images = torch.zeros(1, 14, 14, 3, dtype=torch.uint8)
    images[:, :12, :12] = torch.randint(0, 256, (1, 12, 12, 3), dtype=torch.uint8)
    with torch.no_grad():       # what no whole patch covers is not seen, as by ViTModel
        assert torch.allclose(found.build_encoder()(images), reference.encoded(reference.state(), images[:, :12, :12]),
                              atol=1e-5)


def without(name):
    return {key: value for key, value in reference.state().items() if key != name}


@pytest.mark.parametrize('tensors, line', [
    (without('encoder.embeddings.cls_token'), 'no LeWM checkpoint: it has no tensor encoder.embeddings.cls_token'),
    (without('predictor.pos_embedding'), 'it has no tensor predictor.pos_embedding'),
    (without('encoder.layers.1.mlp.fc2.bias'), r'lacks 1 tensor\(s\) \(encoder.layers.1.mlp.fc2.bias\)'),
    (without('pred_proj.net.3.weight'), r'lacks 1 tensor\(s\) \(pred_proj.net.3.weight\)'),
    (reference.state() | {'decoder.weight': torch.ones(2)}, r'has 1 tensor\(s\) \(decoder.weight\)'),
    (reference.state() | {'encoder.layernorm.bias': torch.ones(5)}, r'encoder.layernorm.bias has shape \(5,\)'),
    (reference.state() | {'projector.net.0.bias': torch.full((32,), torch.nan)}, 'projector.net.0.bias holds numbers'),
    (reference.state() | {'encoder.layers.3.mlp.fc1.bias': torch.ones(96)}, r'lacks 31 tensor\(s\)'),
])
def test_what_is_no_lewm_is_refused_in_one_line(tmp_path, tensors, line):
    with pytest.raises(CheckpointError, match=line) as refused:
        lewm.read(saved(tmp_path / 'w.pt', tensors), **HEADS)
    assert '\n' not in str(refused.value) and 'w.pt' in str(refused.value)


def test_a_config_that_is_not_of_this_model_is_refused(file):
    file.with_name('config.json').write_text(json.dumps({'encoder': {'image_size': 224}}))
    with pytest.raises(CheckpointError, match='not those of the image_size 224'):
        lewm.read(file, **HEADS)


@pytest.mark.parametrize('shape', [(12, 12), (9, 17), (30, 20)])
def test_encoder_is_that_of_transformers(file, shape):
    transformers = pytest.importorskip('transformers')
    config = transformers.ViTConfig(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=96,
                                    image_size=12, patch_size=4)
    network = transformers.ViTModel(config, add_pooling_layer=False).eval()
    raw = reference.state()
    own = {name.removeprefix('encoder.'): x for name, x in raw.items() if name.startswith('encoder.')}
    network.load_state_dict(own if 'layers.0.mlp.fc1.bias' in network.state_dict() else
                            {name.removeprefix('encoder.'): x for name, x in reference.state(transformers=4).items()
                             if name.startswith('encoder.')})
    images = torch.randint(0, 256, (2, *shape, 3), dtype=torch.uint8)
    encoder = lewm.read(file, **HEADS).build_encoder((*shape, 3))
    with torch.no_grad():
        pixels = encoder._resized(encoder.pixels(images, torch.float32))
        cls = network(pixels, interpolate_pos_encoding=True).last_hidden_state[:, 0]
        assert torch.allclose(encoder(images), reference._projected(raw, 'projector', cls), atol=1e-5)
