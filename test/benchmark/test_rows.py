"""Result files that several benchmarks fill."""
import importlib.util
import json
from pathlib import Path

import pytest

SPEC = importlib.util.spec_from_file_location('rows', Path(__file__).parents[2] / 'benchmark' / 'rows.py')
rows = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(rows)


def test_rows_of_the_same_name_are_replaced_and_the_others_stay(tmp_path):
    file = tmp_path / 'bags.json'
    rows.merge(file, [rows.row('a', 1, 'ms'), rows.row('b', 2, 'MB/s')])
    rows.merge(file, iter([rows.row('c', 3, ''), rows.row('a', 4, 's')]))
    content = json.loads(file.read_text())
    assert {'cpu', 'cores'} <= set(content['machine'])
    assert content['rows'] == [{'what': 'a', 'value': 4, 'unit': 's'}, {'what': 'b', 'value': 2, 'unit': 'MB/s'},
                               {'what': 'c', 'value': 3, 'unit': ''}]


def test_a_row_without_a_unit_is_refused(tmp_path):
    with pytest.raises(ValueError, match='what, value and unit'):
        rows.merge(tmp_path / 'bags.json', [{'what': 'a', 'value': 1}])
