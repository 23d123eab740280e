"""Two rooms joined by a door: an omnidirectional disc robot in MuJoCo, seen from above.

The task of the two-room benchmarks (see README), with real contact instead of kinematics. Rooms: `floor_plan.py`.
"""
import math

import numpy as np

from jepa_ros.sim.worlds.base import CommandPort, Scan
from jepa_ros.sim.worlds.floor_plan import hull
from jepa_ros.sim.worlds.rooms_world import directions, RoomsWorld, VIEW_M

__all__ = ['ROBOT', 'ROBOT_RADIUS_M', 'SPEED_LIMIT_MPS', 'TwoRooms', 'VIEW_M']

ROBOT_RADIUS_M = 0.12
ROBOT_MASS_KG = 5.0
MOTOR_TIME_CONSTANT_S = 0.03
SPEED_LIMIT_MPS = 0.8        # per axis
ROBOT = (255, 112, 0)

BEAMS = 90
RANGE_MIN_M = 0.05
RANGE_MAX_M = 5.0


class TwoRooms(RoomsWorld):
    """The disc can only slide in x and y; commands are velocities in m/s, frame `map`."""

    name = 'two_rooms'
    radius_m = ROBOT_RADIUS_M
    colour = ROBOT
    command = CommandPort('cmd_vel', 'geometry_msgs/msg/Twist', ('linear.x', 'linear.y'),
                          (-SPEED_LIMIT_MPS,) * 2, (SPEED_LIMIT_MPS,) * 2)

    def __init__(self, door_y_m: float | None = 0.0, seed: int = 0):
        """`door_y_m`: centre of the door, None draws one at each reset. Raises WorldError beyond ±1.2 m."""
        gain = ROBOT_MASS_KG / MOTOR_TIME_CONSTANT_S
        self._beams = directions(-math.pi + 2 * math.pi / BEAMS * np.arange(BEAMS))
        super().__init__(
            '<joint name="x" type="slide" axis="1 0 0"/><joint name="y" type="slide" axis="0 1 0"/>'
            + hull(ROBOT_RADIUS_M, ROBOT_MASS_KG),
            ''.join(f'<velocity joint="{axis}" kv="{gain}" ctrllimited="true" '
                    f'ctrlrange="{-SPEED_LIMIT_MPS} {SPEED_LIMIT_MPS}"/>' for axis in 'xy'),
            door_y_m, seed)

    def scan(self) -> Scan:
        """90 beams over a full turn from the robot's centre, counter-clockwise from −π."""
        distances = self._distances(self._beams, 2 * RANGE_MAX_M)
        ranges = np.where((distances < 0) | (distances > RANGE_MAX_M), np.inf, distances)
        ranges[(distances >= 0) & (distances < RANGE_MIN_M)] = -np.inf
        return Scan(ranges.astype(np.float32), -math.pi, 2 * math.pi / BEAMS, RANGE_MIN_M, RANGE_MAX_M)
