"""OGBench's `pointmaze-medium` as the maze benchmark uses it: a picture from above, cells, the expert's map.

The percept is one picture of the whole maze from OGBench's own overhead camera, 64 × 64 pixels, with its coloured floor
and without the goal's marker. The point has no velocity (the environment adds the action to its position), so one
picture says everything. Shadows and multisampling are off; the picture is drawn twice as large and averaged instead.
Needs `pip install --no-deps ogbench==1.2.2`; drawing without a display needs EGL (MUJOCO_GL=egl).
"""
from collections import deque
import math
import os

import cv2
import numpy as np

ENVIRONMENT = 'pointmaze-medium-v0'
SIDE = 64                   # pixels of the percept
REPEAT = 2                  # steps of the environment (0.1 s) in a control step: an action lasts 0.2 s
REACH = 0.2 * REPEAT        # units an axis moves in a control step at full speed; a cell has 4
NEIGHBOURS = ((-1, 0), (0, -1), (1, 0), (0, 1))
Cell = tuple[int, int]      # row and column of the maze's map


class MazeWorld:
    """The maze with a point in it. Positions are OGBench's (x, y), in units of a quarter cell."""

    def __init__(self) -> None:
        os.environ.setdefault('MUJOCO_GL', 'egl')
        import gymnasium
        import ogbench  # noqa: F401  (registers its environments)
        self._env = gymnasium.make(ENVIRONMENT, ob_type='pixels', width=2 * SIDE, height=2 * SIDE).unwrapped
        quality = self._env.model.vis.quality
        quality.shadowsize = quality.offsamples = 0
        self._env.custom_renderer.close()
        self._env.initialize_renderer()         # anew: both are read when a renderer is made
        self._env.get_ob = self._env.get_xy     # or it would draw a picture in every step
        self.tolerance = float(self._env._goal_tol)     # distance to the goal that counts as success
        self.walls: np.ndarray = self._env.maze_map == 1
        self.cells: list[Cell] = [(int(i), int(j)) for i, j in np.argwhere(~self.walls)]
        self._env.reset()

    @property
    def position(self) -> np.ndarray:
        return self._env.get_xy()

    def place(self, position: np.ndarray) -> None:
        """Put the point there, as the environment's own reset does."""
        self._env.set_xy(np.asarray(position, float))

    def step(self, action: np.ndarray) -> None:
        """One control step with an action (2,) in −1…1."""
        for _ in range(REPEAT):
            self._env.step(np.asarray(action, float))

    def image(self, side: int = SIDE) -> np.ndarray:
        """Picture (side, side, 3) uint8 of the maze from above."""
        return cv2.resize(self._env.render(), (side, side), interpolation=cv2.INTER_AREA)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, lower and upper edge of what the picture shows of the floor."""
        camera = self._env.custom_camera
        half = camera.distance * math.tan(math.radians(self._env.model.vis.global_.fovy / 2))
        x, y = camera.lookat[:2]
        return x - half, x + half, y - half, y + half

    def centre(self, cell: Cell) -> np.ndarray:
        return np.array(self._env.ij_to_xy(cell), float)

    def cell(self, position: np.ndarray) -> Cell:
        return self._env.xy_to_ij(position)

    def distances(self, goal: Cell) -> dict[Cell, int]:
        """Moves from cell to cell from every free cell to the goal."""
        return wavefront(self.walls, goal)

    def close(self) -> None:
        self._env.custom_renderer.close()
        self._env.close()


def wavefront(walls: np.ndarray, goal: Cell) -> dict[Cell, int]:
    """Moves from every cell that leads to `goal` (row, column) where walls (rows, columns) is False."""
    known, queue = {goal: 0}, deque([goal])
    while queue:
        i, j = queue.popleft()
        for di, dj in NEIGHBOURS:
            near = i + di, j + dj
            if not walls[near] and near not in known:
                known[near] = known[i, j] + 1
                queue.append(near)
    return known
