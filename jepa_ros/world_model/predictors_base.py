"""What all predictors share: the registry, the interface and what a rollout remembers (LeCun §4.4, §4.6).

A predictor is asked for one step without a past (`forward`), for a rollout step by step (`begin`, `step`: planners) or
for all steps of a recorded sequence at once (`sequence`: training). The three agree: tests hold every predictor to it.
"""
import torch
from torch import nn, Tensor

from jepa_ros.registry import Registry
from jepa_ros.world_model.numerics import EXACT, Numerics

Memory = tuple[Tensor, ...]     # what a rollout carries from step to step; each with the leading dimensions of s


def mlp(inputs: int, width: int, outputs: int, depth: int = 2) -> nn.Sequential:
    """`depth` hidden layers with SiLU."""
    layers: list[nn.Module] = []
    for i in range(depth):
        layers += [nn.Linear(inputs if i == 0 else width, width), nn.SiLU()]
    return nn.Sequential(*layers, nn.Linear(width if depth else inputs, outputs))


def expand_memory(memory: Memory | None, count: int, leading: int = 1) -> Memory | None:
    """The same memory for `count` candidates: each tensor (B, …) -> (B, count, …), not copied.

    The new dimension comes after `leading` ones: 0 for a single state, 2 for samples of candidates.
    """
    if memory is None:
        return None
    return tuple(m.unsqueeze(leading).expand(*m.shape[:leading], count, *m.shape[leading:]) for m in memory)


class Predictor(nn.Module):
    """Base: ŝ one period after s (..., D), under a condition c (..., C).

    c is the action, or above level 0 the macro-action, with the latent appended where there is one (LeCun eq. 10).
    Leading dimensions are any, the same for s and c. A predictor without memory implements `forward`; one with memory
    sets `context` and implements `step` and `begin`.
    """

    context: int = 1    # most states it looks back on, the present one included

    def __init__(self, dim: int, condition_dim: int, width: int = 256, depth: int = 2):
        super().__init__()
        self.dim, self.condition_dim = dim, condition_dim

    def forward(self, s: Tensor, c: Tensor) -> Tensor:
        """One step from a state whose past is unknown: s (..., D), c (..., C) -> ŝ (..., D)."""
        return self.step(s, c, None)[0]

    def step(self, s: Tensor, c: Tensor, memory: Memory | None = None) -> tuple[Tensor, Memory | None]:
        """One step of a rollout: ŝ (..., D), and the memory for the next one. None: nothing is remembered."""
        return self(s, c), None

    def rollout(self, s: Tensor, c: Tensor, memory: Memory | None = None, numerics: Numerics = EXACT) -> Tensor:
        """Start s (..., D), conditions c (..., H, C) -> states (..., H, D), the start excluded.

        `numerics` is for predictors that have a form for planners; this one goes step by step.
        """
        states = []
        for t in range(c.shape[-2]):
            s, memory = self.step(s, c[..., t, :], memory)
            states.append(s)
        return torch.stack(states, -2)

    def begin(self, s: Tensor, c: Tensor) -> Memory | None:
        """Memory of what really happened before the present state: s (..., T, D), c (..., T, C), oldest first, T ≥ 0.

        At most the last `context` − 1 pairs count.
        """
        return None

    def sequence(self, s: Tensor, c: Tensor) -> Tensor:
        """All next states of a recorded sequence, each predicted from what was up to then (teacher forcing).

        s (..., T, D), c (..., T, C) -> ŝ (..., T, D); ŝ[t] predicts s[t + 1].
        """
        if self.context == 1:
            return self(s, c)
        following, memory = [], None
        for t in range(s.shape[-2]):
            predicted, memory = self.step(s[..., t, :], c[..., t, :], memory)
            following.append(predicted)
        return torch.stack(following, -2)

    def recent(self, s: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """The pairs before the present that count: the last `context` − 1 of s (..., T, D), c (..., T, C)."""
        first = max(0, s.shape[-2] - (self.context - 1))
        return s[..., first:, :], c[..., first:, :]


PREDICTORS: Registry[type[Predictor]] = Registry('predictor')
