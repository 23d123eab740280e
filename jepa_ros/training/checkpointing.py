"""The state of an interrupted stage on disk: safetensors with its identity beside it, written whole or not at all.

Nothing is pickled. The identity is what a run must share with the state it continues from: settings, losses,
architecture, data; not the number of processes. Used by optimise.py.
"""
from collections.abc import Mapping
import json
import os
from pathlib import Path
from typing import Any

from safetensors import safe_open, SafetensorError
from safetensors.torch import save_file
from torch import Tensor
from torch.optim import Optimizer

from jepa_ros.errors import TrainingError

FORMAT = 'jepa_ros training state 2'
LONGEST = 60    # characters of a value in a message


def write(path: Path, tensors: dict[str, Tensor], identity: Mapping[str, Any], rest: Mapping[str, Any]) -> None:
    """Replace `path` at once; `rest` is anything else that JSON can hold."""
    partial = path.with_suffix('.partial')
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(_apart(tensors), partial,
              metadata={'format': FORMAT, 'identity': json.dumps(identity), 'rest': json.dumps(rest)})
    with partial.open('rb') as file:
        os.fsync(file.fileno())     # the name must not point to it before the disk has it
    partial.replace(path)


def _apart(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """A module that has a part under two names has its tensors twice; safetensors takes none that share memory."""
    seen: set[int] = set()
    apart = {}
    for name, t in tensors.items():
        apart[name] = t.clone() if t.data_ptr() in seen else t.contiguous()
        seen.add(t.data_ptr())
    return apart


def read(path: Path, identity: Mapping[str, Any], weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict]:
    """Tensors and `rest`. TrainingError when the file is damaged, or belongs to another run: says in which field.

    `weights`: the state of the module, as it is to be under the keys `model.*`.
    """
    try:
        with safe_open(path, 'pt') as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        if metadata.get('format') != FORMAT:
            raise TrainingError(f'{path}: not a training state of this version; delete it to start that stage again')
        before, rest = json.loads(metadata['identity']), json.loads(metadata['rest'])
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise TrainingError(f'{path}: cannot be read ({" ".join(str(error).split())}): '
                            f'delete it to start that stage again') from None
    was = flat(before) | {f'weights of {k[6:]}': list(v.shape) for k, v in tensors.items() if k.startswith('model.')}
    now = flat(json.loads(json.dumps(identity))) | {f'weights of {k}': list(v.shape) for k, v in weights.items()}
    differing = [k for k in {**now, **was} if was.get(k) != now.get(k)]
    if differing:
        more = len(differing) - 1
        raise TrainingError(
            f'{path}: left by a run with another configuration: {differing[0]} was {_shown(was, differing[0])}, is '
            f'{_shown(now, differing[0])}{f" (and {more} more)" if more else ""}; delete it or choose another '
            '--work-dir')
    return tensors, rest


def moments(optimiser: Optimizer, name: str = 'adam') -> dict[str, Tensor]:
    """What an optimiser knows of the gradients so far, as tensors `name.parameter.moment`."""
    state = optimiser.state_dict()['state']
    return {f'{name}.{index}.{key}': value for index, each in state.items() for key, value in each.items()}


def set_moments(optimiser: Optimizer, tensors: Mapping[str, Tensor], name: str = 'adam') -> None:
    """Take over what `moments` gave, out of `tensors`, among which there may be others."""
    state = optimiser.state_dict()
    for full, value in tensors.items():
        if full.startswith(f'{name}.'):
            _, index, key = full.split('.')
            state['state'].setdefault(int(index), {})[key] = value
    optimiser.load_state_dict(state)


def flat(nested: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    """{'a': {'b': 1}} -> {'a.b': 1}."""
    values: dict[str, Any] = {}
    for key, value in nested.items():
        values |= flat(value, f'{prefix}{key}.') if isinstance(value, Mapping) else {f'{prefix}{key}': value}
    return values


def _shown(values: Mapping[str, Any], key: str) -> str:
    text = json.dumps(values[key], ensure_ascii=False) if key in values else 'missing'
    return text if len(text) <= LONGEST else f'{text[:LONGEST]}…'
