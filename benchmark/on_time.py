"""Is Mode-2 on time? Latency of the shipped agent, a budget too small for it, ten minutes on a busy machine.

    python benchmark/on_time.py [--minutes 10] [--episodes 50] [--parts latency small_budget load determinism]

latency: plans of the agent two_rooms while it drives through doors drawn per episode, alone on the machine.
small_budget: the same with 5 ms, which it must keep by giving up samples, horizon or Mode-2, each said.
load: real time at the robot's rate, the planner in its own thread, a busy process on every core; a miss is a decision
later than its budget, counted from when its state was there.
In these three Mode-1 is only the last resort of mode auto: with the shipped threshold it would spare most plans.
determinism: the same episodes twice. Writes results/planning.json.
"""
import argparse
from collections import Counter
from collections.abc import Callable, Iterable
import hashlib
import multiprocessing
import os
from pathlib import Path
import queue
import tempfile
import time

import numpy as np
from rich.console import Console
from rows import merge, RESULTS, row
import torch

from jepa_ros.actor.decision import Decision
from jepa_ros.actor.planning_thread import Job, PlanningThread
from jepa_ros.actor.planning_thread import Settings as ThreadSettings
from jepa_ros.agent import Agent
from jepa_ros.cost.cost import Goal
from jepa_ros.evaluation import closed_loop
from jepa_ros.sim.episodes import goal_image, start_goal_pairs

WORLD = 'two_rooms_random_door'
BUDGET_MS, SMALL_MS = 30.0, 5.0


def percentile(values: Iterable[float], share: float) -> float:
    return round(float(np.percentile(list(values), share)), 2)


def that_plans(model: str, folder: Path) -> str:
    """The same checkpoint, in whose mode auto Mode-2 always plans where there is time."""
    agent = Agent.load(model, device='cpu')
    agent.card = agent.card.model_copy(update={'policy_threshold': 0.0})
    agent.save(folder)
    return str(folder)


def episodes_with(options: argparse.Namespace, budget_ms: float) -> list[closed_loop.EpisodeResult]:
    settings = closed_loop.Settings(options.model, WORLD, 'auto', budget_ms)
    return closed_loop.evaluate(settings, options.episodes, seed=900)


def latency(options: argparse.Namespace) -> list[dict]:
    free, kept = (episodes_with(options, budget) for budget in (closed_loop.GENEROUS_BUDGET_MS, BUDGET_MS))
    plans = [ms for result in free for ms in result.latencies_ms]
    in_budget = [ms for result in kept for ms in result.latencies_ms]
    return [row('two_rooms_plan_p50_ms_cpu', percentile(plans, 50), 'ms'),
            row('two_rooms_plan_p99_ms_cpu', percentile(plans, 99), 'ms'),
            row('two_rooms_success_without_budget', _success(free), 'share'),
            row('two_rooms_success_30_ms', _success(kept), 'share'),
            row('two_rooms_plan_p99_ms_cpu_30_ms', percentile(in_budget, 99), 'ms')]


def small_budget(options: argparse.Namespace) -> list[dict]:
    results = episodes_with(options, SMALL_MS)
    latencies = [ms for result in results for ms in result.latencies_ms]
    return [row('two_rooms_success_5_ms', _success(results), 'share'),
            row('two_rooms_plan_p50_ms_cpu_5_ms', percentile(latencies, 50), 'ms'),
            row('two_rooms_plan_p99_ms_cpu_5_ms', percentile(latencies, 99), 'ms'),
            row('two_rooms_reactive_ticks_5_ms', round(sum(r.reactive for r in results) / len(latencies), 4), 'share')]


def _success(results: list[closed_loop.EpisodeResult]) -> float:
    return round(sum(r.success for r in results) / len(results), 4)


def _busy() -> None:
    while True:
        sum(i * i for i in range(10_000))


