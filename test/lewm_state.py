"""State dicts as LeWorldModel saves them, and what its equations make of them, written out over the raw tensors.

Names and shapes are those of ViTModel (transformers 4 and 5) and of the published predictor; sizes are small. The
equations use no module of the package, so that agreement says something.
"""
import math

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear, scaled_dot_product_attention, silu

WIDTH, DIM, PATCH, SIDE, HEADS, BLOCK, CONTEXT = 24, 20, 4, 3, 3, 4, 3
SIZE = PATCH * SIDE
PREDICTOR_HEADS, HEAD_DIM = 2, 6

TRANSFORMERS_4 = {'attention.q_proj': 'attention.attention.query', 'attention.k_proj': 'attention.attention.key',
                  'attention.v_proj': 'attention.attention.value', 'attention.o_proj': 'attention.output.dense',
                  'mlp.fc1': 'intermediate.dense', 'mlp.fc2': 'output.dense'}


def shapes(depth: int = 2) -> dict[str, tuple[int, ...]]:
    """Names, those of transformers 5, and shapes."""
    made = {'encoder.embeddings.cls_token': (1, 1, WIDTH),
            'encoder.embeddings.position_embeddings': (1, SIDE ** 2 + 1, WIDTH),
            'encoder.embeddings.patch_embeddings.projection.weight': (WIDTH, 3, PATCH, PATCH),
            'encoder.embeddings.patch_embeddings.projection.bias': (WIDTH,)}
    for i in range(depth):
        layer = f'encoder.layers.{i}'
        for name in ('q', 'k', 'v', 'o'):
            made |= _linear(f'{layer}.attention.{name}_proj', WIDTH, WIDTH)
        made |= _norm(f'{layer}.layernorm_before', WIDTH) | _norm(f'{layer}.layernorm_after', WIDTH)
        made |= _linear(f'{layer}.mlp.fc1', WIDTH, 4 * WIDTH) | _linear(f'{layer}.mlp.fc2', 4 * WIDTH, WIDTH)
    made |= _norm('encoder.layernorm', WIDTH)
    made |= {'predictor.pos_embedding': (1, CONTEXT, DIM)}
    inner = PREDICTOR_HEADS * HEAD_DIM
    for i in range(depth):
        layer = f'predictor.transformer.layers.{i}'
        made |= _norm(f'{layer}.attn.norm', DIM) | {f'{layer}.attn.to_qkv.weight': (3 * inner, DIM)}
        made |= _linear(f'{layer}.attn.to_out.0', inner, DIM) | _norm(f'{layer}.mlp.net.0', DIM)
        made |= _linear(f'{layer}.mlp.net.1', DIM, 30) | _linear(f'{layer}.mlp.net.4', 30, DIM)
        made |= _linear(f'{layer}.adaLN_modulation.1', DIM, 6 * DIM)
    made |= _norm('predictor.transformer.norm', DIM)
    made |= {'action_encoder.patch_embed.weight': (10, BLOCK, 1), 'action_encoder.patch_embed.bias': (10,)}
    made |= _linear('action_encoder.embed.0', 10, 4 * DIM) | _linear('action_encoder.embed.2', 4 * DIM, DIM)
    for name, inputs in (('projector', WIDTH), ('pred_proj', DIM)):
        made |= _linear(f'{name}.net.0', inputs, 32) | _norm(f'{name}.net.1', 32) | _linear(f'{name}.net.3', 32, DIM)
        made |= {f'{name}.net.1.running_mean': (32,), f'{name}.net.1.running_var': (32,),
                 f'{name}.net.1.num_batches_tracked': ()}
    return made


def state(seed: int = 0, transformers: int = 5) -> dict[str, Tensor]:
    """Random tensors: nothing is zero or one, so that a map that is left out or doubled shows."""
    random = torch.Generator().manual_seed(seed)
    made = {}
    for name, shape in shapes().items():
        values = torch.randn(shape, generator=random)
        if name.endswith('num_batches_tracked'):
            values = torch.tensor(7)
        elif name.endswith('running_var') or (len(shape) == 1 and name.endswith('weight')):
            values = 0.5 + values.abs()
        elif len(shape) > 1:
            values = values / math.sqrt(math.prod(shape[1:]) if 'embedding' not in name else 1)
        made[name if transformers == 5 else _old(name)] = values
    return made


