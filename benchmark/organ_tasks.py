"""One world model, many tasks: the shipped two-room model does six shipped tasks, without any training in between.

For each task a criterion that the simulator's true poses decide, and a yardstick:
- reach: within 0.15 m of a goal in the other room in 60 s;
- reach_around: within 0.15 m of a goal behind a region that is never entered; how often plain reach enters it;
- patrol: all four corners, and the door between them, within 0.15 m, in their order, in 60 s;
- save_energy: the goal is reached, and over all episodes at most EFFORT of what reach spends on the same ways
  is spent (one by one they differ by luck: a plan that gets stuck costs more than all the rest);
- stay: 20 s within 0.2 m of one place, back there in 3 s after each of two pushes;
- explore: more of the cells visited in 60 s than by correlated random exploration of the same seed.

    python benchmark/organ_tasks.py [--seeds 3] [--episodes 10] [--output FILE]
"""
from collections.abc import Callable
from dataclasses import dataclass, field
import math

import numpy as np
from organ_figures import parser, show

from jepa_ros.agent import Agent
from jepa_ros.cost.cost import Goal
from jepa_ros.evaluation.closed_loop import GENEROUS_BUDGET_MS, load, percept, Settings, TOLERANCE_M
from jepa_ros.robot.explore import Exploration
from jepa_ros.sim.episodes import goal_image, start_goal_pairs
from jepa_ros.sim.worlds import PlanarWorld

WORLD = 'two_rooms'
EFFORT = 0.7                    # share of reach's effort that save_energy may spend
PUSHES_S, PUSH_S, BACK_S = (4.0, 11.0), 0.6, 3.0
HOLD_M = 0.2                    # of the place to stay in: half as much again as the robot's radius
STAY_S, EXPLORE_S, PATROL_S = 20.0, 60.0, 60.0
CELL_M = 0.25
REGION, RADIUS_M = (0.75, 0.0), 0.3         # of config/tasks/reach_around.yaml
PLACES = ((-0.9, 0.9), (-0.9, -0.9), (0.0, 0.0), (0.9, -0.9), (0.9, 0.9))     # of config/tasks/patrol.yaml
Push = Callable[[float], np.ndarray | None]


@dataclass
class Run:
    """What happened, one entry per control step."""

    poses: list[tuple[float, float]] = field(default_factory=list)
    actions: list[np.ndarray] = field(default_factory=list)     # in −1…1
    parts: list[str] = field(default_factory=list)
    outcome: str | None = None

    @property
    def effort(self) -> float:
        """Σ mean square of the actions."""
        return float(sum(np.mean(np.square(action)) for action in self.actions))

    def nearest_m(self, place: tuple[float, float]) -> float:
        return min(math.dist(pose, place) for pose in self.poses)


def drive(agent: Agent, world: PlanarWorld, task: str, goal: tuple[float, float] | None, limit_s: float,
          push: Push = lambda now_s: None) -> Run:
    """Do a task from where the world stands; `push` overrides the action at times."""
    shown = None if goal is None else Goal(
        levels=agent.perception.encode(percept(agent, goal_image(world, *goal))).levels)
    agent.perception.reset()
    agent.actor.reset()
    state = agent.perception.observe(percept(agent, world.image()))
    configured, run, action = None, Run([world.pose]), None
    agent.configurator.start(shown, task, now_s=world.time_s, state=state)
    while world.time_s < limit_s - 1e-6:
        progress = agent.configurator.observe(state, world.time_s)
        run.parts.append(progress.part)
        if progress.outcome is not None:
            run.outcome = progress.outcome
            break
        if agent.configurator.settings is not configured:
            configured = agent.configurator.settings
            agent.actor.configure(mode=configured.mode, budget_ms=GENEROUS_BUDGET_MS, **configured.cost_arguments)
        action = agent.actor.act(state, previous_action=action).action
        pushed = push(world.time_s)
        run.actions.append(agent.world_model.scale_actions(action).cpu().numpy())
        world.step(action if pushed is None else pushed, agent.contract.control_period_s)
        run.poses.append(world.pose)
        state = agent.perception.observe(percept(agent, world.image()))
    agent.configurator.stop()
    return run


def measure(seed: int, episodes: int = 10, model: str = 'two_rooms', world_name: str = WORLD) -> dict:
    """Share of successes of each task, 0…1, and the yardsticks. The same for the same seed."""
    agent, world = load(Settings(model=model, world=world_name))
    figures = {'reach': [], 'reach_around': [], 'reach_enters': [], 'patrol': [], 'effort': [], 'effort_reach': [],
               'save_energy': [], 'stay': [], 'explore': [], 'coverage': [], 'coverage_random': []}
    pairs = start_goal_pairs(world, episodes, seed)
    for number, pair in enumerate(pairs):
        rng = np.random.default_rng([seed, number])
        _reach_and_save(agent, world, pair, figures)
        _around(agent, world, rng, figures)
        figures['patrol'].append(_patrol(agent, world, pair))
        figures['stay'].append(_stay(agent, world, pair, rng))
        _explore(agent, world, pair, seed + number, figures)
    means = {name: float(np.mean(values)) for name, values in figures.items()}
    means['effort_share'] = means['effort'] / means['effort_reach']
    if means['effort_share'] > EFFORT:
        means['save_energy'] = 0.0
    tasks = ('reach', 'reach_around', 'patrol', 'save_energy', 'stay', 'explore')
    return means | {'tasks_without_retraining': sum(means[name] >= 0.8 for name in tasks),
                    'mean_success': float(np.mean([means[name] for name in tasks])), 'episodes': episodes, 'seed': seed}


