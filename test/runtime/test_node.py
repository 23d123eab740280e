"""The lifecycle discipline that all nodes share, on a small node in this process."""
import time

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from std_msgs.msg import String, UInt32
from std_srvs.srv import Trigger

from jepa_ros.errors import ContractError
from jepa_ros.runtime.diagnostics import ERROR, heartbeat_phase, OK, WARN
from jepa_ros.runtime.node import ManagedNode
from jepa_ros.runtime.parameters import Param
from jepa_ros.runtime.qos import STREAM


class Echo(ManagedNode):
    """Repeats what it hears; refuses the word `bad`."""

    PARAMETERS = (Param('gain', 1, 'unused', low=0, high=9),)
    broken: Exception | None = None

    def setup(self):
        if self.broken:
            raise self.broken
        self.out = self.publish(String, 'out')
        self.subscribe(String, 'in', self.on_word)
        self.serve(Trigger, 'ask', lambda request, response: None)

    def on_word(self, message):
        if message.data.startswith('bad'):
            raise ContractError(f'in: {message.data} is refused')
        self.out.publish(message)


@pytest.fixture
def bench(ros):
    """An executor with a plain node beside the one under test."""
    executor = SingleThreadedExecutor()
    other = rclpy.create_node('other')
    executor.add_node(other)
    made: list[ManagedNode] = []

    def node(kind: type = Echo, **parameters) -> ManagedNode:
        made.append(kind('echo', parameter_overrides=[Parameter(k, value=v) for k, v in parameters.items()]))
        executor.add_node(made[-1])
        return made[-1]

    def wait(condition, timeout_s: float = 8.0):
        end = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < end, 'waited in vain'
            executor.spin_once(timeout_sec=0.05)
    yield node, other, wait
    executor.shutdown()
    for one in (*made, other):
        one.destroy_node()


def heard(other, message_type, topic) -> list:
    messages: list = []
    other.create_subscription(message_type, topic, messages.append, STREAM)
    return messages


def activate(node) -> None:
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS


def test_a_failed_configure_says_why_in_one_line_and_can_be_tried_again(bench):
    node = bench[0]()
    node.broken = ContractError('robot contract x.yaml, line 3: topic is missing')
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert node.failure == 'cannot configure: robot contract x.yaml, line 3: topic is missing'
    assert (node.health.phase, node.health.level) == ('unconfigured', ERROR)
    node.broken = None
    activate(node)
    assert (node.health.level, node.health.message) == (OK, 'active')


def test_a_bug_in_configure_does_not_end_the_process_and_is_named(bench):
    node = bench[0]()
    node.broken = KeyError('speed')
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert node.failure == "cannot configure: KeyError: 'speed'"


def test_a_wrong_parameter_fails_configure_with_its_name(bench):
    node = bench[0](gain=10)
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert node.failure == 'cannot configure: parameter gain is 10, but must be an integer from 0 to 9'


def test_messages_pass_only_while_active(bench):
    make, other, wait = bench
    node, words, source = make(), heard(other, String, 'out'), other.create_publisher(String, 'in', STREAM)
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    wait(lambda: source.get_subscription_count() == 1 and other.count_publishers('out') == 1)
    source.publish(String(data='early'))
    beats = heard(other, DiagnosticStatus, 'heartbeat')
    wait(lambda: len(beats) >= 3)  # the executor has had time for `early`
    assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    source.publish(String(data='word'))
    wait(lambda: words)
    assert [w.data for w in words] == ['word']
    assert node.trigger_deactivate() == TransitionCallbackReturn.SUCCESS
    assert node.trigger_cleanup() == TransitionCallbackReturn.SUCCESS
    wait(lambda: source.get_subscription_count() == 0)


def test_a_message_that_is_refused_is_dropped_counted_and_said_once(bench):
    make, other, wait = bench
    node, words, source = make(), heard(other, String, 'out'), other.create_publisher(String, 'in', STREAM)
    activate(node)
    wait(lambda: source.get_subscription_count() == 1 and node.out.get_subscription_count() == 1)
    for word in ('bad 1', 'bad 2', 'good'):
        source.publish(String(data=word))
    wait(lambda: words)
    assert [w.data for w in words] == ['good']
    assert node.health.counted('in: in: bad # is refused') == 2


def test_a_service_of_an_inactive_node_says_so(bench):
    make, other, wait = bench
    node, client = make(), other.create_client(Trigger, 'ask')
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    wait(client.service_is_ready)
    answer = client.call_async(Trigger.Request())
    wait(answer.done)
    assert not answer.result().success and answer.result().message == 'echo is inactive: activate it first'


def test_the_heartbeat_comes_ten_times_a_second_and_follows_the_lifecycle(bench):
    make, other, wait = bench
    node, beats = make(), heard(other, DiagnosticStatus, 'heartbeat')
    wait(lambda: beats)
    assert (heartbeat_phase(beats[0]), beats[0].level, beats[0].name) == ('unconfigured', WARN, 'echo')
    activate(node)
    wait(lambda: heartbeat_phase(beats[-1]) == 'active')
    count, began = len(beats), time.monotonic()
    wait(lambda: len(beats) >= count + 10)
    assert 0.7 < time.monotonic() - began < 2.0


def test_a_change_is_on_diagnostics_at_once(bench):
    make, other, wait = bench
    node, arrays = make(), heard(other, DiagnosticArray, '/diagnostics')
    activate(node)
    wait(lambda: arrays)
    seen = len(arrays)
    node.health.report('sensor', ERROR, 'the sensor is gone')
    began = time.monotonic()
    wait(lambda: any('the sensor is gone' in a.status[0].message for a in arrays[seen:]))
    assert time.monotonic() - began < 0.8  # not only with the next regular one


def test_a_topic_of_another_type_is_named_and_forgotten_when_it_goes(bench):
    make, _, wait = bench
    node = make()
    activate(node)
    elsewhere = rclpy.Context()  # within one context DDS would refuse the second type
    elsewhere.init()
    stranger = rclpy.create_node('stranger', context=elsewhere)
    foreign = stranger.create_publisher(UInt32, 'in', STREAM)
    wait(lambda: node.health.level == ERROR)
    for word in ('/in', '/stranger', 'std_msgs/msg/UInt32', 'std_msgs/msg/String'):
        assert word in node.health.message
    stranger.destroy_publisher(foreign)
    wait(lambda: node.health.level == OK)
    stranger.destroy_node()
    elsewhere.shutdown()


def test_a_missing_clock_is_an_error_until_it_comes(bench):
    make, other, wait = bench
    node = make(use_sim_time=True, clock_timeout_s=0.3)
    activate(node)
    wait(lambda: node.health.level == ERROR)
    assert 'nothing came on /clock' in node.health.message
    clock, now = other.create_publisher(Clock, '/clock', 10), Clock()
    wait(lambda: clock.get_subscription_count() == 1)
    now.clock.sec = 5
    clock.publish(now)
    wait(lambda: node.health.level == OK)
