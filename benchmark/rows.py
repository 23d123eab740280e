"""Rows of a result file that several benchmarks fill: {"machine": …, "rows": [{"what": …, "value": …, "unit": …}]}."""
from collections.abc import Iterable
import json
from pathlib import Path

BAGS = Path(__file__).resolve().parent / 'results' / 'bags.json'


def row(what: str, value: float, unit: str) -> dict:
    """One measured number."""
    return {'what': what, 'value': value, 'unit': unit}


def merge(path: Path, rows: Iterable[dict]) -> None:
    """Put `rows` into the file: one of the same `what` is replaced, the others stay. The machine is this one.

    Raises ValueError for a row without what, value and unit, and for a file that holds something else.
    """
    from jepa_ros.evaluation.report import machine, write_json  # loads torch: not while something is measured
    rows = list(rows)
    for new in rows:
        if set(new) != {'what', 'value', 'unit'}:
            raise ValueError(f'a row has what, value and unit, not {", ".join(new)}')
    old = json.loads(path.read_text(encoding='utf-8'))['rows'] if path.exists() else []
    kept = {old_row['what']: old_row for old_row in old} | {new['what']: new for new in rows}
    write_json(path, {'machine': machine(), 'rows': list(kept.values())})
