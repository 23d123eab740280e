"""Two rooms joined by a door: an omnidirectional disc robot in MuJoCo, seen from above.

3.0 × 3.0 m inside, frame `map` at the centre, a dividing wall at x = 0 with a door 0.6 m wide whose position is fixed
or drawn per episode. The task of the two-room benchmarks (see README), with real contact instead of kinematics.
"""
from collections.abc import Mapping
import math

import mujoco
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from jepa_ros.errors import WorldError
from jepa_ros.sim.render import Rectangle, top_view
from jepa_ros.sim.worlds.base import Scan

HALF_M = 1.5                 # half the inner side
OUTER_WALL_M = 0.5           # thickness; the camera sees the inner 0.1 m of it
DIVIDER_HALF_M = 0.05
DOOR_HALF_M = 0.3
DOOR_LIMIT_M = HALF_M - DOOR_HALF_M   # a door further out would be cut by the outer wall
DOOR_DRAWN_M = 1.0           # drawn doors are within ± this
ROBOT_RADIUS_M = 0.12
ROBOT_MASS_KG = 5.0
MOTOR_TIME_CONSTANT_S = 0.03
SPEED_LIMIT_MPS = 0.8
PHYSICS_STEP_S = 0.005
CONTACT_RELEASE_S = 0.1      # contact that is lost for less than this is the same contact: no counting of chatter
START_CLEARANCE_M = 0.02     # drawn poses keep this from walls, so that no episode begins in contact
NEAR_DOOR_SHARE = 1 / 3      # of the starts: passing the door is rare in random motion and must be learnt
NEAR_DOOR_X_M = 0.5
NEAR_DOOR_Y_M = 0.45
DRAWS = 1000                 # tries to find a free start before saying that there is none

VIEW_M = 3.2
FLOOR = (226, 226, 222)
WALL = (44, 46, 58)
ROBOT = (255, 112, 0)

BEAMS = 90
RANGE_MIN_M = 0.05
RANGE_MAX_M = 5.0


def _mjcf() -> str:
    """The model. The robot is a sphere (exact, fast contact with boxes) that can only slide in x and y."""
    side, reach = HALF_M + OUTER_WALL_M, HALF_M + OUTER_WALL_M / 2
    outer = ''.join(
        f'<geom class="wall" pos="{x} {y} 0" size="{sx} {sy} 0.5"/>'
        for x, y, sx, sy in ((-reach, 0, OUTER_WALL_M / 2, side), (reach, 0, OUTER_WALL_M / 2, side),
                             (0, -reach, side, OUTER_WALL_M / 2), (0, reach, side, OUTER_WALL_M / 2)))
    # the two halves of the dividing wall are longer than needed and move into the outer wall: no recompiling
    divider = ''.join(
        f'<body name="{name}" mocap="true"><geom class="wall" size="{DIVIDER_HALF_M} {HALF_M} 0.5"/></body>'
        for name in ('lower', 'upper'))
    gain = ROBOT_MASS_KG / MOTOR_TIME_CONSTANT_S
    motors = ''.join(f'<velocity joint="{axis}" kv="{gain}" ctrllimited="true" '
                     f'ctrlrange="{-SPEED_LIMIT_MPS} {SPEED_LIMIT_MPS}"/>' for axis in 'xy')
    return f"""<mujoco model="two_rooms">
      <option timestep="{PHYSICS_STEP_S}" gravity="0 0 0" integrator="implicitfast" cone="elliptic"/>
      <default><default class="wall"><geom type="box" contype="1" conaffinity="0" friction="0.05 0 0"/></default>
      </default>
      <worldbody>{outer}{divider}
        <body name="robot">
          <joint name="x" type="slide" axis="1 0 0"/><joint name="y" type="slide" axis="0 1 0"/>
          <geom name="robot" type="sphere" size="{ROBOT_RADIUS_M}" mass="{ROBOT_MASS_KG}" contype="0" conaffinity="1"
            friction="0.05 0 0" solref="{2 * PHYSICS_STEP_S} 1" solimp="0.98 0.999 0.001"/>
        </body>
      </worldbody>
      <actuator>{motors}</actuator>
    </mujoco>"""


