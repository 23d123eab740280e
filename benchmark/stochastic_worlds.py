"""Two small image worlds whose randomness is known, for the benchmark of latents (LeCun §4.2, §4.8; `stochastic.py`).

`fork`: a robot drives up a corridor and is pushed to one side at a junction; a lamp shows how probable the right one
is. `obstacle`: a robot moves as its actions say while an obstacle wanders with Gaussian steps. Both draw SIZE × SIZE
pixels; lengths are in pixels, actions in −1…1. The same seed gives the same episodes.
"""
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

SIZE = 32
FLOOR, WALL = (20, 20, 24), (90, 90, 96)
ROBOT, OBSTACLE = (250, 150, 30), (60, 120, 250)

MIDDLE_PX = SIZE / 2
BOTTOM_PX = 28.0                        # y of the lowest start
JUNCTION_PX = 12.0                      # way from there to the junction
PUSH_PX = 3.0                           # how far aside the robot is at least after it: the side can be seen at once
ARM_PX = 10.0                           # the way ends there
SPEED_PX, THROTTLE_PX = 0.9, 0.6        # a step at action 0, and what action 1 adds
CHANCES = (0.2, 0.5, 0.8)               # of being pushed right; the lamp shows which
LAMP = (slice(2, 7), slice(14, 19))     # rows, columns

SIGMA_PX = 1.5                          # of the obstacle's step, in each direction
KEEP = 0.9                              # of its distance from the middle it keeps in a step: it never wanders off
STRIDE_PX = 2.0                         # the robot's step at full action
MARGIN_PX = 4.0                         # the robot stays this far from the edge


@dataclass(frozen=True)
class Episodes:
    """N episodes of T states; the action of a state leads to the next one."""

    images: np.ndarray      # (N, T, SIZE, SIZE, 3) uint8
    actions: np.ndarray     # (N, T, A) float32
    place: np.ndarray       # (N, T, R) float32: x, y in px of what moves at random: fork: the robot, else the obstacle
    side: np.ndarray        # (N, T) int64: fork: −1 left, 1 right, 0 not yet decided; obstacle: 0
    chance: np.ndarray      # (N,) float32: fork: of the right side; obstacle: 0


def _spots(scene: np.ndarray, centres: np.ndarray, radius: float, colour: tuple[int, int, int]) -> np.ndarray:
    """Round spots with soft edges, so that a tenth of a pixel can be seen; scene (N, H, W, 3), centres (N, 2) x, y."""
    grid = np.arange(SIZE, dtype=np.float32)
    centres = centres.astype(np.float32)
    distance = np.hypot(grid - centres[:, 0, None, None], grid[:, None] - centres[:, 1, None, None])
    cover = np.clip(radius + 0.5 - distance, 0, 1)[..., None]
    return scene * (1 - cover) + np.float32(colour) * cover


