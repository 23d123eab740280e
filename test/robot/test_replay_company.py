"""Recorded commands and a listener that may be a robot."""
from types import SimpleNamespace

import pytest

from jepa_ros.robot import replay_company
from jepa_ros.robot.replay_company import CommandGuard

NAMELESS = SimpleNamespace(node_namespace='_NODE_NAMESPACE_UNKNOWN_', node_name='_NODE_NAME_UNKNOWN_')


def named(name: str) -> SimpleNamespace:
    return SimpleNamespace(node_namespace='/', node_name=name)


class Graph:
    """What discovery says now; a real listener has no name for some milliseconds only."""

    def __init__(self):
        self.listeners = []

    def get_subscriptions_info_by_topic(self, _topic):
        return self.listeners


@pytest.fixture
def guard():
    guard = CommandGuard(Graph(), lambda topic, names: said.append(names))
    guard.said = said = []
    guard.graph = guard._node
    return guard


def test_a_command_waits_for_the_name_of_a_new_listener_and_then_goes_to_a_recorder(guard):
    guard.graph.listeners = [NAMELESS]
    assert guard.undecided('/cmd_vel')
    guard.graph.listeners = [named('recorder')]
    assert not guard.undecided('/cmd_vel') and not guard.held('/cmd_vel') and guard.said == []


def test_a_listener_whose_name_does_not_come_counts_as_a_robot(guard, monkeypatch):
    guard.graph.listeners = [NAMELESS]
    assert guard.undecided('/cmd_vel')
    monkeypatch.setattr(replay_company, 'NAME_WAIT_S', 0.0)
    assert not guard.undecided('/cmd_vel') and guard.held('/cmd_vel') and guard.said == ['unnamed']


def test_a_robot_with_a_name_holds_commands_at_once(guard):
    guard.graph.listeners = [named('base_driver')]
    assert not guard.undecided('/cmd_vel') and guard.held('/cmd_vel') and guard.said == ['/base_driver']


def test_every_nameless_listener_is_waited_for_anew(guard, monkeypatch):
    guard.graph.listeners = [NAMELESS]
    assert guard.undecided('/cmd_vel')
    guard.graph.listeners = []
    assert not guard.undecided('/cmd_vel')
    guard.graph.listeners = [NAMELESS]
    assert guard.undecided('/cmd_vel')
