"""LeWM checkpoints (Maes et al. 2026, LeWorldModel): their tensors under our names, their sizes from the shapes.

Read is what the public code saves (lucas-maes/le-wm, and wm/lewm and wm/pldm of stable-worldmodel): `encoder`, the
ViTModel of transformers 4 or 5, `projector`, `predictor`, `action_encoder`, `pred_proj`. Sizes that no shape tells
(heads, pixels) come from the config.json beside the weights, or are those of the published models.
"""
from collections.abc import Mapping
from dataclasses import dataclass
import json
import math
from pathlib import Path
import re
from typing import Any

import torch
from torch import nn, Tensor

from jepa_ros.errors import CheckpointError, ConfigError
from jepa_ros.interop.weights import read_state_dict
from jepa_ros.perception.lewm_vit import LeWMEncoder
from jepa_ros.world_model.predictors_lewm import LeWMPredictor

_ANCHOR = 'encoder.embeddings.cls_token'        # in every LeWM; what stands before it stands before all names
_HEAD_DIM = 64                                  # of the published encoder and predictor
_ENCODER_HEADS = {'tiny': 3, 'small': 6, 'base': 12, 'large': 16, 'huge': 16}
_UNUSED = frozenset({'encoder.embeddings.mask_token'})     # only for training with masks
# ViTModel of transformers 4 -> of transformers 5
_RENAMED = (('attention.attention.query.', 'attention.q_proj.'), ('attention.attention.key.', 'attention.k_proj.'),
            ('attention.attention.value.', 'attention.v_proj.'), ('attention.output.dense.', 'attention.o_proj.'),
            ('intermediate.dense.', 'mlp.fc1.'), ('output.dense.', 'mlp.fc2.'))
_NORM_TENSORS = {'none': (), 'layer': ('weight', 'bias'),
                 'batch': ('weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked')}
_RESHAPED = ('embeddings.patch_embeddings.projection.weight', 'action_encoder.patch_embed.weight',
             'predictor.pos_embedding')         # convolutions that are linear maps, a leading 1

Table = dict[str, tuple[str, ...]]              # our name -> theirs, several of them one below the other


@dataclass(frozen=True)
class LeWM:
    """A checkpoint under our names; `encoder` and `predictor` are options of `LeWMEncoder` and `LeWMPredictor`."""

    dim: int                            # numbers in a state
    inputs: int                         # colours of an image
    action_inputs: int                  # numbers the action encoder takes: one block of actions
    encoder: dict[str, Any]
    predictor: dict[str, Any]
    encoder_state: dict[str, Tensor]
    predictor_state: dict[str, Tensor]  # without `gain` and `offset`, which no LeWM has
    left_out: tuple[str, ...]           # their tensors that only training uses

    def build_encoder(self, shape: tuple[int, int, int] | None = None) -> LeWMEncoder:
        """Encoder with the weights, for images (H, W, C); default: as in training."""
        made = LeWMEncoder(shape or (self.encoder['size'], self.encoder['size'], self.inputs), self.dim, **self.encoder)
        own = {name: getattr(made, name) for name in ('mean', 'std')}
        made.load_state_dict(self.encoder_state | own)
        return made.eval()

    def build_predictor(self, actions: int | None = None, repeat: int = 1) -> LeWMPredictor:
        """Predictor with the weights, for actions of `actions` numbers that are held `repeat` times."""
        made = LeWMPredictor(self.dim, actions or self.action_inputs, repeat=repeat, **self.predictor)
        own = {name: getattr(made, name) for name in ('gain', 'offset')}
        made.load_state_dict(self.predictor_state | own)
        return made.eval()


def read(path: str | Path, encoder_heads: int | None = None, predictor_heads: int | None = None) -> LeWM:
    """A LeWM from its state dict; `CheckpointError` in one line names tensors that are missing, unknown or misshapen.

    Heads that are not given come from config.json beside the file, else from the 64 numbers a published head has.
    """
    path = Path(path)
    state, left_out = _canonical(path, read_state_dict(path))
    config = _config(path.parent / 'config.json')
    encoder = _encoder_options(path, state, config.get('encoder', {}), encoder_heads)
    predictor = _predictor_options(path, state, config.get('predictor', {}), predictor_heads)
    dim = state['predictor.pos_embedding'].shape[-1]
    action_inputs, inputs = _shape(path, state, 'action_encoder.patch_embed.weight')[1], \
        _shape(path, state, 'encoder.embeddings.patch_embeddings.projection.weight')[1]
    tables = (_encoder_table(encoder), _predictor_table(predictor, dim))
    _check_names(path, state, tables)
    side = encoder['size']
    ours = (LeWMEncoder((side, side, inputs), dim, **encoder), LeWMPredictor(dim, action_inputs, **predictor))
    converted = [_converted(path, state, table, module) for table, module in zip(tables, ours)]
    return LeWM(dim, inputs, action_inputs, encoder, predictor, converted[0], converted[1], tuple(left_out))


