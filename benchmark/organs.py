"""The organs that learn: one table, every question measured on at least three seeds.

    python benchmark/organs.py [--seeds 3] [--only notices adapts …] [--output FILE]

Each question has a script of its own (`organ_*.py`), which shows more. What is measured is kept in build/organs: an
interrupted run goes on where it was. Writes results/organs.json: rows {"what", "value", "std", "seeds"}.
"""
import argparse
from collections.abc import Callable
import json
import math
from pathlib import Path
import statistics

import hostile
import organ_adapt
import organ_critic
import organ_curiosity
import organ_memory
import organ_notice
import organ_reflex
import organ_subgoals
import organ_tasks
from rich.console import Console
from rich.table import Table
from rows import RESULTS

from jepa_ros.evaluation import report

WORK = Path(__file__).resolve().parents[1] / 'build' / 'organs'
Figures = dict[str, float]      # of one seed


def tasks(seed: int) -> Figures:
    """One world model, many tasks: success of each."""
    return {name if name == 'tasks_without_retraining' else f'task_{name}': value
            for name, value in organ_tasks.measure(seed).items() if name not in ('seed', 'episodes')}


def foresees(seed: int) -> Figures:
    """A quarter of the horizon with critic, against the whole one without."""
    return organ_critic.measure(seed)


def reacts(seed: int) -> Figures:
    """Mode-1 and auto against Mode-2."""
    return organ_reflex.measure(seed, work=WORK / 'reflex')


def remembers(seed: int) -> Figures:
    """What was seen and is hidden now. Its settings were chosen on seeds 0, 1, 2 and 11: these are others."""
    found = organ_memory.measure(100 + seed, 20)
    return {'memory_success_gain': found['success_gain']} | {f'memory_{name}': v for name, v in found.items()}


def explores(seed: int) -> Figures:
    """Curious against random."""
    found = organ_curiosity.measure(seed)
    return {'curiosity_coverage_gain': found['curious_coverage'] - found['random_coverage'],
            'curiosity_error_ratio': found['curious_error'] / found['random_error']} | found


def adapts(seed: int) -> Figures:
    """Steps until nine tenths of the former success are back; without adaptation that is at least what was driven."""
    made: Figures = {}
    for name, found in organ_adapt.measure(seed).items():
        steps = found['recovery_steps']
        made[f'adaptation_recovery_steps_{name}'] = found['changed_steps'] if steps is None else steps
        made[f'adaptation_success_{name}'] = found['changed']
        made[f'adaptation_success_after_{name}'] = found['after']
    made['adaptation_recovery_steps'] = made['adaptation_recovery_steps_mirrored_with']
    return made


def notices(seed: int) -> Figures:
    """AUROC of surprise, the mean over what may be wrong, and each."""
    found = organ_notice.measure(seed)
    return {'surprise_auroc': statistics.fmean(found.values())} | {f'surprise_auroc_{k}': v for k, v in found.items()}


def divides(seed: int) -> Figures:
    """Far goals with and without landmarks."""
    return {name if name.startswith('landmark') else f'subgoals_{name}': value
            for name, value in organ_subgoals.measure(seed).items() if name not in ('seed', 'episodes')}


def obeys(seed: int) -> Figures:
    """Random and hostile configurations, 10,002 of them over three seeds."""
    tally = hostile.hostile_configurations(3334, seed)
    return {'guardrail_violations': tally.violations, 'guardrail_floors_lowered': tally.lowered,
            'guardrail_configurations': tally.configurations, 'guardrail_plans_sent': tally.plans}


QUESTIONS: dict[str, Callable[[int], Figures]] = {
    f.__name__: f for f in (tasks, foresees, reacts, remembers, explores, adapts, notices, divides, obeys)}


def measured(question: str, seed: int, work: Path) -> Figures:
    kept = work / f'{question}_{seed}.json'
    if not kept.exists():
        report.write_json(kept, QUESTIONS[question](seed))
    return json.loads(kept.read_text(encoding='utf-8'))


def rows(question: str, found: list[Figures]) -> list[dict]:
    """Mean and standard deviation over the seeds; what one of them lacks is left out."""
    made = []
    for what in found[0]:
        values = [f[what] for f in found if what in f and math.isfinite(f[what])]
        if len(values) == len(found):
            made.append({'what': what, 'value': round(statistics.fmean(values), 4),
                         'std': round(statistics.pstdev(values), 4), 'seeds': len(values), 'question': question})
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--only', nargs='+', choices=list(QUESTIONS), default=list(QUESTIONS))
    parser.add_argument('--work', type=Path, default=WORK, help='where finished measurements are kept')
    parser.add_argument('--output', type=Path, default=RESULTS / 'organs.json')
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    console, table = Console(), Table('question', 'what', 'mean', 'std')
    old = json.loads(options.output.read_text(encoding='utf-8'))['rows'] if options.output.exists() else []
    kept = {row['what']: row for row in old}
    for question in options.only:
        found = []
        for seed in range(options.seeds):
            with console.status(f'{question}, seed {seed}'):
                found.append(measured(question, seed, options.work))
        for row in rows(question, found):
            kept[row['what']] = row
            table.add_row(question, row['what'], f'{row["value"]:g}', f'{row["std"]:g}')
        report.write_json(options.output, {'machine': report.machine(), 'rows': list(kept.values())})
    console.print(table)


if __name__ == '__main__':
    main()