def _reach_and_save(agent: Agent, world: PlanarWorld, pair, figures: dict[str, list]) -> None:
    runs = {}
    for task in ('reach', 'save_energy'):
        world.reset(pair.seed, pair.values)
        runs[task] = drive(agent, world, task, pair.goal, 60.0 if task == 'reach' else 120.0)
    reached = {task: run.nearest_m(pair.goal) <= TOLERANCE_M for task, run in runs.items()}
    figures['reach'].append(reached['reach'])
    figures['save_energy'].append(reached['save_energy'])
    figures['effort_reach'].append(runs['reach'].effort)
    figures['effort'].append(runs['save_energy'].effort)


def _around(agent: Agent, world: PlanarWorld, rng: np.random.Generator, figures: dict[str, list]) -> None:
    """From one side of the region to the other."""
    side = rng.choice([-1, 1])
    start, goal = ((REGION[0] + rng.uniform(-0.2, 0.2), sign * rng.uniform(0.8, 1.2)) for sign in (side, -side))
    for task in ('reach', 'reach_around'):
        world.reset(0, {'start_x_m': start[0], 'start_y_m': start[1]})
        run = drive(agent, world, task, goal, 60.0)
        inside = run.nearest_m(REGION) < RADIUS_M
        if task == 'reach':
            figures['reach_enters'].append(inside)
        else:
            figures['reach_around'].append(run.nearest_m(goal) <= TOLERANCE_M and not inside)


def _patrol(agent: Agent, world: PlanarWorld, pair) -> bool:
    world.reset(pair.seed, pair.values)
    run, place = drive(agent, world, 'patrol', None, PATROL_S), 0
    for pose in run.poses:
        if place < len(PLACES) and math.dist(pose, PLACES[place]) <= TOLERANCE_M:
            place += 1
    return place == len(PLACES)


def _stay(agent: Agent, world: PlanarWorld, pair, rng: np.random.Generator) -> bool:
    world.reset(pair.seed, pair.values)
    home, angles = world.pose, rng.uniform(0, 2 * math.pi, len(PUSHES_S))
    high = np.asarray(agent.contract.action_high)

    def push(now_s: float) -> np.ndarray | None:
        for began_s, angle in zip(PUSHES_S, angles):
            if began_s <= now_s < began_s + PUSH_S:
                return high * [math.cos(angle), math.sin(angle)]
        return None
    run = drive(agent, world, 'stay', None, STAY_S, push)
    period_s = agent.contract.control_period_s
    for number, pose in enumerate(run.poses):
        since = [number * period_s - began_s for began_s in PUSHES_S if number * period_s >= began_s]
        if (not since or since[-1] > PUSH_S + BACK_S) and math.dist(pose, home) > HOLD_M:
            return False
    return True


def _explore(agent: Agent, world: PlanarWorld, pair, seed: int, figures: dict[str, list]) -> None:
    world.reset(pair.seed, pair.values)
    curious = coverage(world, drive(agent, world, 'explore', None, EXPLORE_S).poses)
    world.reset(pair.seed, pair.values)
    contract = agent.contract
    driver, poses = Exploration(contract.action_low, contract.action_high, contract.control_period_s, seed), []
    while world.time_s < EXPLORE_S - 1e-6:
        world.step(driver.next(), contract.control_period_s)
        poses.append(world.pose)
    at_random = coverage(world, poses)
    figures['coverage'].append(curious)
    figures['coverage_random'].append(at_random)
    figures['explore'].append(curious > at_random)


def coverage(world: PlanarWorld, poses: list[tuple[float, float]]) -> float:
    """Share of the cells in which the robot can stand that it has visited."""
    edges = np.arange(-1.5, 1.5, CELL_M)
    free = {(i, j) for i, x in enumerate(edges) for j, y in enumerate(edges)
            if world.free(x + CELL_M / 2, y + CELL_M / 2)}
    seen = {(int((x + 1.5) // CELL_M), int((y + 1.5) // CELL_M)) for x, y in poses}
    return len(free & seen) / len(free)


def main() -> None:
    options = parser(__doc__, episodes=10).parse_args()
    show([measure(seed, options.episodes) for seed in range(options.seeds)], options.output)


if __name__ == '__main__':
    main()
