"""A small environment with a picture, a goal and a success that it tells: a point on a floor of 16 × 16 pixels."""
from contextlib import contextmanager

import gymnasium
from gymnasium import spaces
import numpy as np

from jepa_ros.actor.planners import PlannerConfig
from jepa_ros.agent import Agent
from jepa_ros.perception.config import PerceptionConfig
from jepa_ros.robot.contract import RobotContract
from jepa_ros.sim.gym_contract import draft
from jepa_ros.world_model.hjepa import LevelConfig, ModelConfig

ID, PICTURES = 'Point-v0', 'PointPictures-v0'
BOX = spaces.Box(0, 255, (16, 16, 3), np.uint8)
PLACE = spaces.Box(-1, 1, (2,))
READOUTS = """readouts:
  - {name: x_m, topic: observation/achieved_goal, type: sensor_msgs/msg/JointState, field: "position[achieved_goal_0]"}
  - {name: y_m, topic: observation/achieved_goal, type: sensor_msgs/msg/JointState, field: "position[achieved_goal_1]"}
"""


class Point(gymnasium.Env):
    """Moves by 0.2 · action; reward −1 until it is within 0.15 of its goal. `random` makes resets forget their seed."""

    metadata = {'render_modes': [], 'render_fps': 10}
    action_space = spaces.Box(-1, 1, (2,))

    def __init__(self, pictures=False, goals=True, random=False, says=True):
        self.pictures, self.random, self.says = pictures, random, says
        parts = {'achieved_goal': PLACE, 'desired_goal': PLACE} if goals else {}
        if pictures:
            parts = {'achieved_goal': BOX, 'desired_goal': BOX}
        self.observation_space = spaces.Dict(place=PLACE, **parts)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=None if self.random else seed)
        self.place = np.array((options or {}).get('state', self.np_random.uniform(-0.8, 0.8, 2)))
        self.goal = self.np_random.uniform(-0.8, 0.8, 2)
        return self._observation(), self._info()

    def step(self, action):
        self.place = np.clip(self.place + 0.2 * action, -1, 1)
        done = self._info().get('success', False)
        return self._observation(), -1.0 + done, False, False, self._info()

    def _info(self):
        return {'success': bool(np.linalg.norm(self.place - self.goal) < 0.15)} if self.says else {}

    def _observation(self):
        whole = {'place': self.place, 'achieved_goal': self._shown(self.place), 'desired_goal': self._shown(self.goal)}
        return {key: np.asarray(whole[key], space.dtype) for key, space in self.observation_space.spaces.items()}

    def _shown(self, place):
        if not self.pictures:
            return place
        picture = np.full((16, 16, 3), 20, np.uint8)
        x, y = np.clip(((place + 1) * 8).astype(int), 1, 14)
        picture[y - 1:y + 2, x - 1:x + 2] = 250
        return picture


@contextmanager
def registered():
    """Both ids: with places and with pictures as goals."""
    for env_id in (ID, PICTURES):
        gymnasium.register(env_id, Point, max_episode_steps=12, kwargs={'pictures': env_id == PICTURES})
    try:
        yield
    finally:
        for env_id in (ID, PICTURES):
            del gymnasium.registry[env_id]


def contract(readouts: str = READOUTS, without: tuple[str, ...] = (), env_id: str = ID) -> RobotContract:
    """What `jepa-ros robot init --gym` drafts, with readouts; `without` names observations to leave out."""
    parsed = RobotContract.parse(draft(env_id) + readouts)
    kept = [o for o in parsed.observations if o.key not in without]
    return RobotContract.model_validate(parsed.model_dump() | {'observations': [o.model_dump() for o in kept],
                                                               'pace': kept[-1].key})


def agent(made_for: RobotContract, seed=0) -> Agent:
    """Untrained, of two levels, quick."""
    config = ModelConfig(perception=PerceptionConfig(dim=6), action_dim=len(made_for.action_names),
                         readouts=len(made_for.readout_names),
                         levels=(LevelConfig(width=8), LevelConfig(period=4, macro_dim=2, width=8)))
    planner = PlannerConfig(samples=4, iterations=1, horizon=4, elites=2)
    return Agent.create(made_for, seed, 'tiny', config, [planner, planner])