def fork_place(way: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Where the robot is, (..., 2) x, y, after `way` px (...) on `side` −1, 0, 1 (...)."""
    aside = np.where(side == 0, 0.0, way - JUNCTION_PX + PUSH_PX)
    return np.stack([MIDDLE_PX + side * aside, np.where(side == 0, BOTTOM_PX - way, BOTTOM_PX - JUNCTION_PX)], -1)


def fork_images(place: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """The robot at `place` (N, 2) under a lamp of `chance` (N,): (N, SIZE, SIZE, 3)."""
    scene = np.empty((len(place), SIZE, SIZE, 3), np.float32)
    scene[:] = WALL
    scene[:, 13:, 13:20] = FLOOR
    scene[:, 13:20] = FLOOR
    scene[:, LAMP[0], LAMP[1]] = (255 * chance)[:, None, None, None]
    return _spots(scene, place, 2.0, ROBOT).astype(np.uint8)


def fork(count: int, steps: int, seed: int) -> Episodes:
    """The action is the throttle."""
    rng = np.random.default_rng(seed)
    actions = rng.uniform(-1, 1, (count, steps, 1)).astype(np.float32)
    start = rng.uniform(0, JUNCTION_PX - 1, (count, 1))
    moved = np.cumsum(SPEED_PX + THROTTLE_PX * actions[:, :-1, 0], 1)
    way = np.minimum(np.concatenate([start, start + moved], 1), JUNCTION_PX + ARM_PX)
    chance = rng.choice(np.float32(CHANCES), count)
    drawn = np.where(rng.random(count) < chance, 1, -1)
    side = np.where(way > JUNCTION_PX, drawn[:, None], 0)
    place = fork_place(way, side)
    images = fork_images(place.reshape(-1, 2), np.repeat(chance, steps))
    return Episodes(images.reshape(count, steps, SIZE, SIZE, 3), actions, place.astype(np.float32), side, chance)


def both_ways(place: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """What the places (N, 2) behind the junction look like, and what they would on the other side: (2, N, S, S, 3).

    Left first.
    """
    offset = np.abs(place[:, 0] - MIDDLE_PX)
    return np.stack([fork_images(np.stack([MIDDLE_PX + side * offset, place[:, 1]], -1), chance) for side in (-1, 1)])


def obstacle_images(robot: np.ndarray, wanderer: np.ndarray) -> np.ndarray:
    """Robot and obstacle at (N, 2) x, y: (N, SIZE, SIZE, 3)."""
    scene = np.empty((len(robot), SIZE, SIZE, 3), np.float32)
    scene[:] = FLOOR
    return _spots(_spots(scene, wanderer, 3.0, OBSTACLE), robot, 2.0, ROBOT).astype(np.uint8)


def obstacle(count: int, steps: int, seed: int) -> Episodes:
    """The action is the robot's velocity; the obstacle goes from m + d to m + KEEP d + SIGMA_PX ε, m the middle."""
    rng = np.random.default_rng(seed)
    actions = rng.uniform(-1, 1, (count, steps, 2)).astype(np.float32)
    robot = [rng.uniform(MARGIN_PX, SIZE - MARGIN_PX, (count, 2))]
    away = [rng.normal(0, SIGMA_PX / np.sqrt(1 - KEEP ** 2), (count, 2))]
    for step in range(steps - 1):
        robot.append(moved(robot[-1], actions[:, step]))
        away.append(wandered(away[-1], rng))
    where, place = np.stack(robot, 1), MIDDLE_PX + np.stack(away, 1)
    images = obstacle_images(where.reshape(-1, 2), place.reshape(-1, 2))
    return Episodes(images.reshape(count, steps, SIZE, SIZE, 3), actions, place.astype(np.float32),
                    np.zeros((count, steps), np.int64), np.zeros(count, np.float32))


def wandered_std(steps: int) -> float:
    """Deviation in px, in each direction, of where the obstacle is `steps` after it was seen."""
    return SIGMA_PX * float(np.sqrt(sum(KEEP ** (2 * k) for k in range(steps))))


def coin_bits(chance: np.ndarray) -> np.ndarray:
    """Entropy of a draw of that chance."""
    return -(chance * np.log2(chance) + (1 - chance) * np.log2(1 - chance))


def crossing(count: int, steps: int, seed: int) -> Episodes:
    """As `obstacle`; the place is that of the robot and of the obstacle, (N, T, 4). For `plan_risk.py`."""
    rng = np.random.default_rng(seed)
    # actions that last: white noise would keep the robot where it is
    drift = rng.uniform(-1, 1, (count, 1, 2))
    actions = np.clip(drift + 0.5 * rng.uniform(-1, 1, (count, steps, 2)), -1, 1).astype(np.float32)
    robot = [rng.uniform(MARGIN_PX, SIZE - MARGIN_PX, (count, 2))]
    away = [rng.normal(0, SIGMA_PX / np.sqrt(1 - KEEP ** 2), (count, 2))]
    for step in range(steps - 1):
        robot.append(moved(robot[-1], actions[:, step]))
        away.append(wandered(away[-1], rng))
    where = np.stack([np.stack(robot, 1), MIDDLE_PX + np.stack(away, 1)], 2).astype(np.float32)     # (N, T, 2, 2)
    images = obstacle_images(*where.reshape(-1, 2, 2).transpose(1, 0, 2))
    return Episodes(images.reshape(count, steps, SIZE, SIZE, 3), actions, where.reshape(count, steps, 4),
                    np.zeros((count, steps), np.int64), np.zeros(count, np.float32))


def moved(robot: np.ndarray, action: np.ndarray) -> np.ndarray:
    """Where robots (N, 2) are after actions (N, 2) in −1…1."""
    return np.clip(robot + STRIDE_PX * action, MARGIN_PX, SIZE - MARGIN_PX)


def wandered(away: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """How far obstacles (N, 2) are from the middle one step later."""
    return KEEP * away + rng.normal(0, SIGMA_PX, away.shape)


WORLDS: dict[str, Callable[[int, int, int], Episodes]] = {'fork': fork, 'obstacle': obstacle, 'crossing': crossing}
