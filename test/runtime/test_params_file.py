"""Parameter files of `jepa-ros up`: a mistake is one line that names file and section, before a node is started."""
import pytest

from jepa_ros import paths
from jepa_ros.errors import ConfigError
from jepa_ros.runtime.params_file import check_params_file


def test_the_shipped_file_is_accepted():
    check_params_file(paths.share_dir() / 'config' / 'params.yaml')


@pytest.mark.parametrize('section', ['/**', 'actor', '/actor', '/**/actor', '/robot_1/actor', '/*/sim'])
def test_every_way_to_name_a_node_is_accepted(tmp_path, section):
    path = tmp_path / 'mine.yaml'
    path.write_text(f'{section}:\n  ros__parameters: {{}}\n')
    check_params_file(path)


def test_nested_namespaces_are_accepted(tmp_path):
    path = tmp_path / 'mine.yaml'
    path.write_text('robot_1:\n  actor:\n    ros__parameters: {max_budget_ms: 10.0}\n')
    check_params_file(path)


@pytest.mark.parametrize('text, words', [
    ('/**/acter: {ros__parameters: {max_budget_ms: 10.0}}', ("'/**/acter'", 'did you mean actor')),
    ('robot_1: {gate: {ros__parameters: {}}}', ("'robot_1/gate'", 'no node')),
    ('actor: {ros__parameters: [', ('line 1', 'not YAML')),
    ('max_budget_ms: 10.0', ('max_budget_ms', 'ros__parameters')),
    ('actor: {ros__parameters: 3}', ('actor', 'holds no parameters')),
    ('', ('expected is',)),
    ('\0', ('not YAML',)),
    ('actor:\n  ros__parameters: {}\nactor:\n  ros__parameters: {}', ('line 3: key actor is there twice',)),
])
def test_a_mistake_is_one_line_that_names_it(tmp_path, text, words):
    path = tmp_path / 'mine.yaml'
    path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        check_params_file(path)
    line = str(refused.value)
    assert line.startswith(f'params_file {path}') and '\n' not in line and all(word in line for word in words)