class TwoRooms:
    """See `jepa_ros.sim.worlds.base.World`. Same seed and same commands give the same trajectory, bit for bit."""

    name = 'two_rooms'
    value_names = ('start_x_m', 'start_y_m', 'door_y_m')
    rooms = ('left', 'right')
    speed_limit_mps = SPEED_LIMIT_MPS
    physics_step_s = PHYSICS_STEP_S

    class Options(BaseModel):
        """What `config/worlds/*.yaml` may set for this world."""

        model_config = ConfigDict(extra='forbid')
        door_y_m: float | None = Field(0.0, ge=-DOOR_LIMIT_M, le=DOOR_LIMIT_M, allow_inf_nan=False)

        @field_validator('door_y_m', mode='before')
        @classmethod
        def _drawn(cls, value):
            return None if value == 'drawn' else value

    def __init__(self, door_y_m: float | None = 0.0, seed: int = 0):
        """`door_y_m`: centre of the door, None draws one at each reset. Raises WorldError beyond ±1.2 m."""
        self._fixed_door_y_m = None if door_y_m is None else _door(door_y_m)
        self._model = mujoco.MjModel.from_xml_string(_mjcf())
        self._data = mujoco.MjData(self._model)
        self._robot_body = self._model.body('robot').id
        angles = -math.pi + 2 * math.pi / BEAMS * np.arange(BEAMS)
        self._beams = np.stack([np.cos(angles), np.sin(angles), np.zeros(BEAMS)], 1).ravel()  # (beams * 3,)
        self._backgrounds: dict[int, np.ndarray] = {}  # by size, until the door moves
        self._steps = self._collisions = self._last_contact = 0
        self.reset(seed, {})

    @property
    def pose(self) -> tuple[float, float]:
        x, y = self._data.qpos
        return float(x), float(y)

    @property
    def velocity(self) -> tuple[float, float]:
        vx, vy = self._data.qvel
        return float(vx), float(vy)

    @property
    def collisions(self) -> int:
        return self._collisions

    @property
    def time_s(self) -> float:
        return self._steps * PHYSICS_STEP_S

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
                raise WorldError(f'world {self.name}: {name} is {value}; give a finite number of metres')
        door_rng, start_rng = (np.random.default_rng([seed, stream]) for stream in range(2))
        door_y_m = self._fixed_door_y_m
        if 'door_y_m' in values:
            door_y_m = _door(values['door_y_m'])
        elif door_y_m is None:
            door_y_m = float(door_rng.uniform(-DOOR_DRAWN_M, DOOR_DRAWN_M))
        start = self._start(start_rng, door_y_m, values.get('start_x_m'), values.get('start_y_m'))
        self._place(start, door_y_m)
        return dict(zip(self.value_names, (*start, door_y_m)))

    def step(self, command: np.ndarray, duration_s: float = 0.1) -> None:
        """Apply a velocity command (2,) in m/s, clipped to ±0.8 per axis, for a multiple of 5 ms.

        Raises WorldError for a command that is not two finite numbers.
        """
        command = np.asarray(command, float)
        if command.shape != (2,) or not np.isfinite(command).all():
            raise WorldError(f'world {self.name}: a command is two finite speeds in m/s, not {command.tolist()}')
        self._data.ctrl[:] = command
        for _ in range(round(duration_s / PHYSICS_STEP_S)):
            mujoco.mj_step(self._model, self._data)
            self._steps += 1
            if self._data.ncon:
                if self._steps - self._last_contact > CONTACT_RELEASE_S / PHYSICS_STEP_S:
                    self._collisions += 1
                self._last_contact = self._steps

    def image(self, size: int = 128, pose: tuple[float, float] | None = None) -> np.ndarray:
        """The overhead picture (size, size, 3) uint8 RGB; with `pose`, as if the robot were there. State untouched."""
        view = top_view(size, VIEW_M)
        if size not in self._backgrounds:
            self._backgrounds[size] = view.rectangles(_walls(self._door_y_m), WALL, FLOOR)
        image = self._backgrounds[size].copy()
        view.draw_disc(image, *(self.pose if pose is None else pose), ROBOT_RADIUS_M, ROBOT)
        return image

    def scan(self) -> Scan:
        """90 beams over a full turn from the robot's centre, counter-clockwise from −π."""
        hit, distances = np.empty(BEAMS, np.int32), np.empty(BEAMS)
        mujoco.mj_multiRay(self._model, self._data, np.array([*self.pose, 0.0]), self._beams, None, 1,
                           self._robot_body, hit, distances, BEAMS, 2 * RANGE_MAX_M)
        ranges = np.where((distances < 0) | (distances > RANGE_MAX_M), np.inf, distances)
        ranges[(distances >= 0) & (distances < RANGE_MIN_M)] = -np.inf
        return Scan(ranges.astype(np.float32), -math.pi, 2 * math.pi / BEAMS, RANGE_MIN_M, RANGE_MAX_M)

    def free(self, x_m: float, y_m: float) -> bool:
        """Whether the robot can stand there without touching a wall."""
        return _clearance(x_m, y_m, self._door_y_m) >= ROBOT_RADIUS_M

    def sample_pose(self, rng: np.random.Generator, room: str | None = None) -> tuple[float, float]:
        """A free pose, uniform over room 'left' or 'right', or over both and the doorway (None)."""
        if room not in (*self.rooms, None):
            raise WorldError(f"world {self.name}: unknown room '{room}'; it has {', '.join(self.rooms)}")
        sign = {'left': -1, 'right': 1, None: 0}[room]
        while True:
            x, y = rng.uniform(-HALF_M, HALF_M, 2)
            # a pose in the doorway belongs to no room
            inside = sign == 0 or sign * x >= DIVIDER_HALF_M + ROBOT_RADIUS_M
            if inside and _clearance(x, y, self._door_y_m) >= ROBOT_RADIUS_M + START_CLEARANCE_M:
                return float(x), float(y)

    def _start(self, rng: np.random.Generator, door_y_m: float, x_given: float | None,
               y_given: float | None) -> tuple[float, float]:
        near_door = rng.random() < NEAR_DOOR_SHARE
        for attempt in range(DRAWS):
            x, y = rng.uniform(-HALF_M, HALF_M, 2)
            if near_door and attempt < DRAWS // 2:  # a given coordinate may not go with the door
                x, y = x * NEAR_DOOR_X_M / HALF_M, door_y_m + y * NEAR_DOOR_Y_M / HALF_M
            x, y = (float(drawn if given is None else given) for drawn, given in ((x, x_given), (y, y_given)))
            both = x_given is not None and y_given is not None
            if _clearance(x, y, door_y_m) >= ROBOT_RADIUS_M + (0.0 if both else START_CLEARANCE_M):
                return x, y
            if both:
                break
        pairs = (('start_x_m', x_given), ('start_y_m', y_given))
        given = ', '.join(f'{name} = {value:g}' for name, value in pairs if value is not None)
        raise WorldError(f'world {self.name}: with {given} and door_y_m = {door_y_m:g} the robot (radius '
                         f'{ROBOT_RADIUS_M} m) would stand in a wall; choose a start that is free')

    def _place(self, start: tuple[float, float], door_y_m: float) -> None:
        mujoco.mj_resetData(self._model, self._data)
        self._data.mocap_pos[:] = [[0, door_y_m - DOOR_HALF_M - HALF_M, 0], [0, door_y_m + DOOR_HALF_M + HALF_M, 0]]
        self._data.qpos[:] = start
        mujoco.mj_forward(self._model, self._data)
        self._door_y_m = door_y_m
        self._backgrounds.clear()
        self._steps = self._collisions = 0
        self._last_contact = -10**9  # in steps: long ago