def encoded(raw: dict[str, Tensor], images: Tensor) -> Tensor:
    """images (B, SIZE, SIZE, 3) uint8 -> s (B, DIM)."""
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = ((images / 255 - mean) / std).permute(0, 3, 1, 2)
    x = torch.conv2d(pixels, *_pair(raw, 'encoder.embeddings.patch_embeddings.projection'), stride=PATCH)
    x = torch.cat([raw['encoder.embeddings.cls_token'].expand(len(x), 1, WIDTH), x.flatten(2).transpose(1, 2)], 1)
    x = x + raw['encoder.embeddings.position_embeddings']
    for i in range(2):
        name = f'encoder.layers.{i}'
        y = layer_norm(x, (WIDTH,), *_pair(raw, f'{name}.layernorm_before'), eps=1e-12)
        q, k, v = (_split(linear(y, *_pair(raw, f'{name}.attention.{part}_proj')), HEADS) for part in 'qkv')
        x = x + linear(_merge(scaled_dot_product_attention(q, k, v)), *_pair(raw, f'{name}.attention.o_proj'))
        y = layer_norm(x, (WIDTH,), *_pair(raw, f'{name}.layernorm_after'), eps=1e-12)
        x = x + linear(gelu(linear(y, *_pair(raw, f'{name}.mlp.fc1'))), *_pair(raw, f'{name}.mlp.fc2'))
    return _projected(raw, 'projector', layer_norm(x, (WIDTH,), *_pair(raw, 'encoder.layernorm'), eps=1e-12)[:, 0])


def predicted(raw: dict[str, Tensor], s: Tensor, blocks: Tensor) -> Tensor:
    """The state after the last of s (B, T, DIM) under blocks of actions (B, T, BLOCK), T ≤ CONTEXT -> (B, DIM)."""
    e = torch.conv1d(blocks.transpose(1, 2), *_pair(raw, 'action_encoder.patch_embed')).transpose(1, 2)
    e = linear(silu(linear(e, *_pair(raw, 'action_encoder.embed.0'))), *_pair(raw, 'action_encoder.embed.2'))
    x = s + raw['predictor.pos_embedding'][:, :s.shape[1]]
    for i in range(2):
        name = f'predictor.transformer.layers.{i}'
        parts = linear(silu(e), *_pair(raw, f'{name}.adaLN_modulation.1')).chunk(6, -1)
        y = layer_norm(x, (DIM,), eps=1e-6) * (1 + parts[1]) + parts[0]
        y = linear(layer_norm(y, (DIM,), *_pair(raw, f'{name}.attn.norm')), raw[f'{name}.attn.to_qkv.weight'])
        q, k, v = (_split(part, PREDICTOR_HEADS) for part in y.chunk(3, -1))
        y = _merge(scaled_dot_product_attention(q, k, v, is_causal=True))
        x = x + parts[2] * linear(y, *_pair(raw, f'{name}.attn.to_out.0'))
        y = layer_norm(x, (DIM,), eps=1e-6) * (1 + parts[4]) + parts[3]
        y = layer_norm(y, (DIM,), *_pair(raw, f'{name}.mlp.net.0'))
        y = linear(gelu(linear(y, *_pair(raw, f'{name}.mlp.net.1'))), *_pair(raw, f'{name}.mlp.net.4'))
        x = x + parts[5] * y
    x = layer_norm(x, (DIM,), *_pair(raw, 'predictor.transformer.norm'))
    return _projected(raw, 'pred_proj', x[:, -1])


def _projected(raw: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    x = linear(x, *_pair(raw, f'{name}.net.0'))
    x = (x - raw[f'{name}.net.1.running_mean']) / torch.sqrt(raw[f'{name}.net.1.running_var'] + 1e-5)
    x = x * raw[f'{name}.net.1.weight'] + raw[f'{name}.net.1.bias']
    return linear(gelu(x), *_pair(raw, f'{name}.net.3'))


def _linear(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f'{name}.weight': (outputs, inputs), f'{name}.bias': (outputs,)}


def _norm(name: str, size: int) -> dict[str, tuple[int, ...]]:
    return {f'{name}.weight': (size,), f'{name}.bias': (size,)}


def _pair(raw: dict[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    return raw[f'{name}.weight'], raw[f'{name}.bias']


def _split(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def _merge(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(2)


def _old(name: str) -> str:
    if not name.startswith('encoder.layers.'):
        return name
    name = name.replace('encoder.layers.', 'encoder.encoder.layer.')
    for new, old in TRANSFORMERS_4.items():
        name = name.replace(f'.{new}.', f'.{old}.')
    return name
