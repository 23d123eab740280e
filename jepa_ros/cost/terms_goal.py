"""Terms that draw somewhere: to a goal, or along a demonstration (LeCun §3.2: "fulfilling a particular program")."""
import torch
from torch import Tensor

from jepa_ros.cost.context import Context, Program
from jepa_ros.cost.terms import nothing, term
from jepa_ros.energy.distance import squared


@term('goal', weight=1.0, needs='goal_state')
def goal(states: Tensor, actions: Tensor | None, context: Context) -> Tensor:
    """Distance to the goal state."""
    return nothing(states) if context.goal_state is None else squared(states, context.goal_state)


@term('readout_goal', weight=1.0, needs='goal_readouts')
def readout_goal(states: Tensor, actions: Tensor | None, context: Context) -> Tensor:
    """Mean squared distance to the wanted readouts, in units of their standard deviation in training."""
    if context.goal_readouts is None:
        return nothing(states)
    asked = ~torch.isnan(context.goal_readouts)
    return squared(context.readouts(states)[..., asked], context.goal_readouts[asked])


@term('program', weight=1.0, needs='program')
def program(states: Tensor, actions: Tensor | None, context: Context) -> Tensor:
    """Distance to the demonstration, step by step, from the state of it that is nearest to the present one onwards.

    So the demonstration waits for who was held up, and its last state holds when it is over (LeCun §3.2).
    """
    if context.program is None:
        return nothing(states)
    return squared(states, _wanted(states, context.program, context.start))


def _wanted(states: Tensor, asked: Program, start: Tensor | None) -> Tensor:
    """The state of the demonstration that is due at each step of states (..., T, D): (..., T, D).

    Without a start the first state is taken for the present one. Where the demonstration stands still, or comes by
    again, the later moment counts: otherwise it would never go on.
    """
    now = states[..., :1, :] if start is None else start
    gaps = squared(now.detach(), asked.states)                                  # (..., T'), one step broadcast
    last = len(asked.states) - 1
    nearest = last - gaps.flip(-1).argmin(-1, keepdim=True)                     # (..., 1), of equals the latest
    ahead = torch.arange(states.shape[-2], device=states.device) + (0 if start is None else 1)
    return asked.states[(nearest + asked.stride * ahead).clamp_max(last)]