def _door(door_y_m: float) -> float:
    if not abs(door_y_m) <= DOOR_LIMIT_M:
        raise WorldError(f'world two_rooms: door_y_m = {door_y_m:g} does not fit; '
                         f'it must be within ±{DOOR_LIMIT_M:g} m')
    return float(door_y_m)


def _walls(door_y_m: float) -> list[Rectangle]:
    outer = HALF_M + OUTER_WALL_M
    return [(-outer, -outer, -HALF_M, outer), (HALF_M, -outer, outer, outer),
            (-outer, -outer, outer, -HALF_M), (-outer, HALF_M, outer, outer),
            (-DIVIDER_HALF_M, -HALF_M, DIVIDER_HALF_M, door_y_m - DOOR_HALF_M),
            (-DIVIDER_HALF_M, door_y_m + DOOR_HALF_M, DIVIDER_HALF_M, HALF_M)]


def _clearance(x_m: float, y_m: float, door_y_m: float) -> float:
    """Distance from a point to the nearest wall; not positive inside a wall or outside the rooms."""
    divider = min(math.hypot(max(abs(x_m) - DIVIDER_HALF_M, 0.0), max(gap, 0.0))
                  for gap in (y_m - (door_y_m - DOOR_HALF_M), door_y_m + DOOR_HALF_M - y_m))
    return min(divider, HALF_M - abs(x_m), HALF_M - abs(y_m))
