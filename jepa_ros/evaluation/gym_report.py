"""Figures of closed loops in Gymnasium's environments: a summary, rows for the JSON file, lines for the terminal."""
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from jepa_ros.evaluation.gym_loop import GymEpisode, GymRunner
from jepa_ros.evaluation.metrics import percentiles, wilson_interval
from jepa_ros.evaluation.report import spread


def summary(results: Sequence[GymEpisode]) -> dict[str, Any]:
    """Figures of an evaluation; None where there is nothing to tell."""
    judged = [r.success for r in results if r.success is not None]
    errors = {name: percentiles([r.goal_error[name] for r in results if name in r.goal_error], (50, 95))
              for name in dict.fromkeys(name for r in results for name in r.goal_error)}
    return {
        'episodes': len(results), 'successes': sum(judged) if judged else None,
        'success_rate': sum(judged) / len(judged) if judged else None,
        'success_interval_95': wilson_interval(sum(judged), len(judged)) if judged else None,
        'env_successes': _count(r.env_success for r in results), 'judged_reached': _count(r.judged for r in results),
        'return_mean': float(np.mean([r.reward for r in results])),
        'return_std': float(np.std([r.reward for r in results])),
        'return': percentiles([r.reward for r in results], (5, 50, 95)),
        'steps': percentiles([r.steps for r in results], (50, 95)),
        'steps_to_success': percentiles([r.steps for r in results if r.success], (50, 95)),
        'energy_left': percentiles([r.energy_left for r in results if r.energy_left is not None], (50, 95)),
        'goal_error': errors, 'plan_latency_ms': percentiles([v for r in results for v in r.latencies_ms], (50, 95)),
        'endings': {how: sum(r.ending == how for r in results) for how in dict.fromkeys(r.ending for r in results)},
    }


def rows(results: Sequence[GymEpisode]) -> list[dict[str, Any]]:
    """One entry per episode, for the JSON file."""
    return [{**{k: v for k, v in asdict(r).items() if k != 'latencies_ms'},
             'plan_latency_ms': percentiles(r.latencies_ms, (50, 95))} for r in results]


def lines(runner: GymRunner, figures: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The lines of `jepa-ros eval gym`."""
    by = {'env': 'the environment says so', 'energy': 'goal energy below the tolerance', '': ''}[runner.success]
    out = [('goal', {'env': "the environment's own", 'ahead': f'what {runner.settings.ahead} random steps lead to',
                     'store': f'recorded, {runner.settings.ahead} steps ahead', 'none': 'none'}[runner.goal])]
    if figures['success_rate'] is not None:
        low, high = figures['success_interval_95']
        out.append(('success', f'{figures["successes"]} of {figures["episodes"]} ({figures["success_rate"]:.0%}, 95 % '
                               f'interval {low:.1%} to {high:.1%}): {by}'))
    if figures['judged_reached'] is not None and runner.success != 'energy':
        out.append(('judged reached', f'{figures["judged_reached"]} by the agent'))
    out += [('return', f'mean {figures["return_mean"]:.3g} ± {figures["return_std"]:.2g}, '
                       f'{spread(figures["return"], 2)}'),
            ('steps', spread(figures['steps'], 0)), ('steps to success', spread(figures['steps_to_success'], 0)),
            ('goal energy left', spread(figures['energy_left'], 2)),
            *((f'{name} from the goal', spread(error, 3)) for name, error in figures['goal_error'].items()),
            ('plan latency', spread(figures['plan_latency_ms'], unit='ms')),
            ('endings', ', '.join(f'{how} {count}' for how, count in figures['endings'].items()))]
    return [line for line in out if line[1] != '–'] + [('note', note) for note in runner.notes]


def _count(values: Iterable[bool | None]) -> int | None:
    """How many are true of those that are known; None where none is."""
    known = [v for v in values if v is not None]
    return sum(known) if known else None
