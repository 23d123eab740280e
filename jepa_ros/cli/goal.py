"""`jepa-ros goal`: gives the running agent a goal, shows how it is pursued, and says how it ended."""
from collections.abc import Callable
import math
from pathlib import Path
import sys
import threading
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn
import typer

from jepa_ros.errors import ConfigError
from jepa_ros.runtime.names import full_namespace

EXIT_NOT_REACHED = 1
DISCOVERY_S = 5.0
CANCEL_S = 2.0
GRACE_S = 10.0  # wall seconds without feedback after which the configurator counts as gone


def goal(
    image: Path = typer.Option(None, help='Goal as an image file, taken by the robot camera.'),
    readout: list[str] = typer.Option(None, help='Goal as a readout value, as in x_m=1.0; may be repeated.'),
    bag: Path = typer.Option(None, help='Goal as a moment of a recording; with --time.'),
    time: float = typer.Option(None, help='Seconds from the start of the bag.'),
    say: str = typer.Option('', help='Goal in words, as in "go to the red door": a task or a labelled state.'),
    task: str = typer.Option('', help='Task in config/tasks, or of your own; empty for the default. Alone where it '
                                      'knows its goal itself, as patrol and stay do.'),
    timeout: float = typer.Option(0.0, min=0.0, help='Seconds of ROS time; 0 takes the one of the task.'),
    namespace: str = typer.Option('', help='ROS namespace of the agent.'),
) -> int:
    """Give the running agent a goal; exit code 0 when it is reached, 1 when it is not.

    Example: jepa-ros goal --image goal.png, or: jepa-ros goal --bag bags/two_rooms_0 --time 12.5

    In words, or a task that knows its goal: jepa-ros goal --say "go to the red door", jepa-ros goal --task patrol
    """
    message = goal_message(image, readout or [], bag, time, say, task)
    message.task, message.timeout = task, timeout
    return _pursue(message, namespace)


def goal_message(image: Path | None, readout: list[str], bag: Path | None, time: float | None, say: str = '',
                 task: str = ''):
    """PursueGoal.Goal of exactly one of the four, or of a task alone. Raises ConfigError naming the option."""
    from jepa_ros.action import PursueGoal

    given = [name for name, value in (('--image', image), ('--readout', readout), ('--bag', bag), ('--say', say))
             if value]
    if not given and task:
        return PursueGoal.Goal(kind=PursueGoal.Goal.OWN)
    if len(given) != 1:
        raise ConfigError('give exactly one of --image, --readout, --bag and --say, or --task alone for one that knows '
                          f'its goal itself (given: {", ".join(given) or "none"})')
    if say:
        return PursueGoal.Goal(kind=PursueGoal.Goal.SENTENCE, sentence=say)
    if image:
        return PursueGoal.Goal(kind=PursueGoal.Goal.IMAGE, image=_image_message(image))
    if readout:
        pairs = [_pair(text) for text in readout]
        return PursueGoal.Goal(kind=PursueGoal.Goal.READOUT, names=[n for n, _ in pairs], values=[v for _, v in pairs])
    if time is None:
        raise ConfigError('--bag needs --time, in seconds from the start of the bag')
    return PursueGoal.Goal(kind=PursueGoal.Goal.BAG, bag=str(bag.expanduser().absolute()), bag_time=time)


def _pair(text: str) -> tuple[str, float]:
    name, _, value = text.partition('=')
    try:
        return name, float(value)
    except ValueError:
        raise ConfigError(f'--readout {text}: expected name=number, as in x_m=1.0') from None


def _image_message(path: Path):
    """Image file as sensor_msgs/Image, rgb8."""
    import cv2
    from sensor_msgs.msg import Image

    if not path.is_file():
        raise ConfigError(f'--image {path}: no such file')
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)  # (H, W, 3) BGR
    if pixels is None:
        raise ConfigError(f'--image {path}: not an image that can be read (PNG and JPEG can)')
    pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    height, width, _ = pixels.shape
    message = Image(height=height, width=width, encoding='rgb8', step=3 * width)
    message.data.frombytes(pixels.tobytes())
    return message


