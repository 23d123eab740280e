"""swm/TwoRoom-v1 of the PyPI package stable-worldmodel: its expert's data, our training, its success criterion.

    python benchmark/swm_two_room.py --collect --train --eval [--doors random] [--work build/swm] [--json rows.json]
    python benchmark/swm_two_room.py --eval --model build/swm/seed_0 build/swm/seed_1 build/swm/seed_2

Each stage can be run alone. The package's published protocol (le-wm, config/eval/tworoom.yaml): start is a row of an
expert episode, goal the picture 25 steps later in it, 50 steps to come within 16 px. The same here, but for: starts
and goals are of episodes that training never saw, pictures are 48×48, and the actor plans again at every step instead
of every 25. Two harder tasks are measured with the same model. Writes results/world_model.json: mean and deviation over
the models, or over the sets of problems where there is only one.
"""
import argparse
from collections.abc import Callable
from dataclasses import asdict, dataclass
import json
from pathlib import Path
import resource
import subprocess
import sys

import numpy as np
from rich.console import Console
from rich.table import Table
import rows
import swm_world
from swm_world import POSITIONS, Problem, TwoRoom
import torch

from jepa_ros.agent import Agent
from jepa_ros.cost.cost import Goal
from jepa_ros.errors import JepaRosError
from jepa_ros.evaluation.closed_loop import flat_planner, GENEROUS_BUDGET_MS
from jepa_ros.robot.contract import RobotContract
from jepa_ros.training import data as training_data

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / 'config' / 'agents' / 'swm_two_room.yaml'
DOORS = {'fixed': POSITIONS, 'random': (*POSITIONS, 'door.position')}
METHODS = ('hjepa', 'flat', 'random')
FLAT_HORIZON = 40           # steps that one level alone needs to look through the door
COLLECT_SEED, EVAL_SEED = 100_000, 42       # of the first training episode; of the first set of problems


@dataclass(frozen=True)
class Task:
    """Where starts and goals come from, and how many steps there are."""

    name: str
    budget: int                     # steps
    noise: float | None = None      # of the expert whose states they are; None: opposite rooms
    offset: int = 25                # steps from start to goal in the expert's episode

    def problems(self, world: TwoRoom, count: int, seed: int) -> list[Problem]:
        if self.noise is None:
            return swm_world.opposite_problems(world, count, seed)
        return swm_world.offset_problems(world, count, self.offset, self.noise, seed)


TASKS = (Task('swm_two_room', 50, swm_world.PUBLISHED_NOISE),       # the published protocol
         Task('swm_two_room_straight', 50, 0.0),                    # goals 25 steps away by the straightest way
         Task('swm_two_room_opposite', 100))                        # through the door


@dataclass(frozen=True)
class Attempt:
    """One problem, tried."""

    success: bool
    steps: int
    latencies_ms: tuple[float, ...]


def collect(cache: Path, doors: str, steps: int, console: Console) -> None:
    """The expert's episodes as a training cache."""
    world = TwoRoom(DOORS[doors])
    with console.status('collecting') as status:
        episodes, done = [], 0
        for episode in swm_world.expert_episodes(world, steps, COLLECT_SEED):
            episodes.append(episode)
            done += len(episode)
            status.update(f'collecting: {done} of {steps} steps')
    data = training_data.from_episodes(episodes, RobotContract.load(swm_world.CONTRACT), {})
    training_data.save(data, cache)
    console.print(f'{cache}: {len(episodes)} episodes, {done} steps', highlight=False)


def train(cache: Path, model: Path, seed: int) -> None:
    """`jepa-ros train` on one thread; the minutes of processor time it took go beside the model."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, '-c', 'from jepa_ros.cli.main import main; main()', 'train', str(cache), '--robot',
                    str(swm_world.CONTRACT), '--config', str(CONFIG), '--output', str(model), '--seed', str(seed),
                    '--work-dir', str(model.with_name(model.name + '_work')), '--device', 'cpu', '--threads', '1'],
                   check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    minutes = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / 60
    _minutes_file(model).write_text(f'{minutes:.1f}\n')


def _minutes_file(model: Path) -> Path:
    return model.with_name(model.name + '_minutes.txt')


def agent_for(model: Path, method: str) -> Agent:
    """The trained agent: with the planners of its card, or with level 0 alone and as many samples."""
    agent = Agent.load(model, device='cpu')
    if method == 'flat':
        planner = flat_planner(agent.card.planner_settings(), FLAT_HORIZON)
        agent = Agent(agent.networks, agent.card.model_copy(update={'planners': [asdict(planner)]}), agent.contract)
    agent.warm_up()
    return agent


def drive(agent: Agent, world: TwoRoom, problem: Problem, budget: int) -> Attempt:
    """Pursue one goal picture until the environment calls it reached or the steps are used up."""
    world.pose(problem)
    shown = agent.perception.encode(world.goal_view())
    configured = agent.configurator.start(Goal(levels=shown.levels))
    agent.actor.reset()
    agent.actor.configure(goal=configured.goal, weights=configured.weights, mode='planned',
                          budget_ms=GENEROUS_BUDGET_MS)
    latencies, action = [], None
    for step in range(budget):
        decision = agent.actor.act(agent.perception.encode(world.view()), previous_action=action)
        action = decision.action
        if decision.samples:
            latencies.append(decision.latency_ms)
        if world.step(action):
            return Attempt(True, step + 1, tuple(latencies))
    return Attempt(False, budget, tuple(latencies))


def wander(world: TwoRoom, problem: Problem, budget: int) -> Attempt:
    """What chance alone reaches: evenly random actions, as the package's RandomPolicy."""
    world.pose(problem)
    rng = np.random.default_rng(problem.seed)
    for step in range(budget):
        if world.step(rng.uniform(-1, 1, 2)):
            return Attempt(True, step + 1, ())
    return Attempt(False, budget, ())


