"""Does a world model that reads memory foresee what it cannot see now? (LeCun §4.8–4.9, eq. 15–20)

    python benchmark/organ_recall.py [--seeds 0 1 2] [--updates 1000]

A base drives to and fro along x. Where x > 0.3 m wind blows it aside along y, in each episode from one of two sides;
where x < −0.3 m a vane shows that side, elsewhere it shows nothing. No percept tells both. Encoder and predictor are
trained by the code of `jepa-ros train`, once with `recall` on level 0 and once without, on the same episodes. Figure:
error of y (m) foreseen 16 steps ahead on held-out episodes, by the readout of the predicted state.
"""
import argparse
from pathlib import Path
import sys

import numpy as np
from rich.console import Console
from rich.table import Table
from rows import RESULTS
import torch

from jepa_ros.evaluation import report
from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.episode import Episode
from jepa_ros.training.config import TrainingConfig
from jepa_ros.training.data import from_episodes
from jepa_ros.training.world_model import train

CONTRACT = RobotContract.parse("""
name: windy
control_period_s: 0.1
observations:
  - {key: odom, topic: odom, type: nav_msgs/msg/Odometry,
     fields: [pose.pose.position.x, pose.pose.position.y, pose.pose.position.z, twist.twist.linear.x]}
readouts:
  - {name: y_m, topic: odom, type: nav_msgs/msg/Odometry, field: pose.pose.position.y}
actions:
  - key: base
    topic: cmd_vel
    type: geometry_msgs/msg/Twist
    fields: [{name: vy_mps, field: linear.y, min: -1.0, max: 1.0, max_rate: 10.0}]
""")
TURN = 12               # steps from one end to the other
STEPS, EPISODES = 120, 240
RECALL = {'slots': 24, 'key': 4, 'value': 8, 'past': 16}


def episode(seed: int) -> Episode:
    """Position, wind vane (z) and direction of travel; the action pushes along y."""
    rng = np.random.default_rng(seed)
    side, phase, y = rng.choice([-1.0, 1.0]), rng.integers(2 * TURN), 0.0
    actions, seen = rng.uniform(-1, 1, (STEPS, 1)), []
    for t in range(STEPS):
        at = (phase + t) % (2 * TURN)
        x = at / 6 - 1 if at < TURN else 3 - at / 6
        seen.append([x, y, side if x < -0.3 else 0.0, 1.0 if at < TURN else -1.0])
        y = 0.8 * y + 0.2 * actions[t, 0] + (0.3 * side if x > 0.3 else 0.0)
    seen = np.array(seen, np.float32)
    stamps = np.arange(STEPS, dtype=np.int64) * 100_000_000 + 1
    return Episode(f'e{seed}', 'made', stamps, {'odom': seen}, actions.astype(np.float32), seen[:, 1:2].copy())


def config(updates: int, seed: int, recall: bool) -> TrainingConfig:
    stage = {'updates': updates, 'batch': 64, 'window': 17, 'horizon': 8, 'stride': 4, 'lr': 4e-3, 'warmup': 50}
    return TrainingConfig.model_validate({
        'perception': {'dim': 16}, 'levels': [{'width': 128, **({'recall': RECALL} if recall else {})}],
        'losses': {'prediction': {}, 'vicreg': {'variance': 16, 'covariance': 8, 'within': 0}, 'inverse': {},
                   'readouts': {}},
        'level0': stage, 'upper': stage, 'collapse': {'refuse': False}, 'seed': seed,
        'planners': [{'samples': 8, 'iterations': 1, 'horizon': 4, 'elites': 2}]})


def measure(seed: int, updates: int = 1000) -> dict[str, float]:
    """Error of y, 16 steps ahead, on held-out episodes, with and without memory, and of one that stands still."""
    data = from_episodes([episode(1000 * seed + i) for i in range(EPISODES)], CONTRACT, {'made': '00'})
    found = {}
    for name, recall in (('without', False), ('with', True)):
        _, figures = train(data, CONTRACT, config(updates, seed, recall))
        found[f'recall_y_error_m_{name}'] = figures['readout_rmse_predicted_16']
        found[f'recall_y_error_now_m_{name}'] = figures['readout_rmse']
    found['recall_error_ratio'] = found['recall_y_error_m_with'] / found['recall_y_error_m_without']
    return found


def main() -> int:
    """Print a table, and write results/organ_recall.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--updates', type=int, default=1000)
    parser.add_argument('--output', type=Path, default=RESULTS / 'organ_recall.json')
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = []
    for seed in options.seeds:
        found.append(measure(seed, options.updates))
        print(f'seed {seed}: ' + ', '.join(f'{name} {value:.3f}' for name, value in found[-1].items()), flush=True)
    table = Table('', 'mean', 'std', title=f'{Path(__file__).stem}: {len(found)} seed(s)')
    rows = []
    for name in found[0]:
        values = [each[name] for each in found]
        rows.append({'what': name, 'value': round(float(np.mean(values)), 4), 'std': round(float(np.std(values)), 4),
                     'seeds': len(values)})
        table.add_row(name, f'{np.mean(values):.3f}', f'{np.std(values):.3f}')
    report.write_json(options.output, {'machine': report.machine(), 'rows': rows})
    Console().print(table)
    return 0


if __name__ == '__main__':
    sys.exit(main())
