"""swm/TwoRoom-v1 of the PyPI package stable-worldmodel, its expert, and the start/goal pairs of its protocol.

Needs `pip install stable-worldmodel` (tried with 0.1.1). The package resizes pictures with PIL inside `World`; here
they go through the robot contract's adapter, so training and acting see what a robot's camera would give.
"""
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
import warnings

import numpy as np

from jepa_ros.errors import WorldError
from jepa_ros.robot.adapters import to_array
from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.episode import Episode

CONTRACT = Path(__file__).resolve().parent / 'robots' / 'swm_two_room.yaml'
ENVIRONMENT = 'swm/TwoRoom-v1'
POSITIONS = ('agent.position', 'target.position')       # what the environment draws anew at each reset by default
MAX_STEPS = 100             # of an expert episode: the package's scripts/data/config
WALL_PX = 112.0             # middle of the dividing wall, along x
DOORWAY_PX = 12.0           # half the wall and the agent's radius: nearer the middle the agent is in the doorway
# Standard deviation of the noise on the expert's unit steps, episode by episode. 3.0 is what the package's
# collect_tworooms.py takes (half of the steps here); little noise adds long straight moves and ways through the door.
NOISES = (0.5, 1.0, 3.0)
PUBLISHED_NOISE = 3.0
REPEATS = 0.1               # chance that an action is repeated, as in collect_tworooms.py


@dataclass(frozen=True)
class Track:
    """What one expert episode did, without pictures: T positions, T−1 actions."""

    seed: int                   # of the reset
    positions: np.ndarray       # (T, 2) float32, px
    actions: np.ndarray         # (T − 1, 2) float32 in −1…1


@dataclass(frozen=True)
class Problem:
    """Start and goal of one evaluation episode: states of one world, px."""

    seed: int                   # of the reset that draws what varies
    start: np.ndarray           # (2,) float32
    goal: np.ndarray            # (2,) float32


class TwoRoom:
    """The environment with the few things the benchmark does to it. WorldError without the package."""

    def __init__(self, variations: Iterable[str] = POSITIONS):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')     # about environments of the package that are not installed
                import gymnasium
                import stable_worldmodel  # noqa: F401  registers the environments
                from stable_worldmodel.envs.two_room import ExpertPolicy
        except ImportError as error:
            raise WorldError(f'{ENVIRONMENT} cannot be loaded ({error}): '
                             'pip install stable-worldmodel==0.1.1') from None
        self._expert = ExpertPolicy
        self._options = {'variation': tuple(variations)}
        self._env: Any = gymnasium.make(ENVIRONMENT, disable_env_checker=True).unwrapped
        contract = RobotContract.load(CONTRACT)
        self._observation = contract.observations[0]

    def reset(self, seed: int) -> dict:
        """Draw what varies; returns the environment's info."""
        return self._env.reset(seed=seed, options=self._options)[1]

    def pose(self, problem: Problem) -> None:
        """Reset to a problem, by the calls the package's evaluation makes."""
        self.reset(problem.seed)
        self._env._set_state(problem.start)
        self._env._set_goal_state(problem.goal)

    def step(self, action: np.ndarray) -> bool:
        """One step of at most 5 px along each axis; True when the environment calls the goal reached (16 px)."""
        return bool(self._env.step(np.asarray(action, np.float32))[2])

    @property
    def position(self) -> np.ndarray:
        """(2,) float32, px."""
        return self._env.agent_position.numpy().copy()

    def view(self) -> dict[str, np.ndarray]:
        """The percept: picture (48, 48, 3) uint8 of the agent where it is."""
        return self._percept(self._env.render())

    def goal_view(self) -> dict[str, np.ndarray]:
        """The percept with the agent at the goal, as the environment draws its goal picture."""
        return self._percept(self._env._target_img.numpy().transpose(1, 2, 0))

    def _percept(self, image: np.ndarray) -> dict[str, np.ndarray]:
        height, width = image.shape[:2]
        message = SimpleNamespace(encoding='rgb8', height=height, width=width, step=3 * width,
                                  data=np.ascontiguousarray(image).tobytes())
        return {self._observation.key: np.asarray(to_array(self._observation, message))}

    def track(self, seed: int, noise: float) -> Track:
        """One episode of the package's expert: until the target is reached, or `MAX_STEPS`."""
        expert = self._expert(action_noise=noise, action_repeat_prob=REPEATS, seed=seed)
        expert.set_env(self._env)
        info = self.reset(seed)
        positions, reached = [self.position], False
        actions: list[np.ndarray] = []
        while not reached and len(actions) < MAX_STEPS:
            action = np.array(expert.get_action(info), np.float32)
            _, _, reached, _, info = self._env.step(action)
            actions.append(action)
            positions.append(self.position)
        return Track(seed, np.array(positions), np.array(actions))

    def episode(self, track: Track) -> Episode:
        """The track with its pictures. The last row's action is zero: nothing was applied from there on."""
        self.reset(track.seed)
        views = []
        for position in track.positions:
            self._env._set_state(position)
            views.append(self.view()[self._observation.key])
        steps = len(views)
        return Episode(f'seed_{track.seed}', ENVIRONMENT, np.arange(steps, dtype=np.int64) * 100_000_000,
                       {self._observation.key: np.array(views)},
                       np.concatenate([track.actions, np.zeros((1, 2), np.float32)]), track.positions)


def expert_episodes(world: TwoRoom, steps: int, seed: int) -> Iterator[Episode]:
    """Episodes of the expert with noises in turn, until `steps` rows; resets are seeded seed, seed + 1, …"""
    rows = 0
    while rows < steps:
        episode = world.episode(world.track(seed, NOISES[seed % len(NOISES)]))
        rows, seed = rows + len(episode), seed + 1
        yield episode


def offset_problems(world: TwoRoom, count: int, offset: int, noise: float, seed: int) -> list[Problem]:
    """The package's protocol: start a row of an expert episode, goal the state `offset` steps later in it.

    Rows are drawn evenly from all that have such a goal, of 10 × count fresh episodes, none twice.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(10 * count):
        track = world.track(int(rng.integers(2**31)), noise)
        rows += [(track, t) for t in range(len(track.positions) - offset)]
    if len(rows) < count:
        raise WorldError(f'{10 * count} expert episodes have {len(rows)} starts with a goal {offset} steps later, '
                         f'{count} are needed: lower the offset')
    chosen = [rows[i] for i in rng.choice(len(rows), count, replace=False)]
    return [Problem(track.seed, track.positions[t], track.positions[t + offset]) for track, t in chosen]


def opposite_problems(world: TwoRoom, count: int, seed: int) -> list[Problem]:
    """Across the wall: start where a reset puts the agent, goal where the expert without noise ends in the other room.

    Resets whose two places share a room are passed over, and those whose goal is in the doorway or out of reach.
    """
    rng = np.random.default_rng(seed)
    problems: list[Problem] = []
    while len(problems) < count:
        track = world.track(int(rng.integers(2**31)), 0.0)
        start, goal = track.positions[0], track.positions[-1]
        if (start[0] < WALL_PX) != (goal[0] < WALL_PX) and abs(goal[0] - WALL_PX) > DOORWAY_PX:
            problems.append(Problem(track.seed, start, goal))
    return problems
