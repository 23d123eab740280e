"""Transformer predictor: causal attention over the last steps, conditioned on c by adaptive layer norm.

As the predictors of DINO-WM (Zhou et al. 2025) and LeWM (Maes et al. 2026), with two differences. Positions are
relative, so the keys and values of past steps stay as they are when time goes on: a planner that keeps them computes
exactly what it would over the whole past. And a state may be object tokens, "equivariant to permutation and
appropriate to capture interactions between discrete objects" (LeCun §4.8.1).
"""
import math

from pydantic import PositiveInt
import torch
from torch import nn, Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

from jepa_ros.errors import ConfigError
from jepa_ros.world_model.predictors_base import Memory, Predictor, PREDICTORS


class RelativeBias(nn.Module):
    """What attention adds for a key that is 0 … `window` − 1 steps old, per head: learned, begun as ALiBi's slopes.

    Press et al. 2022 §3 (the slopes); Raffel et al. 2020 §2.1 (learned per offset). Older keys are not seen.
    """

    def __init__(self, heads: int, window: int):
        super().__init__()
        slopes = 2.0 ** (-8 * torch.arange(1, heads + 1) / heads)
        self.weight = nn.Parameter(-slopes[:, None] * torch.arange(window))      # (heads, window)

    def newest(self) -> Tensor:
        """(window, 1, heads): of one query for keys from the oldest to its own."""
        return self.weight.flip(1).T[:, None]

    def band(self, steps: int) -> Tensor:
        """(heads, T, T): of query i for key j; −∞ where j is later than i, or too old."""
        heads, window = self.weight.shape
        now = torch.arange(steps, device=self.weight.device)
        age = now[:, None] - now
        seen = (age >= 0) & (age < window)
        return self.weight[:, age.clamp(0, window - 1)].masked_fill(~seen, -math.inf)


