"""docs/robots.md says what is: every key of a contract, an example that parses, an adapter that works, true numbers."""
import json
from pathlib import Path
import re
from types import SimpleNamespace

import numpy as np
import pytest

from jepa_ros.robot.adapters import Adapter
from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.streams import ActionField, ActionStream, Observation, Readout

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / 'docs' / 'robots.md').read_text(encoding='utf-8')


def block(language: str) -> str:
    return re.search(rf'```{language}\n(.*?)```', TEXT, re.DOTALL)[1]


@pytest.mark.parametrize('model', [RobotContract, Observation, Readout, ActionField, ActionStream])
def test_every_key_of_a_contract_is_described(model):
    missing = [key for key in model.model_fields if f'`{key}`' not in TEXT and f'## {key.capitalize()}' not in TEXT]
    assert not missing


def test_the_whole_contract_parses():
    assert RobotContract.parse(block('yaml')).action_names == ['vx_mps', 'wz_radps']


def test_the_adapter_of_the_example_works():
    names: dict = {}
    exec(block('python'), names)
    adapter, entry = names['ADAPTER'], SimpleNamespace(size=3)
    assert isinstance(adapter, Adapter)
    array, spec = adapter.to_array(entry, SimpleNamespace(echoes=[1.0, 2.0, 3.0])), adapter.tensor_spec(entry)
    assert (array.shape, array.dtype) == (spec.shape, spec.dtype) and np.array_equal(array, [1, 2, 3])


def test_the_table_of_recordings_is_what_was_measured():
    rows = json.loads((ROOT / 'benchmark' / 'results' / 'bags.json').read_text(encoding='utf-8'))['rows']
    measured = {row['what']: row['value'] for row in rows}
    table = re.findall(r'^\| (neato|donkeycar)/(\S+) \| (\d+) \| (\d+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]*)[ %]*\| '
                       r'([\d.]+) s \| (\d+) \| ([\d.]+) s \|$', TEXT, re.MULTILINE)
    assert len(table) == 9
    names = ('episodes', 'steps', 'minutes', 'recorded_minutes', 'valid_beams_percent', 'gap_s', 'commands',
             'silence_s')
    for robot, bag, *numbers in table:
        for name, number in zip(names, numbers):
            if number:
                digits = len(number.partition('.')[2])
                assert measured[f'real_{robot}_{bag}_{name}'] == pytest.approx(float(number), abs=0.51 * 10**-digits)
