"""Drives in the simulator as a robot lives through them: states, actions and goal, for what learns from them."""
from collections.abc import Sequence

import torch

from jepa_ros.agent import Agent
from jepa_ros.evaluation import closed_loop
from jepa_ros.sim.episodes import StartGoal
from jepa_ros.sim.worlds import PlanarWorld
from jepa_ros.training.lived import Lived


def lived(agent: Agent, world: PlanarWorld, tasks: Sequence[StartGoal],
          settings: closed_loop.Settings) -> list[tuple[closed_loop.EpisodeResult, Lived]]:
    """How each drive ended, and what happened in it; `settings` as in `closed_loop.drive`."""
    return [_one(agent, world, task, settings, index) for index, task in enumerate(tasks)]


def _one(agent: Agent, world: PlanarWorld, task: StartGoal, settings: closed_loop.Settings,
         index: int) -> tuple[closed_loop.EpisodeResult, Lived]:
    states: list[torch.Tensor] = []
    actions: list[torch.Tensor] = []
    observe, act = agent.perception.observe, agent.actor.act

    def observed(percept):
        state = observe(percept)
        states.append(state.levels[0].clone())
        return state

    def decided(*args, **more):
        decision = act(*args, **more)
        actions.append(agent.world_model.scale_actions(decision.action).clone())
        return decision
    agent.perception.observe, agent.actor.act = observed, decided
    try:
        result = closed_loop.drive(agent, world, task, settings, index)
    finally:
        del agent.perception.observe, agent.actor.act   # the class's own again
    goal = agent.actor._settings[0].goal_state.clone()
    moved = torch.stack(actions) if actions else torch.zeros(0, len(agent.contract.action_names))
    return result, Lived(torch.stack(states), moved, goal)
