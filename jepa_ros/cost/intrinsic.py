"""Intrinsic cost: hard-wired, differentiable terms; nothing here has weights to train (LeCun §3.2, Fig. 6).

Each term is one function registered by name. It maps states (..., T, D), actions (..., T, A) in −1…1 (or None)
and the goal to an energy per step (..., T); lower is better. A term with a `floor` is a guardrail: its weight can
never be set below the floor. One that is a `constraint` also says where states are forbidden: no plan may go there.
"""
from collections.abc import Callable, Mapping
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
class Region:
    """A ball of states to keep out of, in the units of its readouts.

    `centre` gives for each readout a value, or the name of another readout: what moves is kept away from.
    """

    centre: Mapping[str, float | str]
    radius: float


@dataclass(frozen=True)
class Bounds:
    """Regions as tensors. R readouts, G regions."""

    chosen: Tensor      # (G, R) 1 where a readout counts, else 0
    centre: Tensor      # (G, R) values
    moving: Tensor      # (G, R, R) one-hot: the readout that a readout is compared with, where there is one
    radius: Tensor      # (G,)
    mean: Tensor        # (R,) of the readouts in training
    std: Tensor         # (R,)


@dataclass(frozen=True)
class Context:
    """What terms may look at besides states and actions."""

    goal_state: Tensor | None                       # (..., 1, D), broadcast over steps
    goal_readouts: Tensor | None                    # (R,) standardised, NaN where nothing is asked
    readouts: Callable[[Tensor], Tensor]            # states (..., D) -> standardised readouts (..., R)
    previous_action: Tensor | None = None           # (A,) in −1…1, the action in force before the first step
    bounds: Bounds | None = None                    # regions to keep out of


TermFunction = Callable[[Tensor, Tensor | None, Context], Tensor]


@dataclass(frozen=True)
class IntrinsicTerm:
    """One immutable term: its weight `u` when nobody configures it, and the least it may ever be."""

    function: TermFunction
    weight: float
    floor: float = 0.0
    constraint: TermFunction | None = None      # how deep states are in each thing forbidden, ≥ 0, (..., T, K)
    needs: str = ''         # part of the context without which the term is 0

    def applies(self, context: Context) -> bool:
        """Whether the term can be anything but 0."""
        return not self.needs or getattr(context, self.needs) is not None

    @property
    def guardrail(self) -> bool:
        return self.floor > 0


TERMS: Registry[IntrinsicTerm] = Registry('cost_term')


def _term(name: str, weight: float, floor: float = 0.0, constraint: TermFunction | None = None,
          needs: str = '') -> Callable[[TermFunction], TermFunction]:
    def add(function: TermFunction) -> TermFunction:
        TERMS.register(name)(IntrinsicTerm(function, weight, floor, constraint, needs))
        return function
    return add


def _nothing(states: Tensor) -> Tensor:
    return states.new_zeros(states.shape[:-1])


@_term('goal', weight=1.0, needs='goal_state')
def goal(states: Tensor, actions: Tensor | None, context: Context) -> Tensor:
    """Distance to the goal state."""
    return _nothing(states) if context.goal_state is None else squared(states, context.goal_state)


@_term('readout_goal', weight=1.0, needs='goal_readouts')
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


BARRIER = 1.5       # radii at which the barrier around a forbidden region begins


def _distance(states: Tensor, bounds: Bounds, readouts: Callable[[Tensor], Tensor]) -> Tensor:
    """From states (..., T, D) to the centre of each region, in its radii: (..., T, G)."""
    values = readouts(states) * bounds.std + bounds.mean                        # (..., T, R)
    centre = bounds.centre + torch.einsum('...r,gqr->...gq', values, bounds.moving)
    apart = ((values.unsqueeze(-2) - centre) * bounds.chosen).square().sum(-1)
    return (apart + 1e-12).sqrt() / bounds.radius       # the root has no slope at 0


def inside(states: Tensor, actions: Tensor | None, context: Context) -> Tensor:
    """How deep inside of each forbidden region, in radii, (..., T, G); 0 outside."""
    if context.bounds is None:
        return states.new_zeros(*states.shape[:-1], 0)
    return torch.relu(1 - _distance(states, context.bounds, context.readouts))


@_term('avoid', weight=10.0, floor=10.0, constraint=inside, needs='bounds')
def avoid(states: Tensor, actions: Tensor | None, context: Context) -> Tensor:
    """Guardrail: a barrier around the regions to keep out of, from BARRIER radii inwards, squared."""
    if context.bounds is None:
        return _nothing(states)
    near = torch.relu(BARRIER - _distance(states, context.bounds, context.readouts)) / (BARRIER - 1)
    return near.square().sum(-1)
