"""Predictor of LeWorldModel: a causal transformer over the last states whose layer norms the actions modulate.

Maes et al. 2026 (LeWM, §3); the modulation is DiT's adaLN-zero (Peebles & Xie 2023, §3.2). Here to run imported
checkpoints (`interop/lewm.py`) to the last digit, and to train the same network on a robot's own recordings.
Positions are counted from the oldest state of a window, so of a step nothing can be kept for the next but the state and
the embedded action themselves.
"""
from pydantic import NonNegativeInt, PositiveInt
import torch
from torch import nn, Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

from jepa_ros.perception.lewm_vit import Projector
from jepa_ros.world_model.fast_lewm import fast_form
from jepa_ros.world_model.numerics import EXACT, Numerics
from jepa_ros.world_model.predictors_base import Memory, Predictor, PREDICTORS

_EPS = 1e-6     # of the modulated norms, as in DiT


class _Block(nn.Module):
    """x (..., T, W) and actions e (..., T, W) -> (..., T, W), causal; `seen` (..., 1, T, T) says so where it is given.

    Each branch is normalised twice, by the modulated norm and by one with weights of its own, as in LeWM.
    """

    def __init__(self, width: int, heads: int, head_dim: int, mlp: int):
        super().__init__()
        self.heads, inner = heads, heads * head_dim
        self.modulation = nn.Linear(width, 6 * width)
        self.modulated_norm = nn.LayerNorm(width, eps=_EPS, elementwise_affine=False)
        self.attention_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * inner, bias=False)
        self.out = nn.Identity() if heads == 1 and head_dim == width else nn.Linear(inner, width)
        self.mlp = nn.Sequential(nn.Linear(width, mlp), nn.GELU(), nn.Linear(mlp, width))
        nn.init.zeros_(self.modulation.weight)      # adaLN-zero: a new block changes nothing
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, e: Tensor, seen: Tensor | None = None) -> Tensor:
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = self.modulation(nn.functional.silu(e)).chunk(6, -1)
        y = self.modulated_norm(x) * (1 + scale) + shift
        x = x + gate * self._attend(self.attention_norm(y), seen)
        y = self.modulated_norm(x) * (1 + mlp_scale) + mlp_shift
        return x + mlp_gate * self.mlp(self.mlp_norm(y))

    def _attend(self, x: Tensor, seen: Tensor | None) -> Tensor:
        # each (B, heads, T, head_dim): with more dimensions attention has no fast kernel
        q, k, v = (t.reshape(-1, *t.shape[-2:]).unflatten(-1, (self.heads, -1)).transpose(1, 2)
                   for t in self.qkv(x).chunk(3, -1))
        seen = None if seen is None else seen.reshape(-1, *seen.shape[-3:])
        y = scaled_dot_product_attention(q, k, v, attn_mask=seen, is_causal=seen is None)
        return self.out(y.transpose(1, 2).flatten(-2).reshape(*x.shape[:-1], -1))