class Attention(nn.Module):
    """Multi-head attention along time, each token for itself, or along the tokens of one step."""

    def __init__(self, width: int, heads: int, window: int = 0):
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.bias = RelativeBias(heads, window) if window else None

    def over_tokens(self, x: Tensor) -> Tensor:
        """x (..., N, width) -> the same shape."""
        q, k, v = (t.transpose(-2, -3) for t in self._heads(self.qkv(x)).unbind(-3))    # (..., heads, N, d)
        return self.out(_attend(q, k, v).transpose(-2, -3).flatten(-2))

    def over_time(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (..., T, N, width) -> the same shape, and keys and values (..., T, N, 2 · width)."""
        q, kv = self._query(x)
        k, v = (t.transpose(-4, -3).transpose(-3, -2) for t in self._heads(kv).unbind(-3))  # (..., N, heads, T, d)
        q = q.transpose(-4, -3).transpose(-3, -2)
        y = _attend(q, k, v, self.bias.band(x.shape[-3]))
        return self.out(y.transpose(-3, -2).transpose(-4, -3).flatten(-2)), kv

    def now(self, x: Tensor, past: Tensor | None, known: Tensor | None) -> tuple[Tensor, Tensor]:
        """The newest step x (..., N, width), with keys and values of the `window` − 1 before it, if there are any.

        `past` (..., window − 1, N, 2 · width), `known` (..., window − 1) bool: which of them happened. Returns
        attention (..., N, width), and the newest keys and values (..., 1, N, 2 · width) or all (..., window, …).
        """
        q, kv = self._query(x.unsqueeze(-3))
        if past is None:
            return self.out(self._heads(kv).select(-3, 1).flatten(-2).squeeze(-3)), kv      # its own value: 1 key
        kv = torch.cat([past, kv], -3)
        k, v = self._heads(kv).unbind(-3)                                       # (..., window, N, heads, d)
        # Written out: for a window of a few steps and many candidates, a kernel for long sequences is several times
        # slower, and a compiler fuses this.
        logits = (q * k).sum(-1, dtype=torch.promote_types(q.dtype, torch.float32)) / math.sqrt(q.shape[-1])
        logits = logits + self.bias.newest()                                    # (..., window, N, heads)
        seen = pad(known, (0, 1), value=True)[..., None, None]
        weights = logits.masked_fill(~seen, -math.inf).softmax(-3).to(v.dtype)
        return self.out((weights.unsqueeze(-1) * v).sum(-4).flatten(-2)), kv

    def _query(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Queries (..., heads, d), keys and values (..., 2 · width) of x (..., width)."""
        width = x.shape[-1]
        q, kv = self.qkv(x).split([width, 2 * width], -1)
        return q.unflatten(-1, (self.heads, -1)), kv

    def _heads(self, x: Tensor) -> Tensor:
        """(..., m · width) -> (..., m, heads, d)."""
        return x.unflatten(-1, (-1, self.heads, self.out.in_features // self.heads))


def _attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """Attention of q, k, v (..., heads, T, d); fast kernels want four dimensions."""
    mask = None if bias is None else bias.to(q.dtype)
    flat_q, flat_k, flat_v = (t.reshape(-1, *t.shape[-3:]) for t in (q, k, v))
    return scaled_dot_product_attention(flat_q, flat_k, flat_v, attn_mask=mask).reshape(q.shape)


class Block(nn.Module):
    """Attention over time, over the tokens of a step where there are several, and an MLP, all pre-norm and residual.

    Scale, shift and gate of each branch come from c (adaptive layer norm, Peebles & Xie 2023 §3.2), the gate as 1 + α.
    """

    def __init__(self, width: int, heads: int, window: int, tokens: int, ratio: int):
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.time = Attention(width, heads, window)
        self.tokens = Attention(width, heads) if tokens > 1 else None
        self.mlp = nn.Sequential(nn.Linear(width, ratio * width), nn.GELU(), nn.Linear(ratio * width, width))

    @property
    def branches(self) -> int:
        """Branches that c modulates."""
        return 2 if self.tokens is None else 3

    def sequence(self, x: Tensor, modulation: Tensor) -> tuple[Tensor, Tensor]:
        """x (..., T, N, width), modulation (..., T, branches · 3 · width) -> x, and the keys and values of time."""
        parts = self._parts(modulation)
        y, kv = self.time.over_time(self._modulated(x, parts[0]))
        return self._rest(x + (1 + parts[0][2]) * y, parts), kv

    def step(self, x: Tensor, modulation: Tensor, past: Tensor | None, known: Tensor | None) -> tuple[Tensor, Tensor]:
        """x (..., N, width), modulation (..., branches · 3 · width) -> x, and keys and values; see `Attention.now`."""
        parts = self._parts(modulation)
        y, kv = self.time.now(self._modulated(x, parts[0]), past, known)
        return self._rest(x + (1 + parts[0][2]) * y, parts), kv

    def _parts(self, modulation: Tensor) -> list[tuple[Tensor, ...]]:
        """Scale, shift and gate (..., 1, width) of each branch."""
        parts = modulation.unsqueeze(-2).chunk(3 * self.branches, -1)
        return [parts[3 * i:3 * i + 3] for i in range(self.branches)]

    def _modulated(self, x: Tensor, part: tuple[Tensor, ...]) -> Tensor:
        return self.norm(x) * (1 + part[0]) + part[1]

    def _rest(self, x: Tensor, parts: list[tuple[Tensor, ...]]) -> Tensor:
        if self.tokens is not None:
            x = x + (1 + parts[1][2]) * self.tokens.over_tokens(self._modulated(x, parts[1]))
        return x + (1 + parts[-1][2]) * self.mlp(self._modulated(x, parts[-1]))


@PREDICTORS.register('transformer')
class TransformerPredictor(Predictor):
    """ŝ = s + f(the last steps of (s, c)).

    Each of `depth` blocks sees `window` steps, the present one included, so through all of them the prediction looks
    back on depth · (window − 1) + 1 states: that is `context`. Positions are steps back from the present, wherever in
    time that is. `heads` must divide `width`; the MLP of a block is `ratio` times as wide.

    With `tokens` N, s is N object tokens of D / N numbers each: every block also attends over the tokens of a step.
    Permuting the tokens permutes the prediction, unless `numbered` gives each place an embedding of its own.
    """

    def __init__(self, dim: int, condition_dim: int, width: int = 256, depth: int = 2, heads: PositiveInt = 4,
                 window: PositiveInt = 3, ratio: PositiveInt = 4, tokens: PositiveInt = 1, numbered: bool = False):
        super().__init__(dim, condition_dim, width, depth)
        if width % heads:
            raise ConfigError(f'predictor transformer: width {width} is no multiple of its {heads} heads')
        if dim % tokens:
            raise ConfigError(f'predictor transformer: a state of {dim} numbers is not {tokens} tokens of equal size')
        self.tokens, self.window, self.context = tokens, window, depth * (window - 1) + 1
        self.embed, self.norm = nn.Linear(dim // tokens, width), nn.LayerNorm(width)
        self.places = nn.Parameter(torch.randn(tokens, width) * 0.02) if numbered else None
        self.blocks = nn.ModuleList(Block(width, heads, window, tokens, ratio) for _ in range(depth))
        parts = sum(3 * block.branches for block in self.blocks)
        self.modulation = nn.Sequential(nn.Linear(condition_dim, width), nn.SiLU(), nn.Linear(width, parts * width))
        self.head = nn.Linear(width, dim // tokens)

    def step(self, s: Tensor, c: Tensor, memory: Memory | None = None) -> tuple[Tensor, Memory | None]:
        """As `Predictor.step`. The memory: which of the window − 1 steps before happened (..., window − 1) bool, then
        their keys and values (..., window − 1, N, 2 · width) of each block."""
        x, kept = self._embedded(s), []
        for i, (block, modulation) in enumerate(zip(self.blocks, self._modulations(c))):
            x, kv = block.step(x, modulation, memory[1 + i] if memory else None, memory[0] if memory else None)
            kept.append(kv)
        known = None if memory is None else pad(memory[0], (0, 1), value=True)
        return self._predicted(s, x), self._memory(kept, known)

    def begin(self, s: Tensor, c: Tensor) -> Memory | None:
        """As `Predictor.begin`."""
        s, c = self.recent(s, c)
        return self._memory(self._run(s, c)[1], None) if s.shape[-2] else None

    def sequence(self, s: Tensor, c: Tensor) -> Tensor:
        """As `Predictor.sequence`, all steps in parallel."""
        return self._predicted(s, self._run(s, c)[0])

    def _run(self, s: Tensor, c: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Features (..., T, N, width) of s (..., T, D), c (..., T, C); keys and values of each block."""
        x, kept = self._embedded(s), []
        for block, modulation in zip(self.blocks, self._modulations(c)):
            x, kv = block.sequence(x, modulation)
            kept.append(kv)
        return x, kept

    def _memory(self, kept: list[Tensor], known: Tensor | None) -> Memory | None:
        """The newest window − 1 of keys and values (..., T, N, 2 · width); places of steps that were not are zeros."""
        size = self.window - 1
        if not size or not kept:
            return None
        if known is None:
            known = kept[0].new_ones(kept[0].shape[:-2], dtype=torch.bool)
        first, missing = max(0, known.shape[-1] - size), max(0, size - known.shape[-1])
        known, kept = known[..., first:], [kv[..., first:, :, :] for kv in kept]
        if missing:
            known, kept = pad(known, (missing, 0), value=False), [pad(kv, (0, 0, 0, 0, missing, 0)) for kv in kept]
        return known, *kept

    def _embedded(self, s: Tensor) -> Tensor:
        """s (..., D) -> tokens (..., N, width)."""
        x = self.embed(s.unflatten(-1, (self.tokens, -1)))
        return x if self.places is None else x + self.places

    def _modulations(self, c: Tensor) -> tuple[Tensor, ...]:
        return self.modulation(c).chunk(len(self.blocks), -1) if len(self.blocks) else ()

    def _predicted(self, s: Tensor, x: Tensor) -> Tensor:
        return s + self.head(self.norm(x)).flatten(-2)
