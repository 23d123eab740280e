"""Task files."""
import json

import pytest
import tiny

from jepa_ros.configurator.configurator import Configurator
from jepa_ros.configurator.tasks import check_sequences, DEFAULT_TASK, load_task, load_tasks, located, Task
from jepa_ros.cost.cost import Cost, Goal, Region
from jepa_ros.cost.critic import Critic
from jepa_ros.errors import ConfigError
from jepa_ros.perception.perception import EncodedState


def test_every_shipped_task_can_be_started():
    tasks = load_tasks()
    assert DEFAULT_TASK in tasks
    configurator = Configurator(Cost(tiny.model(), ['x_m', 'y_m'], Critic(6, 8)), tasks, 0.1)
    s = tiny.torch.zeros(6)
    for name in tasks:
        configurator.check(name)
        goal = Goal(levels=(s,)) if configurator.asks(name) else None
        assert configurator.start(goal, name, state=EncodedState((s, s), {'x_m': 0.0, 'y_m': 0.0})).active


def test_every_shipped_task_says_what_it_does():
    assert all(len(task.description.split()) > 3 for task in load_tasks().values())


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
    (b'speed: 0\n', 'speed: Input should be greater than 0'),
    (b'speed: 1.5\n', 'speed: Input should be less than or equal to 1'),
    (b'weights: {efort: 1}\n', "line 1: weights: unknown cost term 'efort' (did you mean effort?); known: "),
    (b'weights: {effort: -1}\n', 'weights: effort is -1: a weight is not negative'),
    (b'\nweights: {avoid: 3}\n', 'line 2: weights: avoid is 3, below the floor 10 of this guardrail: give 10 or more'),
    (b'goal: gven\n', "goal: 'gven' is unknown (did you mean given?); known: given, stay, none, or one of readouts"),
    (b'goal: {readouts: {x_m: 1}, image: a.png}\n', 'goal: readouts and image contradict each other'),
    (b'goal: {redouts: {x_m: 1}}\n', 'goal.redouts: unknown key (did you mean readouts?)'),
    (b'goal: {}\n', 'goal: it is empty'), (b'goal: {readouts: {}}\n', 'goal: readouts is empty'),
    (b'goal: {bag: {file: a}}\n', 'goal.bag.time_s: is missing'),
    (b'goal: {image: gone.png}\n', "goal.image: no file 'gone.png' in "),
    (b'program: {bag: gone, to_s: 3}\n', "program.bag: no file 'gone' in "),
    (b'program: {bag: gone, from_s: 4, to_s: 3}\n', 'program: to_s 3 is not after from_s 4'),
    (b'success: sometimes\n', "success: 'sometimes' is unknown"), (b'success: 0\n', 'success: 0 is no share'),
    (b'success: {when: [x_m]}\n', "success.when.0: 'x_m' is no condition: write a readout"),
    (b"success: {when: ['x_m > 2', 'x_m < 1']}\n", 'success: when: x_m > 2 and x_m < 1 contradict each other'),
    (b"success: {when: ['x_m > 2', 'x_m <= 2']}\n", 'success: when: x_m > 2 and x_m <= 2 contradict each other'),
    (b'success: {after_s: 60}\n', 'success.after_s: 60 s is not before timeout_s, 60 s'),
    (b'goal: none\nsuccess: 1.0\n', 'success.energy: there is no goal to be near to'),
    (b'goal: stay\nsuccess: 1.0\n', 'success: who is to stay is there at once'),
    (b"goal: {readouts: {x_m: 0}}\nsuccess: {energy: 1, when: ['x_m > 1']}\n",
     'goal: x_m = 0 contradicts the success test x_m > 1'),
    (b'goal: {readouts: {x_m: 0}}\navoid: [{centre: {x_m: 0.1}, radius: 0.2}]\n', 'goal: it lies within avoid.0'),
    (b'goal: {readouts: {x_m: 0}}\nmode: reactive\n', 'goal: mode reactive acts by reflex'),
    (b'goal: none\nlandmarks: true\n', "goal: landmarks lead to a far goal, but the goal is 'none'"),
    (b'sequence: []\n', 'sequence: it is empty'), (b'repeat: 3\n', 'repeat: it goes with a sequence'),
    (b'sequence: [reach]\nweights: {effort: 1}\n', 'weights: a sequence has none of its own'),
    (b'sequence: [reach]\nrepeat: 0\n', 'repeat: Input should be greater than or equal to 1'),
    (b'sequence: [reach]\nrepeat: for ever\n', "repeat: 'for ever' is unknown (did you mean forever?)"),
    (b'sequence: [reach]\non_failure: retry\n', "on_failure: 'retry' is unknown: known are stop, next and retry N"),
    (b'timeout_s: nevre\n', "timeout_s: 'nevre' is unknown (did you mean never?)"),
    (b'budget_ms: 0\n', 'budget_ms: Input should be greater than 0'),
    (b'budget_ms: .inf\n', 'budget_ms: Input should be'),
    (b'timeout_s: .nan\n', 'timeout_s: Input should be'), (b'timeout_s: -1\n', 'timeout_s: Input should be'),
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