@PREDICTORS.register('lewm')
class LeWMPredictor(Predictor):
    """s and c of up to `context` steps -> ŝ after each. The sizes that are not given are those published.

    `width` is that of the transformer, `repeat` the number of times it reads an action: LeWM was trained on blocks of
    several actions; here one is held for as long. `projector` is the size of the hidden layer of the last map (0: no
    such map), `norm` what normalises it. `gain` and `offset` turn actions of −1…1 into the units of its training.
    """

    def __init__(self, dim: int, condition_dim: int, width: int = 192, depth: int = 6, context: PositiveInt = 3,
                 heads: PositiveInt = 16, head_dim: PositiveInt = 64, mlp: PositiveInt = 2048,
                 repeat: PositiveInt = 1, smoothed: PositiveInt = 10, action_width: PositiveInt = 768,
                 projector: NonNegativeInt = 2048, norm: str = 'batch'):
        super().__init__(dim, condition_dim, width, depth)
        self.context, self.repeat = context, repeat
        self.register_buffer('gain', torch.ones(condition_dim))
        self.register_buffer('offset', torch.zeros(condition_dim))
        self.embed = nn.Sequential(nn.Linear(condition_dim * repeat, smoothed), nn.Linear(smoothed, action_width),
                                   nn.SiLU(), nn.Linear(action_width, dim))
        self.positions = nn.Parameter(torch.randn(context, dim) * 0.02)
        same = width == dim
        self.enter = nn.Identity() if same else nn.Linear(dim, width)
        self.enter_action = nn.Identity() if same else nn.Linear(dim, width)
        self.blocks = nn.ModuleList(_Block(width, heads, head_dim, mlp) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Identity() if same else nn.Linear(width, dim)
        self.head = Projector(dim, projector, dim, norm)

    def step(self, s: Tensor, c: Tensor, memory: Memory | None = None) -> tuple[Tensor, Memory | None]:
        """As `Predictor.step`. The memory: which of the `context` − 1 steps before happened (..., context − 1) bool,
        their states and their embedded actions (..., context − 1, D); places of steps that were not are zeros."""
        states, actions = s.unsqueeze(-2), self.action(c).unsqueeze(-2)     # (..., T, D)
        known = states.new_ones(states.shape[:-1], dtype=torch.bool)
        if memory is None:
            return self._window(states, actions)[..., -1, :], self._memory(known, states, actions)
        known, states, actions = (torch.cat(pair, -1 if i == 0 else -2)
                                  for i, pair in enumerate(zip(memory, (known, states, actions))))
        return self._window(states, actions, known)[..., -1, :], self._memory(known, states, actions)

    def rollout(self, s: Tensor, c: Tensor, memory: Memory | None = None, numerics: Numerics = EXACT) -> Tensor:
        """As `Predictor.rollout`; where no gradient is asked for, in the fast form (`fast_lewm.py`)."""
        if torch.is_grad_enabled() or self.training or torch.compiler.is_compiling() or s.dtype != torch.float32:
            return super().rollout(s, c, memory)
        return fast_form(self, numerics).rollout(s, c, memory)

    def begin(self, s: Tensor, c: Tensor) -> Memory | None:
        """As `Predictor.begin`."""
        s, c = self.recent(s, c)
        return self._memory(s.new_ones(s.shape[:-1], dtype=torch.bool), s, self.action(c)) if s.shape[-2] else None

    def sequence(self, s: Tensor, c: Tensor) -> Tensor:
        """As `Predictor.sequence`, all steps in parallel."""
        e, n = self.action(c), self.context
        first = self._window(s[..., :n, :], e[..., :n, :])
        if s.shape[-2] <= n:
            return first
        # (..., T − n, n, D): the window that ends at each later step
        states, actions = (x[..., 1:, :].unfold(-2, n, 1).transpose(-1, -2) for x in (s, e))
        return torch.cat([first, self._window(states, actions)[..., -1, :]], -2)

    def action(self, c: Tensor) -> Tensor:
        """c (..., C) -> embedding (..., D)."""
        block = (c * self.gain + self.offset).unsqueeze(-2).expand(*c.shape[:-1], self.repeat, c.shape[-1])
        return self.embed(block.flatten(-2))

    def _window(self, s: Tensor, e: Tensor, known: Tensor | None = None) -> Tensor:
        """States and embedded actions (..., T, D) with T ≤ context -> the state after each (..., T, D).

        Steps that `known` (..., T) bool lacks are not seen: the first that is has the first position.
        """
        if known is None:
            x = s + self.positions[:s.shape[-2]]
        else:
            x = s + self.positions[(known.cumsum(-1) - 1).clamp_min(0)]
        x, e = self.enter(x), self.enter_action(e)
        seen = None if known is None else _seen(known)
        for block in self.blocks:
            x = block(x, e, seen)
        return self.head(self.leave(self.norm(x)))

    def _memory(self, known: Tensor, states: Tensor, actions: Tensor) -> Memory | None:
        """The newest context − 1 of (..., T), (..., T, D) and (..., T, D)."""
        size = self.context - 1
        missing, first = max(0, size - known.shape[-1]), max(0, known.shape[-1] - size)
        if not size:
            return None
        kept = (t[..., first:, :] for t in (states, actions))
        return pad(known[..., first:], (missing, 0), value=False), *(pad(t, (0, 0, missing, 0)) for t in kept)


def _seen(known: Tensor) -> Tensor:
    """(..., 1, T, T) bool: of query i, key j. What did not happen sees itself, so that no row is empty."""
    steps = known.shape[-1]
    own = torch.eye(steps, dtype=torch.bool, device=known.device)
    return ((known.unsqueeze(-2) & own.new_ones(steps, steps).tril()) | own).unsqueeze(-3)
