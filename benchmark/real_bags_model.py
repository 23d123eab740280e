"""World models of real robots: trained on some recordings of ../shared/data, judged on the others.

    python benchmark/real_bags_model.py [--data ../shared/data] [--robots neato donkeycar] [--seeds 0 1 2]

Each bag is held out once. On all its steps the model foresees the next 2 s under the commands that were given, against

- persistence: nothing changes;
- ridge regression, fitted on the training bags for each moment ahead alone: from the states s and actions that the
  model is given to the change of s ("linear"), and from plain features of the sensors and the actions to their change
  ("raw linear"). The features (distances in sectors and speeds, principal components of images) know nothing of the
  model; what it imagines of them is read by ridge regression too, from features, states and imagined states.

Skill is 1 − squared error / squared error of the baseline: 0 is no better, 1 is perfect, below 0 is worse. Merges
rows of the tasks real_neato and real_donkeycar into results/world_model.json: means over bags and seeds, the standard
deviation over seeds. Nothing is timed. The two robots take about an hour on one core.
"""
import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from rows import update_rows, WORLD_MODEL
import torch
from torch import Tensor

from jepa_ros.evaluation.open_loop.level import Level
from jepa_ros.evaluation.open_loop.linear import fit
from jepa_ros.evaluation.open_loop.prediction import Foreseen
from jepa_ros.robot.contract import RobotContract
from jepa_ros.training import world_model
from jepa_ros.training.config import TrainingConfig
from jepa_ros.training.data import EpisodeSet
from jepa_ros.training.gather import gather
from jepa_ros.training.losses.regularisers import effective_rank
from jepa_ros.training.states import encode_all

SECTORS, FAR_M = 24, 4.0            # of a scan; where a sector has no valid beam
COMPONENTS, THUMBNAIL = 24, (15, 20)    # principal components of grey images of this size
FITTED = 6000                       # steps of a fit, evenly taken


@dataclass(frozen=True)
class Task:
    """A robot, how its model is trained, and how far ahead it is judged."""

    robot: str
    seconds: tuple[float, ...]
    features: Callable[[EpisodeSet, Tensor], Tensor]    # data, training rows -> (N, F) plain features of the sensors
    config: dict
    observation: dict = field(default_factory=dict)     # changes to the contract's observations

    def contract(self) -> RobotContract:
        """The shipped one; smaller images where the task says so."""
        contract = RobotContract.load(self.robot)
        return contract.model_copy(update={
            'observations': [o.model_copy(update=self.observation) for o in contract.observations]})

    def training(self, seed: int) -> TrainingConfig:
        """Small networks. Nothing is planned here, and a collapse would be seen in the figures."""
        planners = [{'samples': 8, 'iterations': 1, 'horizon': 4, 'elites': 2} for _ in self.config['levels']]
        return TrainingConfig.model_validate(
            self.config | {'planners': planners, 'collapse': {'refuse': False, 'grace': 10**9}, 'seed': seed})


def distances_and_speeds(data: EpisodeSet, rows: Tensor) -> Tensor:
    """Nearest valid distance in each sector of the scan in m, and the speeds of the wheels; in training deviations."""
    metres, valid = data.percepts['scan'][:, 0], data.percepts['scan'][:, 1] > 0
    beams = torch.where(valid, metres, torch.tensor(FAR_M)).clamp_max(FAR_M)
    sectors = torch.stack([part.amin(1) for part in beams.tensor_split(SECTORS, 1)], 1)
    features = torch.cat([sectors, data.percepts['odom']], 1)
    return (features - features[rows].mean(0)) / features[rows].std(0).clamp_min(1e-3)


def image_components(data: EpisodeSet, rows: Tensor) -> Tensor:
    """Principal components of small grey images; those of the training images."""
    parts = []
    for images in data.percepts['camera'].split(1024):
        grey = images.float().mean(-1)[:, None] / 255
        parts.append(torch.nn.functional.adaptive_avg_pool2d(grey, THUMBNAIL).flatten(1))
    thumbnails = torch.cat(parts).double()
    centred = thumbnails - thumbnails[rows].mean(0)
    _, _, directions = torch.linalg.svd(centred[rows], full_matrices=False)
    return (centred @ directions[:COMPONENTS].T).float()


