"""Recurrent predictor: the state itself is the hidden state of a gated recurrent unit (Cho et al. 2014, eq. 5–8).

As in PLDM (Sobal et al. 2025) and FAIR's eb_jepa: ŝ = GRU(c, s). An observed state replaces the hidden one, so a
rollout needs no cache. The update gate says per number how much of the state a step leaves as it was (LeCun §4.8.1:
gating; §4.9: an event changes only a part of the state).
"""
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
import torch
from torch import nn, Tensor
from torch.nn.functional import linear

from jepa_ros.world_model.predictors_base import Memory, mlp, Predictor, PREDICTORS


class Cell(nn.GRUCell):
    """nn.GRUCell, its weights and its equations, for any leading dimensions, under autocast and in torch.export.

    x (..., I), h (..., H) -> (..., H). With `scale` r: r · GRU(x, h / r), whose new values reach from −r to r.
    """

    def __init__(self, inputs: int, hidden: int, scale: float = 1.0):
        super().__init__(inputs, hidden)
        self.scale = scale

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        from_x = linear(x, self.weight_ih, self.bias_ih)
        from_h = linear(h / self.scale, self.weight_hh, self.bias_hh)
        (reset_x, keep_x, new_x), (reset_h, keep_h, new_h) = from_x.chunk(3, -1), from_h.chunk(3, -1)
        new = self.scale * torch.tanh(new_x + torch.sigmoid(reset_x + reset_h) * new_h)
        return new + torch.sigmoid(keep_x + keep_h) * (h - new)     # (1 − z) · n + z · h


@PREDICTORS.register('gru')
class GRUPredictor(Predictor):
    """ŝ = GRU(embedded c, s).

    `depth` layers of `width` embed c; with depth 0 the cell takes c itself, as eb_jepa's does. The tanh of a cell keeps
    what it writes within −1…1: `scale` r widens that to −r…r (states that VICReg holds at a deviation of 1 reach 3 to
    4); `norm` puts a layer norm after it, as eb_jepa does where its encoder ends in one; the two together have no use.

    `memory` numbers of its own are carried along a rollout beside s, for what one state does not show, such as speed:
    m' = GRU((embedded c, s), m), then ŝ = GRU((embedded c, m'), s). They begin at 0, `context` − 1 steps back at most.
    """

    def __init__(self, dim: int, condition_dim: int, width: int = 256, depth: int = 2, scale: PositiveFloat = 5.0,
                 norm: bool = False, memory: NonNegativeInt = 0, context: PositiveInt = 8):
        super().__init__(dim, condition_dim, width, depth)
        self.memory_dim = memory
        self.context = context if memory else 1
        embedded = width if depth else condition_dim
        self.embed = mlp(condition_dim, width, width, depth - 1) if depth else nn.Identity()
        self.recall = Cell(embedded + dim, memory) if memory else None
        self.cell = Cell(embedded + memory, dim, scale)
        self.norm = nn.LayerNorm(dim) if norm else nn.Identity()

    def step(self, s: Tensor, c: Tensor, memory: Memory | None = None) -> tuple[Tensor, Memory | None]:
        """As `Predictor.step`; the memory is m (..., memory)."""
        e = self.embed(c)
        if self.recall is not None:
            m = self._remember(e, s, memory)
            e, memory = torch.cat([e, m.to(e.dtype)], -1), (m,)
        return self.norm(self.cell(e, s)), memory

    def begin(self, s: Tensor, c: Tensor) -> Memory | None:
        """As `Predictor.begin`."""
        s, c = self.recent(s, c)
        if self.recall is None or not s.shape[-2]:
            return None
        e, memory = self.embed(c), None
        for t in range(s.shape[-2]):
            memory = (self._remember(e[..., t, :], s[..., t, :], memory),)
        return memory

    def _remember(self, e: Tensor, s: Tensor, memory: Memory | None) -> Tensor:
        """m' (..., memory) of embedded conditions e (..., E) in states s (..., D)."""
        m = s.new_zeros(*s.shape[:-1], self.memory_dim) if memory is None else memory[0]
        return self.recall(torch.cat([e.to(s.dtype), s], -1), m)
