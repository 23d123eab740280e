"""Goals for closed loops in Gymnasium's environments: the environment's own, or percepts that were once seen.

`env`   the environment's desired_goal, where the contract reads its achieved_goal as an observation or readout.
`ahead` what random actions lead to from the same start: within reach by construction.
`store` a later percept of a recorded episode; the start is the environment's, unless its reset takes a state.
`none`  no goal: the agent has nothing to reach, and only the return can be told.
"""
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jepa_ros.agent import Agent
from jepa_ros.cost.cost import Goal
from jepa_ros.errors import ConfigError
from jepa_ros.evaluation.gym_robot import GymRobot
from jepa_ros.robot.episode import Episode
from jepa_ros.robot.explore import Exploration
from jepa_ros.sim.worlds.base import Joints, Reading

GOALS = ('env', 'ahead', 'store', 'none')
ACHIEVED, DESIRED = 'achieved_goal', 'desired_goal'     # gymnasium_robotics.GoalEnv
VECTOR_TOLERANCE = 1e-3     # between the recorded start and the one that reset made of it
PIXEL_TOLERANCE = 2.0       # mean difference of a picture's bytes: drawing is not always exact


@dataclass(frozen=True)
class Shown:
    """A goal as the agent gets it, and what of it is known to be true."""

    goal: Goal | None
    readouts: dict[str, float] = field(default_factory=dict)    # at the goal, in truth
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recorded:
    """Start and goal from a recording: rows `start` and `start + ahead` of an episode."""

    episode: Episode
    start: int
    ahead: int

    def percept(self, row: int) -> dict[str, np.ndarray]:
        return {key: rows[row] for key, rows in self.episode.percepts.items() if self.episode.valid[key][row]}


def own_goal(robot: GymRobot) -> bool:
    """Whether the environment has a goal that the contract can express."""
    desired = _desired(robot)
    return bool(desired) and (_whole_percept(robot, desired) or bool(_readouts(robot, desired)))


def env_goal(agent: Agent, robot: GymRobot) -> Shown:
    """The environment's desired goal of this episode; as a state where it is a whole percept, else as readouts."""
    desired = _desired(robot)
    if not desired:
        raise ConfigError(f'world {robot.world.name} has no observation {DESIRED}: choose --goal ahead, or --goal-from '
                          'a store or bag')
    readouts = _readouts(robot, desired)
    if _whole_percept(robot, desired):
        seen = robot.percept(desired)
        keys = [o.key for o in robot.contract.observations if o.topic.removeprefix('/') in desired]
        return Shown(Goal(levels=agent.perception.encode({key: seen[key] for key in keys}).levels), readouts)
    if not readouts:
        raise ConfigError(f'robot {robot.contract.name} reads nothing of {ACHIEVED}: a readout of topic observation/'
                          f'{ACHIEVED} would let the agent aim at {DESIRED}; or choose --goal ahead')
    return Shown(Goal(levels=(), readouts=readouts), readouts)


def ahead_goal(agent: Agent, robot: GymRobot, seed: int, steps: int) -> Shown:
    """Reset with the seed, act at random for `steps` periods, show what is seen then, and reset again.

    ConfigError for an environment that the same seed does not put into the same state.
    """
    robot.reset(seed)
    first = robot.percept()
    actions = Exploration(robot.contract.action_low, robot.contract.action_high, robot.contract.control_period_s, seed)
    seen, readouts = first, robot.readouts()
    for _ in range(steps):
        robot.step(actions.next())
        if robot.world.ending is not None:      # what is seen then is often a fallen pole: take what came before
            break
        seen, readouts = robot.percept(), robot.readouts()
    robot.reset(seed)
    if any(_differ(first[key], again) for key, again in robot.percept().items()):
        raise ConfigError(f'world {robot.world.name} begins differently with the same seed, so its goals may be out of '
                          'reach: choose --goal env or --goal-from')
    return Shown(Goal(levels=agent.perception.encode(seen).levels), readouts)


