"""Far goals with and without the landmark graph, in four rooms and in a maze (LeCun §6).

    python benchmark/organ_subgoals.py [--seeds 3] [--episodes 10] [--output FILE]

Per seed: random driving in both worlds is recorded in process, a small two-level model is trained on it (`train`, once
per seed, kept in build/organs), and the same starts and goals, in the rooms farthest from each other, are driven
with task `reach` and with task `reach_far`. The graph grows from a memory of ten minutes of random driving there. Both
use the same model, planner and time; only the landmarks differ.
"""
from pathlib import Path

import numpy as np
from organ_figures import parser, show
import torch

from jepa_ros.agent import Agent
from jepa_ros.evaluation import closed_loop
from jepa_ros.memory.memory import Memory
from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.episode import Episode
from jepa_ros.robot.explore import Exploration
from jepa_ros.sim.episodes import StartGoal
from jepa_ros.sim.worlds import make_planar_world, PlanarWorld
from jepa_ros.training.config import TrainingConfig
from jepa_ros.training.data import from_episodes, save
from jepa_ros.training.trainer import train as train_model

WORLDS = {'four_rooms': ('lower_left', 'lower_right'), 'corridors': ('first', 'last')}      # the farthest two rooms
BUILD = Path('build/organs')
EPISODES, STEPS = 100, 200          # of recording, per world: 33 minutes at 10 Hz
REMEMBERED = 6000                   # steps of random driving that memory holds: ten minutes
LIMIT_S = 60.0                      # the shortest way takes about 7 s in the rooms and 13 s in the maze
CONFIG = {
    'perception': {'dim': 64, 'sensors': {'overhead': {'encoder': 'patch', 'options': {'channels': [48, 96, 96]}}}},
    'levels': [{'width': 256}, {'period': 8, 'macro_dim': 4, 'width': 384}],
    'losses': {'prediction': {}, 'vicreg': {'variance': 16, 'covariance': 8, 'within': 8}, 'smoothness': {'weight': 4},
               'inverse': {'weight': 5}, 'readouts': {}},
    'level0': {'updates': 2000, 'batch': 64, 'window': 12, 'lr': 0.001},
    'upper': {'updates': 2000, 'batch': 128, 'window': 8, 'lr': 0.001},
    'distillation': {'problems': 1000, 'updates': 1500, 'batch': 256, 'lr': 0.001},
    'planners': [
        {'method': 'mppi', 'samples': 64, 'iterations': 2, 'horizon': 8, 'elites': 4, 'correlation': 0.95,
         'min_std': 0.4},
        {'method': 'mppi', 'samples': 64, 'iterations': 3, 'horizon': 7, 'elites': 8, 'correlation': 0.5}],
    'goal_radius': 0.1,
}


def record(world_name: str, contract: RobotContract, episodes: int, seed: int) -> list[Episode]:
    """Correlated random driving from random starts."""
    world, period_s = make_planar_world(world_name), contract.control_period_s
    driver = Exploration(contract.action_low, contract.action_high, period_s, seed)
    key, size, made = contract.observations[0].key, contract.observations[0].width, []
    for number in range(episodes):
        world.reset(seed * 10_000 + number, {})
        driver.start(number)
        images, actions, poses = [], [], []
        for _ in range(STEPS):
            images.append(shown(world, size))
            actions.append(driver.next())
            poses.append(world.pose)
            world.step(actions[-1], period_s)
        stamps = np.arange(STEPS, dtype=np.int64) * round(period_s * 1e9) + 1
        made.append(Episode(f'{world_name}_{number}', f'sim/{world_name}', stamps, {key: np.stack(images)},
                            np.array(actions, np.float32), np.array(poses, np.float32)))
    return made


def shown(world: PlanarWorld, size: int) -> np.ndarray:
    """The camera's picture (size, size, 3), shrunk as the adapters shrink it."""
    import cv2
    return cv2.resize(world.image(), (size, size), interpolation=cv2.INTER_AREA)


def train(seed: int) -> Path:
    """The model of a seed; made where it is not there yet."""
    output = BUILD / f'far_{seed}'
    if (output / 'model.yaml').is_file():
        return output
    contract = RobotContract.load('two_rooms')
    episodes = [episode for world in WORLDS for episode in record(world, contract, EPISODES, seed)]
    data = from_episodes(episodes, contract, dict.fromkeys(WORLDS, '00'))
    store = BUILD / f'far_{seed}.npz'
    BUILD.mkdir(parents=True, exist_ok=True)
    save(data, store, contract)
    train_model([store], contract, TrainingConfig.model_validate({**CONFIG, 'seed': seed}), output,
                BUILD / f'far_{seed}_work', commands=[f'python benchmark/organ_subgoals.py (seed {seed})'])
    return output


def memory_of(agent: Agent, world_name: str, seed: int) -> Memory:
    """Ten minutes of random driving, as the memory node would have stored them."""
    memory, stamp_ns = Memory(agent.world_model.model.config.dim), 0
    for episode in record(world_name, agent.contract, REMEMBERED // STEPS, 1000 + seed):
        (key, images), = episode.percepts.items()
        stamp_ns += 10 * 10**9      # an episode begins elsewhere: no transition
        for stamp, image in zip(episode.stamps_ns, images):
            memory.store(stamp_ns + int(stamp), agent.perception.encode({key: image}).levels[0], 0.0)
        stamp_ns += int(episode.stamps_ns[-1])
    return memory


def far_goals(world: PlanarWorld, rooms: tuple[str, str], count: int, seed: int) -> list[StartGoal]:
    """Starts in one of the two rooms, goals in the other."""
    rng, pairs = np.random.default_rng([seed, 7]), []
    for number in range(count):
        start, goal = (world.sample_pose(rng, rooms[(number + side) % 2]) for side in (0, 1))
        pairs.append(StartGoal(number, {'start_x_m': start[0], 'start_y_m': start[1]}, goal))
    return pairs


def measure(seed: int, episodes: int = 10, limit_s: float = LIMIT_S) -> dict:
    """Success with and without landmarks in each world, and the mean gain. Trains the seed's model at first."""
    torch.set_num_threads(1)
    model, figures = str(train(seed)), {'seed': seed, 'episodes': episodes}
    for name, rooms in WORLDS.items():
        for task in ('reach', 'reach_far'):
            agent, world = closed_loop.load(closed_loop.Settings(model=model, world=name))
            guide = agent.configurator.guide
            if task == 'reach_far':
                guide.remember(memory_of(agent, name, seed))
                while guide.work():
                    pass
                figures[f'{name}_landmarks'] = len(guide.graph)
            settings = closed_loop.Settings(model=model, world=name, task=task, mode='planned', max_time_s=limit_s)
            done = [closed_loop.drive(agent, world, pair, settings, index)
                    for index, pair in enumerate(far_goals(world, rooms, episodes, seed))]
            short = 'with' if task == 'reach_far' else 'without'
            figures[f'{name}_{short}'] = float(np.mean([result.success for result in done]))
            figures[f'{name}_{short}_s'] = float(np.mean([result.time_s or limit_s for result in done]))
    gains = [figures[f'{name}_with'] - figures[f'{name}_without'] for name in WORLDS]
    return figures | {'landmark_success_gain': float(np.mean(gains))}


def main() -> None:
    options = parser(__doc__, episodes=10).parse_args()
    show([measure(seed, options.episodes) for seed in range(options.seeds)], options.output)


if __name__ == '__main__':
    main()
