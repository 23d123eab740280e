"""Terms on places: regions that are forbidden, and regions that are merely unpleasant (LeCun §3.2, "pain")."""
from collections.abc import Callable

import torch
from torch import Tensor

from jepa_ros.cost.context import Bounds, Context
from jepa_ros.cost.terms import nothing, term

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


@term('avoid', weight=10.0, floor=10.0, constraint=inside, needs='bounds')
def avoid(states: Tensor, actions: Tensor | None, context: Context) -> Tensor:
    """Guardrail: a barrier around the regions to keep out of, from BARRIER radii inwards, squared."""
    if context.bounds is None:
        return nothing(states)
    near = torch.relu(BARRIER - _distance(states, context.bounds, context.readouts)) / (BARRIER - 1)
    return near.square().sum(-1)


@term('discomfort', weight=1.0, needs='soft')
def discomfort(states: Tensor, actions: Tensor | None, context: Context) -> Tensor:
    """How deep inside of unpleasant regions, squared: 1 in the centre of one, 0 outside. A plan may cross them."""
    if context.soft is None:
        return nothing(states)
    return torch.relu(1 - _distance(states, context.soft, context.readouts)).square().sum(-1)
