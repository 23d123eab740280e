"""Closed loop of the maze benchmark, without ROS: start and goal by their distance in cells, one episode, figures."""
from collections.abc import Sequence
from dataclasses import dataclass

from maze_data import JITTER
from maze_world import MazeWorld
import numpy as np

from jepa_ros.agent import Agent
from jepa_ros.cost.cost import Goal

BINS = ((1, 4), (5, 8), (9, 12))    # shortest way in moves from cell to cell; the longest in this maze is 11
BUDGET = 200                        # control steps, 40 s: about twice what the longest way takes
PLENTY_MS = 1e5                     # planner's budget, never reached: a slow machine changes no plan


@dataclass(frozen=True)
class Task:
    """Where to start and what to reach, positions (2,) in the maze's units."""

    start: np.ndarray
    goal: np.ndarray


@dataclass(frozen=True)
class Drive:
    """One episode."""

    success: bool               # the environment's criterion held in a control step, in time
    path: np.ndarray            # (T + 1, 2)
    latencies_ms: np.ndarray    # of the ticks that planned


def tasks(world: MazeWorld, nearest: int, furthest: int, count: int, seed: int) -> list[Task]:
    """`count` pairs of random cells whose distance is in nearest…furthest, each at a random point of its cell."""
    rng = np.random.default_rng(seed)
    pairs = [(start, goal) for goal in world.cells for start, moves in world.distances(goal).items()
             if nearest <= moves <= furthest]
    chosen = [pairs[i] for i in rng.integers(len(pairs), size=count)]
    return [Task(*(world.centre(cell) + rng.uniform(-JITTER, JITTER, 2) for cell in pair)) for pair in chosen]


def drive(agent: Agent, world: MazeWorld, task: Task) -> Drive:
    """Pursue the goal, shown as a picture of the maze with the point there, until it is reached or time is over."""
    key = agent.contract.observations[0].key
    world.place(task.goal)
    shown = agent.perception.encode({key: world.image()})
    world.place(task.start)
    agent.perception.reset()
    agent.actor.reset()
    agent.actor.configure(goal=Goal(levels=shown.levels), mode='planned', budget_ms=PLENTY_MS)
    path, latencies, action = [task.start], [], None
    for _ in range(BUDGET):
        decision = agent.actor.act(agent.perception.observe({key: world.image()}), previous_action=action)
        action = decision.action
        if decision.samples:    # a step of a way out of an impasse needs no plan
            latencies.append(decision.latency_ms)
        world.step(action)
        path.append(world.position.copy())
        if np.linalg.norm(world.position - task.goal) <= world.tolerance:
            break
    reached = bool(np.linalg.norm(path[-1] - task.goal) <= world.tolerance)
    return Drive(reached, np.array(path), np.array(latencies))


def figures(per_seed: Sequence[Sequence[Drive]]) -> dict:
    """A row's figures from the drives of each seed's model: success over seeds, latency over all ticks."""
    rates = [float(np.mean([d.success for d in drives])) for drives in per_seed]
    drives = [d for some in per_seed for d in some]
    return {'success_mean': round(float(np.mean(rates)), 4), 'success_std': round(float(np.std(rates)), 4),
            'seeds': len(rates), 'episodes': len(drives),
            'plan_ms_p50': round(float(np.median(np.concatenate([d.latencies_ms for d in drives]))), 2)}
