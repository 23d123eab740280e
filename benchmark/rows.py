"""Rows of result files that several benchmarks fill.

Named numbers (`merge`): {"machine": …, "rows": [{"what", "value", "unit"}]}. Figures of a method on a task
(`update_rows`): {"machine": …, "rows": [{"task", "method", "success_mean", …}]}.
"""
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
import fcntl
import json
import os
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / 'results'
BAGS = RESULTS / 'bags.json'
WORLD_MODEL = RESULTS / 'world_model.json'


def row(what: str, value: float, unit: str) -> dict:
    """One measured number."""
    return {'what': what, 'value': value, 'unit': unit}


def merge(path: Path, rows: Iterable[dict]) -> None:
    """Put `rows` into the file: one of the same `what` is replaced, the others stay. The machine is this one.

    Raises ValueError for a row without what, value and unit, and for a file that holds something else.
    """
    rows = list(rows)
    for new in rows:
        if set(new) != {'what', 'value', 'unit'}:
            raise ValueError(f'a row has what, value and unit, not {", ".join(new)}')
    _update(path, rows, lambda entry: entry['what'])


def update_rows(path: Path, rows: Iterable[dict]) -> None:
    """Put `rows` into the file: one of the same task and method is replaced in its place, the others stay.

    Several benchmarks may write at the same time: each waits for the other, and a reader never sees half a file.
    Raises ValueError for a row without task and method, for two rows of the same, and for a number that is not finite.
    """
    rows = list(rows)
    for new in rows:
        if not new.get('task') or not new.get('method'):
            raise ValueError(f'a row has a task and a method, not {", ".join(new)}')
    names = [(new['task'], new['method']) for new in rows]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f'two rows of task {twice[0][0]} and method {twice[0][1]}')
    _update(path, rows, lambda entry: (entry['task'], entry['method']))


def _update(path: Path, rows: list[dict], key: Callable[[dict], Hashable]) -> None:
    from jepa_ros.evaluation.report import machine, write_json  # loads torch: not while something is measured
    with _alone(path.parent):
        old = json.loads(path.read_text(encoding='utf-8'))['rows'] if path.exists() else []
        kept = {key(entry): entry for entry in old} | {key(new): new for new in rows}
        write_json(path, {'machine': machine(), 'rows': list(kept.values())})


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One writer at a time in `folder`; the folder itself is the lock, so nothing is left behind."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
