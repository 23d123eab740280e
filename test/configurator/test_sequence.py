"""Sequences and loops of tasks: which part comes next."""
from hypothesis import given
from hypothesis import strategies as st
from tiny import invariant

from jepa_ros.configurator.sequence import Course, Ended, Loop, Step
from jepa_ros.configurator.task_parts import FOREVER, SuccessTest
from jepa_ros.configurator.tasks import Task


def step(name: str, limit_s: float = 10.0) -> Step:
    return Step(name, Task(goal='none'), None, SuccessTest(never=True), limit_s=limit_s)


A, B, C = step('a'), step('b'), step('c')


def walk(top: Step | Loop, outcomes: str) -> tuple[list[str], Ended | None]:
    """Names of the steps that run, for a string of outcomes: s for success, f for failure."""
    course = Course(top)
    names, then = [course.begin(0.0).name], None
    for outcome in outcomes:
        then = course.succeeded(0.0) if outcome == 's' else course.failed('lost', 0.0)
        if isinstance(then, Ended):
            return names, then
        names.append(then.name)
    return names, None


def test_parts_run_one_after_the_other_and_the_end_is_a_success():
    assert walk(Loop('l', (A, B, C)), 'sss') == (['a', 'b', 'c'], Ended(True))


def test_a_task_without_parts_ends_with_its_step():
    assert walk(A, 's') == (['a'], Ended(True)) and walk(A, 'f') == (['a'], Ended(False, 'lost'))


def test_a_sequence_repeats_as_often_as_it_says():
    assert walk(Loop('l', (A, B), repeat=2), 'ssss') == (['a', 'b', 'a', 'b'], Ended(True))
    names, end = walk(Loop('l', (A,), repeat=FOREVER), 's' * 500)
    assert end is None and len(names) == 501


def test_a_failure_stops_is_passed_over_or_is_tried_again():
    assert walk(Loop('l', (A, B)), 'f') == (['a'], Ended(False, '1/2 a: lost'))
    assert walk(Loop('l', (A, B), on_failure='next'), 'fs') == (['a', 'b'], Ended(True))
    assert walk(Loop('l', (A, B), on_failure='next'), 'ff')[1] == Ended(False, '2/2 b: lost')
    assert walk(Loop('l', (A, B), on_failure='retry 2'), 'ffss') == (['a', 'a', 'a', 'b'], Ended(True))
    assert walk(Loop('l', (A, B), on_failure='retry 1'), 'ff')[1] == Ended(False, '1/2 a: lost')
    assert walk(Loop('l', (A, B), on_failure='retry 1'), 'fsf')[1] is None   # each part has tries of its own


def test_a_sequence_within_a_sequence_fails_as_one_part():
    inner = Loop('inner', (A, B))
    assert walk(Loop('outer', (inner, C), on_failure='next'), 'sfs') == (['a', 'b', 'c'], Ended(True))
    assert walk(Loop('outer', (inner, C), on_failure='retry 1'), 'sfsss') == (['a', 'b', 'a', 'b', 'c'], Ended(True))


def test_the_label_says_which_part_runs_and_in_which_round():
    course = Course(Loop('outer', (C, Loop('inner', (A, B), repeat=3))))
    course.begin(0.0)
    assert course.label == '1/2 c'
    course.succeeded(0.0)
    assert course.label == '2/2 inner > 1/2 a'
    course.succeeded(0.0)
    course.succeeded(0.0)
    assert course.label == '2/2 inner > 1/2 a, round 2'
    assert Course(A).begin(0.0) is A and Course(A).label == ''


def test_time_is_up_for_a_step_or_for_the_sequence_around_it():
    course = Course(Loop('outer', (Loop('inner', (A, B), limit_s=12.0), C), on_failure='next'))
    course.begin(5.0)
    assert course.overdue(14.9) == '' and course.overdue(15.0) == 'not reached within 10 s'
    course.succeeded(14.0)
    assert course.overdue(17.0) == 'inner: not done within 12 s'
    assert course.failed(course.overdue(17.0), 17.0) is C       # the whole of `inner` is given up


@invariant
@given(st.lists(st.booleans(), max_size=40), st.integers(1, 3), st.sampled_from(['stop', 'next', 'retry 1', 'retry 2']),
       st.integers(1, 3))
def test_a_finite_sequence_ends_and_only_its_own_steps_run(outcomes, repeat, on_failure, parts):
    course = Course(Loop('l', tuple(step(str(n)) for n in range(parts)), repeat, on_failure))
    course.begin(0.0)
    most = parts * repeat * 3           # each part at most three times in each round
    for number in range(most):
        good = outcomes[number % len(outcomes)] if outcomes else True
        then = course.succeeded(0.0) if good else course.failed('lost', 0.0)
        if isinstance(then, Ended):
            return
    raise AssertionError(f'still running after {most} steps')
