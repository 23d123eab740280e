"""Encoders by name with options from YAML, checked before anything is built."""
from collections.abc import Mapping
import inspect
from typing import Any

from torch import nn

from jepa_ros.errors import ConfigError
from jepa_ros.options import checked_options
from jepa_ros.perception.base import IMAGE, kind_of, RANGE_IMAGE, SCAN, VECTOR
from jepa_ros.perception.encoders import ENCODERS

DEFAULTS = {IMAGE: 'conv', RANGE_IMAGE: 'range_image', SCAN: 'scan', VECTOR: 'mlp'}    # kind of tensor -> encoder
_OWN = ('shape', 'dim', 'task_dim')     # parameters that no option may give


def build_encoder(name: str, shape: tuple[int, ...], dim: int, task_dim: int = 0,
                  options: Mapping[str, Any] | None = None, *, integers: bool) -> nn.Module:
    """Encoder `name` ('' for the default of its kind) of a sensor's tensor (B, *shape), uint8 if `integers`.

    `ConfigError` in one line: unknown name, an encoder for other tensors, unknown or ill-typed options.
    """
    kind = kind_of(shape, integers)
    name = name or DEFAULTS[kind]
    encoder = ENCODERS.get(name)
    takes = getattr(encoder, 'KINDS', (kind,))      # a third party's class may not say
    if kind not in takes:
        fitting = [n for n in ENCODERS.names() if kind in getattr(ENCODERS.get(n), 'KINDS', ())]
        raise ConfigError(f'encoder {name} takes {" or ".join(takes)}, not {kind} {tuple(shape)}; for {kind}: '
                          f'{", ".join(fitting)}')
    checked = checked_options(f'encoder {name}', encoder, options or {}, _OWN)
    if task_dim:
        if 'task_dim' not in inspect.signature(encoder).parameters:
            raise ConfigError(f'encoder {name} takes no task token; set task_dim: 0')
        checked['task_dim'] = task_dim
    return encoder(shape, dim, **checked)
