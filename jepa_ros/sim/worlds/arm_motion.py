"""From joint targets to motor set points, as the trajectory controllers of real arms do it.

A target may be far away: each joint goes there on its own, with its greatest acceleration up to its speed limit, and
brakes so that it stands when it is there.
"""
import numpy as np

from jepa_ros.sim.worlds.arm_model import ACCELERATIONS, DAMPING, SPEED_LIMITS, STIFFNESS

CRUISE = 0.9  # of the speed limits for set points: joints swing beyond theirs when acceleration ends
# How far a set point runs ahead of a joint that is held up, in rad (finger: m): bounds the force of a blocked arm to
# about a quarter of its motors', and lets it go on at once when the way is free again.
LEAD = np.array([0.02] * 7 + [0.01])


class SetPoints:
    """Positions and speeds (A,) that the motors are given; advanced once per physics step."""

    def __init__(self, count: int, step_s: float):
        self._step_s = step_s
        self.positions, self.velocities = np.zeros(count), np.zeros(count)  # (A,)

    def place(self, positions: np.ndarray) -> None:
        """Stand at `positions` (A,)."""
        self.positions, self.velocities = np.array(positions, float), np.zeros(len(positions))

    def advance(self, targets: np.ndarray, measured: np.ndarray) -> np.ndarray:
        """One step towards `targets` (A,) from where the joints are; returns what to give the motors (A,)."""
        gap, change = targets - self.positions, ACCELERATIONS * self._step_s
        # the speed from which braking in steps ends at the target
        braking = np.sqrt(change ** 2 / 4 + 2 * ACCELERATIONS * np.abs(gap)) - change / 2
        wanted = np.sign(gap) * np.minimum(braking, CRUISE * SPEED_LIMITS)
        self.velocities = np.clip(wanted, self.velocities - change, self.velocities + change)
        moved = self.velocities * self._step_s
        arrived = (np.abs(gap) <= np.abs(moved)) & (np.abs(self.velocities) <= 2 * change)
        self.velocities[arrived] = 0.0
        free = np.where(arrived, targets, self.positions + moved)
        self.positions = np.clip(free, measured - LEAD, measured + LEAD)
        self.velocities[self.positions != free] = 0.0
        # a motor damps against its own speed: without this a moving joint would lag behind
        return self.positions + self.velocities * (DAMPING / STIFFNESS)

    def stopping_at(self) -> np.ndarray:
        """Targets (A,) where the joints stand if they brake from now on."""
        speed = np.abs(self.velocities)
        distance = np.maximum(speed ** 2 / (2 * ACCELERATIONS) - speed * self._step_s / 2, 0.0)
        return self.positions + np.sign(self.velocities) * distance
