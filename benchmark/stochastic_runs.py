"""What the benchmark of latents trains: one level with a latent of each kind, on the worlds of `stochastic_worlds`.

`joint`: encoder and predictor together, the project's level 0 as it is. `frozen`: the predictor alone, on an encoder
that was trained without it and is the same for all kinds. Their energies are then in one unit, and what is random is in
the state: an encoder that is free to may leave out what cannot be foreseen (LeCun §4.4).
"""
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from stochastic_worlds import Episodes, SIZE, WORLDS
import torch
from torch import nn, Tensor

from jepa_ros.robot.contract import RobotContract
from jepa_ros.training.config import TrainingConfig
from jepa_ros.training.data import EpisodeSet
from jepa_ros.training.level0 import Level0, losses_of
from jepa_ros.training.losses import Embedded
from jepa_ros.training.optimise import Optimisation, Report
from jepa_ros.training.states import encode_all
from jepa_ros.training.world_model import build, Trainer
from jepa_ros.world_model.hjepa import HJEPA

EPISODES, STEPS = 1200, 18
DIM = 8

# R in units of the distance, the mean squared difference over DIM dimensions of variance 1: a nat is worth as much as
# the square of 0.1 in each dimension less error (weight = 2 σ²/DIM of a Gaussian likelihood, Dawid §3.1)
WEIGHT = 2e-3
KINDS: dict[str, dict[str, Any]] = {
    'none': {},
    'discrete': {'kind': 'discrete', 'dim': 16, 'weight': WEIGHT, 'state_prior': True},
    'low_dimensional': {'kind': 'low_dimensional', 'dim': 2, 'search': {'steps': 6}},
    'sparse': {'kind': 'sparse', 'dim': 4, 'weight': WEIGHT, 'state_prior': True, 'search': {'steps': 6}},
    'gaussian': {'kind': 'gaussian', 'dim': 4, 'weight': WEIGHT, 'state_prior': True},
    'discrete_fixed_prior': {'kind': 'discrete', 'dim': 16, 'weight': WEIGHT},
    'gaussian_fixed_prior': {'kind': 'gaussian', 'dim': 4, 'weight': WEIGHT},
    # meant to collapse, one way and the other: the check must say so
    'gaussian_too_dear': {'kind': 'gaussian', 'dim': 4, 'weight': 200 * WEIGHT, 'state_prior': True},
    'gaussian_too_cheap': {'kind': 'gaussian', 'dim': DIM, 'weight': 1e-3 * WEIGHT},
}
ONLY_FROZEN = ('discrete_fixed_prior', 'gaussian_fixed_prior', 'gaussian_too_dear', 'gaussian_too_cheap')
LEARNT = {'vicreg': {'variance': 16, 'covariance': 2, 'within': 0}, 'smoothness': {'weight': 2},
          'inverse': {'weight': 4}}


@dataclass(frozen=True)
class Effort:
    """Length of a run; the tests take less."""

    updates: int = 800
    batch: int = 32
    window: int = 12
    horizon: int = 8
    lr: float = 2e-3


def contract(world: str, actions: int) -> RobotContract:
    """A camera from above, the robot's speeds, and the readouts."""
    fields = ', '.join(f'{{name: v{i}_mps, field: linear.{axis}, min: -1.0, max: 1.0, max_rate: 100.0}}'
                       for i, axis in zip(range(actions), 'xy'))
    readouts = '\n'.join(f'  - {{name: {name}, topic: place{i}, type: nav_msgs/msg/Odometry, '
                         'field: pose.pose.position.x}' for i, name in enumerate(readout_names(world)))
    return RobotContract.parse(f"""
name: {world}
control_period_s: 0.1
observations:
  - {{key: overhead, topic: camera/image_raw, type: sensor_msgs/msg/Image, height: {SIZE}, width: {SIZE}}}
readouts:
{readouts}
actions:
  - key: base
    topic: cmd_vel
    type: geometry_msgs/msg/Twist
    fields: [{fields}]
""")


def readout_names(world: str) -> tuple[str, ...]:
    """What the readout heads tell, in px: the place of what moves at random, in `crossing` the robot's before it."""
    return ('robot_x_px', 'robot_y_px', 'x_px', 'y_px') if world == 'crossing' else ('x_px', 'y_px')


def episode_set(episodes: Episodes, names: tuple[str, ...] = ('x_px', 'y_px')) -> EpisodeSet:
    """The same as training data."""
    count, steps = episodes.actions.shape[:2]
    return EpisodeSet({'overhead': torch.from_numpy(episodes.images).flatten(0, 1)},
                      torch.from_numpy(episodes.actions).flatten(0, 1), torch.from_numpy(episodes.place).flatten(0, 1),
                      torch.arange(count) * steps, torch.full((count,), steps), names, {})


