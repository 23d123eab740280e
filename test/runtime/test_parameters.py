"""Parameters: what is wrong is said in one line, by name, with bounds and value."""
from hypothesis import given
from hypothesis import strategies as st
import pytest
from rclpy.node import Node
from rclpy.parameter import Parameter
from tiny import invariant

from jepa_ros.errors import ConfigError
from jepa_ros.runtime.parameters import Param, Parameters

PARAMS = (
    Param('budget_ms', 50.0, 'planning time', low=1.0, high=100.0),
    Param('count', 3, 'how many', low=1, high=9),
    Param('mode', 'auto', 'who acts', choices=('auto', 'planned')),
    Param('robot', 'two_rooms', 'contract', read_only=True),
    Param('autostart', False, 'by itself'),
)


def declared(**overrides) -> tuple[Node, Parameters]:
    node = Node('thing', parameter_overrides=[Parameter(name, value=value) for name, value in overrides.items()])
    return node, Parameters(node, PARAMS)


def test_defaults_and_overrides_are_values(ros):
    node, parameters = declared(budget_ms=70.0, autostart=True)
    values = parameters.values()
    assert (values.budget_ms, values.count, values.autostart) == (70.0, 3, True)
    node.destroy_node()


@pytest.mark.parametrize('overrides, words', [
    ({'budget_ms': 500.0}, ('budget_ms', '500.0', '1 to 100')),
    ({'budget_ms': float('nan')}, ('budget_ms', 'nan')),
    ({'count': 0}, ('count', '0', '1 to 9')),
    ({'count': 2.5}, ('count', '2.5', 'integer')),
    ({'mode': 'fast'}, ('mode', 'fast', 'auto, planned')),
    ({'autostart': 1}, ('autostart', '1', 'true or false')),
    ({'budgte_ms': 5.0}, ('budgte_ms', 'did you mean budget_ms')),
])
def test_a_wrong_override_is_one_line_naming_it(ros, overrides, words):
    node, parameters = declared(**overrides)
    with pytest.raises(ConfigError) as caught:
        parameters.values()
    line = str(caught.value)
    assert '\n' not in line and all(word in line for word in words)
    node.destroy_node()


def test_a_wrong_override_that_is_set_right_is_no_problem_any_more(ros):
    node, parameters = declared(budget_ms=500.0)
    assert node.set_parameters([Parameter('budget_ms', value=60.0)])[0].successful
    assert parameters.values().budget_ms == 60.0
    node.destroy_node()


@pytest.mark.parametrize('name, value, word', [
    ('budget_ms', 101.0, 'budget_ms'), ('mode', 'fast', 'auto, planned'), ('count', 'many', 'INTEGER'),
    ('robot', 'other', 'robot')])
def test_a_running_node_refuses_a_wrong_value_and_says_why(ros, name, value, word):
    node, _ = declared()
    before = node.get_parameter(name).value
    answer = node.set_parameters([Parameter(name, value=value)])[0]
    assert not answer.successful and word in answer.reason
    assert node.get_parameter(name).value == before
    node.destroy_node()


def test_descriptors_carry_description_bounds_and_choices(ros):
    node, _ = declared()
    budget = node.describe_parameter('budget_ms')
    assert budget.description == 'planning time'
    assert (budget.floating_point_range[0].from_value, budget.floating_point_range[0].to_value) == (1.0, 100.0)
    assert node.describe_parameter('count').integer_range[0].to_value == 9
    assert 'auto, planned' in node.describe_parameter('mode').description
    assert node.describe_parameter('robot').read_only
    node.destroy_node()


@invariant
@given(st.one_of(st.floats(), st.integers(), st.text(), st.booleans()))
def test_a_bounded_number_is_taken_exactly_within_its_bounds(value):
    inside = type(value) is float and 1.0 <= value <= 100.0
    assert (PARAMS[0].problem(value) == '') == inside
