"""A latent of each kind against none, on worlds whose randomness is known (LeCun §4.2, §4.4–4.5, §4.8; Dawid §4.2).

    python benchmark/stochastic.py [--seeds 3] [--updates 800] [--only KIND …] [--worlds fork obstacle]

Says how near the best of some drawn futures comes to what happened, whether the draws are as frequent as the outcomes,
and whether the latent is ignored or carries everything. Each finished run is kept in build/stochastic and not repeated;
the means over the seeds go to results/world_model.json, a picture of the draws to build/stochastic.
"""
import argparse
from collections.abc import Iterator
import json
import math
from pathlib import Path
import sys
import time

from rich.console import Console
from rich.table import Column, Table
from rows import update_rows, WORLD_MODEL
from safetensors.torch import load_model, save_model
import stochastic_figures
import stochastic_picture
import stochastic_runs as runs
from stochastic_worlds import WORLDS
import torch

WORK = Path(__file__).resolve().parents[1] / 'build' / 'stochastic'
TEST_EPISODES, TEST_SEED = 400, 7
SHOWN = {
    'fork': ('energy_mean_k8', 'energy_best_of_1_k8', 'energy_best_of_16_k8', 'energy_inferred',
             'expected_calibration_error_k8', 'astray_k8', 'bits_random', 'bits_certain', 'usage_contrast'),
    'obstacle': ('energy_mean_k8', 'energy_best_of_1_k8', 'energy_best_of_16_k8', 'energy_inferred',
                 'coverage_error_k8', 'crps_px_k8', 'std_px_k8', 'bits_random', 'usage_contrast', 'readout_r2'),
}


def cases(options: argparse.Namespace) -> Iterator[tuple[str, str, str, int]]:
    """World, training, kind and seed of every run; the seeds outermost, so that a break leaves a whole table."""
    for seed in range(options.seeds):
        for training in options.trainings:
            for world in options.worlds:
                for kind in kinds(options, training):
                    yield world, training, kind, seed


def kinds(options: argparse.Namespace, training: str) -> list[str]:
    """Variants of a kind are compared on the shared encoder only."""
    return [kind for kind in options.only if training == 'frozen' or kind not in runs.ONLY_FROZEN]


class Bench:
    """Runs and their figures, kept in a folder."""

    def __init__(self, folder: Path, effort: runs.Effort, console: Console):
        self.folder, self.effort, self.console = folder, effort, console
        folder.mkdir(parents=True, exist_ok=True)

    def figures(self, world: str, training: str, kind: str, seed: int) -> dict[str, float]:
        """Of one run, measured now or before."""
        file = self.folder / f'{world}_{training}_{kind}_{seed}.json'
        made_by = {'latent': runs.KINDS[kind], 'losses': runs.LEARNT, 'dim': runs.DIM, 'effort': vars(self.effort)}
        kept = json.loads(file.read_text(encoding='utf-8')) if file.is_file() else {}
        if kept.get('made_by') != made_by:
            began = time.monotonic()
            save_model(self._trained(world, training, kind, seed), str(file.with_suffix('.safetensors')))
            kept = {'made_by': made_by, 'train_minutes': (time.monotonic() - began) / 60}
        if kept.get('measured') != stochastic_figures.MEASURED:
            test = WORLDS[world](TEST_EPISODES, runs.STEPS, TEST_SEED)
            found = stochastic_figures.Judge(self.model(world, training, kind, seed), test).figures()
            found['train_minutes'] = kept['train_minutes']
            kept |= {'measured': stochastic_figures.MEASURED, 'figures': found}
            file.write_text(json.dumps(kept), encoding='utf-8')
        return kept['figures']

    def _trained(self, world: str, training: str, kind: str, seed: int):
        setting = runs.Setting(world, seed)
        with self.console.status(f'{world}, {training}, {kind}, seed {seed}') as status:
            def report(name: str, step: int, updates: int, parts: dict[str, float]) -> None:
                status.update(f'{world}, {training}, {kind}, seed {seed}: {name} {step} of {updates}')
            if training == 'joint':
                return runs.joint(setting, runs.KINDS[kind], self.effort, report)
            return runs.frozen(setting, runs.KINDS[kind], self.effort, self._encoder(setting, report), report)

    def _encoder(self, setting: runs.Setting, report):
        """The encoder that all kinds share."""
        file = self.folder / f'{setting.world}_encoder_{setting.seed}_{self.effort.updates}_{runs.DIM}.safetensors'
        if not file.is_file():
            save_model(runs.encoder(setting, self.effort, report), str(file))
        data, robot = runs.recorded(setting)
        model = runs.build(runs.config({}, runs.LEARNT, self.effort, setting.seed), data, robot)
        load_model(model, str(file))
        return model.eval()

    def model(self, world: str, training: str, kind: str, seed: int):
        """A network that was trained before."""
        data, robot = runs.recorded(runs.Setting(world, seed, 10))
        model = runs.build(runs.config(runs.KINDS[kind], runs.LEARNT, self.effort, seed), data, robot)
        load_model(model, str(self.folder / f'{world}_{training}_{kind}_{seed}.safetensors'))
        return model.eval()


