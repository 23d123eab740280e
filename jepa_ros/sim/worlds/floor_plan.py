"""The two rooms that the driving worlds share: geometry, walls for MuJoCo, free starts. Pure; no robot in it.

3.0 × 3.0 m inside, frame `map` at the centre, a dividing wall at x = 0 with a door 0.6 m wide whose position is fixed
or drawn per episode.
"""
from collections.abc import Mapping
from dataclasses import dataclass
import math

import numpy as np

from jepa_ros.errors import WorldError
from jepa_ros.sim.render import Rectangle

HALF_M = 1.5                 # half the inner side
OUTER_WALL_M = 0.5           # thickness; the camera sees the inner 0.1 m of it
DIVIDER_HALF_M = 0.05
DOOR_HALF_M = 0.3
DOOR_LIMIT_M = HALF_M - DOOR_HALF_M   # a door further out would be cut by the outer wall
DOOR_DRAWN_M = 1.0           # drawn doors are within ± this
START_CLEARANCE_M = 0.02     # drawn poses keep this from walls, so that no episode begins in contact
NEAR_DOOR_SHARE = 1 / 3      # of the starts: passing the door is rare in random motion and must be learnt
NEAR_DOOR_X_M = 0.5
NEAR_DOOR_Y_M = 0.45
DRAWS = 1000                 # tries to find a free start before saying that there is none
PHYSICS_STEP_S = 0.005
ROOMS = ('left', 'right')


@dataclass(frozen=True)
class Rooms:
    """The rooms for a round robot: `world` is the name for error lines, `radius_m` the robot's."""

    world: str
    radius_m: float

    def door(self, door_y_m: float) -> float:
        """Checked centre of a door; WorldError where it does not fit."""
        if not abs(door_y_m) <= DOOR_LIMIT_M:
            raise WorldError(f'world {self.world}: door_y_m = {door_y_m:g} does not fit; '
                             f'it must be within ±{DOOR_LIMIT_M:g} m')
        return float(door_y_m)

    def free(self, x_m: float, y_m: float, door_y_m: float, margin_m: float = 0.0) -> bool:
        """Whether the robot can stand there, `margin_m` away from any wall."""
        return clearance(x_m, y_m, door_y_m) >= self.radius_m + margin_m

    def sample(self, rng: np.random.Generator, door_y_m: float, room: str | None) -> tuple[float, float]:
        """A free pose (x, y), uniform over a room, or over both and the doorway (None)."""
        if room not in (*ROOMS, None):
            raise WorldError(f"world {self.world}: unknown room '{room}'; it has {', '.join(ROOMS)}")
        sign = {'left': -1, 'right': 1, None: 0}[room]
        while True:
            x, y = rng.uniform(-HALF_M, HALF_M, 2)
            # a pose in the doorway belongs to no room
            inside = sign == 0 or sign * x >= DIVIDER_HALF_M + self.radius_m
            if inside and self.free(x, y, door_y_m, START_CLEARANCE_M):
                return float(x), float(y)

    def start(self, rng: np.random.Generator, door_y_m: float, values: Mapping[str, float]) -> tuple[float, float]:
        """A free start (x, y): `start_x_m` and `start_y_m` of `values` where given, else drawn.

        A third of the drawn ones is near the door. WorldError where the robot would stand in a wall.
        """
        given = values.get('start_x_m'), values.get('start_y_m')
        near_door = rng.random() < NEAR_DOOR_SHARE
        both = None not in given
        for attempt in range(DRAWS):
            x, y = rng.uniform(-HALF_M, HALF_M, 2)
            if near_door and attempt < DRAWS // 2:  # a given coordinate may not go with the door
                x, y = x * NEAR_DOOR_X_M / HALF_M, door_y_m + y * NEAR_DOOR_Y_M / HALF_M
            x, y = (float(drawn if said is None else said) for drawn, said in zip((x, y), given))
            if self.free(x, y, door_y_m, 0.0 if both else START_CLEARANCE_M):
                return x, y
            if both:
                break
        said = ', '.join(f'{name} = {value:g}' for name, value in zip(('start_x_m', 'start_y_m'), given)
                         if value is not None)
        raise WorldError(f'world {self.world}: with {said} and door_y_m = {door_y_m:g} the robot (radius '
                         f'{self.radius_m} m) would stand in a wall; choose a start that is free')


def walls(door_y_m: float) -> list[Rectangle]:
    """The walls seen from above, in metres."""
    outer = HALF_M + OUTER_WALL_M
    return [(-outer, -outer, -HALF_M, outer), (HALF_M, -outer, outer, outer),
            (-outer, -outer, outer, -HALF_M), (-outer, HALF_M, outer, outer),
            (-DIVIDER_HALF_M, -HALF_M, DIVIDER_HALF_M, door_y_m - DOOR_HALF_M),
            (-DIVIDER_HALF_M, door_y_m + DOOR_HALF_M, DIVIDER_HALF_M, HALF_M)]


def clearance(x_m: float, y_m: float, door_y_m: float) -> float:
    """Distance from a point to the nearest wall; not positive inside a wall or outside the rooms."""
    divider = min(math.hypot(max(abs(x_m) - DIVIDER_HALF_M, 0.0), max(gap, 0.0))
                  for gap in (y_m - (door_y_m - DOOR_HALF_M), door_y_m + DOOR_HALF_M - y_m))
    return min(divider, HALF_M - abs(x_m), HALF_M - abs(y_m))


def door_wall_positions(door_y_m: float) -> list[list[float]]:
    """Positions (2, 3) of the two movable halves of the dividing wall, lower and upper."""
    return [[0, door_y_m - DOOR_HALF_M - HALF_M, 0], [0, door_y_m + DOOR_HALF_M + HALF_M, 0]]


def mjcf(name: str, robot: str, actuators: str, integrator: str) -> str:
    """The MuJoCo model of the rooms around a body `robot`, whose geoms collide with contype 0, conaffinity 1."""
    side, reach = HALF_M + OUTER_WALL_M, HALF_M + OUTER_WALL_M / 2
    outer = ''.join(
        f'<geom class="wall" pos="{x} {y} 0" size="{sx} {sy} 0.5"/>'
        for x, y, sx, sy in ((-reach, 0, OUTER_WALL_M / 2, side), (reach, 0, OUTER_WALL_M / 2, side),
                             (0, -reach, side, OUTER_WALL_M / 2), (0, reach, side, OUTER_WALL_M / 2)))
    # the two halves of the dividing wall are longer than needed and move into the outer wall: no recompiling
    divider = ''.join(
        f'<body name="{half}" mocap="true"><geom class="wall" size="{DIVIDER_HALF_M} {HALF_M} 0.5"/></body>'
        for half in ('lower', 'upper'))
    return f"""<mujoco model="{name}">
      <option timestep="{PHYSICS_STEP_S}" gravity="0 0 0" integrator="{integrator}" cone="elliptic"/>
      <default><default class="wall"><geom type="box" contype="1" conaffinity="0" friction="0.05 0 0"/></default>
      </default>
      <worldbody>{outer}{divider}<body name="robot">{robot}</body></worldbody>
      <actuator>{actuators}</actuator>
    </mujoco>"""


def hull(radius_m: float, mass_kg: float) -> str:
    """The robot's body: a sphere, whose contact with boxes is exact and fast, in the plane of the walls."""
    return (f'<geom name="robot" type="sphere" size="{radius_m}" mass="{mass_kg}" contype="0" conaffinity="1" '
            f'friction="0.05 0 0" solref="{2 * PHYSICS_STEP_S} 1" solimp="0.98 0.999 0.001"/>')
