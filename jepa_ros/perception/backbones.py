"""Frozen pre-trained image networks: DINOv2, DINOv3 and V-JEPA 2 through `transformers`, other ViTs through `timm`.

Both packages are optional. Weights are safetensors, from a folder (a file with timm) or by their name on the Hugging
Face hub; no code in them is run. A network built from its `config` alone has random weights, for a checkpoint
whose state dict brings its own.
"""
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn, Tensor

from jepa_ros.errors import CheckpointError, ConfigError, JepaRosError
from jepa_ros.registry import nearest

# model types of transformers -> tokens before the patches, without registers
ARCHITECTURES = {'dinov2': 1, 'dinov2_with_registers': 1, 'dinov3_vit': 1, 'vjepa2': 0}
LIBRARIES = ('transformers', 'timm')
_EXTRA = "pip install 'jepa_ros[backbones]'"
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)    # of all these networks' training


class Backbone(nn.Module):
    """A frozen network in eval mode, whatever `train` and `requires_grad_` of its owner say.

    Normalised images (B, 3, size, size) -> class token (B, E) or None, patches (B, E, rows, columns). No gradient
    passes.
    """

    mean, std = _IMAGENET_MEAN, _IMAGENET_STD     # of pixels on a 0…1 scale

    def __init__(self, network: nn.Module, size: int, patch: int, width: int, prefix: int, frames: int = 0):
        """`prefix` tokens come before the patches, the class token first; `frames` is 0 where images go in singly."""
        super().__init__()
        self.network = network.requires_grad_(False)
        self.size, self.width, self.prefix, self.frames = size, width, prefix, frames
        self.side = size // patch
        self.train(False)

    def train(self, mode: bool = True) -> 'Backbone':
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> tuple[Tensor | None, Tensor]:
        images = images.to(next(self.network.parameters()).dtype)
        tokens = self.tokens(images)
        patches = tokens[:, self.prefix:].transpose(1, 2).unflatten(2, (self.side, self.side))
        return tokens[:, 0] if self.prefix else None, patches

    def tokens(self, images: Tensor) -> Tensor:
        """(B, 3, size, size) -> (B, prefix + side², E)."""
        if self.frames:     # one image is a video that stands still, long enough for one step in time
            return self.network(images[:, None].expand(-1, self.frames, -1, -1, -1)).last_hidden_state
        if hasattr(self.network, 'forward_features'):
            return self.network.forward_features(images)
        return self.network(images).last_hidden_state


def load(library: str, model: str, weights: str = '', config: dict[str, Any] | None = None, size: int = 224,
         download: bool = True) -> Backbone:
    """A pre-trained network, or a random one of the architecture `config`.

    transformers: `model` is a folder with config.json and model.safetensors, or a name on the hub. timm: `model` is its
    name of a vision transformer, `weights` a safetensors file; without one they come from the hub. `download` False
    allows only what the hub's cache has. `size` is the side in pixels, rounded to whole patches; V-JEPA 2 has its own.
    `ConfigError` for a missing package or an unknown network, `CheckpointError` for weights that are missing or of
    another architecture.
    """
    if library == 'transformers':
        if weights:
            raise ConfigError('backbone: weights goes with library timm; with transformers, model is the folder of '
                              'config.json and model.safetensors')
        return _tried(_transformers(model, config, size, download), model)
    if library == 'timm':
        return _tried(_timm(model, weights, config, size, download), model)
    raise ConfigError(f'backbone: unknown library {library!r}{nearest(library, LIBRARIES)}; known: '
                      f'{", ".join(LIBRARIES)}')


def _tried(backbone: Backbone, model: str) -> Backbone:
    """The same, after one black image; `ConfigError` where its tokens are not those of its architecture."""
    what = f'backbone {model}: it cannot encode an image of {backbone.size} pixels'
    with _refused(what, ConfigError), torch.no_grad():
        shape = tuple(backbone.tokens(torch.zeros(1, 3, backbone.size, backbone.size)).shape)
    expected = (1, backbone.prefix + backbone.side ** 2, backbone.width)
    if shape != expected:
        raise ConfigError(f'{what}: its tokens are {shape}, not {expected}')
    return backbone


def _package(name: str) -> ModuleType:
    """An optional package; `ConfigError` where it, or one it needs, is missing or does not fit."""
    try:
        return import_module(name)
    except (ImportError, RuntimeError, OSError) as error:   # torchvision for another torch ends in RuntimeError
        needs = f'{name} and torchvision of the same build as torch' if name == 'timm' else name
        raise ConfigError(f'encoder backbone needs {needs}: {_line(error)}; {_EXTRA}') from error


def _transformers(model: str, config: dict[str, Any] | None, size: int, download: bool) -> Backbone:
    library = _package('transformers')
    if config is not None:
        network = _random(library, config)
        found = network.config
    else:
        folder = _folder(model)
        with _refused(f'backbone {model}: its configuration cannot be read', hint=_remedy(model, download)):
            found = library.AutoConfig.from_pretrained(folder, local_files_only=not download)
        _known(found.model_type, f'backbone {model}', CheckpointError)
        network = _pretrained(library, model, folder, found, download)
    patch = found.patch_size
    if found.model_type == 'vjepa2':
        return Backbone(network.encoder, found.crop_size, patch, found.hidden_size, 0, found.tubelet_size)
    prefix = ARCHITECTURES[found.model_type] + getattr(found, 'num_register_tokens', 0)
    return Backbone(network, _whole(size, patch), patch, found.hidden_size, prefix)


