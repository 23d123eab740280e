"""Does all of it learn through the nodes? Critic, dynamics and policy change while the agent drives, over topics.

    python benchmark/organ_nodes.py [--policy FOLDER] [--composition six one] [--bag FOLDER]

Starts the agent as `ros2 launch jepa_ros sim.launch.py learn:=true` does, drives from goal to goal, sends it a policy
that `jepa-ros distill` made (or that of --policy), turns the base's axes round in the middle of the run and later back,
and records all of it. Everything printed and written to results/organ_nodes.json is read back from the bag.
"""
import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
import subprocess
import sys
import tempfile
import time

import rclpy
from rclpy.parameter import Parameter
from rclpy.parameter_client import AsyncParameterClient
from rich.console import Console
import rows

from jepa_ros import checkpoint
from jepa_ros.cli.bag import show_versions
from jepa_ros.errors import ConfigError
from jepa_ros.evaluation import live
from jepa_ros.robot.bag_open import open_bag
from jepa_ros.robot.bag_versions import ACTION, bag_versions, Versions
from jepa_ros.robot.learned import ORGANS
from jepa_ros.runtime.names import SIM
from jepa_ros.runtime.publish_update import users
from jepa_ros.runtime.spinner import Spinner
from jepa_ros.runtime.stack import Stack
from jepa_ros.sim.episodes import start_goal_pairs
from jepa_ros.sim.worlds import make_planar_world

MODEL, WORLD = 'two_rooms', 'two_rooms'
OUTPUT = rows.RESULTS / 'organ_nodes.json'
SEED = 3000
PHASES = (('as trained', 1.0, 4), ('reversed', -1.0, 5), ('back', 1.0, 3))      # name, command_gain, goals
SEND_AFTER = 2              # goals, then the policy is sent
LEARN_EVERY_S = 3.0         # rounds of the critic: many in a short run
COMPOSITIONS = {'six': False, 'one': True}
ANSWER_S = 5.0


@dataclass(frozen=True)
class Drive:
    """What was done, besides what the bag tells."""

    reached: dict[str, int]     # by phase
    changed_ns: int             # simulated time at which the axes were turned round


def command(*arguments: object) -> list[str]:
    return [sys.executable, '-m', 'jepa_ros.cli.main', *map(str, arguments)]


def distilled(folder: Path) -> Path:
    """A policy that is new, if not a good one: a short run of `jepa-ros distill`."""
    bag = Path(__file__).resolve().parents[1] / 'bags' / 'two_rooms_3'
    if not bag.is_dir():
        raise ConfigError(f'{bag} is not here: give a distilled checkpoint with --policy')
    line = command('distill', MODEL, '--data', bag, '--rounds', 1, '--labels', 32, '--output', folder / 'quick',
                   '--work-dir', folder / 'work')
    if subprocess.run(line).returncode:
        raise ConfigError('jepa-ros distill failed')
    return folder / 'quick'


def set_gain(value: float) -> None:
    """Change what the simulated base makes of commands."""
    node = rclpy.create_node('changer')
    try:
        with Spinner(node) as spinner:
            client = AsyncParameterClient(node, SIM)
            if not client.wait_for_services(ANSWER_S):
                raise ConfigError('the simulator does not take parameters')
            answer = spinner.call(lambda: client.set_parameters([Parameter('command_gain', value=value)]))
            until_s = time.monotonic() + ANSWER_S
            while not answer.done():
                if time.monotonic() > until_s:
                    raise ConfigError('the simulator does not answer')
                time.sleep(0.01)
    finally:
        node.destroy_node()