def config(latent: dict[str, Any], losses: dict[str, Any], effort: Effort, seed: int) -> TrainingConfig:
    """One level with that latent."""
    stage = {'updates': effort.updates, 'batch': effort.batch, 'window': effort.window, 'horizon': effort.horizon,
             'stride': effort.window - effort.horizon - 1, 'lr': effort.lr, 'warmup': min(100, effort.updates // 4)}
    return TrainingConfig.model_validate({
        'perception': {'dim': DIM, 'sensors': {'overhead': {'encoder': 'patch', 'options': {'channels': [32, 64]}}}},
        'levels': [{'width': 128, 'latent': latent}], 'losses': losses, 'level0': stage, 'upper': stage,
        'collapse': {'refuse': False}, 'planners': [{'samples': 2, 'iterations': 1, 'horizon': 1, 'elites': 1}],
        'seed': seed})


class WithoutPrediction(nn.Module):
    """Trains an encoder that its readout heads tell what to keep; nothing is predicted."""

    def __init__(self, model: HJEPA):
        super().__init__()
        self.model = model
        self.losses = losses_of(LEARNT | {'readouts': {'known': 8, 'imagined': 0}}, model.levels[0])

    def forward(self, percepts: dict[str, Tensor], actions: Tensor, readouts: Tensor) -> tuple[Tensor, dict]:
        s, jepa = self.model.encode(percepts).float(), self.model.levels[0]
        standard = (readouts - self.model.readout_mean) / self.model.readout_std
        return self.losses(Embedded(s, actions=actions[:, :-1], readouts=standard, known_readouts=jepa.readout(s),
                                    inferred_actions=jepa.inverse(torch.cat([s[:, :-1], s[:, 1:]], -1))))


class OnStates(nn.Module):
    """Level 0 on states that are known already."""

    def __init__(self, level0: Level0):
        super().__init__()
        self.level0 = level0

    def forward(self, s: Tensor, actions: Tensor, readouts: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return self.level0.of_states(s, actions, readouts)


@dataclass(frozen=True)
class Setting:
    """Training data of one world and seed."""

    world: str
    seed: int
    episodes: int = EPISODES


@lru_cache(2)       # drawing them takes as long as a short training
def recorded(setting: Setting) -> tuple[EpisodeSet, RobotContract]:
    """Training episodes and the contract they keep."""
    made = WORLDS[setting.world](setting.episodes, STEPS, 1000 + setting.seed)
    return episode_set(made, readout_names(setting.world)), contract(setting.world, made.actions.shape[-1])


def joint(setting: Setting, latent: dict[str, Any], effort: Effort, report: Report | None = None) -> HJEPA:
    """Encoder, predictor and latent trained together."""
    data, robot = recorded(setting)
    chosen = config(latent, {'prediction': {}, 'readouts': {}, **LEARNT}, effort, setting.seed)
    model = build(chosen, data, robot)
    trainer = Trainer(model, data, chosen, report)
    trainer.level0()
    model.eval()
    trainer.settle(0, encode_all(model, data))
    return model


def encoder(setting: Setting, effort: Effort, report: Report | None = None) -> HJEPA:
    """A model whose encoder alone is trained."""
    data, robot = recorded(setting)
    chosen = config({}, LEARNT, effort, setting.seed)
    model = build(chosen, data, robot)
    for part in (model.levels[0].predictor, model.levels[0].action_encoder):
        part.requires_grad_(False)

    def sample(generator: torch.Generator) -> tuple[Tensor]:
        return (data.windows(effort.batch, effort.window, generator),)

    def fetch(rows: Tensor) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        taken = data.take(rows)
        return taken.percepts, taken.actions, taken.readouts
    Optimisation('encoder', WithoutPrediction(model), chosen.level0, setting.seed, 'cpu').run(
        sample, report, fetch=fetch)
    return model.eval()


def frozen(setting: Setting, latent: dict[str, Any], effort: Effort, known: HJEPA,
           report: Report | None = None) -> HJEPA:
    """Predictor and latent on the states of the encoder of `known`."""
    data, robot = recorded(setting)
    losses = {'prediction': {}, 'readouts': {}}
    chosen = config(latent, losses, effort, setting.seed)
    model = build(chosen, data, robot)
    model.encoder.load_state_dict(known.encoder.state_dict())
    model.encoder.eval().requires_grad_(False)
    s = encode_all(model, data)
    module = OnStates(Level0(model, losses_of(losses, model.levels[0]), effort.horizon, chosen.level0.stride))

    def sample(generator: torch.Generator) -> tuple[Tensor, ...]:
        rows = data.windows(effort.batch, effort.window, generator)
        return s[rows], data.actions[rows], data.readouts[rows]
    Optimisation('level 0', module, chosen.level0, setting.seed, 'cpu').run(sample, report)
    model.eval()
    Trainer(model, data, chosen).settle(0, s)
    return model
