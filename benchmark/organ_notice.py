"""Does it notice? The surprise of the world model when something is wrong, against undisturbed driving.

    python benchmark/organ_notice.py [--seeds 3] [--episodes 40] [--model two_rooms]

The agent drives from goal to goal. In the middle of an episode a wheel blocks, the wall's door moves, the robot is
carried elsewhere, or the camera freezes. A tick's score is its surprise, the energy of one step over its mean in
training (LeCun §8.2.2), with the commands that were sent; compared are ticks of the disturbance, while the robot was to
move, with ticks of undisturbed episodes. AUROC: 0.5 by chance, 1 without fail.
"""
import argparse
from collections.abc import Iterator

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from jepa_ros.agent import Agent
from jepa_ros.cost.cost import Goal
from jepa_ros.errors import WorldError
from jepa_ros.evaluation import closed_loop
from jepa_ros.sim.episodes import goal_image, start_goal_pairs, StartGoal
from jepa_ros.sim.worlds import PlanarWorld

WORLD = 'two_rooms_random_door'
KINDS = ('blocked_wheel', 'moved_wall', 'teleport', 'frozen_camera')
FIRST, LONGEST = 8, 8       # tick of the disturbance, and how many ticks one that lasts is looked at
MOVES_MPS = 0.3             # slower, and a blocked wheel or a frozen camera changes next to nothing
CARRIED_M = 0.5             # at least


class Drive:
    """One episode, disturbed from tick FIRST on by `kind`, or by nothing."""

    def __init__(self, agent: Agent, world: PlanarWorld, task: StartGoal, kind: str | None, rng: np.random.Generator):
        self._agent, self._world, self._task, self._kind, self._rng = agent, world, task, kind, rng
        self._frozen: np.ndarray | None = None

    def scores(self) -> Iterator[tuple[int, float, float]]:
        """(tick, surprise, commanded speed in m/s) of each step."""
        agent, world, task = self._agent, self._world, self._task
        world.reset(task.seed, task.values)
        goal = agent.perception.encode(closed_loop.percept(agent, goal_image(world, *task.goal)))
        agent.perception.reset()
        agent.actor.reset()
        agent.actor.configure(goal=Goal(levels=goal.levels), mode='planned', budget_ms=closed_loop.GENEROUS_BUDGET_MS)
        state, action = self._see(), None
        for tick in range(FIRST + LONGEST):
            action = agent.actor.act(state, action).action
            try:
                self._step(tick, action)
            except WorldError:      # the robot stands where the wall would be: this one does not count
                return
            before, state = state, self._see()
            yield tick, agent.world_model.surprise(before.levels[0], action, state), float(np.hypot(*action))

    def _see(self):
        image = self._world.image() if self._frozen is None else self._frozen
        return self._agent.perception.observe(closed_loop.percept(self._agent, image))

    def _step(self, tick: int, action: np.ndarray) -> None:
        world, applied = self._world, action.copy()
        if tick >= FIRST and self._kind == 'blocked_wheel':
            applied[int(np.abs(action).argmax())] = 0.0     # the one that was to turn
        if tick == FIRST and self._kind == 'frozen_camera':
            self._frozen = world.image()
        world.step(applied, self._agent.contract.control_period_s)
        if tick == FIRST and self._kind in ('moved_wall', 'teleport'):
            self._put_elsewhere()

    def _put_elsewhere(self) -> None:
        world, pose, door_m = self._world, self._world.pose, self._task.values['door_y_m']
        if self._kind == 'moved_wall':
            door_m += -0.7 if door_m > 0 else 0.7
        else:
            there = pose
            while np.hypot(*np.subtract(there, pose)) < CARRIED_M:
                there = world.sample_pose(self._rng)
            pose = there
        world.reset(self._task.seed, {**self._task.values, 'door_y_m': door_m, 'start_x_m': pose[0],
                                      'start_y_m': pose[1]})


def auroc(usual: np.ndarray, wrong: np.ndarray) -> float:
    """Share of pairs in which the wrong one has the higher score; equal ones count half."""
    below = np.searchsorted(np.sort(usual), wrong, 'left') + np.searchsorted(np.sort(usual), wrong, 'right')
    return float(below.mean() / (2 * len(usual)))


def measure(seed: int, episodes: int = 40, model: str = 'two_rooms') -> dict[str, float]:
    """AUROC of each kind."""
    agent, world = closed_loop.load(closed_loop.Settings(model, WORLD))
    rng, tasks = np.random.default_rng(seed), start_goal_pairs(world, episodes, 4000 + seed)

    def scores(kind: str | None) -> np.ndarray:
        lasts = kind is None or kind in ('blocked_wheel', 'frozen_camera')
        ticks = range(0 if kind is None else FIRST, FIRST + (LONGEST if lasts else 1))
        drives = (Drive(agent, world, task, kind, rng).scores() for task in tasks)
        return np.array([surprise for drive in drives for tick, surprise, mps in drive
                         if tick in ticks and mps > MOVES_MPS])
    usual = scores(None)
    return {kind: auroc(usual, scores(kind)) for kind in KINDS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--episodes', type=int, default=40)
    parser.add_argument('--model', default='two_rooms')
    options = parser.parse_args()
    console, table = Console(), Table('seed', *KINDS)
    for seed in track(range(options.seeds), 'driving', console=console):
        found = measure(seed, options.episodes, options.model)
        table.add_row(str(seed), *(f'{found[kind]:.3f}' for kind in KINDS))
    console.print(table)


if __name__ == '__main__':
    main()
