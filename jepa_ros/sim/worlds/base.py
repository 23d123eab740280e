"""What a simulated world offers to the simulator node, to evaluation and to tests. No ROS here."""
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Scan:
    """One turn of a planar lidar (REP-117: −inf nearer than `range_min_m`, +inf where nothing is hit)."""

    ranges_m: np.ndarray       # (beams,) float32
    angle_min_rad: float
    angle_increment_rad: float
    range_min_m: float
    range_max_m: float


class World(Protocol):
    """A world that the `sim` node can run. Lengths in metres, frame `map`, x right, y up (REP-103)."""

    name: str
    value_names: tuple[str, ...]   # what `reset` takes and returns
    rooms: tuple[str, ...]         # names that `sample_pose` takes
    speed_limit_mps: float         # per axis
    physics_step_s: float          # `step` goes on for whole numbers of these

    @property
    def pose(self) -> tuple[float, float]:
        """Position (x, y) of the robot's centre; yaw is 0."""

    @property
    def velocity(self) -> tuple[float, float]:
        """Velocity (vx, vy) in m/s."""

    @property
    def collisions(self) -> int:
        """How often the robot has begun to touch something since the last reset."""

    @property
    def time_s(self) -> float:
        """Simulated time since the last reset."""

    def reset(self, seed: int, values: Mapping[str, float]) -> dict[str, float]:
        """Set the named values, draw the others with the seed; returns all of them. WorldError if impossible."""

    def step(self, command: np.ndarray, duration_s: float = 0.1) -> None:
        """Move on for a while under a velocity command (2,) in m/s."""

    def image(self, size: int = 128, pose: tuple[float, float] | None = None) -> np.ndarray:
        """What the overhead camera sees, (size, size, 3) uint8 RGB; with `pose` as if the robot were there."""

    def scan(self) -> Scan:
        """What the lidar on the robot measures."""

    def free(self, x_m: float, y_m: float) -> bool:
        """Whether the robot can stand there without touching anything."""

    def sample_pose(self, rng: np.random.Generator, room: str | None = None) -> tuple[float, float]:
        """A free pose, uniform over the named room or over all of the world."""
