"""Results as a JSON-ready summary and as a table on the terminal. One place says what each figure means."""
from collections.abc import Mapping, Sequence
import dataclasses
import json
import os
from pathlib import Path
import platform

from rich.console import Console
from rich.table import Table
import torch

from jepa_ros.errors import ConfigError
from jepa_ros.evaluation.closed_loop import EpisodeResult
from jepa_ros.evaluation.metrics import percentiles, wilson_interval
from jepa_ros.paths import write_whole


def summary(results: Sequence[EpisodeResult]) -> dict:
    """Figures of a closed-loop evaluation."""
    reached = [r for r in results if r.success]
    return {
        'episodes': len(results), 'successes': len(reached), 'success_rate': len(reached) / max(len(results), 1),
        'success_interval_95': wilson_interval(len(reached), len(results)),
        'judged_reached': sum(r.judged for r in results),
        'judged_wrongly': sum(r.judged and not r.judged_right for r in results),
        'time_to_goal_s': percentiles((r.time_s for r in reached if r.time_s is not None), (50, 95)),
        'collisions': sum(r.collisions for r in results),
        'path_over_shortest': percentiles((r.path_m / r.shortest_m for r in reached), (50, 95)),
        'plan_latency_ms': percentiles(v for r in results for v in r.latencies_ms),
        'reactive_share': sum(r.reactive for r in results) / max(sum(r.ticks for r in results), 1),
        'escaping_share': sum(r.escaping for r in results) / max(sum(r.ticks for r in results), 1),
    }


def rows(results: Sequence[EpisodeResult]) -> list[dict]:
    """One entry per episode, for the JSON file; latencies as percentiles."""
    return [{**{k: v for k, v in dataclasses.asdict(r).items() if k != 'latencies_ms'},
             'plan_latency_ms': percentiles(r.latencies_ms)} for r in results]


def machine() -> dict:
    """What figures were measured on."""
    lines = Path('/proc/cpuinfo').read_text().splitlines() if Path('/proc/cpuinfo').is_file() else []
    names = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
    return {'cpu': names[0] if names else platform.processor(), 'cores': os.cpu_count(),
            'python': platform.python_version(), 'torch': torch.__version__}


def check_writable(file: Path | None) -> None:
    """ConfigError when `file` cannot be written: said before the work, not after it."""
    if file is not None and not file.parent.is_dir():
        raise ConfigError(f'{file}: folder {file.parent} does not exist: make it or give another file')
    if file is not None and file.is_dir():
        raise ConfigError(f'{file} is a folder: give the name of a file')


def write_json(file: Path, data: Mapping) -> None:
    """Write `data`, whole or not at all; ConfigError names the file when the disk does not take it."""
    try:
        write_whole(file, json.dumps(data, indent=2, allow_nan=False) + '\n')
    except OSError as error:
        raise ConfigError(f'{file}: cannot be written: {error.strerror}') from None


def spread(figures: Mapping[str, float | None], digits: int = 1, unit: str = '') -> str:
    """'p50 3.1 · p95 4.2 s'; a dash where nothing was measured."""
    parts = [f'{name} {value:.{digits}f}' for name, value in figures.items() if value is not None]
    return f'{" · ".join(parts)}{unit and " " + unit}' if parts else '–'


def print_table(title: str, lines: Sequence[tuple[str, str]]) -> None:
    """Two columns: what, and how much."""
    table = Table(title=title, title_justify='left', show_header=False)
    table.add_column(style='bold')
    table.add_column()
    for line in lines:
        table.add_row(*line)
    Console().print(table)


def closed_loop_lines(figures: Mapping) -> list[tuple[str, str]]:
    """The lines of `jepa-ros eval`."""
    low, high = figures['success_interval_95']
    wrongly = figures['judged_wrongly']
    return [
        ('goals reached', f'{figures["successes"]} of {figures["episodes"]} ({figures["success_rate"]:.0%}, '
         f'95 % interval {low:.1%} to {high:.1%})'),
        ('judged reached', f'{figures["judged_reached"]}, of these {wrongly} wrongly'),
        ('time to goal', spread(figures['time_to_goal_s'], unit='s')),
        ('path / shortest', spread(figures['path_over_shortest'], 2)),
        ('collisions', str(figures['collisions'])),
        ('plan latency', spread(figures['plan_latency_ms'], unit='ms')),
        ('decided by Mode-1', f'{figures["reactive_share"]:.1%} of the ticks'),
        ('leaving impasses', f'{figures["escaping_share"]:.1%} of the ticks'),
    ]


def demo_lines(figures: Mapping) -> list[tuple[str, str]]:
    """The lines of `jepa-ros demo`; they are the entries of report.json."""
    low, high = wilson_interval(figures['successes'], figures['episodes'])
    return [
        ('goals reached', f'{figures["successes"]} of {figures["episodes"]} (95 % interval {low:.0%} to {high:.0%})'),
        ('time to goal', spread(figures['time_to_goal_s'], unit='s')),
        ('collisions', str(figures['collisions'])),
        ('decided by Mode-1', f'{figures["reactive_share"]:.1%} of the ticks'),
        ('control rate', f'{figures["control_hz"]:.2f} Hz'),
        ('deadline misses', f'{figures["deadline_miss_rate"]:.2%} of the percepts'),
        ('percept to action', spread(figures['percept_to_action_ms'], unit='ms')),
        ('plan latency', spread(figures['plan_latency_ms'], unit='ms')),
    ]
