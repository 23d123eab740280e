"""Health: every change is said once, the worst decides the level."""
from jepa_ros.runtime.diagnostics import ERROR, Health, heartbeat_phase, OK, WARN


def health() -> tuple[Health, list]:
    said: list = []
    made = Health('actor', lambda level, line: said.append((level, line)))
    made.set_phase('active')
    return made, said


def test_a_problem_is_said_when_it_comes_and_when_it_goes_and_not_between():
    made, said = health()
    for _ in range(5):
        made.report('late', WARN, 'a plan is late')
    made.clear('late', 'plans are in time')
    made.clear('late', 'plans are in time')
    assert said == [(WARN, 'a plan is late'), (OK, 'plans are in time')]


def test_a_problem_that_gets_worse_is_said_again():
    made, said = health()
    made.report('sensor', WARN, 'old')
    made.report('sensor', ERROR, 'gone')
    assert [level for level, _ in said] == [WARN, ERROR]


def test_the_worst_open_problem_is_the_level_and_comes_first():
    made, _ = health()
    made.report('a', WARN, 'small')
    made.report('b', ERROR, 'big')
    assert made.level == ERROR
    assert made.message == 'big; small'


def test_a_well_node_is_ok_only_when_active():
    made, _ = health()
    assert (made.level, made.message) == (OK, 'active')
    made.set_phase('inactive')
    assert (made.level, made.message) == (WARN, 'inactive')


def test_dropped_inputs_are_counted_and_the_first_of_a_kind_is_said():
    made, said = health()
    for _ in range(3):
        made.count('nan', 'dropped a NaN')
    made.count('size', 'dropped a size')
    assert made.counted('nan') == 3
    assert [line for _, line in said] == ['dropped a NaN', 'dropped a size']
    values = {pair.key: pair.value for pair in made.status('actor', 'two_rooms').values}
    assert values['dropped nan'] == '3'


def test_the_status_carries_the_lifecycle_state():
    made, _ = health()
    assert heartbeat_phase(made.status('actor', 'two_rooms')) == 'active'
