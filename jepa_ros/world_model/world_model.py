"""The world-model organ: predicts, imagines, notices surprise (LeCun §2, §4.6, §8.2.2)."""
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from jepa_ros.errors import ConfigError
from jepa_ros.memory.reader import MemoryReader
from jepa_ros.perception.perception import EncodedState
from jepa_ros.world_model.hjepa import HJEPA
from jepa_ros.world_model.predictors import Memory


@dataclass(frozen=True)
class Imagination:
    """A rollout of one level, the start excluded."""

    states: Tensor      # (H, D)
    readouts: Tensor    # (H, R), units in readout_names
    latents: Tensor     # (H, Z): the most probable ones; Z is 0 for a level without latent


class WorldModel:
    """Single-robot view of an H-JEPA, in SI units."""

    def __init__(self, model: HJEPA, control_period_s: float, action_low: np.ndarray, action_high: np.ndarray,
                 action_names: list[str], readout_names: list[str], action_max_rate: np.ndarray | None = None):
        """`action_max_rate` (A,): most that an action may change, per second; None: no limit."""
        self.model, self.control_period_s = model, control_period_s
        self.action_names, self.readout_names = action_names, readout_names
        self._low = torch.as_tensor(action_low, dtype=torch.float32)
        self._span = torch.as_tensor(action_high, dtype=torch.float32) - self._low
        self._max_rate = action_max_rate
        self.recollection: MemoryReader | None = None   # the memory that levels which recall read
        self._task: Tensor | None = None                # token in force, (task_dim,)
        # (A,) in −1…1: what asks for no motion, or for the least of it that the robot can do
        self.rest = self.scale_actions((-self._low).clamp(0 * self._span, self._span) + self._low)

    @property
    def levels(self) -> int:
        return len(self.model.levels)

    @property
    def device(self) -> torch.device:
        return self.model.readout_mean.device

    @property
    def max_change(self) -> Tensor | None:
        """(A,) most that actions in −1…1 may change in a control step; None where any change is allowed."""
        if self._max_rate is None:
            return None
        step = torch.as_tensor(self._max_rate, dtype=torch.float32) * self.control_period_s
        change = 2 * step / self._span
        return None if bool((change >= 2).all()) else change.to(self.device)

    def slowed(self, actions: Tensor, speed: float) -> Tensor:
        """Actions (..., A) in −1…1 at a share of what they ask for: in SI units, of their distance from rest."""
        return actions if speed == 1 else self.rest + speed * (actions - self.rest)

    def step_period_s(self, level: int) -> float:
        """Seconds one prediction of that level spans."""
        return self.model.levels[level].period * self.control_period_s

    def scale_actions(self, actions: np.ndarray | Tensor) -> Tensor:
        """SI actions (..., A) -> −1…1 on the model's device."""
        values = torch.as_tensor(actions, dtype=torch.float32, device='cpu')
        return (2 * (values - self._low) / self._span - 1).to(self.device)

    def unscale_actions(self, actions: Tensor) -> np.ndarray:
        """−1…1 (..., A) -> SI."""
        return ((actions.cpu() + 1) / 2 * self._span + self._low).numpy()

    def modulate(self, token: Mapping[str, float]) -> None:
        """Let a task say what matters for what is predicted here (LeCun §2), until the next call; as
        `Perception.modulate`. A model that takes no token ignores it."""
        self._task = self.model.task_token(token) if self.model.config.perception.token_names else None

    @property
    def recalls(self) -> bool:
        """Whether some level reads memory, and there is one."""
        return self.recollection is not None and any(level.config.recall for level in self.model.levels)

    def glimpse(self, state: Tensor) -> None:
        """Remember a level-0 state (D,) where levels recall and nobody else stores what is perceived."""
        if self.recalls:
            self.recollection.glimpse(state)

    def seen(self, count: int) -> Tensor | None:
        """At most `count` level-0 states (n, D) that were perceived; None where no memory organ stores them here."""
        return None if self.recollection is None else self.recollection.seen(count)

    @torch.no_grad()
    def recalled(self) -> tuple[Memory | None, ...]:
        """What memory holds now, for rollouts of each level: of one robot (1, …); None where nothing is recalled."""
        if not self.recalls:
            return (None,) * self.levels
        wanted = [level.config.recall.slots if level.config.recall else 0 for level in self.model.levels]
        at, what = (x.to(self.device) for x in self.recollection.newest(max(wanted)))
        return tuple(level.recollect(at[None, -count:], what[None, -count:]) if count else None
                     for level, count in zip(self.model.levels, wanted))

    @torch.inference_mode()
    def predict(self, state: Tensor, action: np.ndarray) -> Tensor:
        """Expected next level-0 state (D,) after SI action (A,)."""
        return self.model.levels[0].predict(state.to(self.device), self.scale_actions(action),
                                            memory=_of_one(self.recalled()[0]), task=self._task)

    @torch.inference_mode()
    def surprise(self, before: Tensor, action: np.ndarray, after: Tensor | EncodedState,
                 memory: Memory | None = None) -> float:
        """Energy of what came (D,) after SI action (A,) in `before` (D,), over its mean in training (LeCun §8.2.2).

        1 is usual, large is a violated expectation. Where the level has a latent it is the free energy: what some
        probable z explains does not surprise. `memory`: what was recalled at the time; None: what is recalled now.
        """
        if isinstance(after, EncodedState):
            after = after.levels[0]
        jepa = self.model.levels[0]
        pair = (before.to(self.device)[None], self.scale_actions(action)[None], after.to(self.device)[None])
        memory = self.recalled()[0] if memory is None else memory
        return float(jepa.energy(*pair, memory, self._task)[0] / jepa.typical_error)

    @torch.inference_mode()
    def unfamiliarity(self, state: Tensor) -> float:
        """Energy of standing still in level-0 state (D,), over the mean error in training.

        About 1 in states like those of training; many times that where the encoder was shown something else (noise, a
        dark lens, another camera): the predictor then does not leave the state where it is.
        """
        still = np.clip(np.zeros(len(self.action_names)), self._low.numpy(), (self._low + self._span).numpy())
        return self.surprise(state, still, state)

    @torch.inference_mode()
    def imagine(self, level: int, state: Tensor, actions: np.ndarray | Tensor) -> Imagination:
        """Roll `actions` (H, A) out from `state` (D,): SI at level 0, macro-actions above. ConfigError on bad input."""
        if not 0 <= level < self.levels:
            raise ConfigError(f'level {level} does not exist: this model has levels 0 to {self.levels - 1}')
        jepa = self.model.levels[level]
        a = torch.as_tensor(actions, dtype=torch.float32)
        if a.dim() != 2 or a.shape[1] != jepa.action_encoder.dim or a.shape[0] == 0:
            raise ConfigError(f'actions have shape {tuple(a.shape)}: level {level} takes '
                              f'(horizon ≥ 1, {jepa.action_encoder.dim})')
        if state.shape != (jepa.dim,):
            raise ConfigError(f'state has shape {tuple(state.shape)}: level {level} of this model takes ({jepa.dim},)')
        a, s = self.scale_actions(a) if level == 0 else a.to(self.device), state.to(self.device)
        states = jepa.rollout(s, a, memory=_of_one(self.recalled()[level]), task=self._task)
        imagined = self.describe(states, level)
        if jepa.latent is None:
            return imagined
        before = torch.cat([s[None], states[:-1]])
        return replace(imagined, latents=jepa.latent.most_probable(before, a))

    @torch.inference_mode()
    def describe(self, states: Tensor, level: int = 0) -> Imagination:
        """States (H, D_l) of a level that were predicted elsewhere, with their readouts."""
        return Imagination(states, self.model.readouts(states, level), states.new_zeros(len(states), 0))

    @torch.inference_mode()
    def imagine_ego(self, x: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """The robot's own vector x (n,) under SI actions (H, A), by the ego model alone: (H, n) (LeCun §4.8.1).

        ConfigError for a model that has none.
        """
        if self.model.ego is None:
            raise ConfigError('this model has no ego model: name the observation under `ego` in its configuration')
        start = torch.as_tensor(x, dtype=torch.float32, device=self.device)
        return self.model.ego.rollout(start, self.scale_actions(actions)).cpu().numpy()


def _of_one(memory: Memory | None) -> Memory | None:
    """The memory of one robot (1, …) without its leading dimension."""
    return None if memory is None else tuple(m[0] for m in memory)
