"""Small parts that the tests of several organs share: a robot, networks that build in milliseconds, episodes."""
from hypothesis import HealthCheck, settings
import numpy as np
import torch
from torch import Tensor

from jepa_ros.agent import Agent
from jepa_ros.perception.config import PerceptionConfig
from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.episode import Episode
from jepa_ros.training.config import TrainingConfig
from jepa_ros.training.data import EpisodeSet
from jepa_ros.world_model.hjepa import HJEPA, LevelConfig, ModelConfig
from jepa_ros.world_model.predictors import Predictor

torch.set_num_threads(1)

# For invariants: the same examples in every run, and no limit on the time of one of them.
invariant = settings(max_examples=40, deadline=None, derandomize=True, database=None,
                     suppress_health_check=[HealthCheck.function_scoped_fixture])

CONTRACT = """
name: tiny
control_period_s: 0.1
observations:
  - {key: overhead, topic: camera/image_raw, type: sensor_msgs/msg/Image, height: 16, width: 16}
readouts:
  - {name: x_m, topic: odom, type: nav_msgs/msg/Odometry, field: pose.pose.position.x}
  - {name: y_m, topic: odom, type: nav_msgs/msg/Odometry, field: pose.pose.position.y}
actions:
  - key: base
    topic: cmd_vel
    type: geometry_msgs/msg/Twist
    fields:
      - {name: vx_mps, field: linear.x, min: -0.5, max: 1.0, max_rate: 10.0}
      - {name: vy_mps, field: linear.y, min: -2.0, max: 2.0, max_rate: 10.0}
"""

LEVELS = (LevelConfig(width=16), LevelConfig(period=4, macro_dim=3, width=16),
          LevelConfig(period=8, macro_dim=2, width=16))


def contract(text: str = CONTRACT) -> RobotContract:
    return RobotContract.parse(text)


def perception(dim: int = 6, **changes) -> PerceptionConfig:
    sensors = {'overhead': {'encoder': 'conv', 'options': {'channels': [4, 8]}}}
    return PerceptionConfig.model_validate({'dim': dim, 'sensors': sensors} | changes)


def model_config(levels: int | tuple[LevelConfig, ...] = 2, **changes) -> ModelConfig:
    return ModelConfig(**{'perception': perception(), 'action_dim': 2, 'readouts': 2,
                          'levels': LEVELS[:levels] if isinstance(levels, int) else levels} | changes)


def model(levels: int | tuple[LevelConfig, ...] = 2, seed: int = 0, **changes) -> HJEPA:
    torch.manual_seed(seed)
    return HJEPA(model_config(levels, **changes), contract().observations).eval().requires_grad_(False)


def agent(levels: int = 2, seed: int = 0, **changes) -> Agent:
    return Agent.create(contract(), seed, 'tiny', model_config(levels, **changes))


class Integrator(Predictor):
    """ŝ = s + gain · a: a world whose best plans are known."""

    def __init__(self, gain: float):
        super().__init__(2, 2)
        self.gain = gain

    def forward(self, s: Tensor, a: Tensor) -> Tensor:
        return s + self.gain * a


def integrator_model(levels: int = 2) -> HJEPA:
    """A model of dimension 2 where s moves by 0.1·a each step; one step of a level is four of the level below."""
    configs = tuple(LevelConfig(period=4 ** i, macro_dim=2 if i else None, width=8) for i in range(levels))
    made = model(configs, perception=perception(2))
    for level, jepa in enumerate(made.levels):
        jepa.predictor = Integrator(0.1 * 4 ** level)
    return made


def image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)


def episode(steps: int, seed: int = 0, name: str = 'e', source: str = 'bags/a') -> Episode:
    """A bright square that the actions move over a dark floor, with one striped column per episode."""
    rng = np.random.default_rng(seed)
    position, velocity = rng.uniform(2, 13, 2), np.zeros(2)
    images, actions, readouts = [], [], []
    stripe = rng.integers(0, 16)
    for _ in range(steps):
        velocity = np.clip(0.7 * velocity + rng.normal(0, 0.6, 2), -1, 1)
        frame = np.full((16, 16, 3), 20, np.uint8)
        frame[:, stripe, 2] = 120
        x, y = np.rint(position).astype(int)
        frame[max(0, y - 1):y + 2, max(0, x - 1):x + 2] = (250, 140, 20)
        images.append(frame)
        actions.append((velocity + 1) / 2 * [1.5, 4.0] + [-0.5, -2.0])
        readouts.append(position / 10)
        position = np.clip(position + velocity, 1, 14)
    return Episode(name, source, np.arange(steps, dtype=np.int64) * 100_000_000 + 1, {'overhead': np.array(images)},
                   np.array(actions, np.float32), np.array(readouts, np.float32))


def episodes(lengths: list[int], seed: int = 0) -> EpisodeSet:
    from jepa_ros.training.data import from_episodes
    made = [episode(n, seed + i, f'e{i}') for i, n in enumerate(lengths)]
    return from_episodes(made, contract(), {'a': '00'})


def coasting(count: int) -> tuple[Tensor, Tensor]:
    """Points that coast on at a speed of their own: states (count, 5, 2), and actions (count, 4, 1) that do nothing."""
    start, speed = torch.randn(count, 1, 2), torch.randn(count, 1, 2)
    return start + 0.5 * speed * torch.arange(5)[:, None], torch.zeros(count, 4, 1)


PLANNER = {'samples': 8, 'iterations': 2, 'horizon': 4, 'elites': 4}


def training_config(**changes) -> TrainingConfig:
    """Two levels, a few updates; `changes` replace whole sections."""
    stage = {'updates': 60, 'batch': 16, 'window': 6, 'lr': 3e-3, 'warmup': 5}
    values = {
        'perception': perception().model_dump(), 'levels': [{'width': 32}, {'period': 4, 'macro_dim': 3, 'width': 32}],
        'level0': stage, 'upper': stage | {'window': 3},
        'collapse': {'min_effective_rank': 1.01, 'min_std': 0.01, 'max_inverse_error': 9.0},
        'planners': [PLANNER, PLANNER],
    }
    return TrainingConfig.model_validate(values | changes)
