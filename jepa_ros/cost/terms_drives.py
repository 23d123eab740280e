"""Terms that make the agent learn: curiosity and agency (LeCun §3.2, §4.10 mode 5; §5 on exploration).

Both lie between 0 and 1, and are low where there is something to learn or to do. Their weight is 0 unless a task asks.
"""
import torch
from torch import Tensor

from jepa_ros.cost.context import Context, Remembered
from jepa_ros.cost.terms import nothing, term
from jepa_ros.world_model.jepa import JEPA


def _appeal(amount: Tensor) -> Tensor:
    """Of an amount ≥ 0: 1 without any, 0.5 at one unit, towards 0 for more. Bounded, never without a slope."""
    return 1 / (1 + amount)


@term('curiosity', weight=0.0, needs='novelty', costly=True)
def curiosity(states: Tensor, actions: Tensor | None, context: Context) -> Tensor:
    """Low where the members of the world model's ensemble disagree about the step; of a single one, far from memory."""
    if context.doubt is not None:
        return _appeal(_disagreement(states, context.doubt, context))
    if context.remembered is not None:
        return _appeal(_distance(states, context.remembered))
    return nothing(states)


@term('agency', weight=0.0, needs='dynamics', costly=True)
def agency(states: Tensor, actions: Tensor | None, context: Context) -> Tensor:
    """Low where the next state depends on the action: its spread over extreme actions, in usual prediction errors."""
    if context.dynamics is None:
        return nothing(states)
    probes = _probes(context.dynamics)                                          # (P, A_l)
    shape = (*states.shape[:-1], len(probes))
    after = context.dynamics.predict(states.unsqueeze(-2).expand(*shape, -1), probes.expand(*shape, -1))
    spread = after.var(-2, correction=0).mean(-1)
    return _appeal(spread / context.dynamics.typical_error.clamp_min(1e-12))


def _disagreement(states: Tensor, model: JEPA, context: Context) -> Tensor:
    """Variance of the members about each step, in usual prediction errors (..., T)."""
    first = states[..., :1, :] if context.start is None else context.start.expand_as(states[..., :1, :])
    before = torch.cat([first, states[..., :-1, :]], -2)
    return model.disagreement(before, context.moves) / model.typical_error.clamp_min(1e-12)


def _distance(states: Tensor, memory: Remembered) -> Tensor:
    """Mean squared distance of states (..., T, D) to the nearest remembered one, in its unit (..., T)."""
    apart = torch.cdist(states.flatten(0, -2), memory.states).amin(-1).square() / states.shape[-1]
    return apart.reshape(states.shape[:-1]) / memory.unit


def _probes(model: JEPA) -> Tensor:
    """Actions (2 A_l, A_l): the usual one, with one number after the other at its least and at its most."""
    space = model.action_encoder
    size = len(space.low)
    least, most = (space.prior_mean.expand(size, -1) + torch.diag(end - space.prior_mean)
                   for end in (space.low, space.high))
    return torch.cat([least, most])
