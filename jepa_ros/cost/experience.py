"""What the robot lives through, tick by tick, cut into episodes that the critic learns from (LeCun §3.3). No ROS."""
import torch
from torch import Tensor

from jepa_ros.cost.critic_learner import LONGEST, Trajectory

MAX_GAP_PERIODS = 1.5   # percepts further apart are not one step


class Experience:
    """Triplets (time, state, intrinsic energy) of the goal that is being pursued."""

    def __init__(self, period_s: float, tolerance: float):
        """`tolerance`: energy at which the goal counts as reached; the robot stays there, and the energy too."""
        self._gap_ns, self._tolerance = int(MAX_GAP_PERIODS * period_s * 1e9), tolerance
        self._goal: Tensor | None = None
        self._begin()

    def _begin(self) -> None:
        self._states: list[Tensor] = []
        self._energies: list[float] = []
        self._stamp_ns: int | None = None

    def pursue(self, goal: Tensor | None) -> Trajectory | None:
        """A new goal state (D,), or None for none; returns the episode that ends with that."""
        if goal is not None and self._goal is not None and torch.equal(goal, self._goal):
            return None     # the same goal with other settings
        ended = self._end()
        self._goal = goal
        return ended

    def step(self, stamp_ns: int, state: Tensor, energy: float) -> Trajectory | None:
        """One percept's state (D,) and intrinsic energy; returns an episode that it brought to an end."""
        if self._goal is None:
            return None
        gap_ns = 0 if self._stamp_ns is None else stamp_ns - self._stamp_ns
        broken = self._stamp_ns is not None and not 0 < gap_ns <= self._gap_ns
        ended = self._end() if broken or len(self._states) >= LONGEST else None
        self._states.append(state.detach().cpu())
        self._energies.append(energy)
        self._stamp_ns = stamp_ns
        return ended

    def _end(self) -> Trajectory | None:
        states, energies = self._states, self._energies
        self._begin()
        if not states or self._goal is None:
            return None
        return Trajectory(torch.stack(states), torch.tensor(energies), self._goal.detach().cpu(),
                          finished=energies[-1] <= self._tolerance)
