"""One encoder for a whole robot: every observation of its contract -> state s (LeCun §4.4, Enc; design §7)."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import math

import numpy as np
import torch
from torch import nn, Tensor

from jepa_ros.errors import ConfigError, ContractError, JepaRosError
from jepa_ros.perception.build import build_encoder
from jepa_ros.perception.config import PerceptionConfig, SensorConfig
from jepa_ros.perception.fusion import drop, FUSIONS, MissingToken, zeroed
from jepa_ros.perception.modulation import token
from jepa_ros.registry import nearest
from jepa_ros.robot.adapters import tensor_spec, TensorSpec
from jepa_ros.robot.contract import Observation

_ANGLES = ('yaw', 'roll', 'pitch')      # what `robot/adapters/fields.py` derives from a quaternion, in rad


def angles_of(spec: TensorSpec) -> tuple[int, ...]:
    """Which numbers of a vector are angles that wrap."""
    return tuple(i for i, name in enumerate(spec.names) if name.rpartition('.')[2] in _ANGLES)


@dataclass(frozen=True)
class ParameterCount:
    """Numbers that training changes, and numbers of frozen backbones."""

    trained: int
    frozen: int


class _Sensor(nn.Module):
    """One sensor: x (B, *shape), valid (B,) -> embedding (B, D), or its missing token where it is not valid."""

    def __init__(self, encoder: nn.Module, dim: int):
        super().__init__()
        self.encoder, self.missing = encoder, MissingToken(dim)

    def forward(self, x: Tensor, valid: Tensor, task: Tensor | None) -> Tensor:
        x = zeroed(x, valid)
        e = self.encoder(x) if task is None else self.encoder(x, task)
        return self.missing(e, valid)


class ContractEncoder(nn.Module):
    """Percepts as the contract's adapters make them -> s (…, dim).

    Each observation has an encoder chosen by its tensor (see `build.DEFAULTS`) or by `config.sensors`; one sensor alone
    is the state as its encoder makes it, several are fused. `ConfigError` for a configuration that does not fit.
    """

    def __init__(self, observations: Sequence[Observation], config: PerceptionConfig | None = None):
        super().__init__()
        self.config = config = config or PerceptionConfig()
        self.specs = {o.key: tensor_spec(o) for o in observations}
        self.dim, self.task_dim = config.dim, config.task_dim
        unknown = [key for key in config.sensors if key not in self.specs]
        if unknown:
            raise ConfigError(f'sensors: the contract has no observation {unknown[0]!r}'
                              f'{nearest(unknown[0], self.specs)}; it has {", ".join(self.specs)}')
        alone = len(self.specs) == 1
        # what a percept may lack altogether: what the contract says, and what training has taught to do without
        self.optional = {o.key for o in observations if not o.required or (config.sensor_dropout and not alone)}
        settings = {key: config.sensors.get(key, SensorConfig()) for key in self.specs}
        dims = {key: config.dim if alone else each.dim or config.dim for key, each in settings.items()}
        # prefixed: a sensor may be called `type` or `keys`, which modules have already
        self.sensors = nn.ModuleDict({f'sensor_{key}': _Sensor(self._build(key, each, dims[key]), dims[key])
                                      for key, each in settings.items()})
        self.fusion = None if alone else FUSIONS.get(config.fusion)(
            tuple(dims.values()), config.dim, config.fusion_width, task_dim=config.task_dim)

    def _build(self, key: str, sensor: SensorConfig, dim: int) -> nn.Module:
        spec = self.specs[key]
        options = dict(sensor.options)
        if sensor.encoder in ('', 'mlp') and len(spec.shape) == 1:
            options.setdefault('angles', angles_of(spec))
        try:
            return build_encoder(sensor.encoder, spec.shape, dim, self.task_dim, options,
                                 integers=spec.dtype == np.uint8)
        except JepaRosError as error:
            raise type(error)(f'sensor {key}: {error}') from error

    def encoder(self, key: str) -> nn.Module:
        """Encoder of one observation."""
        return self.sensors[f'sensor_{key}'].encoder

    def set_statistics(self, statistics: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        """Mean and standard deviation by observation key, each as `statistics.measure` gives them."""
        for key, (mean, std) in statistics.items():
            if key not in self.specs:
                raise ContractError(f'statistics of {key!r}, which is no observation: {", ".join(self.specs)}')
            self.encoder(key).set_statistics(mean, std)

    def parameter_counts(self) -> dict[str, ParameterCount]:
        """By observation key, with its missing token; and `fusion`, where there is one."""
        counts = {key: _count(self.sensors[f'sensor_{key}']) for key in self.specs}
        return counts if self.fusion is None else counts | {'fusion': _count(self.fusion)}

    def forward(self, percepts: Mapping[str, Tensor], valid: Mapping[str, Tensor] | None = None,
                task: Tensor | None = None) -> Tensor:
        """percepts[key] (…, *shape), valid[key] (…) bool, task (task_dim,) or (…, task_dim) -> s (…, dim).

        Leading dimensions, (B,) or (B, T), are the same for all sensors; a key that `valid` lacks is valid everywhere.
        What a sensor says where it is not valid is never read. Sensors in `optional` may be left out of `percepts`. A
        task token (B, task_dim) holds for all T of its row. `ContractError` where tensors do not fit the contract.
        """
        lead = self._lead(percepts)
        device = next(iter(percepts.values())).device
        flags = torch.stack([self._flags(key, percepts, valid or {}, lead, device) for key in self.specs], 1)
        if self.training and self.config.sensor_dropout and self.fusion is not None:
            flags = drop(flags, self.config.sensor_dropout)
        task = self._task(task, lead)
        embeddings = []
        for index, (key, spec) in enumerate(self.specs.items()):
            if key in percepts:
                x = percepts[key].flatten(0, len(lead) - 1)
            else:
                kind = torch.uint8 if spec.dtype == np.uint8 else torch.float32
                x = torch.zeros((flags.shape[0], *spec.shape), dtype=kind, device=device)
            embeddings.append(self.sensors[f'sensor_{key}'](x, flags[:, index], task))
        s = embeddings[0] if self.fusion is None else self.fusion(embeddings, task)
        return s.unflatten(0, lead)

    def _lead(self, percepts: Mapping[str, Tensor]) -> tuple[int, ...]:
        """The leading dimensions of all sensors, at least one; `ContractError` where they or the shapes differ."""
        lead: tuple[int, ...] = ()
        for key, spec in self.specs.items():
            if key not in percepts:
                if key not in self.optional:
                    raise ContractError(f'percept has no {key!r}: it holds {", ".join(percepts) or "nothing"}')
                continue
            found = _leading(key, percepts[key], spec)
            if lead and found != lead:
                raise ContractError(f'percept {key!r} has leading dimensions {found}, those before it {lead}')
            lead = found
        if not lead:
            raise ContractError(f'percept holds none of the sensors {", ".join(self.specs)}')
        return lead

    def _flags(self, key: str, percepts: Mapping[str, Tensor], valid: Mapping[str, Tensor], lead: tuple[int, ...],
               device: torch.device) -> Tensor:
        """(rows,) bool: where the sensor is there."""
        if key not in percepts or key not in valid:
            return torch.full(lead, key in percepts, dtype=torch.bool, device=device).flatten()
        if valid[key].shape != lead:
            raise ContractError(f'valid {key!r} has shape {tuple(valid[key].shape)}, the percepts {lead}')
        return valid[key].to(device, torch.bool).flatten()

    def _task(self, task: Tensor | None, lead: tuple[int, ...]) -> Tensor | None:
        """(rows, task_dim) of a token for all rows, for each, or for each of the first leading dimensions."""
        if task is None:
            return None
        if 1 < task.dim() <= len(lead) + 1 and task.shape[:-1] == lead[:task.dim() - 1]:
            task = task.reshape(*task.shape[:-1], *(1,) * (len(lead) + 1 - task.dim()), task.shape[-1])
            task = task.expand(*lead, task.shape[-1]).flatten(0, -2)
        return token(task, self.task_dim, math.prod(lead), next(self.parameters()))


def _leading(key: str, x: Tensor, spec: TensorSpec) -> tuple[int, ...]:
    """Leading dimensions of a sensor's tensor; images may come as (…, C, H, W) float from the GPU's intake."""
    shape = tuple(spec.shape)
    if spec.dtype == np.uint8 and x.is_floating_point():
        shape = (shape[2], *shape[:2])
    number = x.is_floating_point() or (spec.dtype == np.uint8 and x.dtype == torch.uint8)
    if x.dim() <= len(shape) or tuple(x.shape[-len(shape):]) != shape or not number:
        raise ContractError(f'percept {key!r} is {str(x.dtype).removeprefix("torch.")} {tuple(x.shape)}: this model '
                            f'takes {spec.dtype} (…, {", ".join(str(n) for n in spec.shape)})')
    return tuple(x.shape[:-len(shape)])


def _count(module: nn.Module) -> ParameterCount:
    trained = sum(p.numel() for p in module.parameters() if p.requires_grad)
    return ParameterCount(trained, sum(p.numel() for p in module.parameters()) - trained)