def _pretrained(library: ModuleType, model: str, folder: str, found: Any, download: bool) -> nn.Module:
    """The network with its weights; every one of them must be in the file and fit."""
    logging = library.logging
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()       # its report of what does not fit becomes the one line below
    logging.disable_progress_bar()
    try:
        with _refused(f'backbone {model}: its weights cannot be read', hint=_remedy(model, download)):
            network, told = library.AutoModel.from_pretrained(
                folder, config=found, dtype=torch.float32, use_safetensors=True, ignore_mismatched_sizes=True,
                output_loading_info=True, local_files_only=not download)
    finally:
        logging.set_verbosity(verbosity)
        logging.enable_progress_bar()
    odd = [str(key) for key in told['missing_keys']] + [str(entry[0]) for entry in told['mismatched_keys']]
    if odd:
        raise CheckpointError(f'backbone {model}: its weights are of another architecture than its config.json says '
                              f'({found.model_type}): {len(odd)} tensors are missing or of another shape, the first is '
                              f'{min(odd)}')
    return network


def _random(library: ModuleType, config: dict[str, Any]) -> nn.Module:
    """A network of the architecture `config` with random weights."""
    values = dict(config)
    kind = values.pop('model_type', '')
    _known(kind, 'backbone: config', ConfigError)
    with _refused(f'backbone: no {kind} has this config', ConfigError):
        return library.AutoModel.from_config(library.AutoConfig.for_model(kind, **values))


def _known(kind: str, what: str, error: type[JepaRosError]) -> None:
    if kind not in ARCHITECTURES:
        raise error(f'{what}: unknown model_type {kind!r}{nearest(kind, ARCHITECTURES)}; known: '
                    f'{", ".join(ARCHITECTURES)}')


def _folder(model: str) -> str:
    """A local folder checked for its files, or the hub's name as it is."""
    path = Path(model).expanduser()
    if not path.exists():
        if not model or path.is_absolute() or model.startswith(('.', '~')) or model.count('/') > 1:
            raise CheckpointError(f'backbone {model!r}: no such folder; give one with config.json and '
                                  'model.safetensors, or a name on the Hugging Face hub (facebook/dinov2-small)')
        return model
    for names in (('config.json',), ('model.safetensors', 'model.safetensors.index.json')):
        if not any((path / name).is_file() for name in names):
            raise CheckpointError(f'backbone {model}: no {names[0]} in it; a folder with config.json and '
                                  'model.safetensors is expected (weights in other formats are not read)')
    return str(path)


def _timm(model: str, weights: str, config: dict[str, Any] | None, size: int, download: bool) -> Backbone:
    library = _package('timm')
    if not library.is_model(model):
        raise ConfigError(f'backbone: timm has no model {model!r}{nearest(model, library.list_models())}')
    file = Path(weights).expanduser()
    if weights and not (file.is_file() and file.suffix == '.safetensors'):
        raise CheckpointError(f'backbone {model}: {weights} is no .safetensors file')
    hub = config is None and not weights
    if hub and not download:
        raise CheckpointError(f'backbone {model}: timm has weights from the hub only by download; give weights, a '
                              '.safetensors file, or set download: true')
    patch = _timm_patch(library, model, config or {})
    size = _whole(size, patch)
    # the overlay makes timm read this file as its hub's: it fits the positions to the size
    source = dict(pretrained=True, pretrained_cfg_overlay=dict(file=str(file))) if weights else dict(pretrained=hub)
    what = f'the weights in {weights} are damaged or of another architecture' if weights else 'it cannot be had'
    with _refused(f'backbone {model}: {what}', hint='' if weights else '; without network, give weights, a file'):
        network = library.create_model(model, num_classes=0, img_size=size, **source, **(config or {}))
    return Backbone(network, size, patch, network.num_features, network.num_prefix_tokens)


def _timm_patch(library: ModuleType, model: str, config: dict[str, Any]) -> int:
    """Side of its patches in pixels; `ConfigError` where it has none."""
    with _refused(f'backbone {model}: timm cannot make it of this config', ConfigError), torch.device('meta'):
        shape = library.create_model(model, num_classes=0, **config)
    if not hasattr(shape, 'num_prefix_tokens') or not hasattr(shape, 'patch_embed'):
        raise ConfigError(f'backbone {model}: it is no vision transformer with patches')
    return shape.patch_embed.patch_size[0]


@contextmanager
def _refused(what: str, raised: type[JepaRosError] = CheckpointError, hint: str = '') -> Iterator[None]:
    """Whatever another package raises for a network that it cannot give, as one line."""
    try:
        yield
    except Exception as error:  # its own error classes are many, and all mean that
        raise raised(f'{what}: {_line(error)}{hint}') from error


def _remedy(model: str, download: bool) -> str:
    if Path(model).expanduser().exists():
        return ''
    return ('; without network, download the folder elsewhere and give its path' if download else
            '; it is not in the cache: set download: true, or give the path of a downloaded folder')


def _whole(size: int, patch: int) -> int:
    return max(1, round(size / patch)) * patch


def _line(error: Exception) -> str:
    """An error of another package as one line of bearable length."""
    return ' '.join(str(error).split())[:240] or type(error).__name__
