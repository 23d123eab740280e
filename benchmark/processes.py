"""One process, two of half the batch each, and one that is killed: the same curve; speed and memory.

    python benchmark/processes.py BAGS… [--updates 100] [--strategies ddp fsdp] [--devices 2] [--device cpu]

Level 0 of the configuration is trained for some updates on the same data: by one process; by `--devices` processes
under torchrun, with each strategy; and by one that `kill -9` ends halfway and the same command continues. Compared
are the losses of their CSV logs, as relative differences. Writes rows of tasks `processes` and `resume` into
results/world_model.json.
"""
import argparse
import csv
from pathlib import Path
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from rich.console import Console
from rich.table import Table
import rows
import yaml

from jepa_ros.errors import JepaRosError
from jepa_ros.training.config import load_config

SHORT = {'updates': 5, 'batch': 16, 'warmup': 0}      # of the stages that are not compared
LOG = 'level_0.csv'


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('sources', nargs='+', help='bags, stores or caches')
    parser.add_argument('--config', default='two_rooms', help='training configuration')
    parser.add_argument('--robot', default='two_rooms')
    parser.add_argument('--updates', type=int, default=100, help='updates of level 0, a multiple of 50')
    parser.add_argument('--devices', type=int, default=2, help='processes')
    parser.add_argument('--device', default='cpu', choices=('cpu', 'cuda'))
    parser.add_argument('--strategies', nargs='*', default=['ddp', 'fsdp'])
    parser.add_argument('--json', type=Path, default=rows.WORLD_MODEL)
    return parser.parse_args()


def shortened(name: str, updates: int, folder: Path) -> Path:
    """The configuration with `updates` of level 0 and next to nothing of the rest; a collapse is no fault here."""
    settings = load_config(name).model_dump(mode='json')
    settings['level0'] |= {'updates': updates, 'warmup': min(updates, settings['level0']['warmup'])}
    settings['upper'] |= SHORT
    settings['distillation'] |= {'problems': 16, 'updates': 5, 'batch': 16}
    settings['collapse']['refuse'] = False
    path = folder / 'short.yaml'
    path.write_text(yaml.safe_dump(settings), encoding='utf-8')
    return path


def command(args: argparse.Namespace, config: Path, folder: Path, *more: str) -> list[str]:
    return [sys.executable, '-m', 'jepa_ros.training', *args.sources, '--robot', args.robot, '--config', str(config),
            '--output', str(folder / 'model'), '--work-dir', str(folder), '--device', args.device, '--threads', '1',
            '--precision', '32', *more]


def log_of(folder: Path) -> list[dict[str, float]]:
    """Rows of the log of level 0; `TrainingError` text of the run is on the screen where there is none."""
    with (folder / LOG).open(newline='') as file:
        return [{name: float(value or 'nan') for name, value in row.items()} for row in csv.DictReader(file)]


def run(line: list[str]) -> None:
    if subprocess.run(line, check=False).returncode:
        raise SystemExit(f'failed: {" ".join(line)}')


def killed_halfway(line: list[str], folder: Path) -> None:
    """Start `line`, end it with SIGKILL when its first row is logged, and run it again to its end."""
    process = subprocess.Popen(line)
    try:
        while process.poll() is None and not ((folder / LOG).exists() and log_of(folder)):
            time.sleep(0.05)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
    run(line)


def difference(one: list[dict], other: list[dict]) -> float:
    """Largest relative difference of the losses; both must have the same updates."""
    if [r['update'] for r in one] != [r['update'] for r in other]:
        raise SystemExit('the runs have logged different updates')
    return max(abs(a['loss'] - b['loss']) / abs(a['loss']) for a, b in zip(one, other))


def figures(task: str, method: str, log: list[dict], first: list[dict], processes: int) -> dict:
    last = log[-1]
    return {'task': task, 'method': method, 'processes': processes, 'updates': int(last['update']),
            'largest_loss_difference': difference(first, log), 'samples_per_s': round(last['samples_per_s'], 1),
            'data_wait_share': round(last['data_wait'], 4), 'memory_gib': round(last['memory_gib'], 2),
            **({'gpu_utilisation': last['gpu_utilisation']} if 'gpu_utilisation' in last else {})}


def measure(args: argparse.Namespace, root: Path) -> list[dict]:
    config = shortened(args.config, args.updates, root)
    folders = {name: root / name for name in ('one', 'killed', *args.strategies)}
    for folder in folders.values():
        folder.mkdir()
    run(command(args, config, folders['one']))
    for cache in folders['one'].glob('episodes-*'):     # gathered once
        for name, folder in folders.items():
            if name != 'one':
                shutil.copytree(cache, folder / cache.name)
    one = log_of(folders['one'])
    found = [figures('processes', 'one', one, one, 1)]
    killed_halfway(command(args, config, folders['killed'], '--checkpoint-minutes', '0'), folders['killed'])
    found.append(figures('resume', 'killed', log_of(folders['killed']), one, 1))
    for strategy in args.strategies:
        run(command(args, config, folders[strategy], '--devices', str(args.devices), '--strategy', strategy))
        found.append(figures('processes', strategy, log_of(folders[strategy]), one, args.devices))
    return found


def main() -> None:
    args = arguments()
    try:
        with tempfile.TemporaryDirectory() as folder:
            found = measure(args, Path(folder))
    except JepaRosError as error:
        raise SystemExit(f'processes.py: {error}') from None
    rows.update_rows(args.json, found)
    table = Table('task', 'method', 'processes', 'largest difference of the loss', 'samples/s', 'GiB')
    for row in found:
        table.add_row(row['task'], row['method'], str(row['processes']), f'{row["largest_loss_difference"]:.2g}',
                      f'{row["samples_per_s"]:g}', f'{row["memory_gib"]:g}')
    Console().print(table)


if __name__ == '__main__':
    main()
