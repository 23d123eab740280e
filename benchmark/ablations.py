"""What each part of the training is worth: success without it, in two rooms whose door moves (LeCun §4.5–4.6).

    python benchmark/ablations.py [--updates 3000] [--seeds 3] [--episodes 40] [--only NAME …] [--bags BAG …]

Every ablation is a change of config/agents/two_rooms.yaml and gets the same updates, fewer than the shipped model had.
A collapsed model is driven all the same, and the row says what is wrong with it. Runs are kept in build/ablations: what
is finished is not repeated, what was interrupted goes on. Prints a table and writes results/world_model.json.
"""
import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
import json
import math
from pathlib import Path
import sys
import time
from typing import Any

from rich.console import Console
from rich.table import Table
from rows import update_rows, WORLD_MODEL
import torch

from jepa_ros import checkpoint
from jepa_ros.errors import TrainingError
from jepa_ros.evaluation import closed_loop, report
from jepa_ros.robot.sources import contract_of
from jepa_ros.training import evaluate, trainer
from jepa_ros.training.config import load_config, TrainingConfig
from jepa_ros.training.gather import CACHE, gather

ROOT = Path(__file__).resolve().parents[1]
TASK, WORLD, CONFIG = 'two_rooms_ablation', 'two_rooms_random_door', 'two_rooms'
LEAST_PROBLEMS = 50     # start/goal pairs that policy and critic learn from, however short a run is
SHOWN = ('effective_rank', 'std', 'inverse_error', 'prediction_8', 'prediction_16', 'readout_rmse')


@dataclass(frozen=True)
class Ablation:
    """Changes of the configuration (None: that key is left out; a number: that entry of a list), or of the planning."""

    changes: Mapping[str | int, Any] = field(default_factory=dict)
    flat: bool = False      # level 0 alone plans, with the model of `full`


def _instead(name: str) -> Ablation:
    return Ablation({'losses': {'vicreg': None, name: {}}})


def _latent(kind: str, **settings: Any) -> Ablation:
    return Ablation({'levels': {0: {'latent': {'kind': kind, 'state_prior': True, **settings}}}})


ABLATIONS: dict[str, Ablation] = {
    'full': Ablation(),
    'without_inverse': Ablation({'losses': {'inverse': None}}),
    'without_variance': Ablation({'losses': {'vicreg': {'variance': 0}}}),
    'without_covariance': Ablation({'losses': {'vicreg': {'covariance': 0}}}),
    'without_smoothness': Ablation({'losses': {'smoothness': None}}),
    'without_hierarchy': Ablation(flat=True),
    'latent_discrete': _latent('discrete', dim=8),
    'latent_gaussian': _latent('gaussian', dim=4),
    'sigreg': _instead('sigreg'),
    'barlow_twins': _instead('barlow_twins'),
    'info_nce': _instead('info_nce'),
}


def changed(config: Any, changes: Mapping[str | int, Any]) -> Any:
    """A copy of nested mappings and lists with the changes made."""
    copy = list(config) if isinstance(config, list) else dict(config or {})
    for key, value in changes.items():
        if value is None:
            del copy[key]
        elif isinstance(value, Mapping):
            known = isinstance(copy, list) or key in copy
            copy[key] = changed(copy[key] if known else {}, value)
        else:
            copy[key] = value
    return copy


