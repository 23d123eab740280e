"""Intrinsic cost: hard-wired, differentiable terms; nothing here has weights to train (LeCun §3.2, Fig. 6).

Each term is one function registered by name. It maps states (..., T, D), actions (..., T, A) in −1…1 (or None)
and the goal to an energy per step (..., T); lower is better. A term with a `floor` is a guardrail: its weight can
never be set below the floor.
"""
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from jepa_ros.energy.distance import squared
from jepa_ros.registry import Registry


@dataclass(frozen=True)
class Goal:
    """What to reach: a state at every level, or values of readouts (in the units of their names), or both."""

    levels: tuple[Tensor, ...] = ()                 # each (D_l,)
    readouts: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """What terms may look at besides states and actions."""

    goal_state: Tensor | None                       # (..., 1, D), broadcast over steps
    goal_readouts: Tensor | None                    # (R,) standardised, NaN where nothing is asked
    readouts: Callable[[Tensor], Tensor]            # states (..., D) -> standardised readouts (..., R)
    previous_action: Tensor | None = None           # (A,) in −1…1, the action in force before the first step


TermFunction = Callable[[Tensor, Tensor | None, Context], Tensor]


@dataclass(frozen=True)
class IntrinsicTerm:
    """One immutable term: its weight `u` when nobody configures it, and the least it may ever be."""

    function: TermFunction
    weight: float
    floor: float = 0.0

    @property
    def guardrail(self) -> bool:
        return self.floor > 0


TERMS: Registry[IntrinsicTerm] = Registry('cost_term')


def _term(name: str, weight: float, floor: float = 0.0) -> Callable[[TermFunction], TermFunction]:
    def add(function: TermFunction) -> TermFunction:
        TERMS.register(name)(IntrinsicTerm(function, weight, floor))
        return function
    return add


def _nothing(states: Tensor) -> Tensor:
    return states.new_zeros(states.shape[:-1])


@_term('goal', weight=1.0)
def goal(states: Tensor, actions: Tensor | None, context: Context) -> Tensor:
    """Distance to the goal state."""
    return _nothing(states) if context.goal_state is None else squared(states, context.goal_state)


@_term('readout_goal', weight=1.0)
def readout_goal(states: Tensor, actions: Tensor | None, context: Context) -> Tensor:
    """Mean squared distance to the wanted readouts, in units of their standard deviation in training."""
    if context.goal_readouts is None:
        return _nothing(states)
    asked = ~torch.isnan(context.goal_readouts)
    return squared(context.readouts(states)[..., asked], context.goal_readouts[asked])


@_term('effort', weight=0.002)
def effort(states: Tensor, actions: Tensor | None, context: Context) -> Tensor:
    """Mean square of the actions."""
    return _nothing(states) if actions is None else actions.square().mean(-1)


@_term('smoothness', weight=0.002)
def smoothness(states: Tensor, actions: Tensor | None, context: Context) -> Tensor:
    """Mean squared change of the action from step to step, the change from the previous action included."""
    if actions is None:
        return _nothing(states)
    first = actions[..., :1, :] if context.previous_action is None else \
        context.previous_action.expand_as(actions[..., :1, :])
    return torch.diff(actions, dim=-2, prepend=first).square().mean(-1)


@_term('limits', weight=10.0, floor=10.0)
def limits(states: Tensor, actions: Tensor | None, context: Context) -> Tensor:
    """Guardrail: how far actions go beyond the contract's limits (±1), squared."""
    return _nothing(states) if actions is None else torch.relu(actions.abs() - 1).square().sum(-1)
