"""What the robot lives through, tick by tick, cut into episodes that the critic learns from (LeCun §3.3). No ROS.

The critic knows goals as states. A goal in readouts has none before it is reached: then the state in which it was
reached is what had been the goal (hindsight, Andrychowicz et al. 2017), and the episode teaches as any other.
"""
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from jepa_ros.cost.cost import Cost, CostSettings, Goal
from jepa_ros.cost.critic_learner import LONGEST, Trajectory
from jepa_ros.cost.settings import CRITIC
from jepa_ros.errors import CostError

MAX_GAP_PERIODS = 1.5   # percepts further apart are not one step


@dataclass(frozen=True)
class Asked:
    """A goal in readouts: their values, and how near counts as there (distance in their units)."""

    values: Mapping[str, float]
    tolerance: float
    cost: Cost
    settings: CostSettings      # in force while it is pursued
    device: str = 'cpu'         # of the cost

    def met(self, readouts: Mapping[str, float]) -> bool:
        """Whether a state that reads out so is at the goal."""
        return sum((readouts[name] - value) ** 2 for name, value in self.values.items()) ** 0.5 <= self.tolerance

    def energies(self, states: Tensor, goal: Tensor) -> Tensor | None:
        """Intrinsic energy (T,) of states (T, D) had the state `goal` (D,) been the goal; None where it must not be."""
        states, goal = states.to(self.device), goal.to(self.device)
        try:
            levels = self.cost.make_settings(Goal(levels=(goal,))).goal_levels
        except CostError:
            return None
        weights = {**self.settings.weights, CRITIC: 0.0} if CRITIC in self.settings.weights else self.settings.weights
        settings = replace(self.settings, weights=weights, goal_levels=levels, goal_readouts=None)
        with torch.no_grad():
            return self.cost.energy(states[:, None], None, settings).cpu()


class Experience:
    """Triplets (time, state, intrinsic energy) of the goal that is being pursued."""

    def __init__(self, period_s: float, tolerance: float):
        """`tolerance`: energy at which the goal counts as reached; the robot stays there, and the energy too."""
        self._gap_ns, self._tolerance = int(MAX_GAP_PERIODS * period_s * 1e9), tolerance
        self._goal: Tensor | Asked | None = None
        self._begin()

    def _begin(self) -> None:
        self._states: list[Tensor] = []
        self._energies: list[float] = []
        self._stamp_ns: int | None = None
        self._readouts: Mapping[str, float] = {}        # of the newest state

    def pursue(self, goal: Tensor | Asked | None) -> Trajectory | None:
        """A new goal, a state (D,) or in readouts, or None for none; returns the episode that ends with that."""
        if _same(goal, self._goal):
            return None     # the same goal with other settings
        ended = self._end()
        self._goal = goal
        return ended

    def step(self, stamp_ns: int, state: Tensor, energy: float,
             readouts: Mapping[str, float] | None = None) -> Trajectory | None:
        """One percept's state (D,), intrinsic energy and readouts; returns an episode that it brought to an end."""
        if self._goal is None:
            return None
        gap_ns = 0 if self._stamp_ns is None else stamp_ns - self._stamp_ns
        broken = self._stamp_ns is not None and not 0 < gap_ns <= self._gap_ns
        ended = self._end() if broken or len(self._states) >= LONGEST else None
        self._states.append(state.detach().cpu())
        self._energies.append(energy)
        self._readouts = readouts or {}
        self._stamp_ns = stamp_ns
        return ended

    def _end(self) -> Trajectory | None:
        states, energies, readouts, goal = self._states, self._energies, self._readouts, self._goal
        self._begin()
        if not states or goal is None:
            return None
        lived, costs = torch.stack(states), torch.tensor(energies)      # (T, D), (T,)
        if isinstance(goal, Asked):
            found = goal.energies(lived, lived[-1]) if goal.met(readouts) else None
            if found is None:
                return None     # not reached: which state was meant is not known
            goal, costs = lived[-1], found
        return Trajectory(lived, costs, goal.detach().cpu(), finished=float(costs[-1]) <= self._tolerance)


def _same(one: Tensor | Asked | None, other: Tensor | Asked | None) -> bool:
    if isinstance(one, Asked) and isinstance(other, Asked):
        return one.values == other.values
    return isinstance(one, Tensor) and isinstance(other, Tensor) and torch.equal(one, other)