TASKS = {     # settings chosen on neato's bag person_follower and donkeycar's seg_03, held out, seed 0
    'neato': Task('neato', (0.6, 1.0, 2.0), distances_and_speeds, {   # control steps of 0.2 s
        'perception': {'dim': 32},
        'losses': {'prediction': {}, 'vicreg': {'variance': 16, 'covariance': 8, 'within': 8}, 'inverse': {},
                   'smoothness': {}},
        'levels': [{'predictor': 'gru', 'width': 128}, {'period': 5, 'macro_dim': 4, 'width': 128}],
        # more updates learn the 200 s by heart
        'level0': {'updates': 400, 'batch': 64, 'window': 16, 'lr': 1e-3, 'warmup': 100},
        'upper': {'updates': 200, 'batch': 64, 'window': 4, 'lr': 1e-3, 'warmup': 100}}),
    'donkeycar': Task('donkeycar', (0.5, 1.0, 2.0), image_components, {     # control steps of 0.05 s
        'perception': {'dim': 16, 'sensors': {'camera': {'encoder': 'patch', 'options': {'channels': [32, 64, 64]}}}},
        'losses': {'prediction': {'weight': 10}, 'vicreg': {'variance': 16, 'covariance': 8, 'within': 0},
                   'inverse': {}, 'smoothness': {}},
        'levels': [{'predictor': 'gru', 'width': 128, 'options': {'memory': 32, 'context': 6}},
                   {'period': 10, 'macro_dim': 4, 'width': 128}],
        'level0': {'updates': 1200, 'batch': 24, 'window': 16, 'lr': 1e-3, 'warmup': 100},
        'upper': {'updates': 400, 'batch': 64, 'window': 5, 'lr': 1e-3, 'warmup': 100}},
        {'height': 64, 'width': 80}),       # of 120×160
}


@dataclass(frozen=True)
class Judge:
    """Squared errors of one level on the held-out steps; x (N, ·) is s or features, moved to mean 0 in training."""

    level: Level
    training: EpisodeSet
    held_out: EpisodeSet

    def steps(self, part: EpisodeSet, after: int, most: int) -> tuple[Tensor, Tensor]:
        """Steps (M,) of a part with room for the past and `after` control steps, and their episodes (M,)."""
        inside = Level(self.level.model, self.level.index, part, self.level.s, self.level.control_period_s)
        return inside.windows(torch.arange(len(part.starts)), self.level.past * self.level.period, after, most)

    def seen(self, x: Tensor, t: Tensor) -> Tensor:
        """x (M, ·) at steps t (M,) and as far back as the model sees."""
        return x[t[:, None] - self.level.period * torch.arange(self.level.past + 1)].flatten(1)

    def linear(self, x: Tensor, t: Tensor, k: int) -> Tensor:
        """x (M, ·) k periods after steps t (M,), by ridge regression to its change from x and the actions till then."""
        def inputs(t: Tensor) -> Tensor:
            return torch.cat([self.seen(x, t), self.level.raw_actions(t, k).flatten(1)], 1)
        known, episodes = self.steps(self.training, k * self.level.period, FITTED)
        return x[t] + fit(inputs(known), x[known + k * self.level.period] - x[known], episodes)(inputs(t))

    def read(self, x: Tensor, here: Foreseen, known: Foreseen, k: int) -> Tensor:
        """x (M, ·) k periods after the steps of `here`, as the model imagines it.

        Read from x and s there and the imagined s, by ridge regression to the change of x at training steps: as
        `linear`, with the imagined states in place of the actions that they follow from.
        """
        def inputs(of: Foreseen) -> Tensor:
            return torch.cat([self.seen(x, of.t), self.level.s[of.t], of.states[:, k - 1]], 1)
        change = x[known.t + k * self.level.period] - x[known.t]
        return x[here.t] + fit(inputs(known), change, known.owner)(inputs(here))

    def errors(self, x: Tensor, horizons: list[int]) -> Iterator[tuple[int, dict[str, float]]]:
        """(periods, mean squared errors by method) of the state and of the features x (N, F)."""
        s, period, most = self.level.s, self.level.period, max(horizons)
        steps = [self.steps(self.held_out, most * period, 10**9), self.steps(self.training, most * period, FITTED)]
        here, known = (Foreseen(t, owner, self.level.rollout(t, most)) for t, owner in steps)
        for k in horizons:
            now, then = here.t, here.t + k * period
            states = {'model': here.states[:, k - 1], 'persistence': s[now], 'linear': self.linear(s, now, k)}
            features = {'raw_model': self.read(x, here, known, k), 'raw_persistence': x[now],
                        'raw_linear': self.linear(x, now, k)}
            yield k, {name: float((guess - truth[then]).square().mean())
                      for truth, guesses in ((s, states), (x, features)) for name, guess in guesses.items()}


