"""Encoders by name with options from YAML, checked before anything is built."""
from collections.abc import Mapping
import inspect
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError
from torch import nn

from jepa_ros.errors import ConfigError
from jepa_ros.perception.base import IMAGE, kind_of, RANGE_IMAGE, SCAN, VECTOR
from jepa_ros.perception.encoders import ENCODERS
from jepa_ros.registry import nearest

DEFAULTS = {IMAGE: 'conv', RANGE_IMAGE: 'range_image', SCAN: 'scan', VECTOR: 'mlp'}    # kind of tensor -> encoder
_OWN = ('self', 'shape', 'dim', 'task_dim')     # parameters that no option may give


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
    checked = _checked(name, encoder, options or {})
    if task_dim:
        if 'task_dim' not in inspect.signature(encoder).parameters:
            raise ConfigError(f'encoder {name} takes no task token; set task_dim: 0')
        checked['task_dim'] = task_dim
    return encoder(shape, dim, **checked)


def _checked(name: str, encoder: type[nn.Module], options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as the types that the encoder's signature names."""
    parameters = inspect.signature(encoder).parameters
    known = [p for p in parameters if p not in _OWN]
    hints = get_type_hints(encoder.__init__, include_extras=True)
    checked = {}
    for option, value in options.items():
        if option not in known:
            raise ConfigError(f'encoder {name} has no option {option!r}{nearest(option, known)}; it has '
                              f'{", ".join(known) or "none"}')
        try:
            checked[option] = TypeAdapter(hints.get(option, Any)).validate_python(value)
        except ValidationError as error:
            problem = error.errors()[0]
            where = '.'.join(str(part) for part in (option, *problem['loc']))
            raise ConfigError(f'encoder {name}: {where}: {problem["msg"]} (got {problem["input"]!r})') from error
    return checked
