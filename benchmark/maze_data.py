"""Training data of the maze benchmark: an own shortest-path expert, and random exploration.

Half of the episodes are tours: shortest ways (wavefront over cells) to one random cell after another, through a random
point of each cell on the way, with correlated noise on the actions. The other half explores: a random direction for a
random time, with the same noise; it runs into walls often, which the expert does not, and a model that never saw that
believes in ways through them.
"""
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from maze_world import Cell, MazeWorld, NEIGHBOURS, REACH
import numpy as np

EPISODE = 300           # control steps, one minute
JITTER = 1.0            # units a way point lies off the centre of its cell, at most; the point's centre may be 1.3 off
NEAR = 0.5              # units; a way point nearer than this is passed
NOISE, CORRELATION = 0.3, 0.8       # of the actions, and from step to step
LASTS = 15              # control steps a direction of exploration lasts on average, one and a half cells
BLOCKED = 0.25          # share of a full step; a point that moved less turns away with chance TURN
TURN = 0.3


@dataclass(frozen=True)
class Recording:
    """Episodes of equal length, end to end: images (N, H, W, 3) uint8, actions (N, 2) in −1…1, positions (N, 2)."""

    images: np.ndarray
    actions: np.ndarray
    positions: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray


class Expert:
    """Goes to random cells along shortest ways."""

    def __init__(self, world: MazeWorld, rng: np.random.Generator):
        self._world, self._rng = world, rng
        self._goal: Cell | None = None
        self._target = world.position

    def action(self) -> np.ndarray:
        """The action (2,) in −1…1 for where the point is now, without noise."""
        here = self._world.position
        if self._goal is None or np.linalg.norm(self._target - here) < NEAR:
            self._next(self._world.cell(here))
        ahead = (self._target - here) / REACH
        return ahead / max(1.0, np.abs(ahead).max()) * self._pace

    def _next(self, cell: Cell) -> None:
        if self._goal is None or cell == self._goal:
            others = [c for c in self._world.cells if c != cell]
            self._goal = others[self._rng.integers(len(others))]
            self._distances = self._world.distances(self._goal)
            self._pace = self._rng.uniform(0.75, 1.0)
        ways = [(cell[0] + i, cell[1] + j) for i, j in NEIGHBOURS]
        nearer = [c for c in ways if self._distances.get(c, np.inf) < self._distances[cell]]
        chosen = nearer[self._rng.integers(len(nearer))]
        self._target = self._world.centre(chosen) + self._rng.uniform(-JITTER, JITTER, 2)


class Explorer:
    """Goes in a random direction at a random pace for a while; turns away from walls in the end."""

    def __init__(self, world: MazeWorld, rng: np.random.Generator):
        self._world, self._rng = world, rng
        self._before: np.ndarray | None = None
        self._turn()

    def action(self) -> np.ndarray:
        here = self._world.position
        wanted = REACH * np.linalg.norm(self._direction)
        blocked = self._before is not None and np.linalg.norm(here - self._before) < BLOCKED * wanted
        if self._rng.random() < (TURN if blocked else 1 / LASTS):
            self._turn()
        self._before = here.copy()
        return self._direction

    def _turn(self) -> None:
        angle = self._rng.uniform(0, 2 * np.pi)
        full = np.array([np.cos(angle), np.sin(angle)])
        self._direction = full / np.abs(full).max() * self._rng.uniform(0.3, 1.0)


def record(world: MazeWorld, episodes: int, seed: int,
           progress: Callable[[int], None] = lambda done: None) -> Recording:
    """Drive and draw `episodes` episodes, tours and exploration in turn."""
    rng = np.random.default_rng(seed)
    images, actions, positions = [], [], []
    for number in range(episodes):
        for image, action, position in _episode(world, Expert if number % 2 == 0 else Explorer, rng):
            images.append(image)
            actions.append(action)
            positions.append(position)
        progress(number + 1)
    return Recording(np.stack(images), np.stack(actions).astype(np.float32), np.stack(positions).astype(np.float32),
                     np.arange(episodes) * EPISODE, np.full(episodes, EPISODE))


def _episode(world: MazeWorld, mind: type[Expert] | type[Explorer],
             rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """What is seen, done and true in each control step."""
    start = world.centre(world.cells[rng.integers(len(world.cells))])
    world.place(start + rng.uniform(-JITTER, JITTER, 2))
    driver, noise = mind(world, rng), NOISE * rng.standard_normal(2)
    for _ in range(EPISODE):
        action = np.clip(driver.action() + noise, -1, 1)
        yield world.image(), action, world.position.copy()
        world.step(action)
        noise = CORRELATION * noise + NOISE * np.sqrt(1 - CORRELATION**2) * rng.standard_normal(2)
