"""What a round robot in the two rooms has in common, whatever drives it: reset, steps, contact, camera, lidar.

A subclass names the robot and its topics and turns a command into MuJoCo's controls.
"""
from collections.abc import Callable, Mapping
import math

import mujoco
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from jepa_ros.errors import WorldError
from jepa_ros.sim.render import Colour, top_view
from jepa_ros.sim.worlds import floor_plan
from jepa_ros.sim.worlds.base import CommandPort, Frame, Odometry2D, Reading, Scan, Sensor

CONTACT_RELEASE_S = 0.1      # contact that is lost for less than this is the same contact: no counting of chatter
VIEW_M = 3.2
FLOOR = (226, 226, 222)
WALL = (44, 46, 58)
IMAGE, ODOMETRY, SCAN = 'camera/image_raw', 'odom', 'scan'
CAMERA_FRAME = 'overhead_camera'
CAMERA_HEIGHT_M = 3.0


class RoomsWorld:
    """See `base.PlanarWorld`. Same seed and same commands give the same trajectory, bit for bit."""

    name: str
    radius_m: float
    colour: Colour
    command: CommandPort
    control_period_s = 0.1
    integrator = 'implicitfast'
    value_names: tuple[str, ...] = ('start_x_m', 'start_y_m', 'door_y_m')
    rooms: tuple[str, ...] = floor_plan.ROOMS
    physics_step_s = floor_plan.PHYSICS_STEP_S
    sensors = (Sensor(IMAGE, 'image', CAMERA_FRAME), Sensor(ODOMETRY, 'odometry', 'odom'),
               Sensor(SCAN, 'scan', 'base_link'))
    # the camera looks down with its columns along x: half a turn about x
    frames = (Frame('map', 'odom'), Frame('map', CAMERA_FRAME, (0.0, 0.0, CAMERA_HEIGHT_M), (0.0, 1.0, 0.0, 0.0)))

    class Options(BaseModel):
        """What `config/worlds/*.yaml` may set for this world."""

        model_config = ConfigDict(extra='forbid')
        door_y_m: float | None = Field(
            0.0, ge=-floor_plan.DOOR_LIMIT_M, le=floor_plan.DOOR_LIMIT_M, allow_inf_nan=False)

        @field_validator('door_y_m', mode='before')
        @classmethod
        def _drawn(cls, value):
            return None if value == 'drawn' else value

    def __init__(self, robot: str, actuators: str, door_y_m: float | None = 0.0, seed: int = 0):
        """`robot` and `actuators` are MJCF. `door_y_m`: centre of the door, None draws one at each reset."""
        self._rooms = floor_plan.Rooms(self.name, self.radius_m)
        self._fixed_door_y_m = None if door_y_m is None else self._rooms.door(door_y_m)
        self._model = self._built(floor_plan.mjcf(self.name, robot, actuators, self.integrator))
        self._data = mujoco.MjData(self._model)
        self._robot_body = self._model.body('robot').id
        self._backgrounds: dict[int, np.ndarray] = {}  # by size, until the door moves
        self._steps = self._collisions = self._last_contact = 0
        self.reset(seed, {})

    @property
    def pose(self) -> tuple[float, float]:
        return float(self._data.qpos[0]), float(self._data.qpos[1])

    @property
    def yaw(self) -> float:
        """Heading in rad, within ±π."""
        return 0.0

    @property
    def velocity(self) -> tuple[float, float]:
        return float(self._data.qvel[0]), float(self._data.qvel[1])

    @property
    def idle_command(self) -> np.ndarray:
        return np.zeros(len(self.command.fields))

    @property
    def collisions(self) -> int:
        return self._collisions

    @property
    def time_s(self) -> float:
        return self._steps * self.physics_step_s

    @property
    def door_y_m(self) -> float:
        return self._door_y_m

    def reset(self, seed: int, values: Mapping[str, float]) -> dict[str, float]:
        """Start anew: named values are set, the others drawn with `seed`. Returns all of `value_names`.

        Giving a start does not change the drawn door. Raises WorldError for an unknown name, a value that is not
        finite, a door that does not fit, or a start that touches a wall; the world is then unchanged.
        """
        for name, value in values.items():
            if name not in self.value_names:
                raise WorldError(f"world {self.name}: unknown value '{name}'; it has {', '.join(self.value_names)}")
            if not math.isfinite(value):
                unit = 'radians' if name.endswith('_rad') else 'metres'
                raise WorldError(f'world {self.name}: {name} is {value}; give a finite number of {unit}')
        door_rng, start_rng, yaw_rng = (np.random.default_rng([seed, stream]) for stream in range(3))
        door_y_m = self._fixed_door_y_m
        if 'door_y_m' in values:
            door_y_m = self._rooms.door(values['door_y_m'])
        elif door_y_m is None:
            door_y_m = float(door_rng.uniform(-floor_plan.DOOR_DRAWN_M, floor_plan.DOOR_DRAWN_M))
        x, y = self._rooms.start(start_rng, door_y_m, values)
        yaw = float(values.get('start_yaw_rad', yaw_rng.uniform(-math.pi, math.pi)))
        self._seed = seed
        self._place((x, y, yaw), door_y_m)
        state = {'start_x_m': x, 'start_y_m': y, 'start_yaw_rad': yaw, 'door_y_m': door_y_m}
        return {name: state[name] for name in self.value_names}

    def step(self, command: np.ndarray, duration_s: float | None = None) -> None:
        """Apply a command (2,), clipped to its limits, for a multiple of 5 ms (default: one control period).

        Raises WorldError for a command that is not two finite numbers.
        """
        command = np.asarray(command, float)
        if command.shape != (2,) or not np.isfinite(command).all():
            raise WorldError(f'world {self.name}: a command is two finite speeds ({", ".join(self.command.fields)}), '
                             f'not {command.tolist()}')
        self._control(np.clip(command, self.command.low, self.command.high))
        for _ in range(round((self.control_period_s if duration_s is None else duration_s) / self.physics_step_s)):
            mujoco.mj_step(self._model, self._data)
            self._steps += 1
            if self._data.ncon:
                if self._steps - self._last_contact > CONTACT_RELEASE_S / self.physics_step_s:
                    self._collisions += 1
                self._last_contact = self._steps

    def read(self, topic: str) -> Reading:
        readers: dict[str, Callable[[], Reading]] = {IMAGE: self.image, ODOMETRY: self.odometry, SCAN: self.scan}
        return readers[topic]()

    def odometry(self) -> Odometry2D:
        """The true pose, and the velocity in the robot's own frame."""
        (vx, vy), yaw = self.velocity, self.yaw
        cos, sin = math.cos(yaw), math.sin(yaw)
        return Odometry2D(*self.pose, yaw, cos * vx + sin * vy, cos * vy - sin * vx, self._yaw_rate)

    def image(self, size: int = 128, pose: tuple[float, float] | None = None) -> np.ndarray:
        """The overhead picture (size, size, 3) uint8 RGB; with `pose`, as if the robot were there. State untouched."""
        view = top_view(size, VIEW_M)
        if size not in self._backgrounds:
            self._backgrounds[size] = view.rectangles(floor_plan.walls(self._door_y_m), WALL, FLOOR)
        image = self._backgrounds[size].copy()
        view.draw_disc(image, *(self.pose if pose is None else pose), self.radius_m, self.colour)
        return image

    def scan(self) -> Scan:
        raise NotImplementedError

    def free(self, x_m: float, y_m: float) -> bool:
        """Whether the robot can stand there without touching a wall."""
        return self._rooms.free(x_m, y_m, self._door_y_m)

    def sample_pose(self, rng: np.random.Generator, room: str | None = None) -> tuple[float, float]:
        """A free pose, uniform over room 'left' or 'right', or over both and the doorway (None)."""
        return self._rooms.sample(rng, self._door_y_m, room)

    # --- for subclasses

    def _control(self, command: np.ndarray) -> None:
        """Set MuJoCo's controls from a command within its limits."""
        self._data.ctrl[:len(command)] = command

    def _built(self, xml: str) -> mujoco.MjModel:
        """MuJoCo's model of the rooms and the robot."""
        return mujoco.MjModel.from_xml_string(xml)

    def _move_walls(self, door_y_m: float) -> None:
        """Put the halves of the dividing wall beside the door."""
        self._data.mocap_pos[:] = floor_plan.door_wall_positions(door_y_m)

    def _start_qpos(self, start: tuple[float, float, float]) -> tuple[float, ...]:
        """Joint positions of a start x, y, yaw."""
        return start[:2]

    @property
    def _yaw_rate(self) -> float:
        return 0.0

    def _distances(self, directions: np.ndarray, cutoff_m: float) -> np.ndarray:
        """Distance (n,) in m from the robot's centre along unit vectors (n * 3,); −1 where no wall is hit."""
        count = len(directions) // 3
        hit, distances = np.empty(count, np.int32), np.empty(count)
        mujoco.mj_multiRay(self._model, self._data, np.array([*self.pose, 0.0]), directions, None, 1,
                           self._robot_body, hit, distances, count, cutoff_m)
        return distances

    def _place(self, start: tuple[float, float, float], door_y_m: float) -> None:
        mujoco.mj_resetData(self._model, self._data)
        self._move_walls(door_y_m)
        self._data.qpos[:] = self._start_qpos(start)
        mujoco.mj_forward(self._model, self._data)
        self._door_y_m = door_y_m
        self._backgrounds.clear()
        self._steps = self._collisions = 0
        self._last_contact = -10**9  # in steps: long ago


def directions(angles: np.ndarray) -> np.ndarray:
    """Unit vectors (n * 3,) in the plane for angles (n,) in rad, as MuJoCo's rays take them."""
    return np.stack([np.cos(angles), np.sin(angles), np.zeros(len(angles))], 1).ravel()
