"""Evaluation in a world without ROS: start and goal pairs, goal images, and the loop image → command → step."""
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from jepa_ros.errors import WorldError
from jepa_ros.sim.worlds.base import PlanarWorld

Policy = Callable[[np.ndarray], np.ndarray]  # image (H, W, 3) uint8 -> command (2,) in m/s


@dataclass(frozen=True)
class StartGoal:
    """One task: `values` put the world into its start (`world.reset(seed, values)`), `goal` is the place to reach."""

    seed: int
    values: dict[str, float]
    goal: tuple[float, float]


@dataclass(frozen=True)
class Outcome:
    """How an episode ended."""

    success: bool
    time_s: float
    distance_m: float        # to the goal, at the end
    collisions: int
    path: np.ndarray         # (T + 1, 2) poses in metres, the start first


def start_goal_pairs(world: PlanarWorld, count: int, seed: int, opposite_rooms: bool = True) -> list[StartGoal]:
    """`count` tasks, the same for the same seed. Leaves the world in the start of the last one.

    Start and goal are uniform over their rooms (uniform over all free space where `opposite_rooms` is false);
    what the world draws per episode, such as the door, is drawn too and is part of `values`.
    """
    pairs = []
    for episode_seed in np.random.SeedSequence(seed).generate_state(count):
        rng = np.random.default_rng(episode_seed)
        values = world.reset(int(episode_seed), {})
        rooms = rng.permutation(world.rooms)[:2] if opposite_rooms else (None, None)
        start, goal = (world.sample_pose(rng, room) for room in rooms)
        values = world.reset(int(episode_seed), {**values, 'start_x_m': start[0], 'start_y_m': start[1]})
        pairs.append(StartGoal(int(episode_seed), values, goal))
    return pairs


def goal_image(world: PlanarWorld, x_m: float, y_m: float, size: int = 128) -> np.ndarray:
    """Image (size, size, 3) uint8 of this world with the robot at the goal; its state is not touched.

    Raises WorldError where the robot cannot stand there.
    """
    if not world.free(x_m, y_m):
        raise WorldError(f'world {world.name}: the robot cannot stand at the goal ({x_m:g}, {y_m:g}): it is in a wall')
    return world.image(size, (x_m, y_m))


def run_closed_loop(world: PlanarWorld, task: StartGoal, policy: Policy, max_time_s: float = 60.0,
                    tolerance_m: float = 0.15, period_s: float = 0.1) -> Outcome:
    """Reset the world to `task` and drive until the goal is within `tolerance_m` or `max_time_s` is over."""
    world.reset(task.seed, task.values)
    path = [world.pose]
    while True:
        distance_m = float(np.hypot(*np.subtract(world.pose, task.goal)))
        success = distance_m <= tolerance_m
        if success or world.time_s >= max_time_s - period_s / 2:
            return Outcome(success, world.time_s, distance_m, world.collisions, np.array(path))
        world.step(policy(world.image()), period_s)
        path.append(world.pose)