def figures(task: str, method: str, attempts: list[list[Attempt]], minutes: float | None) -> dict:
    """A row of world_model.json: attempts by seed, of the training or of the problems."""
    rates = [np.mean([a.success for a in of_seed]) for of_seed in attempts]
    flat = [a for of_seed in attempts for a in of_seed]
    latencies = [ms for a in flat for ms in a.latencies_ms]
    steps = [a.steps for a in flat if a.success]
    return {'task': task, 'method': method, 'success_mean': float(np.mean(rates)), 'success_std': float(np.std(rates)),
            'seeds': len(attempts), 'episodes': len(flat),
            'plan_ms_p50': float(np.median(latencies)) if latencies else None,
            'steps_to_goal_p50': float(np.median(steps)) if steps else None,
            'train_minutes': minutes if method in ('hjepa', 'flat') else None}


def measure(task: Task, method: str, options: argparse.Namespace, console: Console) -> dict:
    """All models, or sets of problems, of one task by one method."""
    world = TwoRoom(DOORS[options.doors])
    models = [None] if method == 'random' else options.model
    name = task.name + ('_random_door' if options.doors == 'random' else '')
    attempts: list[list[Attempt]] = []
    with console.status(f'{name}, {method}') as status:
        for model in models:
            attempt = _attempts(model, method, world, task.budget)
            sets: list[list[Attempt]] = []
            for seed in range(EVAL_SEED, EVAL_SEED + options.seeds):
                sets.append([])
                for problem in task.problems(world, options.episodes, seed):
                    sets[-1].append(attempt(problem))
                    tried = [a for of_seed in (*attempts, *sets) for a in of_seed]
                    status.update(f'{name}, {method}: {sum(a.success for a in tried)} of {len(tried)}')
            attempts += sets if len(models) == 1 else [[a for of_set in sets for a in of_set]]
    minutes = [float(_minutes_file(model).read_text()) for model in options.model if _minutes_file(model).is_file()]
    return figures(name, method, attempts, float(np.mean(minutes)) if minutes else None)


def _attempts(model: Path | None, method: str, world: TwoRoom, budget: int) -> Callable[[Problem], Attempt]:
    """What tries one problem; without a model, chance."""
    if model is None:
        return lambda problem: wander(world, problem, budget)
    agent = agent_for(model, method)
    return lambda problem: drive(agent, world, problem, budget)


def evaluate(options: argparse.Namespace, console: Console) -> list[dict]:
    done = []
    for task in (task for task in TASKS if not options.tasks or task.name in options.tasks):
        for method in options.methods:
            done.append(measure(task, method, options, console))
            if options.results:
                rows.update_rows(options.results, done[-1:])
    table = Table('task', 'method', 'reached', 'seeds × episodes', 'steps to goal', 'plan, ms')
    for row in done:
        table.add_row(row['task'], row['method'], f'{row["success_mean"]:.1%} ± {row["success_std"]:.1%}',
                      f'{row["seeds"]} × {row["episodes"] // row["seeds"]}', f'{row["steps_to_goal_p50"] or "–"}',
                      '–' if row['plan_ms_p50'] is None else f'{row["plan_ms_p50"]:.1f}')
    console.print(table)
    return done


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--collect', action='store_true')
    parser.add_argument('--train', action='store_true')
    parser.add_argument('--eval', action='store_true')
    parser.add_argument('--doors', choices=DOORS, default='fixed', help='random: the door is elsewhere in each episode')
    parser.add_argument('--work', type=Path, default=ROOT / 'build' / 'swm', help='folder of the data and the model')
    parser.add_argument('--model', type=Path, nargs='+', help='checkpoints; default WORK/swm_two_room_DOORS')
    parser.add_argument('--steps', type=int, default=90_000, help='rows to collect')
    parser.add_argument('--seed', type=int, default=0, help='of training')
    parser.add_argument('--seeds', type=int, default=3, help='sets of problems')
    parser.add_argument('--episodes', type=int, default=50, help='problems a set, as published')
    parser.add_argument('--tasks', nargs='+', choices=[task.name for task in TASKS], default=None)
    parser.add_argument('--methods', nargs='+', choices=METHODS, default=METHODS)
    parser.add_argument('--results', type=Path, default=rows.WORLD_MODEL)
    parser.add_argument('--json', type=Path, help='write the rows here too')
    options = parser.parse_args()
    options.model = options.model or [options.work / f'swm_two_room_{options.doors}']
    return options


def main() -> None:
    options, console = arguments(), Console(width=None if sys.stdout.isatty() else 140)
    torch.set_num_threads(1)    # quickest for models this small, and the same sums everywhere
    cache = options.work / f'{options.doors}.npz'
    options.work.mkdir(parents=True, exist_ok=True)
    try:
        if options.collect:
            collect(cache, options.doors, options.steps, console)
        if options.train:
            for seed, model in enumerate(options.model, options.seed):
                train(cache, model, seed)
        if options.eval:
            done = evaluate(options, console)
            if options.json:
                options.json.write_text(json.dumps(done, indent=2) + '\n', encoding='utf-8')
    except JepaRosError as error:
        sys.exit(f'swm_two_room: {error}')


if __name__ == '__main__':
    main()
