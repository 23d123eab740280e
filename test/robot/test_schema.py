"""The JSON schema that editors check contracts with."""
import json
import re

import pytest
import yaml

from jepa_ros.paths import known, share_dir
from jepa_ros.robot.schema import contract_schema, main, schema_path, schema_text
from jepa_ros.robot.streams import ActionStream, Observation


def test_the_shipped_schema_is_current():
    assert json.loads(schema_path().read_text(encoding='utf-8')) == contract_schema(), \
        'write it anew: python -m jepa_ros.robot.schema'


@pytest.mark.parametrize('name', known('robots'))
def test_the_schema_knows_every_key_of_the_shipped_contracts(name):
    schema = contract_schema()
    data = yaml.safe_load((share_dir() / 'config' / 'robots' / f'{name}.yaml').read_text(encoding='utf-8'))
    assert data.keys() <= schema['properties'].keys()
    parts = {'Observation': data['observations'], 'Readout': data.get('readouts', []), 'ActionStream': data['actions'],
             'ActionField': [field for action in data['actions'] for field in action['fields']]}
    for part, entries in parts.items():
        for entry in entries:
            assert entry.keys() <= schema['$defs'][part]['properties'].keys()
            assert entry.keys() >= set(schema['$defs'][part]['required'])


def test_the_schema_marks_unknown_keys_and_offers_choices():
    observation = contract_schema()['$defs']['Observation']
    assert observation['additionalProperties'] is False
    assert observation['properties']['align']['enum'] == ['hold', 'asof']
    assert 'sensor_msgs/msg/LaserScan' in observation['properties']['type']['examples']


def test_every_key_that_is_particular_is_explained():
    for part, model in (('Observation', Observation), ('ActionStream', ActionStream)):
        keys = contract_schema()['$defs'][part]['properties']
        assert [k for k in keys if 'description' not in keys[k]] in (['topic'], ['key', 'topic', 'fields'])
        assert keys.keys() == model.model_fields.keys()


def test_patterns_are_those_of_javascript():
    """Editors use ECMA regular expressions, without Python's (?P<…>), \\A and \\Z."""
    patterns = re.findall(r'"pattern": "(.*)"', schema_text())
    assert patterns and not any('(?P' in p or '\\A' in p or '\\Z' in p for p in patterns)


def test_the_command_writes_the_schema(tmp_path):
    assert main([str(tmp_path / 'schema.json')]) == 0
    assert json.loads((tmp_path / 'schema.json').read_text(encoding='utf-8')) == contract_schema()
