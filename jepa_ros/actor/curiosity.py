"""Curiosity: drive to where the world model expects states that are unlike all remembered ones (LeCun §4.10, §3.2).

Of a number of random action sequences the one is followed whose predicted end is farthest from its nearest remembered
states. That is novelty, seen through one model: what the model cannot tell apart is not new to it, and a wild
prediction may look new without being so. Disagreement between the members of an ensemble is the better measure; there
is only one member here. Novelty by distance needs no training and no second model.
"""
import math

import numpy as np
import torch
from torch import Tensor

from jepa_ros.errors import ConfigError
from jepa_ros.memory.episodic import EpisodicStore
from jepa_ros.perception.perception import EncodedState
from jepa_ros.world_model.world_model import WorldModel

CORRELATION_S = 0.6         # of random actions: a robot cannot use white noise
GAIN = 1.5                  # of their amplitude, before they are clamped to the limits
BIAS = 0.5                  # standard deviation of what all actions of a sequence share


class Curiosity:
    """Chooses an action per percept: `see` the state, then `next`. Seeded; remembers over episodes."""

    def __init__(self, world_model: WorldModel, still: np.ndarray, seed: int = 0, candidates: int = 64,
                 horizon_s: float = 2.0, neighbours: int = 5, capacity: int = 36_000):
        """`still` (A,) is the action that stands still, SI. Half of a chosen sequence is followed, then chosen anew."""
        self._world, self._still, self._seed = world_model, np.asarray(still, float), seed
        self._candidates, self._neighbours = candidates, neighbours
        self._horizon = max(2, round(horizon_s / world_model.control_period_s))
        self._keep = math.exp(-world_model.control_period_s / CORRELATION_S)
        self._memory = EpisodicStore(world_model.model.config.dim, capacity)
        self._state: Tensor | None = None
        self.start(0)

    def __len__(self) -> int:
        """Number of remembered states."""
        return len(self._memory)

    def start(self, episode: int) -> None:
        """Begin an episode: what is left of a sequence is dropped, the memory stays."""
        self._generator = torch.Generator().manual_seed(self._seed * 1_000_003 + episode)
        self._actions: list[np.ndarray] = []

    def still(self) -> np.ndarray:
        """The action (A,) that stands still."""
        return self._still.copy()

    def see(self, stamp_ns: int, state: EncodedState) -> None:
        """Take and remember the newest state. ConfigError for one that is not finite."""
        newest = state.levels[0]
        if not bool(torch.isfinite(newest).all()):
            raise ConfigError('curiosity: the state is not finite: check the model and the camera')
        self._state = newest
        self._memory.append(stamp_ns, newest.cpu(), 0.0)

    def next(self) -> np.ndarray:
        """Action (A,) in SI units for the state that was seen last."""
        if self._state is None:
            return self.still()
        if not self._actions:
            chosen = self.choose(self._state)
            self._actions = list(chosen[:max(1, self._horizon // 2)])
        return self._actions.pop(0)

    @torch.inference_mode()
    def choose(self, state: Tensor) -> np.ndarray:
        """Actions (H, A) in SI units whose predicted end is the newest, from `state` (D,)."""
        actions = self._random_actions()
        states = self._world.model.levels[0].rollout(
            state.to(self._world.device).expand(self._candidates, -1), actions.to(self._world.device))   # (K, H, D)
        best = int(self.novelty(states[:, -1].cpu()).argmax())
        return self._world.unscale_actions(actions[best])

    def novelty(self, states: Tensor) -> Tensor:
        """(K,) mean distance of each of `states` (K, D) to its nearest remembered states."""
        remembered = self._memory.states
        if len(remembered) == 0:
            return torch.zeros(len(states))
        distances = torch.cdist(states.float(), remembered)
        nearest = distances.topk(min(self._neighbours, len(remembered)), largest=False).values
        return nearest.mean(1)

    def _random_actions(self) -> Tensor:
        """(K, H, A) in −1…1, correlated in time, each sequence with a drift of its own."""
        shape = (self._candidates, self._horizon, len(self._still))
        noise = torch.randn(shape, generator=self._generator)
        drift = BIAS * torch.randn((shape[0], 1, shape[2]), generator=self._generator)
        steps = [noise[:, 0]]
        for t in range(1, shape[1]):
            steps.append(self._keep * steps[-1] + math.sqrt(1 - self._keep ** 2) * noise[:, t])
        return (GAIN * (torch.stack(steps, 1) + drift)).clamp(-1, 1)