def _canonical(path: Path, found: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Tensors under the names of transformers 5 without a wrapper's prefix, and the names of those left out."""
    prefixes = [name.removesuffix(_ANCHOR) for name in found if name == _ANCHOR or name.endswith('.' + _ANCHOR)]
    if not prefixes:
        raise CheckpointError(f'{path}: no LeWM checkpoint: it has no tensor {_ANCHOR} (it begins with '
                              f'{", ".join(list(found)[:3])})')
    prefix = min(prefixes, key=len)
    state, left_out = {}, []
    for name, tensor in found.items():
        own = name.removeprefix(prefix)
        if not name.startswith(prefix) or own in _UNUSED:
            left_out.append(name)
            continue
        own, layers = re.subn(r'^encoder\.encoder\.layer\.', 'encoder.layers.', own)
        for old, new in _RENAMED if layers else ():
            own = own.replace(old, new, 1)
        if not tensor.isfinite().all():
            raise CheckpointError(f'{path}: {name} holds numbers that are not finite: the training that wrote it had '
                                  'failed, take an earlier checkpoint')
        state[own] = tensor.float() if tensor.is_floating_point() else tensor
    return state, left_out


def _config(path: Path) -> dict[str, Any]:
    """config.json as stable-worldmodel writes it beside the weights, {} without one."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise CheckpointError(f'{path}: cannot be read ({error}): copy it again or take it away') from None
    parts = found if isinstance(found, dict) else {}
    return {key: value for key, value in parts.items() if isinstance(value, dict)}


def _encoder_options(path: Path, state: Mapping[str, Tensor], config: dict[str, Any], heads: int | None) -> dict:
    width, _, patch, _ = _shape(path, state, 'encoder.embeddings.patch_embeddings.projection.weight', 4)
    side = math.isqrt(_shape(path, state, 'encoder.embeddings.position_embeddings', 3)[1] - 1)
    depth = _depth(state, 'encoder.layers.')
    size = config.get('image_size', side * patch)
    if not isinstance(size, int) or size // patch != side:
        raise CheckpointError(f'{path}: its {side}² positions of {patch} pixels are not those of the image_size '
                              f'{size!r} in config.json: take the config.json that belongs to it')
    heads = heads or config.get('num_attention_heads') or _ENCODER_HEADS.get(config.get('size', '')) \
        or _heads(path, width, '--encoder-heads')
    if width % heads:
        raise ConfigError(f'{path}: {heads} heads do not divide the {width} numbers of the encoder: give the right '
                          '--encoder-heads')
    return dict(size=size, patch=patch, width=width, depth=depth, heads=heads, **_projector(state, 'projector'))


def _predictor_options(path: Path, state: Mapping[str, Tensor], config: dict[str, Any], heads: int | None) -> dict:
    inner = _shape(path, state, 'predictor.transformer.layers.0.attn.to_qkv.weight', 2)[0] // 3
    mlp, width = _shape(path, state, 'predictor.transformer.layers.0.mlp.net.1.weight', 2)
    heads = heads or config.get('heads') or _heads(path, inner, '--predictor-heads')
    if inner % heads:
        raise ConfigError(f'{path}: {heads} heads do not divide the {inner} numbers of attention in the predictor: '
                          'give the right --predictor-heads')
    action_width, smoothed = _shape(path, state, 'action_encoder.embed.0.weight', 2)
    return dict(width=width, depth=_depth(state, 'predictor.transformer.layers.'), heads=heads,
                context=_shape(path, state, 'predictor.pos_embedding', 3)[1], head_dim=inner // heads, mlp=mlp,
                smoothed=smoothed, action_width=action_width, **_projector(state, 'pred_proj'))


def _heads(path: Path, inner: int, option: str) -> int:
    if inner % _HEAD_DIM:
        raise ConfigError(f'{path}: shapes do not tell the number of attention heads, and {inner} numbers are no '
                          f'heads of {_HEAD_DIM}: put the config.json of the model beside it, or give {option}')
    return inner // _HEAD_DIM


def _projector(state: Mapping[str, Tensor], name: str) -> dict[str, Any]:
    """Options `projector` and `norm` of the map `name`; hidden size 0 where there is none."""
    if f'{name}.net.0.weight' not in state:
        return dict(projector=0, norm='none')
    kind = 'batch' if f'{name}.net.1.running_mean' in state else 'layer' if f'{name}.net.1.weight' in state else 'none'
    return dict(projector=state[f'{name}.net.0.weight'].shape[0], norm=kind)


def _depth(state: Mapping[str, Tensor], prefix: str) -> int:
    """Number of blocks whose tensors begin with `prefix`."""
    found = {int(m[1]) for m in (re.match(re.escape(prefix) + r'(\d+)\.', name) for name in state) if m}
    return max(found, default=0) + 1    # a gap is found when the names are compared


def _shape(path: Path, state: Mapping[str, Tensor], name: str, dimensions: int | None = None) -> tuple[int, ...]:
    if name not in state:
        raise CheckpointError(f'{path}: no LeWM checkpoint: it has no tensor {name}')
    shape = tuple(state[name].shape)
    if dimensions is not None and len(shape) != dimensions:
        raise CheckpointError(f'{path}: {name} has shape {shape}: a LeWM has {dimensions} dimensions there')
    return shape


def _both(ours: str, theirs: str) -> Table:
    return {f'{ours}.{kind}': (f'{theirs}.{kind}',) for kind in ('weight', 'bias')}


def _projector_table(theirs: str, options: dict[str, Any]) -> Table:
    if not options['projector']:
        return {}
    norm = {f'head.net.1.{kind}': (f'{theirs}.net.1.{kind}',) for kind in _NORM_TENSORS[options['norm']]}
    return _both('head.net.0', f'{theirs}.net.0') | norm | _both('head.net.3', f'{theirs}.net.3')


def _encoder_table(options: dict[str, Any]) -> Table:
    table: Table = {'cls': ('encoder.embeddings.cls_token',), 'positions': ('encoder.embeddings.position_embeddings',)}
    table |= _both('embed', 'encoder.embeddings.patch_embeddings.projection') | _both('norm.norm', 'encoder.layernorm')
    for i in range(options['depth']):
        ours, theirs = f'blocks.{i}', f'encoder.layers.{i}'
        table |= {f'{ours}.qkv.{kind}': tuple(f'{theirs}.attention.{one}_proj.{kind}' for one in 'qkv')
                  for kind in ('weight', 'bias')}
        table |= _both(f'{ours}.attention_norm.norm', f'{theirs}.layernorm_before')
        table |= _both(f'{ours}.mlp_norm.norm', f'{theirs}.layernorm_after')
        table |= _both(f'{ours}.out', f'{theirs}.attention.o_proj')
        table |= _both(f'{ours}.mlp.0', f'{theirs}.mlp.fc1') | _both(f'{ours}.mlp.2', f'{theirs}.mlp.fc2')
    return table | _projector_table('projector', options)


def _predictor_table(options: dict[str, Any], dim: int) -> Table:
    table: Table = {'positions': ('predictor.pos_embedding',)} | _both('norm', 'predictor.transformer.norm')
    table |= _both('embed.0', 'action_encoder.patch_embed')
    table |= _both('embed.1', 'action_encoder.embed.0') | _both('embed.3', 'action_encoder.embed.2')
    if options['width'] != dim:
        for ours, theirs in (('enter', 'input_proj'), ('enter_action', 'cond_proj'), ('leave', 'output_proj')):
            table |= _both(ours, f'predictor.transformer.{theirs}')
    for i in range(options['depth']):
        ours, theirs = f'blocks.{i}', f'predictor.transformer.layers.{i}'
        table |= _both(f'{ours}.modulation', f'{theirs}.adaLN_modulation.1')
        table |= _both(f'{ours}.attention_norm', f'{theirs}.attn.norm')
        table |= _both(f'{ours}.mlp_norm', f'{theirs}.mlp.net.0')
        table |= {f'{ours}.qkv.weight': (f'{theirs}.attn.to_qkv.weight',)}
        if options['heads'] != 1 or options['head_dim'] != options['width']:
            table |= _both(f'{ours}.out', f'{theirs}.attn.to_out.0')
        table |= _both(f'{ours}.mlp.0', f'{theirs}.mlp.net.1') | _both(f'{ours}.mlp.2', f'{theirs}.mlp.net.4')
    return table | _projector_table('pred_proj', options)


def _check_names(path: Path, state: Mapping[str, Tensor], tables: tuple[Table, ...]) -> None:
    expected = {name for table in tables for names in table.values() for name in names}
    for what, names, remedy in (
            ('lacks', expected - set(state), 'copy it again, or convert it with the code that wrote it'),
            ('has', set(state) - expected, 'a LeWM has none of them; this is another architecture')):
        if names:
            first = sorted(names)
            raise CheckpointError(f'{path}: {what} {len(first)} tensor(s) ({", ".join(first[:3])}'
                                  f'{", …" if len(first) > 3 else ""}): {remedy}')


def _converted(path: Path, state: Mapping[str, Tensor], table: Table, module: nn.Module) -> dict[str, Tensor]:
    """The tensors of one table under our names, in the shapes of `module`."""
    shapes, converted = module.state_dict(), {}
    for ours, theirs in table.items():
        tensor = torch.cat([state[name] for name in theirs]) if len(theirs) > 1 else state[theirs[0]]
        expected = shapes[ours].shape
        if theirs[0].endswith(_RESHAPED) and tensor.numel() == expected.numel():
            tensor = tensor.reshape(expected)
        if tensor.shape != expected:
            raise CheckpointError(f'{path}: {theirs[0]} has shape {tuple(state[theirs[0]].shape)}, which does not fit '
                                  f'the other tensors ({ours} takes {tuple(expected)}): this is another architecture')
        converted[ours] = tensor
    return converted
