"""A vacuum-robot-sized base with two driven wheels in the two rooms: Neato and TurtleBot class.

Wheels push along the heading and grip sideways, within what traction allows; the hull meets the walls in MuJoCo. The
lidar is a Neato's: 360 beams, 0.2 to 5 m, and a beam that measured nothing reads 0.0, not infinity.
"""
import math

import numpy as np
from pydantic import Field

from jepa_ros.sim.render import top_view
from jepa_ros.sim.worlds.base import CommandPort, Scan
from jepa_ros.sim.worlds.floor_plan import hull
from jepa_ros.sim.worlds.rooms_world import directions, RoomsWorld, VIEW_M

RADIUS_M = 0.17
MASS_KG = 3.9
WHEEL_SPEED_MPS = 0.3        # of each wheel
TURN_LIMIT_RADPS = 1.9
TRACK_M = 0.248              # between the wheels; turning on the spot at the limit takes 0.24 m/s of each
MOTOR_TIME_CONSTANT_S = 0.06
GRIP_TIME_CONSTANT_S = 0.005  # in which sideways slip ends: the wheels do not roll sideways
MOTOR_FORCE_N = 12.0
GRIP_FORCE_N = 19.0          # friction 0.5 times the weight: beyond it the wheels slip sideways
INERTIA_KGM2 = 0.4 * MASS_KG * RADIUS_M ** 2   # of the sphere that MuJoCo makes of the hull
HULL = (58, 122, 186)
MARK = (250, 250, 245)       # towards the front
MARK_RADIUS_M = 0.045

BEAMS = 360
RANGE_MIN_M = 0.2
RANGE_MAX_M = 5.0


class DiffDrive(RoomsWorld):
    """Commands are forward speed in m/s and turn rate in rad/s, counter-clockwise positive."""

    name = 'diff_drive'
    radius_m = RADIUS_M
    colour = HULL
    integrator = 'implicit'  # the fast one leaves out how a turned base couples x and y, and drives slower askew
    control_period_s = 0.2   # lidar and odometry of such robots come 5 times a second
    value_names = ('start_x_m', 'start_y_m', 'start_yaw_rad', 'door_y_m')
    command = CommandPort('cmd_vel', 'geometry_msgs/msg/Twist', ('linear.x', 'angular.z'),
                          (-WHEEL_SPEED_MPS, -TURN_LIMIT_RADPS), (WHEEL_SPEED_MPS, TURN_LIMIT_RADPS))

    class Options(RoomsWorld.Options):
        """What `config/worlds/*.yaml` may set for this world."""

        lost_beams: float = Field(0.1, ge=0, le=1, allow_inf_nan=False)

    def __init__(self, door_y_m: float | None = 0.0, lost_beams: float = 0.1, seed: int = 0):
        """`door_y_m`: centre of the door, None draws one at each reset; `lost_beams`: share that reads 0.0."""
        self._lost_beams = lost_beams
        self._angles = 2 * math.pi / BEAMS * np.arange(BEAMS)
        forward, sideways = MASS_KG / MOTOR_TIME_CONSTANT_S, MASS_KG / GRIP_TIME_CONSTANT_S
        super().__init__(
            '<joint name="x" type="slide" axis="1 0 0"/><joint name="y" type="slide" axis="0 1 0"/>'
            '<joint name="yaw" type="hinge" axis="0 0 1"/><site name="base"/>' + hull(RADIUS_M, MASS_KG),
            # in the frame of the base: along the heading, sideways, and about the vertical axis
            f'<velocity site="base" gear="1 0 0 0 0 0" kv="{forward}" forcerange="{-MOTOR_FORCE_N} {MOTOR_FORCE_N}"/>'
            f'<velocity site="base" gear="0 1 0 0 0 0" kv="{sideways}" forcerange="{-GRIP_FORCE_N} {GRIP_FORCE_N}"/>'
            f'<velocity site="base" gear="0 0 0 0 0 1" kv="{INERTIA_KGM2 / MOTOR_TIME_CONSTANT_S}"/>',
            door_y_m, seed)

    @property
    def yaw(self) -> float:
        return math.remainder(float(self._data.qpos[2]), 2 * math.pi)

    @property
    def _yaw_rate(self) -> float:
        return float(self._data.qvel[2])

    def scan(self) -> Scan:
        """360 beams over a full turn, counter-clockwise from the heading; 0.0 is no measurement."""
        distances = self._distances(directions(self._angles + self.yaw), 2 * RANGE_MAX_M)
        lost = np.random.default_rng([self._seed, self._steps]).random(BEAMS) < self._lost_beams
        distances[lost | (distances < RANGE_MIN_M) | (distances > RANGE_MAX_M)] = 0.0
        return Scan(distances.astype(np.float32), 0.0, 2 * math.pi / BEAMS, RANGE_MIN_M, RANGE_MAX_M)

    def image(self, size: int = 128, pose: tuple[float, float] | None = None) -> np.ndarray:
        """The overhead picture (size, size, 3) uint8 RGB, a mark at the robot's front. State untouched."""
        image = super().image(size, pose)
        x, y = self.pose if pose is None else pose
        reach = RADIUS_M - 1.5 * MARK_RADIUS_M
        top_view(size, VIEW_M).draw_disc(image, x + reach * math.cos(self.yaw), y + reach * math.sin(self.yaw),
                                         MARK_RADIUS_M, MARK)
        return image

    def _control(self, command: np.ndarray) -> None:
        # what the wheels cannot turn they do not: at full speed ahead the outer wheel has nothing left for a turn
        forward, turn = command
        left, right = np.clip([forward - turn * TRACK_M / 2, forward + turn * TRACK_M / 2],
                              -WHEEL_SPEED_MPS, WHEEL_SPEED_MPS)
        self._data.ctrl[:] = (left + right) / 2, 0.0, (right - left) / TRACK_M

    def _start_qpos(self, start: tuple[float, float, float]) -> tuple[float, ...]:
        return start
