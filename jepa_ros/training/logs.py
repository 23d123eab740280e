"""Where the figures of a stage go: `<stage>.csv`, `<stage>_monitor.csv`, and TensorBoard when asked for.

A resumed stage continues its files: rows after the state it continues from are dropped, they come again.
"""
import csv
from pathlib import Path
from typing import Any

from jepa_ros.errors import TrainingError


class Table:
    """A CSV file with one header, of rows with an ascending `update`; rows after `kept` are dropped."""

    def __init__(self, path: Path, kept: int):
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._rows = [row for row in self._read() if _update(row) <= kept] if kept else []
        self._columns = list(self._rows[0]) if self._rows else []
        self._write()

    def last(self, column: str) -> float:
        """Its value in the last row; 0 in an empty table."""
        return float(self._rows[-1].get(column) or 0) if self._rows else 0.0

    def append(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        new = [name for name in row if name not in self._columns]
        if new:
            self._columns += new
            self._write()
        else:
            with self._path.open('a', newline='') as file:
                csv.DictWriter(file, self._columns, restval='').writerow(row)

    def _read(self) -> list[dict[str, Any]]:
        if not self._path.is_file():
            return []
        with self._path.open(newline='') as file:
            # a run that was killed may have left half a row
            return [row for row in csv.DictReader(file) if None not in row.values() and None not in row]

    def _write(self) -> None:
        if not self._columns:       # nothing to keep of an earlier run, nothing to say yet
            self._path.unlink(missing_ok=True)
            return
        with self._path.open('w', newline='') as file:
            writer = csv.DictWriter(file, self._columns, restval='')
            writer.writeheader()
            writer.writerows(self._rows)


def _update(row: dict[str, Any]) -> float:
    try:
        return int(row['update'])
    except (KeyError, ValueError):
        return float('inf')


class StageLog:
    """All files of one stage, in `folder`; `step` is the update that the stage continues from."""

    def __init__(self, folder: Path, stage: str, step: int, tensorboard: bool):
        name = stage.replace(' ', '_')
        self._tables = {kind: Table(folder / f'{name}{kind}.csv', step) for kind in ('', '_monitor')}
        self._board = _writer(folder / 'tensorboard' / name, step) if tensorboard else None
        self.seconds_before = self._tables[''].last('seconds')

    def losses(self, update: int, seconds: float, figures: dict[str, float]) -> None:
        """seconds: of this process; the file counts those before a resume too."""
        self._add('', update, {'seconds': round(self.seconds_before + seconds, 1), **figures})

    def monitor(self, update: int, figures: dict[str, float]) -> None:
        self._add('_monitor', update, figures)

    def _add(self, kind: str, update: int, figures: dict[str, float]) -> None:
        self._tables[kind].append({'update': update, **{k: f'{v:.9g}' for k, v in figures.items()}})
        if self._board:
            for name, value in figures.items():
                self._board.add_scalar(f'{kind.strip("_") or "train"}/{name}', value, update)
            self._board.flush()

    def close(self) -> None:
        if self._board:
            self._board.close()


def _writer(folder: Path, step: int):
    check_tensorboard()
    from torch.utils.tensorboard import SummaryWriter
    return SummaryWriter(str(folder), purge_step=step + 1)


def check_tensorboard() -> None:
    """TrainingError when it is not installed."""
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError:
        raise TrainingError("TensorBoard is not installed: pip install 'jepa_ros[tensorboard]', or give "
                            '--no-tensorboard; the CSV files hold the same figures') from None
