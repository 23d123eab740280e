"""`jepa-ros replay`: a recording on its topics again, with /clock; or in front of an agent that may only watch."""
from pathlib import Path
import sys

import typer


def replay(
    bag: Path = typer.Argument(help='Folder of the recording, or a single .mcap or .db3 file.'),
    rate: float = typer.Option(1.0, min=0.0, max=1000.0, help='Recorded seconds per second. 0: no waiting for time; '
                               'subscribers that cannot follow lose messages, unless --wait-for names their answer. In '
                               'shadow mode each control tick then waits for the action.'),
    start: float = typer.Option(0.0, min=0.0, help='Seconds after the first message at which to begin.'),
    duration: float = typer.Option(0.0, min=0.0, help='Seconds of the recording to play; 0: to its end.'),
    loop: bool = typer.Option(False, help='Begin again at the end. The clock goes on: in each further pass all stamps '
                              'are later by the length of a pass and a second; the first pass is byte for byte.'),
    pause: bool = typer.Option(False, help='Wait for a key or a service before the first message.'),
    topics: str = typer.Option('', help="Topics to replay, separated by commas; 'camera/*' works, '*' is all. Without: "
                               'all but what the agent and its nodes say of themselves (state, action, plan, energy, '
                               'diagnostics …).'),
    wait_for: str = typer.Option('', help='Topic on which a message must come after each control tick before the next '
                                 'one is sent, for half a second at most: state or action of an agent.'),
    with_commands: bool = typer.Option(False, help='Publish recorded commands on their own topics: a robot would obey '
                                       'them. Without, they go to recorded/<topic>. Refused, and held back, while '
                                       'somebody listens who may be a robot.'),
    robot: str = typer.Option('', help='Robot contract: a name or a YAML file; empty: the one inside the bag, if any. '
                              'It says which topics are commands and what a control tick is; any Twist, TwistStamped, '
                              'JointTrajectory and Ackermann command is taken for a command without it.'),
    namespace: str = typer.Option('', help='ROS namespace in place of the one recorded in.'),
    shadow: bool = typer.Option(False, help='Run an agent on the recording without letting it act, and compare its '
                                'actions with the recorded ones; needs --model.'),
    model: str = typer.Option('', help='Shadow: the checkpoint, the name of a shipped model or the path of a folder.'),
    task: str = typer.Option('', help='Shadow: task in config/tasks; empty for the default.'),
    goal: str = typer.Option('', help='Shadow: an image file, or readouts as x_m=1.0,y_m=0.5. Empty: the percept at '
                             'the end of each recorded episode, which is what the recording did reach.'),
    goal_every: float = typer.Option(0.0, min=0.0, help='Shadow: cut episodes into parts of so many seconds, each with '
                                     'a goal of its own; 0: whole episodes.'),
    output: Path = typer.Option(Path('build/shadow'), '--output', '-o', help='Shadow: folder for shadow.json, '
                                'agreement.png and logs.'),
) -> int:
    """Replay a recording. Space pauses and resumes, s or → plays one control tick, q ends.

    Services replay/pause, replay/resume and replay/step (std_srvs/Trigger) do the same.

    Example: jepa-ros replay bags/two_rooms_0 --rate 2 --start 10 --duration 30

    In front of an agent: jepa-ros replay bags/two_rooms_0 --duration 60 --shadow --model two_rooms
    """
    from jepa_ros.errors import ConfigError
    from jepa_ros.runtime.names import full_namespace
    from jepa_ros.runtime.ros import domain_id

    parameters = {'bag': str(bag), 'rate': rate, 'start': start, 'duration': duration, 'loop': loop, 'paused': pause,
                  'topics': topics, 'wait_for': wait_for, 'with_commands': with_commands, 'robot': robot}
    namespace = full_namespace(namespace)
    domain_id()
    only_shadow = [name for name, given in (('model', model), ('task', task), ('goal', goal),
                                            ('goal-every', goal_every)) if given]
    if shadow:
        if not model:
            raise ConfigError('--shadow needs --model: the name of a shipped model or the path of a checkpoint')
        for name, given in (('loop', loop), ('with-commands', with_commands), ('wait-for', wait_for)):
            if given:
                raise ConfigError(f'--shadow does not go with --{name}: leave it away')
        from jepa_ros.evaluation.shadow import Wanted
        words = goal or 'the percept at the end of each part (hindsight)'
        return _shadow(Wanted(bag, model, robot, task, words, _goal(goal), goal_every, namespace, output, parameters))
    if only_shadow:
        raise ConfigError(f'--{only_shadow[0]} goes with --shadow only')
    from jepa_ros.robot.replay_node import play

    args = ['--ros-args', '-r', f'__ns:={namespace}'] if namespace else []
    with Bar('replaying') as bar:
        play(args, parameters, bar.attend)
    return 0


def _goal(text: str):
    """PursueGoal.Goal of an image file or of readouts; None for an empty text."""
    from jepa_ros.cli.goal import goal_message
    if not text:
        return None
    return goal_message(None, text.split(','), None, None) if '=' in text else goal_message(Path(text), [], None, None)


def _shadow(wanted) -> int:
    from jepa_ros.evaluation import report, shadow_run
    from jepa_ros.evaluation.shadow import lines
    with Bar('shadowing') as bar:
        figures = shadow_run.run(wanted, bar.attend, bar.say)
    report.print_table(f'{figures["model"]} {figures["model_sha256"][:12]} beside {wanted.bag}', lines(figures))
    typer.echo(f'written: {wanted.output / "shadow.json"}, {wanted.output / "agreement.png"}')
    return 0


class Bar:
    """Progress bar on stderr with position and rate; its keys control the replay."""

    def __init__(self, verb: str):
        from rich import progress
        from rich.console import Console

        from jepa_ros.cli.keys import Keys
        columns = (progress.TextColumn('{task.description}'), progress.BarColumn(),
                   progress.TextColumn('{task.fields[line]}'))
        self._verb = verb
        self._bar = progress.Progress(*columns, console=Console(file=sys.stderr))
        self._keys = Keys()

    def __enter__(self) -> 'Bar':
        self._keys.__enter__()
        self._task = self._bar.add_task(self._verb, total=None, line='')
        return self

    def __exit__(self, *error) -> None:
        if self._bar.live.is_started:   # to stop one that was not would print an empty line
            self._bar.stop()
        self._keys.__exit__(*error)

    def say(self, line: str) -> None:
        """Show a line above the bar."""
        self._bar.console.print(line, highlight=False)

    def attend(self, node) -> None:
        """Show how the replay goes, and hand it the keys."""
        def tell(status) -> None:
            self._bar.start()       # not before the replay: what is refused is one line
            self._bar.update(self._task, total=status.length_s, completed=status.position_s, line=_line(status),
                             description='paused' if status.paused else self._verb)
            for key in self._keys.pressed():
                if key == ' ':
                    (node.resume if status.paused else node.pause)()
                elif key in ('s', 'right'):
                    node.step()
                elif key == 'q':
                    node.stopping = True
        node.tell = tell


def _line(status) -> str:
    passes = f'  pass {status.passes}' if status.passes > 1 else ''
    late = f'  {status.lost_s:.1f} s behind' if status.lost_s >= 0.1 else ''
    rate = f'× {status.rate:g}' if status.rate else 'as fast as it goes'
    return f'{status.position_s:.1f} of {status.length_s:.1f} s  {rate}  {status.messages} messages{passes}{late}'
