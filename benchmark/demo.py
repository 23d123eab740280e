"""The demo in both compositions: what `make demo` measures, and the pictures of the README.

    python benchmark/demo.py [--episodes 10] [--output results]

Writes results/demo.json and, with --docs, docs/demo.gif and docs/energy.png.
"""
import argparse
import json
from pathlib import Path
import subprocess
import sys
import tempfile

from jepa_ros.evaluation import report

HERE = Path(__file__).resolve().parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--episodes', type=int, default=10)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--output', type=Path, default=HERE / 'results')
    parser.add_argument('--docs', action='store_true', help='write the pictures of the README')
    options = parser.parse_args()
    rows, codes = [], []
    for composition, task in (('true', 'reach'), ('false', 'reach'), ('true', 'reach_planned')):
        with tempfile.TemporaryDirectory() as folder:
            pictures = ['--docs', str(HERE.parent / 'docs')] if options.docs and task == 'reach_planned' else []
            command = [sys.executable, '-m', 'jepa_ros.cli.main', 'demo', '--episodes', str(options.episodes), '--seed',
                       str(options.seed), '--composition', composition, '--task', task, '--output', f'{folder}/demo',
                       *pictures]
            codes.append(subprocess.run(command).returncode)
            file = Path(folder) / 'demo' / 'report.json'
            if file.is_file():
                rows.append(json.loads(file.read_text()))
    options.output.mkdir(parents=True, exist_ok=True)
    report.write_json(options.output / 'demo.json', {'machine': report.machine(), 'rows': rows})
    return max(codes)


if __name__ == '__main__':
    sys.exit(main())
