"""Terms on actions: what moving costs (LeCun §3.2: "excessive power consumption") and what the robot's limits are."""
import torch
from torch import Tensor

from jepa_ros.cost.context import Context
from jepa_ros.cost.terms import nothing, term


@term('effort', weight=0.002)
def effort(states: Tensor, actions: Tensor | None, context: Context) -> Tensor:
    """Mean square of the actions."""
    return nothing(states) if actions is None else actions.square().mean(-1)


@term('smoothness', weight=0.002)
def smoothness(states: Tensor, actions: Tensor | None, context: Context) -> Tensor:
    """Mean squared change of the action from step to step, the change from the previous action included."""
    if actions is None:
        return nothing(states)
    first = actions[..., :1, :] if context.previous_action is None else \
        context.previous_action.expand_as(actions[..., :1, :])
    return torch.diff(actions, dim=-2, prepend=first).square().mean(-1)


@term('limits', weight=10.0, floor=10.0)
def limits(states: Tensor, actions: Tensor | None, context: Context) -> Tensor:
    """Guardrail: how far actions go beyond the contract's limits (±1), squared."""
    return nothing(states) if actions is None else torch.relu(actions.abs() - 1).square().sum(-1)
