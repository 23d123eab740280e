"""Live topics into a `Survey`, for `jepa-ros robot check --live`: who publishes, with which QoS, and what comes."""
from collections.abc import Callable
from contextlib import contextmanager
import heapq
import itertools
import time

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from ..errors import BagError, ContractError
from ..robot.check import Report, report
from ..robot.contract import RobotContract
from ..robot.ros_types import message_class
from ..robot.survey import OfferedQos, Survey, TopicSurvey
from ..robot.trial import streams_of, Trial
from .names import full_namespace
from .ros import domain_id, init

DISCOVERY_S = 3.0   # until the graph of other processes is known, at most: DDS announces itself every few hundred ms
LOOK_S = 0.1        # between two looks at the graph
QUEUE = 1000        # messages that wait while an image is being unpacked
SETTLE_S = 0.1      # messages are sorted by when they were sent: so long one may be under way
OWN_TOPICS = ('/parameter_events', '/rosout')   # this node's


def check_live(contract: RobotContract, namespace: str = '', seconds: float = 5.0,
               progress: Callable[[float], None] | None = None) -> Report:
    """Listen for so many seconds and check; `BagError` when nobody publishes or hears any topic of the contract.

    The seconds count from when all topics are there, or else from `DISCOVERY_S`. Listens as best effort and volatile,
    which hears every publisher; whether the contract's own QoS would hear them is part of the report.
    """
    namespace = full_namespace(namespace)
    survey, trial = Survey(f'ROS domain {domain_id()}'), Trial(contract, namespace)
    with _node(namespace) as (node, executor):
        _listen(executor, _Listener(node, survey, trial), seconds, progress or (lambda share: None))
    if not trial.found:
        raise _nobody(contract, survey, namespace)
    return report(survey, trial, live=True)


def _listen(executor, listener: '_Listener', seconds: float, progress: Callable[[float], None]) -> None:
    now_s = looked_s = time.monotonic()
    end_s = now_s + DISCOVERY_S + seconds
    while now_s < end_s:
        executor.spin_once(timeout_sec=min(LOOK_S, end_s - now_s))
        now_s = time.monotonic()
        if now_s - looked_s >= LOOK_S:
            looked_s = now_s
            listener.look_around()
            listener.hand_on(time.time_ns() - round(SETTLE_S * 1e9))
            if listener.trial.complete(listener.survey):
                end_s = min(end_s, now_s + seconds)
            progress(1 - (end_s - now_s) / (DISCOVERY_S + seconds))
    listener.hand_on(None)


def _nobody(contract: RobotContract, survey: Survey, namespace: str) -> BagError:
    wanted = ', '.join(sorted({s.topic for s in streams_of(contract)}))
    others = sorted(n for n in survey.topics if n not in OWN_TOPICS)[:8]
    there = f'; topics there: {", ".join(others)}' if others else ''
    where = f'ROS domain {domain_id()}' + (f', namespace {namespace}' if namespace else '')
    return BagError(f'nobody publishes or hears a topic of contract {contract.name} ({wanted}) in {where}: start the '
                    f'driver of the robot, or set ROS_DOMAIN_ID or --namespace to its own{there}')


@contextmanager
def _node(namespace: str):
    context = Context()
    init(args=[], context=context)
    node = rclpy.create_node('robot_check', context=context, namespace=namespace or None)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    try:
        yield node, executor
    finally:
        executor.shutdown()
        node.destroy_node()
        context.try_shutdown()


class _Listener:
    """Subscribes to the contract's topics as they show up and keeps the survey's list of topics current."""

    def __init__(self, node, survey: Survey, trial: Trial):
        self._node, self.survey, self.trial = node, survey, trial
        self._heard: set[str] = set()
        self._waiting: list[tuple[int, int, str, object]] = []  # heap of (sent at, number, topic, message)
        self._number = itertools.count()

    def look_around(self) -> None:
        """Note new topics, their publishers and subscribers; subscribe to those that the contract reads."""
        for name, types in self._node.get_topic_names_and_types():
            topic = self.survey.topics.setdefault(name, TopicSurvey(name, types[0]))
            if len(types) > 1:
                topic.unreadable = f'it has several types at once: {", ".join(types)}'
        self.trial.begin(self.survey)
        for name in self.trial.topics(self.survey):
            self._ends(self.survey.topics[name])
            self._subscribe(self.survey.topics[name])

    def hand_on(self, until_ns: int | None) -> None:
        """Survey and try, in the order they were sent, messages sent before `until_ns`; None: all."""
        while self._waiting and (until_ns is None or self._waiting[0][0] < until_ns):
            sent_ns, _, topic, message = heapq.heappop(self._waiting)
            self.survey.topics[topic].take(message, sent_ns)
            self.trial.take(topic, message, sent_ns)

    def _ends(self, topic: TopicSurvey) -> None:
        offered = self._node.get_publishers_info_by_topic(topic.topic)
        wanted = [i for i in self._node.get_subscriptions_info_by_topic(topic.topic)
                  if i.node_name != self._node.get_name()]
        topic.publishers, topic.subscribers = len(offered), len(wanted)
        topic.qos = list(dict.fromkeys(_qos(i.qos_profile) for i in offered))
        topic.wanted_qos = list(dict.fromkeys(_qos(i.qos_profile) for i in wanted))

    def _subscribe(self, topic: TopicSurvey) -> None:
        # A topic that has only subscribers so far is known, but what it will carry is not: its type may be theirs.
        if topic.topic in self._heard or topic.unreadable or not topic.publishers:
            return
        self._heard.add(topic.topic)
        try:
            kind = message_class(topic.type, topic.topic)
        except ContractError as error:
            topic.unreadable = str(error)
            return
        latched = bool(topic.qos) and all(q.transient_local and q.reliable for q in topic.qos)
        profile = QoSProfile(
            history=HistoryPolicy.KEEP_LAST, depth=QUEUE,
            reliability=ReliabilityPolicy.RELIABLE if latched else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE)

        def take(message, info) -> None:
            sent_ns = info['source_timestamp'] or time.time_ns()
            heapq.heappush(self._waiting, (sent_ns, next(self._number), topic.topic, message))
        self._node.create_subscription(kind, topic.topic, take, profile)


def _qos(profile: QoSProfile) -> OfferedQos:
    reliable = profile.reliability == ReliabilityPolicy.RELIABLE
    return OfferedQos(reliable, profile.durability == DurabilityPolicy.TRANSIENT_LOCAL)
