"""Drives in a simulated world as a robot lives through them: states, actions and goal, for what learns from them.

`WorldDrives` is what `jepa-ros distill --world` gives Mode-1 to learn from: how Mode-2 drives, and what Mode-1 itself
does between the rounds, as it is then.
"""
from collections.abc import Sequence

import torch

from jepa_ros.agent import Agent
from jepa_ros.evaluation import closed_loop
from jepa_ros.sim.episodes import start_goal_pairs, StartGoal
from jepa_ros.sim.worlds import make_planar_world, PlanarWorld
from jepa_ros.training.lived import Lived
from jepa_ros.training.optimise import Report

FIRST_SEED = 1_000_000      # of starts and goals to learn from: `jepa-ros eval` counts its own from 0
SHOWN_S, PRACTISED_S = 30.0, 20.0   # simulated seconds that a drive of Mode-2, and one of Mode-1, may last


def lived(agent: Agent, world: PlanarWorld, tasks: Sequence[StartGoal],
          settings: closed_loop.Settings) -> list[tuple[closed_loop.EpisodeResult, Lived]]:
    """How each drive ended, and what happened in it; `settings` as in `closed_loop.drive`."""
    return [_one(agent, world, task, settings, index) for index, task in enumerate(tasks)]


def _one(agent: Agent, world: PlanarWorld, task: StartGoal, settings: closed_loop.Settings,
         index: int) -> tuple[closed_loop.EpisodeResult, Lived]:
    goals: list[torch.Tensor] = []
    states: list[torch.Tensor] = []
    actions: list[torch.Tensor] = []

    def witness(goal, state, decision):
        goals.append(goal.levels[0])
        states.append(state.levels[0].clone())
        if decision is not None:
            actions.append(agent.world_model.scale_actions(decision.action).clone())
    result = closed_loop.drive(agent, world, task, settings, index, witness)
    moved = torch.stack(actions) if actions else states[0].new_zeros(0, len(agent.contract.action_names))
    return result, Lived(torch.stack(states), moved, goals[0].clone())


class WorldDrives:
    """Lets an agent drive in a world, to goals in the other room; each round has starts, goals and doors of its own."""

    def __init__(self, world: str, drives: int = 60, seed: int = 0, report: Report | None = None):
        """drives: of a round. WorldError, in one line, for an unknown world."""
        self._world, self._drives, self._seed, self._report = make_planar_world(world), drives, seed, report

    def shown(self, agent: Agent) -> list[Lived]:
        """How Mode-2 drives."""
        return self._round(agent, 0, 'planned', SHOWN_S, 'Mode-2 shows')

    def __call__(self, agent: Agent, number: int) -> list[Lived]:
        """How Mode-1 drives before round `number`, as it is then."""
        return self._round(agent, 1 + number, 'reactive', PRACTISED_S, 'Mode-1 drives')

    def _round(self, agent: Agent, number: int, mode: str, seconds: float, stage: str) -> list[Lived]:
        tasks = start_goal_pairs(self._world, self._drives, FIRST_SEED + 1000 * self._seed + number)
        settings, done = closed_loop.Settings(mode=mode, max_time_s=seconds), []
        for task in tasks:
            done += lived(agent, self._world, [task], settings)
            if self._report:
                self._report(stage, len(done), self._drives, {'round': number, 'reached': _share(done)})
        return [drive for _, drive in done]


def _share(done: Sequence[tuple[closed_loop.EpisodeResult, Lived]]) -> float:
    return sum(result.success for result, _ in done) / len(done)
