"""Terms on what the robot measures of itself and around it (LeCun §3.2, §4.10: "pain", "hunger", "instinctive fears").

Which readouts they look at stands under `drives` in the robot contract; of a robot without them they are 0.
"""
import torch
from torch import Tensor

from jepa_ros.cost.context import Context, Ranges
from jepa_ros.cost.terms import nothing, term


def _beyond(states: Tensor, ranges: Ranges | None, context: Context) -> Tensor:
    """How far each readout of states (..., T, D) is beyond its range, in units of it, ≥ 0: (..., T, K)."""
    if ranges is None:
        return states.new_zeros(*states.shape[:-1], 0)
    standard = context.readouts(states)[..., ranges.index]
    values = standard * ranges.std[ranges.index] + ranges.mean[ranges.index]
    return (torch.relu(ranges.low - values) + torch.relu(values - ranges.high)) / ranges.unit


def touching(states: Tensor, actions: Tensor | None, context: Context) -> Tensor:
    """How far each contact is beyond the moment of touching, (..., T, K); 0 without contact."""
    return _beyond(states, context.contacts, context)


def overrun(states: Tensor, actions: Tensor | None, context: Context) -> Tensor:
    """How far each readout is beyond its limits, (..., T, K); 0 within."""
    return _beyond(states, context.ranges, context)


@term('clearance', weight=1.0, needs='clearance')
def clearance(states: Tensor, actions: Tensor | None, context: Context) -> Tensor:
    """By how much distances to obstacles fall below the least wanted, as a share of it, squared: 1 at contact."""
    return nothing(states) if context.clearance is None else \
        _beyond(states, context.clearance, context).square().sum(-1)


@term('collision', weight=10.0, floor=10.0, constraint=touching, needs='contacts')
def collision(states: Tensor, actions: Tensor | None, context: Context) -> Tensor:
    """Guardrail: how far readouts are beyond those of a contact ("pain"), squared."""
    return nothing(states) if context.contacts is None else touching(states, actions, context).square().sum(-1)


@term('readout_limits', weight=10.0, floor=10.0, constraint=overrun, needs='ranges')
def readout_limits(states: Tensor, actions: Tensor | None, context: Context) -> Tensor:
    """Guardrail: how far joints, speeds and the like are beyond their limits, squared."""
    return nothing(states) if context.ranges is None else overrun(states, actions, context).square().sum(-1)


@term('battery', weight=1.0, needs='battery')
def battery(states: Tensor, actions: Tensor | None, context: Context) -> Tensor:
    """"Hunger": how far the charge is below its level, as a share of the way to empty, squared: 1 when empty."""
    return nothing(states) if context.battery is None else \
        _beyond(states, context.battery, context).square().sum(-1)