def skills(errors: dict[str, float], moment: str) -> dict[str, float]:
    """By name: of the model over both baselines, and of the linear models over persistence."""
    found = {}
    for kind in ('', 'raw_'):
        for name, baseline in (('', 'persistence'), ('', 'linear'), ('linear_', 'persistence')):
            of = errors[kind + (name.rstrip('_') or 'model')]
            found[f'{kind}{name}skill_{baseline}_{moment}'] = 1 - of / errors[kind + baseline]
    return found


def judge_fold(task: Task, data: EpisodeSet, bag: str, seed: int, work: Path) -> list[dict[str, float]]:
    """Train without one bag and judge on it: the figures of each level."""
    torch.manual_seed(seed)
    contract, parts = task.contract(), data.split_by_bag([bag])
    folder = work / f'{task.robot}-{bag}-{seed}'
    folder.mkdir(parents=True, exist_ok=True)
    model, _ = world_model.train(data, contract, task.training(seed), None, folder, parts=parts)
    model.eval().requires_grad_(False)
    s = encode_all(model, data)
    rows = torch.cat([torch.arange(a, a + n) for a, n in zip(parts[0].starts.tolist(), parts[0].lengths.tolist())])
    x, all_figures = task.features(data, rows), []
    for index in range(len(model.levels)):
        level = Level(model, index, data, s, contract.control_period_s)
        ahead = {round(moment / level.step_s): f'{moment:g}s' for moment in task.seconds
                 if abs(moment / level.step_s - round(moment / level.step_s)) < 1e-6}
        judge, figures = Judge(level, *parts), {'effective_rank': effective_rank(s[rows])}
        for k, errors in judge.errors(x, sorted(ahead)):
            figures |= skills(errors, ahead[k])
        all_figures.append(figures)
    return all_figures


def judge_robot(task: Task, options: argparse.Namespace) -> list[dict]:
    """Rows of the results file, one for each level, and a line for each training on the way."""
    console = Console()
    data = gather([options.data / task.robot], task.contract(), options.work / task.robot)
    found: dict[int, list[list[dict[str, float]]]] = {}     # level -> seed -> bag -> figures
    for seed in options.seeds:
        for bag in data.bags:
            for index, figures in enumerate(judge_fold(task, data, bag, seed, options.work)):
                found.setdefault(index, [[] for _ in options.seeds])[options.seeds.index(seed)].append(figures)
                console.print(f'{task.robot} without {bag}, seed {seed}, level {index}: ' + ', '.join(
                    f'{name} {value:.3f}' for name, value in figures.items()), highlight=False)
    rows = []
    for index, seeds in found.items():
        row = {'task': f'real_{task.robot}', 'method': f'jepa_ros, level {index}', 'bags': len(data.bags),
               'seeds': len(seeds), 'steps': data.steps}
        for name in seeds[0][0]:
            values = np.array([[figures[name] for figures in folds] for folds in seeds])        # (seeds, bags)
            row |= {name: round(float(values.mean()), 4), f'{name}_std': round(float(values.mean(1).std()), 4)}
        rows.append(row)
    return rows


def show(rows: list[dict]) -> None:
    """A table of skills, mean over bags and seeds ± deviation over seeds."""
    table = Table(title='skill on recordings that training has not seen')
    for name in ('task', 'method', 'figure', 'skill'):
        table.add_column(name)
    for row in rows:
        for name in [n for n in row if 'skill' in n and not n.endswith('_std')]:
            table.add_row(row['task'], row['method'], name, f'{row[name]:.3f} ± {row[f"{name}_std"]:.3f}')
    Console(width=120).print(table)


def main() -> None:
    """Judge the robots, print and merge the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = Path(__file__).resolve().parents[1]
    parser.add_argument('--data', type=Path, default=root.parent / 'shared' / 'data')
    parser.add_argument('--robots', nargs='+', choices=sorted(TASKS), default=sorted(TASKS))
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument('--work', type=Path, default=root / 'build' / 'real_bags_model')
    parser.add_argument('--output', type=Path, default=WORLD_MODEL)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for robot in options.robots:
        if not (options.data / robot).is_dir():
            parser.error(f'no recordings of {robot} in {options.data}: give --data')
        rows = judge_robot(TASKS[robot], options)
        show(rows)
        update_rows(options.output, rows)


if __name__ == '__main__':
    main()
