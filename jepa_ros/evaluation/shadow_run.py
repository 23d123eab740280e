"""Runs shadow mode: the six organs in one process, a replay in front of them, and nobody who could move a robot.

No command gate is started, and recorded commands go to `recorded/<topic>`, where the world model hears them.
"""
from collections.abc import Callable, Iterator
from contextlib import contextmanager
import signal

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter

from jepa_ros import checkpoint
from jepa_ros.action import PursueGoal
from jepa_ros.errors import BagError, ConfigError
from jepa_ros.evaluation import report
from jepa_ros.evaluation.live import isolate
from jepa_ros.evaluation.shadow import compare, Heard, Part, read_parts, Wanted
from jepa_ros.evaluation.shadow_node import Shadow
from jepa_ros.robot.bags import bag_sha256
from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.replay import Item
from jepa_ros.robot.replay_node import ReplayNode
from jepa_ros.robot.replay_topics import recorded_name
from jepa_ros.runtime.names import AGENT
from jepa_ros.runtime.ros import init
from jepa_ros.runtime.stack import Stack
from jepa_ros.runtime.supervisor import Supervisor

PERCEPT_TIMEOUT_S = 60.0    # the organs wait for a replay that is paused or holds


def run(wanted: Wanted, attend: Callable[[ReplayNode], None] = lambda node: None,
        say: Callable[[str], None] = lambda line: None) -> dict:
    """Shadow a recording; writes `shadow.json`, `agreement.png` and logs, and returns the figures.

    Ends early with Ctrl-C or a node's `stopping`; what was answered until then counts. Raises a JepaRosError.
    """
    from jepa_ros.evaluation.shadow_plot import plot
    card = checkpoint.read_card(checkpoint.find(wanted.model))
    contract = RobotContract.load(wanted.robot) if wanted.robot else RobotContract.model_validate(card.contract)
    stack = _stack(wanted, contract)
    stack.check()
    parameters = wanted.parameters
    say(f'reading {wanted.bag}')
    parts = read_parts(wanted.bag, contract, parameters['start'], parameters['duration'], wanted.goal_every_s, say)
    domain = isolate()
    say(f'shadowing {len(parts)} part(s) in ROS domain {domain}; no command gate runs')
    with _signals() as stop:
        heard = _shadow(wanted, stack, contract, parts, attend, say, stop)
    if not heard.begun:
        raise BagError(f'{wanted.bag}: ended before the first part was begun, there is nothing to compare')
    figures = {'bag': str(wanted.bag), 'bag_sha256': bag_sha256(wanted.bag), 'model': card.name,
               'model_sha256': card.sha256, 'robot': contract.name, 'contract_sha256': contract.sha256(),
               'task': wanted.task or 'default', 'rate': parameters['rate'], 'start_s': parameters['start'],
               'goal': wanted.goal, 'machine': report.machine(), **compare(parts, heard, contract)}
    report.write_json(wanted.output / 'shadow.json', figures)
    plot(wanted.output / 'agreement.png', parts, heard, contract)
    return figures


def _stack(wanted: Wanted, contract: RobotContract) -> Stack:
    """Six organs in one process on simulated time; whoever asks for a command topic there gets the recorded one."""
    try:
        (wanted.output / 'logs').mkdir(parents=True, exist_ok=True)
        robot = wanted.output / 'robot.yaml'
        robot.write_text(contract.to_yaml(), encoding='utf-8')
    except OSError as error:
        raise ConfigError(f'--output {wanted.output}: {error.strerror}: give a folder that can be written') from None
    return Stack(robot=str(robot.absolute()), model=wanted.model, gate=False, composition=True, use_sim_time=True,
                 namespace=wanted.namespace, extra={AGENT: {'configurator:percept_timeout_s': PERCEPT_TIMEOUT_S}},
                 remap={action.topic: recorded_name(action.topic) for action in contract.actions})


def _goals(wanted: Wanted) -> Callable[[Part], PursueGoal.Goal]:
    """The goal of each part."""
    bag = str(wanted.bag.expanduser().absolute())

    def goal(part: Part) -> PursueGoal.Goal:
        message = wanted.goal_message or PursueGoal.Goal(kind=PursueGoal.Goal.BAG, bag=bag, bag_time=part.goal_s)
        message.task, message.timeout = wanted.task, part.length_s + PERCEPT_TIMEOUT_S
        return message
    return goal


def _shadow(wanted: Wanted, stack: Stack, contract: RobotContract, parts: list[Part], attend, say,
            stop: list[ReplayNode]) -> Heard:
    topics = wanted.parameters['topics']
    streams: list = [*contract.observations, *contract.readouts, *contract.actions]
    own = ','.join(stream.topic for stream in streams)
    parameters = {**wanted.parameters, 'robot': stack.robot, 'topics': f'{topics},{own}' if topics else ''}
    supervisor = Supervisor(stack, say, wanted.output / 'logs')
    rclpy_args = ['--ros-args', '-r', f'__ns:={wanted.namespace}'] if wanted.namespace else []
    with supervisor, _Nodes(rclpy_args) as nodes:
        supervisor.wait_ready()
        replay = nodes.add(ReplayNode(parameter_overrides=[Parameter(k, value=v) for k, v in parameters.items()]))
        shadow = nodes.add(Shadow(wanted, parts, contract, _goals(wanted)))
        stop.append(replay)
        attend(replay)
        shadow.wait_for_agent()
        pid = supervisor.pids.get(AGENT)

        def ready(item: Item) -> bool:
            if supervisor.failure or supervisor.pids.get(AGENT) != pid:
                raise ConfigError(supervisor.failure or f'the agent died: see {wanted.output}/logs/{AGENT}.log')
            return shadow.ready(item)
        replay.ready, replay.on_sent = ready, shadow.sent
        replay.run(nodes.executor)
        while not shadow.closed():
            nodes.executor.spin_once(timeout_sec=0.02)
    return shadow.heard


@contextmanager
def _signals() -> Iterator[list[ReplayNode]]:
    """Ctrl-C and SIGTERM end the replays in the list in order, and are a KeyboardInterrupt before there is one."""
    replays: list[ReplayNode] = []

    def end(*_args) -> None:
        if not replays:
            raise KeyboardInterrupt
        for replay in replays:
            replay.stopping = True
    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield replays
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Nodes:
    """ROS, an executor and nodes in it, ended in order."""

    def __init__(self, args: list[str]):
        self._args = args
        self._nodes: list = []

    def __enter__(self) -> '_Nodes':
        init(self._args)
        self.executor = SingleThreadedExecutor()
        return self

    def add(self, node):
        self._nodes.append(node)
        self.executor.add_node(node)
        return node

    def __exit__(self, *_error) -> None:
        self.executor.shutdown(timeout_sec=1.0)
        for node in self._nodes:
            node.destroy_node()
        rclpy.try_shutdown()