def _pursue(message, namespace: str) -> int:
    import rclpy

    from jepa_ros.runtime.ros import init
    from jepa_ros.runtime.spinner import Spinner

    namespace = full_namespace(namespace)
    init(args=[])
    node = rclpy.create_node('goal', namespace=namespace or None)
    client = _Client(node)
    try:
        with Spinner(node) as spinner:
            return client.run(message, spinner.call)
    finally:
        client.destroy()
        node.destroy_node()
        rclpy.try_shutdown()


class _Client:
    """One goal from request to result."""

    def __init__(self, node):
        from rclpy.action import ActionClient

        from jepa_ros.action import PursueGoal
        self._node = node
        self._client = ActionClient(node, PursueGoal, 'pursue_goal')
        self._feedback = None
        self._news = threading.Event()

    def destroy(self) -> None:
        self._client.destroy()

    def run(self, message, call: Callable[[Callable], Any]) -> int:
        """Send the goal and follow it; `call` calls a function in the thread that spins the node."""
        if not self._client.wait_for_server(timeout_sec=DISCOVERY_S):
            raise ConfigError(f'no agent answers on {self._node.get_namespace().rstrip("/")}/pursue_goal: start it '
                              'with jepa-ros up, or set ROS_DOMAIN_ID or --namespace to its own')
        asked = call(lambda: self._client.send_goal_async(message, self._on_feedback))
        handle = self._wait(asked, 'the configurator')
        if not handle.accepted:
            raise ConfigError('the configurator did not accept the goal')
        try:
            result = self._watch(call(handle.get_result_async))
        except KeyboardInterrupt:
            cancelled = threading.Event()
            call(handle.cancel_goal_async).add_done_callback(lambda _: cancelled.set())
            cancelled.wait(CANCEL_S)
            raise
        if result.error_code != result.NONE:
            typer.echo(f'jepa-ros: goal not reached ({_code_name(result)}): {result.message}', err=True)
            return EXIT_NOT_REACHED
        far = '' if math.isnan(result.energy) else f', distance to it in state space {result.energy:.3g}'
        typer.echo(f'goal {result.message}{far}')
        return 0

    def _watch(self, future):
        future.add_done_callback(lambda _: self._news.set())
        columns = (TextColumn('pursuing'), BarColumn(), TextColumn('{task.fields[line]}'))
        with Progress(*columns, transient=True, disable=not sys.stdout.isatty()) as bar:
            task = bar.add_task('', total=1.0, line='')
            while not future.done():
                if not self._news.wait(GRACE_S):
                    raise ConfigError('the configurator fell silent: is the agent still running?')
                self._news.clear()
                if self._feedback is not None:
                    f = self._feedback
                    bar.update(task, completed=f.progress, line=_line(f))
        return future.result().result

    def _on_feedback(self, message) -> None:
        self._feedback = message.feedback
        self._news.set()

    def _wait(self, future, whom: str):
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        if not done.wait(GRACE_S):
            raise ConfigError(f'{whom} does not answer')
        return future.result()


def _line(feedback) -> str:
    parts = [feedback.part] if feedback.part else []
    if feedback.landmarks:
        parts.append(f'{feedback.landmarks} landmarks to go')
    if not math.isnan(feedback.energy):
        parts.append(f'energy {feedback.energy:.3g}')
    return ', '.join([*parts, f'{feedback.elapsed:.1f} s', f'plan {feedback.plan_latency_ms:.0f} ms'])


def _code_name(result) -> str:
    names = ('UNKNOWN_TASK', 'BAD_GOAL', 'BAG_ERROR', 'TIMEOUT', 'ORGAN_LOST', 'NO_PERCEPT', 'CANCELED', 'PREEMPTED',
             'NOT_ACTIVE', 'INTERNAL')
    return next((name for name in names if getattr(result, name) == result.error_code), str(result.error_code))
