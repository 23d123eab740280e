"""Result files that several benchmarks fill."""
from concurrent.futures import ThreadPoolExecutor
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


def result(task: str, method: str, success: float) -> dict:
    return {'task': task, 'method': method, 'success_mean': success}


def test_rows_of_the_same_task_and_method_are_replaced_in_their_place(tmp_path):
    file = tmp_path / 'world_model.json'
    rows.update_rows(file, [result('maze', 'hjepa', 0.5), result('maze', 'flat', 0.2), result('swm', 'flat', 0.9)])
    rows.update_rows(file, [result('maze', 'flat', 0.3), result('swm', 'hjepa', 1.0)])
    content = json.loads(file.read_text())
    assert content['rows'] == [result('maze', 'hjepa', 0.5), result('maze', 'flat', 0.3), result('swm', 'flat', 0.9),
                               result('swm', 'hjepa', 1.0)]
    assert list(tmp_path.iterdir()) == [file]


def test_writers_at_the_same_time_lose_no_row(tmp_path):
    file = tmp_path / 'world_model.json'
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: rows.update_rows(file, [result(f'task {n}', 'flat', 0.0)]), range(24)))
    assert {r['task'] for r in json.loads(file.read_text())['rows']} == {f'task {n}' for n in range(24)}


@pytest.mark.parametrize('refused, message', [
    ([{'task': 'maze', 'success_mean': 1.0}], 'task and a method'),
    ([result('maze', 'flat', 0.1), result('maze', 'flat', 0.2)], 'two rows of task maze and method flat'),
    ([result('maze', 'flat', float('nan'))], 'JSON')])
def test_a_row_that_cannot_be_told_apart_or_is_not_finite_is_refused_and_the_file_stays(tmp_path, refused, message):
    file = tmp_path / 'world_model.json'
    rows.update_rows(file, [result('maze', 'hjepa', 0.5)])
    before = file.read_bytes()
    with pytest.raises(ValueError, match=message):
        rows.update_rows(file, refused)
    assert file.read_bytes() == before
