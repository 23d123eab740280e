"""Runs an exported model with nothing but PyTorch. This file is copied beside the programs and needs no other.

    model = ExportedModel('folder')
    s = model.encode({'overhead': images})              # images (B, H, W, C) uint8 -> s (B, D)
    states = model.rollout(0, s, model.scale(actions))  # actions (B, T, A) in the robot's units -> (B, T, D)
"""
from collections.abc import Mapping, Sequence
import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

try:
    from jepa_ros.errors import CheckpointError
except ImportError:     # on a machine without the package
    class CheckpointError(Exception):   # type: ignore[no-redef]
        """An exported model that is missing, damaged, or asked for what it has not."""

MANIFEST, FORMAT = 'manifest.yaml', 1
Memory = tuple[Tensor, ...]


class ExportedModel:
    """The programs of one folder, each loaded when it is first used. All tensors are batched and on the CPU."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.manifest = _manifest(self.folder / MANIFEST)
        self._programs: dict[str, Any] = {}
        actions = self.manifest['actions']
        self._low, self._high = torch.tensor(actions['low']), torch.tensor(actions['high'])

    @property
    def levels(self) -> int:
        return len(self.manifest['levels'])

    def encode(self, percepts: Mapping[str, Tensor], valid: Mapping[str, Tensor] | None = None,
               task_token: Tensor | None = None) -> Tensor:
        """percepts[key] (B, *shape) as the manifest's `observations` say -> s (B, D) of level 0.

        `valid[key]` (B,) bool for a sensor that may be missing; one left out of `percepts` is missing in all rows.
        """
        given: dict[str, Tensor] = {**percepts, **{f'valid_{key}': flag for key, flag in (valid or {}).items()}}
        if task_token is not None:
            given['task_token'] = task_token
        batch = next((len(x) for x in percepts.values()), 1)
        for key, observation in self.manifest['observations'].items():
            if observation['optional']:
                there = torch.full((batch,), key in percepts)
                given.setdefault(f'valid_{key}', there)
                given.setdefault(key, torch.zeros((batch, *observation['shape']),
                                                  dtype=getattr(torch, observation['dtype'])))
        for expected in self.manifest['programs']['encoder']['inputs']:
            if expected['name'] == 'task_token':        # the zero token leaves perception as it is
                given.setdefault('task_token', torch.zeros(batch, expected['shape'][1]))
        return self.run('encoder', given)[0]

    def step(self, level: int, s: Tensor, a: Tensor, z: Tensor | None = None,
             memory: Memory | None = None) -> tuple[Tensor, Memory | None]:
        """One period of `level`: s (B, D), a (B, A), z (B, Z) or the most probable one -> ŝ (B, D), and the memory.

        At level 0 a is an action in −1…1 (`scale`), above a macro-action (`macro_action`). Give the memory of one step
        to the next; None at the start.
        """
        name = f'predictor_{level}'
        inputs = [i for i in self._entry(name)['inputs'] if i['name'].startswith('memory_')]
        if memory is None:
            memory = tuple(torch.zeros((len(s), *i['shape'][1:]), dtype=getattr(torch, i['dtype'])) for i in inputs)
        given = {'s': s, 'a': a, **{i['name']: m for i, m in zip(inputs, memory)}}
        if f'latent_{level}' in self.manifest['programs']:
            given['z'] = self.run(f'latent_{level}', {'s': s, 'a': a})[0] if z is None else z
        found = self.run(name, given)
        return found[0], found[1:] or None

    def rollout(self, level: int, s: Tensor, a: Tensor, z: Tensor | None = None,
                memory: Memory | None = None) -> Tensor:
        """s (B, D), a (B, T, A), z (B, T, Z) or the most probable ones -> states (B, T, D), the start excluded."""
        states = []
        for t in range(a.shape[1]):
            s, memory = self.step(level, s, a[:, t], None if z is None else z[:, t], memory)
            states.append(s)
        return torch.stack(states, 1)

    def macro_action(self, level: int, actions: Tensor) -> Tensor:
        """Actions of one period (B, K, A) in −1…1 -> macro-action (B, A_l) of a level above 0."""
        return self.run(f'macro_action_{level}', {'actions': actions})[0]

    def pool(self, level: int, states: Tensor) -> Tensor:
        """States of the level below over one period (B, n, D), oldest first -> s (B, D_l).

        The last of them where the level shares the states of the one below.
        """
        name = f'pooling_{level}'
        return self.run(name, {'states': states})[0] if name in self.manifest['programs'] else states[:, -1]

    def readouts(self, s: Tensor) -> Tensor:
        """s (B, D) of level 0 -> (B, R) in the units of the manifest's `readouts`."""
        return self.run('readouts', {'s': s})[0]

    def scale(self, actions: Tensor) -> Tensor:
        """Actions (..., A) in the robot's units -> −1…1."""
        return 2 * (actions - self._low) / (self._high - self._low) - 1

    def unscale(self, actions: Tensor) -> Tensor:
        """−1…1 (..., A) -> the robot's units."""
        return (actions + 1) / 2 * (self._high - self._low) + self._low

    @torch.no_grad()
    def run(self, name: str, given: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Outputs of one program for inputs by name. `CheckpointError` in one line for what it does not take."""
        expected = self._entry(name)['inputs']
        row = [_checked(name, each, given) for each in expected]
        unknown = [key for key in given if key not in {each['name'] for each in expected}]
        if unknown:
            raise CheckpointError(f'{name}: takes no {unknown[0]!r}: its inputs are '
                                  f'{", ".join(each["name"] for each in expected)}')
        if len({len(x) for x in row}) > 1:
            raise CheckpointError(f'{name}: inputs of different batches: '
                                  f'{", ".join(str(tuple(x.shape)) for x in row)}')
        found = self._program(name)(*row)
        return found if isinstance(found, tuple) else (found,)

    def _entry(self, name: str) -> dict[str, Any]:
        if name not in self.manifest['programs']:
            raise CheckpointError(f'{self.folder}: has no program {name}: it has '
                                  f'{", ".join(self.manifest["programs"])}')
        return self.manifest['programs'][name]

    def _program(self, name: str) -> Any:
        if name not in self._programs:
            path = self.folder / self._entry(name)['file']
            if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != self._entry(name)['sha256']:
                raise CheckpointError(f'{path}: missing, or not the file the manifest was written for: copy the whole '
                                      'folder again')
            self._programs[name] = torch.export.load(path).module()
        return self._programs[name]


def _checked(program: str, expected: Mapping[str, Any], given: Mapping[str, Tensor]) -> Tensor:
    """One input, of the type and shape that the program takes."""
    name, shape, dtype = expected['name'], expected['shape'][1:], getattr(torch, expected['dtype'])
    if name not in given:
        raise CheckpointError(f'{program}: input {name!r} is missing: given are {", ".join(given) or "none"}')
    x = given[name]
    if list(x.shape[1:]) != shape or x.dim() != len(shape) + 1 or x.dtype != dtype:
        raise CheckpointError(f'{program}: input {name!r} is {str(x.dtype).removeprefix("torch.")} {tuple(x.shape)}: '
                              f'it takes {expected["dtype"]} (batch, {", ".join(map(str, shape))})')
    return x


def _manifest(path: Path) -> dict[str, Any]:
    """The manifest: JSON, which is YAML too."""
    try:
        found = json.loads(path.read_text(encoding='utf-8'))
    except OSError as error:
        raise CheckpointError(f'{path}: cannot be read ({error.strerror}): give the folder of an export') from None
    except ValueError as error:
        raise CheckpointError(f'{path}: is damaged ({error}): copy the whole folder again') from None
    if not isinstance(found, dict) or found.get('format') != FORMAT or not _complete(found):
        raise CheckpointError(f'{path}: no manifest of format {FORMAT}: export the model again with this version')
    return found


def _complete(manifest: Mapping[str, Any]) -> bool:
    parts: Sequence[str] = ('programs', 'levels', 'actions', 'observations')
    return all(part in manifest for part in parts) and 'encoder' in manifest['programs']
