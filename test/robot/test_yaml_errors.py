"""YAML files: a key that a mapping has twice is refused, in one line that names file, line and key."""
import pytest
import yaml

from jepa_ros.errors import ContractError
from jepa_ros.robot.yaml_errors import load_yaml, read_yaml


@pytest.mark.parametrize('text, line', [
    ('a: 1\nb: 2\na: 3\n', 'mine.yaml, line 3: key a is there twice, first in line 1: leave one out'),
    ('a: 1\n"a": 1\n', 'mine.yaml, line 2: key a is there twice, first in line 1: leave one out'),
    ('x:\n  - {a: 1, b: 2, b: 3}\n', 'mine.yaml, line 2: key b is there twice, first in line 2: leave one out'),
])
def test_a_key_that_is_there_twice_is_refused(text, line):
    with pytest.raises(ContractError) as refused:
        read_yaml(text, 'mine.yaml')
    assert str(refused.value) == line


@pytest.mark.parametrize('text', [
    'a: {x: 1}\nb: {x: 2}\n',                                                # in two mappings
    '1: a\n"1": b\n',                                                        # a number and a text
    'base: &base {x: 1, y: 2}\nmine: {<<: *base, x: 3}\n',                   # overridden, as merge keys are for
    'deep: {in: {base: &base {<<: &low {x: 1}, x: 2}}}\nmine: {<<: *base}\n',
])
def test_keys_that_only_look_alike_are_read_as_they_were(text):
    assert load_yaml(text) == yaml.safe_load(text)
