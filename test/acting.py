"""Actors over the integrator of `tiny`, for their tests."""
from collections.abc import Sequence

import numpy as np
import tiny
import torch

from jepa_ros.actor.actor import Actor
from jepa_ros.actor.planners import PlannerConfig
from jepa_ros.actor.policy import Policy
from jepa_ros.cost.cost import Cost, Goal, Region
from jepa_ros.perception.perception import EncodedState
from jepa_ros.world_model.hjepa import HJEPA
from jepa_ros.world_model.world_model import WorldModel

LOW, HIGH = np.array([-0.5, -2.0]), np.array([1.0, 2.0])
GOAL = Goal(levels=(torch.tensor([0.2, -0.2]),))
CONFIG = PlannerConfig(samples=32, iterations=3, horizon=4, elites=4)


def actor(levels: int = 2, policy: Policy | None = None, seed: int = 0, max_rate: np.ndarray | None = None,
          model: HJEPA | None = None, **changes) -> Actor:
    """Readouts are the state itself; `changes` of the planner, the same on all levels."""
    model = model or tiny.integrator_model(levels)
    for jepa in model.levels:
        jepa.readout = torch.nn.Identity()
    names = ['x_m', 'y_m']
    world = WorldModel(model, 0.1, LOW, HIGH, ['vx_mps', 'vy_mps'], names, max_rate)
    values = {**CONFIG.__dict__, **changes}
    config = PlannerConfig(**values | {'elites': min(values['elites'], values['samples'])})
    return Actor(world, Cost(model, names), [config] * levels, policy, seed)


def policy(width: int = 16) -> Policy:
    torch.manual_seed(0)
    return Policy(2, 2, 4, width).requires_grad_(False)


def reflex(*chunk: tuple[float, float]) -> Policy:
    """A policy that always answers the same four actions in −1…1."""
    made = policy()
    with torch.no_grad():
        for p in made.parameters():
            p.zero_()
        made.net[-1].bias.copy_(torch.tensor(chunk).clamp(-0.9999999, 0.9999999).atanh().flatten())
    return made


def at(x: float = 0.0, y: float = 0.0) -> EncodedState:
    return EncodedState((torch.tensor([x, y]),) * 3, {})


def ready(goal: Goal | None = GOAL, budget_ms: float = 10_000, mode: str = 'auto', regions: Sequence[Region] = (),
          **values) -> Actor:
    made = actor(**values)
    made.configure(goal=goal, budget_ms=budget_ms, mode=mode, regions=regions)
    return made