def store_goal(agent: Agent, robot: GymRobot, seed: int, recorded: Recorded,
               start_option: tuple[str, str] | None) -> Shown:
    """Reset, into the recorded start where `start_option` (name in reset's options, observation key) can do it."""
    start, goal = (recorded.percept(row) for row in (recorded.start, recorded.start + recorded.ahead))
    notes: tuple[str, ...] = ()
    if start_option is None:
        robot.reset(seed)
        notes = ('episodes begin where reset puts them, not where the recorded ones did: goals may be far or out of '
                 'reach',)
    else:
        name, key = start_option
        if key not in start:
            raise ConfigError(f'--start-option {name}={key}: the recording has no observation {key!r}; it has '
                              f'{", ".join(start)}')
        robot.reset(seed, {name: np.asarray(start[key], np.float64)})
        if any(_differ(start[k], x) for k, x in robot.percept().items() if k in start):
            notes = (f'reset with the option {name} does not lead to the recorded percept: goals may be out of reach',)
    readouts = {name: float(value) for name, value in zip(
        robot.contract.readout_names, recorded.episode.readouts[recorded.start + recorded.ahead])}
    return Shown(Goal(levels=agent.perception.encode(goal).levels), readouts, notes)


def recorded_goals(agent: Agent, sources: Sequence[Path], ahead: int, count: int, seed: int) -> list[Recorded]:
    """`count` starts and goals `ahead` steps apart, evenly over the episodes that are long enough, from random rows.

    ConfigError says how long the longest is; DatasetError or BagError where a source is of another contract.
    """
    episodes = [e for source in sources for e in _episodes(agent, source)]
    long_enough = [e for e in episodes if len(e) > ahead]
    if not long_enough:
        longest = max((len(e) for e in episodes), default=0)
        raise ConfigError(f'{", ".join(map(str, sources))}: a goal {ahead} steps ahead needs episodes of {ahead + 1} '
                          f'steps, the longest of {len(episodes)} has {longest}: ask for a shorter --ahead')
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(long_enough))
    chosen = [long_enough[order[i % len(order)]] for i in range(count)]
    return [Recorded(e, int(rng.integers(len(e) - ahead)), ahead) for e in chosen]


def _episodes(agent: Agent, source: Path) -> Iterator[Episode]:
    from jepa_ros.robot import bags
    from jepa_ros.robot.dataset.store import is_store, Store
    if not is_store(source):
        yield from bags.iter_episodes(source, agent.contract)
        return
    store = Store(source)
    if store.contract.sha256() != agent.contract.sha256():
        raise ConfigError(f'{source}: built for robot {store.contract.name} ({store.contract.sha256()[:12]}), the '
                          f'model is for {agent.contract.name} ({agent.contract.sha256()[:12]}): give a store of that '
                          'robot')
    yield from store.read_all()


def _desired(robot: GymRobot) -> dict[str, Reading]:
    """Readings of achieved_goal as they would be at the desired goal, by topic; empty without one."""
    world = robot.world
    leaves = {leaf.path: leaf for leaf in world.leaves}
    found: dict[str, Reading] = {}
    for sensor in world.sensors:
        name = sensor.topic.removeprefix('observation/').removesuffix('/image_raw')
        leaf = next((leaf for leaf in world.leaves if leaf.key == name), None)
        if leaf is None or leaf.path[0:1] != (ACHIEVED,):
            continue
        twin = leaves.get((DESIRED, *leaf.path[1:]))
        if twin is None or twin.space.shape != leaf.space.shape:
            continue
        values = twin.picture(world.observation) if leaf.image else twin.vector(world.observation)
        found[sensor.topic] = Joints(leaf.names, values) if sensor.kind == 'joints' else values
    return found


def _whole_percept(robot: GymRobot, desired: dict[str, Reading]) -> bool:
    return all(o.topic.removeprefix('/') in desired for o in robot.contract.observations if o.required)


def _readouts(robot: GymRobot, desired: dict[str, Reading]) -> dict[str, float]:
    wanted = {r.name for r in robot.contract.readouts if r.topic.removeprefix('/') in desired}
    return {name: value for name, value in robot.readouts(desired).items() if name in wanted}


def _differ(a: Any, b: Any) -> bool:
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        return True
    if a.dtype == np.uint8:
        return bool(np.abs(a.astype(float) - b).mean() > PIXEL_TOLERANCE)
    return bool(np.abs(a - b).max(initial=0) > VECTOR_TOLERANCE)
