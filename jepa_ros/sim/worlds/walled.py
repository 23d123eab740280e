"""A square of 3 × 3 m with any walls in it: four rooms, a maze. The robot, topics and camera of world `two_rooms`.

Walls and rooms are rectangles in metres, frame `map` at the centre, drawn in `config/worlds/`.
"""
from collections.abc import Mapping
import math
from typing import Annotated

import mujoco
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from jepa_ros.errors import WorldError
from jepa_ros.sim.render import Rectangle, top_view
from jepa_ros.sim.worlds.floor_plan import DRAWS, HALF_M, OUTER_WALL_M, START_CLEARANCE_M
from jepa_ros.sim.worlds.rooms_world import FLOOR, VIEW_M, WALL
from jepa_ros.sim.worlds.two_rooms import TwoRooms

Metres = Annotated[float, Field(ge=-HALF_M, le=HALF_M, allow_inf_nan=False)]
Box = tuple[Metres, Metres, Metres, Metres]     # left, lower, right, upper


def _sound(name: str, box: Rectangle) -> None:
    if box[0] >= box[2] or box[1] >= box[3]:
        raise ValueError(f'{name} {list(box)}: give left < right and lower < upper, in metres, as left, lower, '
                         'right, upper')


class Walled(TwoRooms):
    """See `base.PlanarWorld`; start values are `start_x_m` and `start_y_m`."""

    name = 'walled'
    value_names = ('start_x_m', 'start_y_m')

    class Options(BaseModel):
        """What `config/worlds/*.yaml` may set for this world."""

        model_config = ConfigDict(extra='forbid')
        walls: list[Box] = Field(description='left, lower, right, upper of each, in metres')
        rooms: dict[str, Box] = Field(min_length=2, description='by name; starts and goals are drawn in them')

        @model_validator(mode='after')
        def _boxes(self):
            for number, wall in enumerate(self.walls):
                _sound(f'wall {number}', wall)
            for name, room in self.rooms.items():
                _sound(f'room {name}', room)
            return self

    def __init__(self, walls: list[Rectangle], rooms: Mapping[str, Rectangle], seed: int = 0):
        self._inner: list[Rectangle] = list(walls)
        self._room_boxes = dict(rooms)
        self.rooms = tuple(rooms)
        super().__init__(0.0, seed)

    def reset(self, seed: int, values: Mapping[str, float]) -> dict[str, float]:
        """Start anew; see `RoomsWorld.reset`. WorldError for a start in a wall."""
        for name, value in values.items():
            if name not in self.value_names:
                raise WorldError(f"world {self.name}: unknown value '{name}'; it has {', '.join(self.value_names)}")
            if not math.isfinite(value):
                raise WorldError(f'world {self.name}: {name} is {value}; give a finite number of metres')
        given = values.get('start_x_m'), values.get('start_y_m')
        rng = np.random.default_rng([seed, 1])
        for _ in range(DRAWS):
            x, y = (float(drawn if said is None else said)
                    for drawn, said in zip(rng.uniform(-HALF_M, HALF_M, 2), given))
            if self._clearance(x, y) >= self.radius_m + (START_CLEARANCE_M if None in given else 0.0):
                break
            if None not in given:
                raise WorldError(f'world {self.name}: at ({x:g}, {y:g}) the robot (radius {self.radius_m} m) would '
                                 'stand in a wall; choose a start that is free')
        else:
            raise WorldError(f'world {self.name}: no free start found with {dict(values)}')
        self._seed = seed
        self._place((x, y, 0.0), 0.0)
        return {'start_x_m': x, 'start_y_m': y}

    def image(self, size: int = 128, pose: tuple[float, float] | None = None) -> np.ndarray:
        """The overhead picture; see `RoomsWorld.image`."""
        view = top_view(size, VIEW_M)
        if size not in self._backgrounds:
            self._backgrounds[size] = view.rectangles([*_outer(), *self._inner], WALL, FLOOR)
        image = self._backgrounds[size].copy()
        view.draw_disc(image, *(self.pose if pose is None else pose), self.radius_m, self.colour)
        return image

    def free(self, x_m: float, y_m: float) -> bool:
        """Whether the robot can stand there without touching a wall."""
        return self._clearance(x_m, y_m) >= self.radius_m

    def sample_pose(self, rng: np.random.Generator, room: str | None = None) -> tuple[float, float]:
        """A free pose, uniform over a named room, or over all of them (None)."""
        if room is not None and room not in self._room_boxes:
            raise WorldError(f"world {self.name}: unknown room '{room}'; it has {', '.join(self.rooms)}")
        left, lower, right, upper = (-HALF_M, -HALF_M, HALF_M, HALF_M) if room is None else self._room_boxes[room]
        for _ in range(DRAWS):
            x, y = rng.uniform(left, right), rng.uniform(lower, upper)
            if self._clearance(x, y) >= self.radius_m + START_CLEARANCE_M:
                return float(x), float(y)
        raise WorldError(f'world {self.name}: room {room} has no place in which the robot could stand')

    # --- geometry

    def _clearance(self, x: float, y: float) -> float:
        """Distance from a point to the nearest wall; not positive inside one or outside the square."""
        inner = min((math.hypot(max(left - x, x - right, 0.0), max(lower - y, y - upper, 0.0))
                     for left, lower, right, upper in self._inner), default=math.inf)
        return min(inner, HALF_M - abs(x), HALF_M - abs(y))

    def _built(self, xml: str) -> mujoco.MjModel:
        """The model of the two rooms with these walls in place of the dividing one."""
        spec = mujoco.MjSpec.from_string(xml)
        for half in ('lower', 'upper'):
            spec.delete(spec.body(half))
        for left, lower, right, upper in self._inner:
            spec.worldbody.add_geom(
                type=mujoco.mjtGeom.mjGEOM_BOX, pos=[(left + right) / 2, (lower + upper) / 2, 0],
                size=[(right - left) / 2, (upper - lower) / 2, 0.5], contype=1, conaffinity=0, friction=[0.05, 0, 0])
        return spec.compile()

    def _move_walls(self, door_y_m: float) -> None:
        """These stay where they are."""


def _outer() -> list[Rectangle]:
    out = HALF_M + OUTER_WALL_M
    return [(-out, -out, -HALF_M, out), (HALF_M, -out, out, out), (-out, -out, out, -HALF_M), (-out, HALF_M, out, out)]
