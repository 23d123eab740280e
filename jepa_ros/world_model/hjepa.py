"""H-JEPA: a stack of JEPA levels over the robot's sensors, slower towards the top (LeCun §4.6, Fig. 15)."""
from collections.abc import Mapping, Sequence

import torch
from torch import nn, Tensor

from jepa_ros.errors import ConfigError
from jepa_ros.perception.contract_encoder import angles_of, ContractEncoder
from jepa_ros.registry import nearest
from jepa_ros.robot.contract import Observation
from jepa_ros.world_model.config import EgoConfig, LevelConfig, ModelConfig
from jepa_ros.world_model.ego import EgoModel
from jepa_ros.world_model.jepa import JEPA

__all__ = ['EgoConfig', 'HJEPA', 'LevelConfig', 'ModelConfig']


class HJEPA(nn.Module):
    """Encoder and levels; all tensors batched, actions scaled to −1…1.

    `ConfigError` where the configuration does not fit the contract's observations.
    """

    def __init__(self, config: ModelConfig, observations: Sequence[Observation]):
        super().__init__()
        self.config = config
        self.encoder = ContractEncoder(observations, config.perception)
        below = (config.dim, *config.dims)
        self.levels = nn.ModuleList(
            self._level(index, below[index], config.readouts if index == 0 or level.pooled else 0)
            for index, level in enumerate(config.levels))
        self.windows = config.windows()
        self.ego = None if config.ego is None else self._ego(config.ego)
        self.register_buffer('readout_mean', torch.zeros(config.readouts))
        self.register_buffer('readout_std', torch.ones(config.readouts))

    def _level(self, index: int, below: int, readouts: int) -> JEPA:
        try:
            return JEPA(self.config.levels[index], below, self.config.action_dim, readouts,
                        self.config.perception.task_dim)
        except ConfigError as error:
            raise ConfigError(f'level {index}: {error}') from None

    def _ego(self, ego: EgoConfig) -> EgoModel:
        spec = self.encoder.specs.get(ego.observation)
        if spec is None:
            raise ConfigError(f'ego: the contract has no observation {ego.observation!r}'
                              f'{nearest(ego.observation, self.encoder.specs)}; it has {", ".join(self.encoder.specs)}')
        if len(spec.shape) != 1:
            raise ConfigError(f'ego: observation {ego.observation!r} is no vector of numbers but {tuple(spec.shape)}')
        return EgoModel(spec.shape[0], self.config.action_dim, ego.width, ego.depth, angles_of(spec))

    def encode(self, percepts: Mapping[str, Tensor], valid: Mapping[str, Tensor] | None = None,
               task: Tensor | None = None) -> Tensor:
        """Percepts (…, *shape) by observation key -> s (…, D) of level 0; see `ContractEncoder.forward`."""
        return self.encoder(percepts, valid, task)

    def task_token(self, token: Mapping[str, float]) -> Tensor | None:
        """(task_dim,) of a task's numbers by name, those not named are 0; None for none. ConfigError: another name."""
        names = self.config.perception.token_names
        unknown = [name for name in token if name not in names]
        if unknown:
            known = f'it has {", ".join(names)}' if names else 'it was trained without task tokens'
            raise ConfigError(f'task token {unknown[0]!r} is not of this model: {known}')
        return torch.tensor([float(token.get(name, 0.0)) for name in names]) if token else None

    def pool(self, level: int, states: Tensor) -> Tensor:
        """States of the level below over one period (…, n, D_below), oldest first -> s (…, D) of `level`."""
        return self.levels[level].pooling(states)

    def still(self, s: Tensor) -> tuple[Tensor, ...]:
        """States of all levels (…, D_l) where the world stands still in s (…, D)."""
        states = [s]
        for level in range(1, len(self.levels)):
            n = self.windows[level]
            states.append(self.pool(level, states[-1].unsqueeze(-2).expand(*s.shape[:-1], n, -1)))
        return tuple(states)

    def readout_of(self, level: int) -> nn.Module | None:
        """Readout heads for states of `level`: its own, or those of the level whose states it shares."""
        while level and not self.config.levels[level].pooled:
            level -= 1
        return self.levels[level].readout

    def readouts(self, s: Tensor, level: int = 0) -> Tensor:
        """States (..., D_l) -> readouts (..., R) in their own units (LeCun §4.5.2); R may be 0."""
        heads = self.readout_of(level)
        if heads is None:
            return s.new_zeros(*s.shape[:-1], 0)
        return heads(s) * self.readout_std + self.readout_mean
