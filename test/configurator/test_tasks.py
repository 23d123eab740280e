"""Task files."""
import pytest
import tiny

from jepa_ros.configurator.configurator import Configurator
from jepa_ros.configurator.tasks import DEFAULT_TASK, load_task, load_tasks
from jepa_ros.cost.cost import Cost, Goal, Region
from jepa_ros.cost.critic import Critic
from jepa_ros.errors import ConfigError


def test_every_shipped_task_can_be_started():
    tasks = load_tasks()
    assert DEFAULT_TASK in tasks
    cost = Cost(tiny.model(), ['x_m', 'y_m'], Critic(6, 8))
    goal = Goal(levels=(tiny.torch.zeros(6),))
    for name in tasks:
        assert Configurator(cost, tasks, 0.1).start(goal, name).active


def test_a_task_file_is_read(tmp_path):
    path = tmp_path / 'slow.yaml'
    path.write_text('weights: {effort: 1}\nbudget_ms: 5\n')
    task = load_task(path)
    assert (task.weights, task.budget_ms, task.mode) == ({'effort': 1.0}, 5.0, 'auto')


def test_a_task_may_name_regions_that_no_plan_enters(tmp_path):
    path = tmp_path / 'around.yaml'
    path.write_text('avoid:\n  - {centre: {x_m: 0.4, y_m: other_y_m}, radius: 0.3}\n')
    assert load_task(path).regions == (Region({'x_m': 0.4, 'y_m': 'other_y_m'}, 0.3),)


@pytest.mark.parametrize('text, what', [
    (b'avoid: [{centre: {}, radius: 1}]\n', 'avoid.0.centre: Dictionary should have at least 1 item'),
    (b'avoid: [{centre: {x_m: 0}, radius: 0}]\n', 'avoid.0.radius: Input should be greater than 0'),
    (b'avoid: [{centre: {x_m: .nan}, radius: 1}]\n', 'avoid.0.centre.x_m'),
    (b'avoid: [{radius: 1}]\n', 'avoid.0.centre'),
    (b'mode: fast\n', 'mode: Input should be'),
    (b'budget_ms: 0\n', 'budget_ms: Input should be greater than 0'),
    (b'budget_ms: .inf\n', 'budget_ms: Input should be'),
    (b'timeout_s: .nan\n', 'timeout_s: Input should be'),
    (b'wieghts: {}\n', 'wieghts: unknown key (did you mean weights?)'),
    (b'weights: {effort: much}\n', 'weights.effort: Input should be a valid number'),
    (b'weights: [1\n', 'not YAML'),
    (b'weights:\n  effort: 1\n  effort: 2\n', 'task.yaml, line 3: key effort is there twice, first in line 2'),
    (b'- reach\n', 'a mapping of keys to values is expected'),
    (b'\xff\xfe\x00garbage', 'not YAML'),
    (b'description: !!python/object/apply:os.getcwd []\n', 'not YAML'),
])
def test_a_damaged_task_file_is_one_line_that_names_file_and_field(tmp_path, text, what):
    path = tmp_path / 'task.yaml'
    path.write_bytes(text)
    with pytest.raises(ConfigError) as refused:
        load_task(path)
    line = str(refused.value)
    assert line.startswith(str(path)) and what in line and '\n' not in line


def test_a_missing_task_file_is_one_line_that_names_it(tmp_path):
    with pytest.raises(ConfigError, match=r'gone\.yaml: cannot be read: No such file'):
        load_task(tmp_path / 'gone.yaml')