def drive(composition: bool, policy: Path, folder: Path, factor: float, console: Console) -> Drive:
    """The run; its bag is in `folder`/bag."""
    settings = folder / 'params.yaml'
    folder.mkdir(parents=True, exist_ok=True)
    settings.write_text(f'/**/cost: {{ros__parameters: {{learn_every_s: {LEARN_EVERY_S}}}}}\n')
    stack = Stack(model=MODEL, world=WORLD, composition=composition, learn=True, params_file=str(settings),
                  real_time_factor=factor)
    card = checkpoint.read_card(checkpoint.find(MODEL))
    tasks = iter(start_goal_pairs(make_planar_world(WORLD), sum(goals for *_, goals in PHASES), SEED))
    reached, changed_ns, done = {}, 0, 0
    with live.Live(stack, folder, card.sha256, console.print, f'{live.RECORDED},/diagnostics') as run:
        run.wait_ready()
        for phase, gain, goals in PHASES:
            if done:
                set_gain(gain)
            changed_ns = changed_ns or (run.now_ns if gain < 0 else 0)
            reached[phase] = 0
            for _ in range(goals):
                if done == SEND_AFTER and subprocess.run(command('model', 'publish', policy)).returncode:
                    raise ConfigError('the policy was refused')
                pursuit = run.pursue(done, next(tasks), lambda distance: None)
                done, reached[phase] = done + 1, reached[phase] + pursuit.success
                console.print(f'{phase}, goal {done}: {pursuit.verdict}', highlight=False)
    return Drive(reached, changed_ns)


def unpublished(bag: Path, found: Versions) -> int:
    """Actions that name a version which nobody had published."""
    known = {(u.organ, u.version) for u in found.updates} | {(organ, 0) for organ in ORGANS}
    with open_bag(bag) as opened:
        topics = {c.topic for c in opened.connections if c.msgtype == ACTION}
        return sum(any((organ, int(getattr(message, f'{organ}_version'))) not in known for organ in ORGANS)
                   for _, _, message in opened.messages(topics))


def figures(name: str, done: Drive, bag: Path) -> list[dict]:
    """Rows of results."""
    found = bag_versions(bag)
    by_organ = {organ: [u for u in found.updates if u.organ == organ] for organ in ORGANS}
    took = [u for u in found.updates if set(users(u.organ)) <= set(u.taken)]
    adapted = [(found.start_ns * 1e-9 + u.time_s) - done.changed_ns * 1e-9 for u in by_organ['world_model']]
    first = next((s for s in adapted if s > 0), None)
    waited = [u.acted_s - u.time_s for u in found.updates if u.acted_s is not None]
    made = [rows.row(f'{organ}_updates', len(updates), 'updates') for organ, updates in by_organ.items()]
    made += [rows.row('updates_in_force_everywhere', len(took) / max(len(found.updates), 1), 'share'),
             rows.row('actions_with_unpublished_versions', unpublished(bag, found), 'actions'),
             rows.row('spans_of_versions_acted_with', len(found.spans), 'spans')]
    made += [rows.row(f'goals_reached_{phase.replace(" ", "_")}', done.reached[phase] / goals, 'share')
             for phase, _, goals in PHASES]
    if first is not None:
        made.append(rows.row('adapted_after', first, 's'))
    if waited:
        made.append(rows.row('update_to_first_action_median', sorted(waited)[len(waited) // 2], 's'))
    return [{**row, 'what': f'{row["what"]}, {name} process{"es" * (name == "six")}'} for row in made]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--policy', type=Path, help='checkpoint whose policy is sent')
    parser.add_argument('--composition', nargs='+', choices=list(COMPOSITIONS), default=list(COMPOSITIONS))
    parser.add_argument('--factor', type=float, default=1.0, help='simulated seconds per second; less when busy')
    parser.add_argument('--bag', type=Path, help='keep bags and logs in this folder')
    parser.add_argument('--output', type=Path, default=OUTPUT)
    options = parser.parse_args(argv)
    live.isolate()
    console = Console(width=None if sys.stdout.isatty() else 200)
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.bag or Path(scratch)
        policy = options.policy or distilled(Path(scratch))
        for name in options.composition:
            done = drive(COMPOSITIONS[name], policy, folder / name, options.factor, console)
            bag = folder / name / 'bag'
            show_versions(bag_versions(bag))
            made = figures(name, done, bag)
            rows.merge(options.output, made)
            for row in made:
                console.print(f'{row["what"]}: {row["value"]:.3g} {row["unit"]}', highlight=False)
    return 0


if __name__ == '__main__':
    sys.exit(main())