def configured(name: str, updates: int, seed: int) -> TrainingConfig:
    """The configuration of one run: its stages shortened alike, so that level 0 has `updates`."""
    shipped = load_config(CONFIG)
    share = updates / shipped.level0.updates
    plain = changed(shipped.model_dump(mode='json'), ABLATIONS[name].changes)
    for stage in ('level0', 'upper', 'distillation'):
        plain[stage]['updates'] = max(1, round(share * plain[stage]['updates']))
    for stage in ('level0', 'upper'):
        plain[stage]['warmup'] = min(plain[stage]['warmup'], plain[stage]['updates'] // 4)
    plain['distillation']['problems'] = max(LEAST_PROBLEMS, round(share * plain['distillation']['problems']))
    plain['collapse']['refuse'] = False
    return TrainingConfig.model_validate(plain | {'seed': seed})


class Bench:
    """Trains and drives; every finished run is a file in `work`."""

    def __init__(self, options: argparse.Namespace, console: Console):
        self.options, self.console = options, console
        self.data: Path | None = None

    def result(self, name: str, seed: int) -> dict:
        """Figures of one run, measured now or before."""
        config = configured(name, self.options.updates, seed)
        folder = self.options.work / f'{name}_{seed}'
        made_by = {'config': config.model_dump(mode='json'), 'bags': [Path(bag).name for bag in self.options.bags],
                   'episodes': self.options.episodes, 'flat': ABLATIONS[name].flat}
        file = folder / 'result.json'
        if file.is_file():
            kept = json.loads(file.read_text(encoding='utf-8'))
            if kept['made_by'] == made_by:
                return kept['result']
        folder.mkdir(parents=True, exist_ok=True)
        found = self._planned_flat(seed) if ABLATIONS[name].flat else self._trained(name, seed, config, folder)
        report.write_json(file, {'made_by': made_by, 'result': found})
        return found

    def _trained(self, name: str, seed: int, config: TrainingConfig, folder: Path) -> dict:
        with self.console.status(f'{name}, seed {seed}') as status:
            def progress(stage: str, done: int, total: int, parts: dict[str, float]) -> None:
                status.update(f'{name}, seed {seed}: {stage} {done} of {total}')
            began = time.monotonic()
            try:
                agent = trainer.train([self._episodes()], contract_of(self.options.bags, ''), config, folder / 'model',
                                      folder, 'cpu', report=progress)
            except TrainingError as error:      # not finite, too little memory: no model to drive
                return {'success': 0.0, 'plan_ms_p50': None, 'minutes': (time.monotonic() - began) / 60,
                        'figures': {}, 'collapse': str(error)}
        return {**self._driven(name, seed, folder / 'model'), 'minutes': (time.monotonic() - began) / 60,
                'figures': {name: value for name, value in agent.card.metrics.items() if math.isfinite(value)},
                'collapse': collapse(agent.card.metrics)}

    def _planned_flat(self, seed: int) -> dict:
        """The model of `full`, with one level."""
        full, folder = self.result('full', seed), self.options.work / f'full_{seed}' / 'model'
        if not folder.is_dir():
            return full
        own = checkpoint.read_card(checkpoint.find(folder)).planner_settings()
        planners = (closed_loop.flat_planner(own, closed_loop.FLAT_HORIZON),)
        return {**full, **self._driven('without_hierarchy', seed, folder, planners)}

    def _driven(self, name: str, seed: int, model: Path, planners=None) -> dict:
        settings = closed_loop.Settings(str(model), WORLD, 'planned', planners=planners)
        done: list[closed_loop.EpisodeResult] = []
        with self.console.status(f'{name}, seed {seed}: driving') as status:
            def progress(result: closed_loop.EpisodeResult) -> None:
                done.append(result)
                status.update(f'{name}, seed {seed}: {sum(r.success for r in done)} of {len(done)} reached')
            closed_loop.evaluate(settings, self.options.episodes, progress=progress)
        figures = report.summary(done)
        return {'success': figures['success_rate'], 'plan_ms_p50': figures['plan_latency_ms']['p50']}

    def _episodes(self) -> Path:
        """The cache that all runs share, made once."""
        if self.data is None:
            folder = self.options.work / 'data'
            contract = contract_of(self.options.bags, '')
            with self.console.status('reading the bags'):
                gather(self.options.bags, contract, folder)
            self.data = folder / CACHE.format(contract.sha256()[:12])
        return self.data


def collapse(figures: Mapping[str, float]) -> str:
    """What is wrong with a representation, in words; empty where nothing is."""
    return '; '.join(evaluate.collapse_problems(figures, load_config(CONFIG).collapse))


def row(name: str, results: list[dict], options: argparse.Namespace) -> dict:
    """Mean and deviation over the seeds, as results/world_model.json has them."""
    def over(values: list[float]) -> dict[str, float]:
        x = torch.tensor(values, dtype=torch.float64)
        return {'mean': float(x.mean()), 'std': float(x.std(unbiased=len(x) > 1))}
    success = over([result['success'] for result in results])
    plans = [result['plan_ms_p50'] for result in results if result['plan_ms_p50'] is not None]
    names = results[0]['figures']
    return {
        'task': TASK, 'method': name, 'success_mean': success['mean'], 'success_std': success['std'],
        'seeds': len(results), 'episodes': options.episodes, 'plan_ms_p50': over(plans)['mean'] if plans else None,
        'train_minutes': over([result['minutes'] for result in results])['mean'], 'updates': options.updates,
        'figures': {key: over([result['figures'][key] for result in results]) for key in names     # known of all seeds
                    if all(key in result['figures'] for result in results)},
        'collapsed': [f'seed {seed}: {result["collapse"]}' for seed, result in enumerate(results)
                      if result['collapse']]}


def table(console: Console, rows: list[dict]) -> None:
    shown = Table('ablation', 'reached', *(name.replace('_', ' ') for name in SHOWN), 'collapsed')
    for entry in rows:
        figures = [entry['figures'].get(name) for name in SHOWN]
        shown.add_row(entry['method'], f'{entry["success_mean"]:.0%} ± {entry["success_std"]:.0%}',
                      *('–' if f is None else f'{f["mean"]:.2f} ± {f["std"]:.2f}' for f in figures),
                      f'{len(entry["collapsed"])} of {entry["seeds"]}')
    console.print(shown)
    for entry in rows:
        for line in entry['collapsed']:
            console.print(f'{entry["method"]}, {line}', highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--updates', type=int, default=3000, help='of level 0; the other stages are shortened alike')
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--episodes', type=int, default=40)
    parser.add_argument('--only', nargs='+', choices=list(ABLATIONS), default=list(ABLATIONS), metavar='NAME',
                        help=f'of {", ".join(ABLATIONS)}')
    parser.add_argument('--bags', nargs='+', default=[str(ROOT / 'bags' / f'two_rooms_{n}') for n in (1, 2)])
    parser.add_argument('--work', type=Path, default=ROOT / 'build' / 'ablations')
    parser.add_argument('--output', type=Path, default=WORLD_MODEL)
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 150)
    torch.set_num_threads(1)
    bench, rows = Bench(options, console), {}
    results: dict[str, list[dict]] = {name: [] for name in options.only}
    for seed in range(options.seeds):       # outermost, so that a break leaves a whole table
        for name in options.only:
            results[name].append(bench.result(name, seed))
            rows[name] = row(name, results[name], options)
            console.print(f'{name}, seed {seed}: {results[name][-1]["success"]:.0%} reached', highlight=False)
            update_rows(options.output, [rows[name]])
    table(console, list(rows.values()))


if __name__ == '__main__':
    main()