def test_own_tasks_go_before_the_shipped_ones_of_the_same_name(tmp_path):
    (tmp_path / 'reach.yaml').write_text('description: mine\n')
    (tmp_path / 'tour.yml').write_text('sequence: [reach, {task: stay, timeout_s: 3}]\nrepeat: forever\n')
    tasks = load_tasks(str(tmp_path))
    assert tasks['reach'].description == 'mine' and 'explore' in tasks
    assert [part.task for part in tasks['tour'].sequence] == ['reach', 'stay'] and tasks['tour'].limit_s == float('inf')
    assert load_tasks(str(tmp_path / 'reach.yaml'))['reach'].source == str(tmp_path / 'reach.yaml')


def test_places_without_tasks_are_refused_in_one_line(tmp_path):
    with pytest.raises(ConfigError, match='the folder holds no .yaml file'):
        load_tasks(str(tmp_path))
    with pytest.raises(ConfigError, match='no such file or folder: give a YAML file'):
        load_tasks(str(tmp_path / 'gone'))
    for name in ('a.yaml', 'a.yml'):
        (tmp_path / name).write_text('{}')
    with pytest.raises(ConfigError, match=r'a is there as \.yaml and as \.yml'):
        load_tasks(str(tmp_path))


@pytest.mark.parametrize('sequences, line', [
    ({'a': ['raech']}, r"a\.yaml: sequence\.0\.task: unknown task 'raech' \(did you mean reach\?\); known: a, explore"),
    ({'a': ['reach', 'a']}, r'a\.yaml: sequence\.1: the sequence contains itself: a > a'),
    ({'a': ['b'], 'b': ['reach', 'c'], 'c': ['b']}, r'c\.yaml: sequence\.0: the sequence contains itself: b > c > b'),
    ({'a': [{'task': 'patrol', 'goal': 'stay'}]}, r'a\.yaml: sequence\.0\.goal: patrol is a sequence'),
    ({'a': [{'task': 'reach_around', 'goal': {'readouts': {'x_m': 0.8, 'y_m': 0}}}]},
     r'a\.yaml: sequence\.0\.goal: it lies within avoid\.0, which no plan may enter \(task reach_around\)'),
])
def test_a_sequence_that_cannot_be_is_one_line_that_names_file_and_part(tmp_path, sequences, line):
    for name, parts in sequences.items():
        (tmp_path / f'{name}.yaml').write_text(json.dumps({'sequence': parts}))
    with pytest.raises(ConfigError, match=line) as refused:
        load_tasks(str(tmp_path))
    assert '\n' not in str(refused.value)


def test_a_task_may_appear_twice_in_a_sequence_without_a_cycle():
    inner, outer = Task(sequence=['go', 'go']), Task(sequence=['in', 'go', 'in'])
    check_sequences({'go': Task(goal='none'), 'in': inner, 'out': outer})


def test_files_are_looked_for_beside_the_task(tmp_path):
    (tmp_path / 'door.png').write_bytes(b'')
    path = tmp_path / 'door.yaml'
    path.write_text('goal: {image: door.png}\n')
    assert located(load_task(path), 'door.png') == tmp_path / 'door.png'
