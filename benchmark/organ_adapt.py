"""Does it adapt? A wheel turns half as far, or both run backwards, in the middle of a run.

    python benchmark/organ_adapt.py [--seeds 3] [--changes halved mirrored] [--model two_rooms]

The agent drives from goal to goal. After some goals actions do something else, later they do what they did before.
Counted are the control steps from the change until nine tenths of the former success are back (over ten goals), with
and without adaptation, and the success after the world has gone back. Prints a table; `organs.py` writes the results.
"""
import argparse
import statistics

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
import torch

from jepa_ros.agent import Agent
from jepa_ros.evaluation import closed_loop
from jepa_ros.perception.perception import EncodedState
from jepa_ros.sim.episodes import start_goal_pairs
from jepa_ros.training.adaptation import Adaptation, install, Version

WORLD = 'two_rooms_random_door'
CHANGES = {'halved': np.diag([0.5, 1.0]), 'mirrored': -np.eye(2)}    # of the speeds that were asked for
BEFORE, CHANGED, AFTER = 10, 12, 10     # goals
RECENT = 10                 # goals of which a success rate is made
BACK = 0.9                  # of the former success
MOST_S = 30.0               # simulated time per goal


class ChangedWorld:
    """A world in which actions do something else while `change` is set."""

    def __init__(self, world):
        self._world, self.change = world, None

    def __getattr__(self, name):
        return getattr(self._world, name)

    def step(self, action: np.ndarray, duration_s: float) -> None:
        self._world.step(action if self.change is None else self.change @ action, duration_s)


class AdaptingActor:
    """The agent's actor, whose world model learns from each tick where `adaptation` is set."""

    def __init__(self, agent: Agent, adaptation: Adaptation | None):
        self._agent, self._actor, self.adaptation = agent, agent.actor, adaptation
        self._last: EncodedState | None = None
        self.steps, self.versions = 0, []

    def __getattr__(self, name):
        return getattr(self._actor, name)

    def reset(self) -> None:
        self._last = None
        self._actor.reset()

    def act(self, state: EncodedState, previous_action: np.ndarray | None = None, **options):
        self.steps += 1
        if self.adaptation and self._last is not None and previous_action is not None:
            action = self._agent.world_model.scale_actions(previous_action)
            self.adaptation.see(self._last.levels[0], action, state.levels[0])
            self._take(self.adaptation.step())
        self._last = state
        return self._actor.act(state, previous_action, **options)

    def _take(self, version: Version | None) -> None:
        if version is not None:
            install(self._agent.networks.world_model, version.tensors)
            self.versions.append((self.steps, version.number))


def run(seed: int, change: str, adapts: bool, model: str) -> dict:
    """Success per goal, and at which control step each goal ended."""
    settings = closed_loop.Settings(model, WORLD, 'planned', max_time_s=MOST_S)
    agent, plain = closed_loop.load(settings)
    adaptation = Adaptation(agent.networks.world_model, seed=seed) if adapts else None
    agent.actor, world = AdaptingActor(agent, adaptation), ChangedWorld(plain)
    reached, ends = [], []
    for number, task in enumerate(start_goal_pairs(plain, BEFORE + CHANGED + AFTER, 3000 + seed)):
        world.change = CHANGES[change] if BEFORE <= number < BEFORE + CHANGED else None
        reached.append(closed_loop.drive(agent, world, task, settings, number).success)
        ends.append(agent.actor.steps)
    former, began, ended = statistics.fmean(reached[:BEFORE]), ends[BEFORE - 1], ends[BEFORE + CHANGED - 1]
    recovery = _recovery(reached[BEFORE:BEFORE + CHANGED], ends[BEFORE - 1:], BACK * former)
    learned = [step - began for step, _ in agent.actor.versions if began < step <= ended]
    if recovery is not None and learned:        # the goal under way when it was learned may be reached all the same
        recovery = max(recovery, learned[0])
    return {'former': former, 'changed': statistics.fmean(reached[BEFORE:BEFORE + CHANGED]),
            'recovery_steps': recovery, 'changed_steps': ended - began,
            'after': statistics.fmean(reached[BEFORE + CHANGED:]), 'versions': agent.actor.versions}


def _recovery(reached: list[bool], ends: list[int], wanted: float) -> int | None:
    """Control steps from the change to the first goal of ten whose success is `wanted`; None: never."""
    for first in range(len(reached) - RECENT + 1):
        if statistics.fmean(reached[first:first + RECENT]) >= wanted:
            return ends[first] - ends[0]
    return None


def measure(seed: int, changes: tuple[str, ...] = tuple(CHANGES), model: str = 'two_rooms') -> dict[str, dict]:
    """By change and 'with' or 'without' adaptation, as `run`."""
    torch.set_num_threads(1)
    return {f'{change}_{how}': run(seed, change, how == 'with', model) for change in changes
            for how in ('with', 'without')}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--changes', nargs='+', choices=list(CHANGES), default=list(CHANGES))
    parser.add_argument('--model', default='two_rooms')
    options = parser.parse_args()
    console = Console()
    table = Table('seed', 'actions', 'adaptation', 'before', 'changed', 'steps to recovery', 'gone back')
    for seed in track(range(options.seeds), 'driving', console=console):
        for name, found in measure(seed, tuple(options.changes), options.model).items():
            change, how = name.rsplit('_', 1)
            steps = found['recovery_steps']
            said = f'never in {found["changed_steps"]}' if steps is None else str(steps)
            table.add_row(str(seed), change, how, f'{found["former"]:.0%}', f'{found["changed"]:.0%}', said,
                          f'{found["after"]:.0%}')
    console.print(table)


if __name__ == '__main__':
    main()