def load(options: argparse.Namespace) -> list[dict]:
    context = multiprocessing.get_context('spawn')
    others = [context.Process(target=_busy, daemon=True) for _ in range(os.cpu_count() or 1)]
    for other in others:
        other.start()
    try:
        ticks = list(_real_time(options))
    finally:
        for other in others:
            other.kill()
            other.join()
    late = [(ms, decision) for ms, decision in ticks if ms > BUDGET_MS]
    unreported = [ms for ms, decision in late if 'late' not in decision.degradation]
    kinds = Counter(decision.degradation.split(';')[0] or 'whole' for _, decision in ticks)
    Console().print('decisions under load: ' + ', '.join(f'{kind} {n}' for kind, n in kinds.most_common(8)))
    misses = [f'{n}: {ms:.1f} ms ({decision.degradation})' for n, (ms, decision) in enumerate(ticks) if ms > BUDGET_MS]
    Console().print('missed ticks: ' + (', '.join(misses) or 'none'))
    latencies = [ms for ms, _ in ticks]
    return [row('load_ticks', len(ticks), 'ticks'), row('load_plan_p50_ms', percentile(latencies, 50), 'ms'),
            row('load_plan_p99_ms', percentile(latencies, 99), 'ms'),
            row('load_deadline_misses', round(len(late) / len(ticks), 6), 'share'),
            row('load_misses_unreported', len(unreported), 'ticks'),
            row('load_whole_plans', round(kinds['whole'] / len(ticks), 4), 'share')]


def _real_time(options: argparse.Namespace):
    """(milliseconds from the state to its decision, the decision) of every tick, at the robot's rate."""
    agent, world = closed_loop.load(closed_loop.Settings(options.model, WORLD))
    decided: queue.Queue[tuple[float, Decision]] = queue.Queue()
    thread = PlanningThread(agent.actor, lambda settings, job, decision: decided.put((time.perf_counter(), decision)),
                            print)
    period_s, ends, number = agent.contract.control_period_s, time.monotonic() + 60 * options.minutes, 0
    pairs = start_goal_pairs(world, 200, 901)
    while time.monotonic() < ends:
        task = pairs[number % len(pairs)]
        number += 1
        world.reset(task.seed, task.values)
        shown = agent.perception.encode(closed_loop.percept(agent, goal_image(world, *task.goal)))
        thread.configure(ThreadSettings(number, Goal(levels=shown.levels), {}, 'auto', BUDGET_MS))
        agent.perception.reset()
        action, next_tick = None, time.monotonic()
        for _ in range(100):
            state = agent.perception.observe(closed_loop.percept(agent, world.image()))
            began = time.perf_counter()
            thread.submit(Job(state, 0, time.time(), action, 0.0))
            ended, decision = decided.get(timeout=10)
            yield (ended - began) * 1e3, decision
            action = decision.action
            world.step(action, period_s)
            next_tick += period_s
            time.sleep(max(0.0, next_tick - time.monotonic()))
    thread.stop()


def determinism(options: argparse.Namespace) -> list[dict]:
    def digest() -> str:
        agent, world = closed_loop.load(closed_loop.Settings(options.model, WORLD))
        found = hashlib.sha256()
        for task in start_goal_pairs(world, 5, 902):
            result = closed_loop.drive(agent, world, task, closed_loop.Settings(options.model, WORLD, 'planned'))
            found.update(repr((result.path_m, result.distance_m, result.ticks)).encode())
        return found.hexdigest()
    return [row('same_seed_same_plan', float(digest() == digest()), 'bool')]


PARTS: dict[str, Callable[[argparse.Namespace], list[dict]]] = {
    f.__name__: f for f in (latency, small_budget, load, determinism)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--model', default='two_rooms')
    parser.add_argument('--minutes', type=float, default=10.0, help='of the part load')
    parser.add_argument('--episodes', type=int, default=50)
    parser.add_argument('--parts', nargs='+', choices=list(PARTS), default=list(PARTS))
    parser.add_argument('--output', type=Path, default=RESULTS / 'planning.json')
    options = parser.parse_args()
    torch.set_num_threads(1)
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        options.model = that_plans(options.model, Path(folder) / 'model')
        for part in options.parts:
            with console.status(part):
                found = PARTS[part](options)
            for each in found:
                console.print(f'{each["what"]}: {each["value"]} {each["unit"]}')
            merge(options.output, found)


if __name__ == '__main__':
    main()
