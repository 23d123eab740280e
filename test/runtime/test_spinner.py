"""An executor in its own thread: calls happen there, and no answer is lost."""
import threading
import time

import pytest
import rclpy
from rclpy.action import ActionClient, ActionServer

from jepa_ros.action import PursueGoal
from jepa_ros.runtime.spinner import Spinner


@pytest.fixture
def node(ros):
    made = rclpy.create_node('asker', context=ros)
    yield made
    made.destroy_node()


def test_a_call_is_made_in_the_thread_that_spins_and_gives_its_result(node):
    with Spinner(node) as spinner:
        thread = spinner.call(threading.current_thread)
    assert thread is not threading.current_thread() and thread.name == 'ros'


def test_what_a_call_raises_is_raised_to_the_caller_and_spinning_goes_on(node):
    with Spinner(node) as spinner:
        with pytest.raises(KeyError, match='no such organ'):
            spinner.call(lambda: {}['no such organ'])
        assert spinner.call(lambda: 3) == 3


def test_a_call_after_the_end_of_the_thread_says_so(node):
    with Spinner(node) as spinner:
        pass
    with pytest.raises(RuntimeError, match='has ended'):
        spinner.call(lambda: 3)


class _Slow:
    """An action client's handle; where it has sent a goal, its thread is put aside for a moment."""

    def __init__(self, handle):
        self._handle = handle

    def __getattr__(self, name):
        return getattr(self._handle, name)

    def __enter__(self):
        return self._handle.__enter__()

    def __exit__(self, *error):
        return self._handle.__exit__(*error)

    def send_goal_request(self, request):
        number = self._handle.send_goal_request(request)
        time.sleep(0.3)
        return number


def test_an_answer_that_comes_before_its_request_is_noted_is_not_dropped(node, ros):
    def pursue(handle):
        handle.succeed()
        return PursueGoal.Result(message='reached')
    server_node = rclpy.create_node('answerer', context=ros)
    server = ActionServer(server_node, PursueGoal, 'pursue_goal', pursue)
    client = ActionClient(node, PursueGoal, 'pursue_goal')
    client._client_handle = _Slow(client._client_handle)
    with Spinner(server_node), Spinner(node) as spinner:
        assert client.wait_for_server(10)
        accepted = threading.Event()
        asked = spinner.call(lambda: client.send_goal_async(PursueGoal.Goal()))
        asked.add_done_callback(lambda _: accepted.set())
        assert accepted.wait(10) and asked.result().accepted
    client.destroy()
    server.destroy()
    server_node.destroy_node()