def row(world: str, training: str, kind: str, found: list[dict[str, float]]) -> dict:
    """Mean and deviation over the seeds, as results/world_model.json has them. Nobody drives here: no success."""
    method = f'latent_{kind}' + ('' if training == 'frozen' else f'_{training}')
    figures = {}
    for name in found[0]:
        values = torch.tensor([figures[name] for figures in found], dtype=torch.float64)
        if name != 'train_minutes':
            figures[name] = {'mean': float(values.mean()), 'std': float(values.std(unbiased=len(values) > 1))}
    return {'task': f'stochastic_{world}', 'method': method, 'success_mean': None, 'success_std': None,
            'seeds': len(found), 'episodes': TEST_EPISODES, 'plan_ms_p50': None,
            'train_minutes': sum(figures['train_minutes'] for figures in found) / len(found), 'figures': figures}


def table(console: Console, world: str, rows: list[dict]) -> None:
    shown = Table(Column('latent', no_wrap=True), *(name.replace('_', ' ') for name in SHOWN[world]), title=world,
                  padding=(0, 0))
    for entry in rows:
        figures = (text(entry['figures'].get(name)) for name in SHOWN[world])
        shown.add_row(entry['method'].removeprefix('latent_'), *figures)
    console.print(shown)


def text(figure: dict[str, float] | None) -> str:
    return '–' if figure is None or math.isnan(figure['mean']) else f'{figure["mean"]:.2f}±{figure["std"]:.2f}'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--updates', type=int, default=runs.Effort.updates)
    parser.add_argument('--worlds', nargs='+', choices=SHOWN, default=list(SHOWN))
    parser.add_argument('--trainings', nargs='+', choices=('frozen', 'joint'), default=['frozen', 'joint'])
    parser.add_argument('--only', nargs='+', choices=list(runs.KINDS), default=list(runs.KINDS), metavar='KIND')
    parser.add_argument('--work', type=Path, default=WORK)
    parser.add_argument('--output', type=Path, default=WORLD_MODEL)
    options = parser.parse_args()
    torch.set_num_threads(1)
    console = Console(width=None if sys.stdout.isatty() else 150)
    bench = Bench(options.work, runs.Effort(updates=options.updates), console)
    found: dict[tuple[str, str, str], list[dict[str, float]]] = {}
    for world, training, kind, seed in cases(options):
        found.setdefault((world, training, kind), []).append(bench.figures(world, training, kind, seed))
        update_rows(options.output, [row(world, training, kind, found[world, training, kind])])
    for world in options.worlds:
        table(console, world, [row(*case, figures) for case, figures in found.items() if case[0] == world])
        for training in options.trainings:
            file = options.work / f'{world}_{training}.png'
            stochastic_picture.draw(file, world, {kind: bench.model(world, training, kind, 0)
                                                  for kind in kinds(options, training)})
            console.print(f'picture: {file}')


if __name__ == '__main__':
    main()
