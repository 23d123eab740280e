"""One block of a LeWM predictor for `fast_lewm.py`, in the pieces that a rollout needs apart."""
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn, Tensor
from torch.nn.functional import layer_norm

from jepa_ros.world_model.linear import Affine, affine, chain, Map

PARTS = 6       # modulations of a block: shift, scale and gate of its attention, and of its MLP


class Seen(NamedTuple):
    """A token that later ones of its window look at."""

    kv: Tensor                      # (..., 2 · inner), keys and values
    unseen: Tensor | None = None    # (..., 1), −inf where it never happened; None: it did everywhere


class FastBlock:
    """x (G, ..., W): one token in each of G windows; `parts`, its modulations (..., 6, W), are the same in all."""

    def __init__(self, block: nn.Module, dtype: torch.dtype, attend: Callable[..., Tensor]):
        self._dtype, self._attend = dtype, attend
        self._heads, inner = block.heads, block.qkv.out_features // 3
        self._modulated_eps, self._eps, self._mlp_eps = (
            norm.eps for norm in (block.modulated_norm, block.attention_norm, block.mlp_norm))
        weight, bias = chain(affine(block.attention_norm), affine(block.qkv))
        q, _, v = zip(weight.split(inner), bias.split(inner))
        out = affine(block.out) if isinstance(block.out, nn.Linear) else (torch.eye(inner).to(weight), 0 * bias[:inner])
        scale = (inner // block.heads) ** -0.5      # of the scores
        self._q, self._kv = Map((scale * q[0], scale * q[1]), dtype), Map((weight[inner:], bias[inner:]), dtype)
        self._out, self._alone = Map(out, dtype), Map(chain(v, out), dtype)
        self._up = Map(chain(affine(block.mlp_norm), affine(block.mlp[0])), dtype, activated=True)
        self._down = Map(affine(block.mlp[2]), dtype)

    def enter(self, x: Tensor, parts: Tensor) -> tuple[Tensor, Tensor]:
        """What the attention takes, y (G, ..., W), and the keys and values of it (G, ..., 2 · inner)."""
        y = _twice_normalised(x, parts[..., 0, :], parts[..., 1, :], self._modulated_eps, self._eps).to(self._dtype)
        return y, self._kv(y)

    def leave(self, x: Tensor, y: Tensor, kv: Tensor, earlier: list[list[Seen]], parts: Tensor) -> Tensor:
        """The token after the block, having looked at itself and at those `earlier` in each window.

        Only the last window may have none: there the token's attention is its value.
        """
        _, _, gate, shift, scale, mlp_gate = parts.unbind(-2)
        looking = sum(bool(seen) for seen in earlier)
        attended = []
        if looking:
            each = zip(self._q(y[:looking]), kv, earlier)
            attended.append(self._out(torch.stack([self._attend(q, self._heads, own, *seen) for q, own, seen in each])))
        if looking < len(earlier):
            attended.append(self._alone(y[looking:]))
        x = torch.addcmul(x, gate, torch.cat(attended).to(x.dtype))
        y = _twice_normalised(x, shift, scale, self._modulated_eps, self._mlp_eps)
        return torch.addcmul(x, mlp_gate, self._down(self._up(y)).to(x.dtype))


def modulation(block: nn.Module) -> Affine:
    """The map to the modulations, with the 1 that is added to both scales."""
    weight, bias = affine(block.modulation)
    one = torch.zeros_like(bias).unflatten(0, (PARTS, -1))
    one[1], one[4] = 1, 1
    return weight, bias + one.flatten()


def attend(q: Tensor, heads: int, own: Tensor, *earlier: Seen) -> Tensor:
    """q (..., inner), scaled, at its own and a few earlier keys and values -> (..., inner).

    Products and sums of all heads at once: SDPA takes three times as long for so few tokens, matmul six times.
    """
    q = q.unflatten(-1, (heads, -1))
    pairs = [kv.unflatten(-1, (2, heads, -1)).unbind(-3) for kv in (own, *(seen.kv for seen in earlier))]
    scores = [(q * k).sum(-1) for k, _ in pairs]        # each (..., heads)
    hidden = [None, *(seen.unseen for seen in earlier)]
    scores = torch.stack([x if never is None else x + never for x, never in zip(scores, hidden)])
    weights = torch.softmax(scores, 0).to(q.dtype).unsqueeze(-1)
    y = weights[0] * pairs[0][1]
    for weight, (_, v) in zip(weights[1:], pairs[1:]):
        y = torch.addcmul(y, weight, v)
    return y.flatten(-2)


def normalised(x: Tensor, eps: float) -> Tensor:
    """Over the last dimension, without weights."""
    return layer_norm(x, x.shape[-1:], eps=eps)


def _twice_normalised(x: Tensor, shift: Tensor, scale: Tensor, modulated_eps: float, eps: float) -> Tensor:
    return normalised(torch.addcmul(shift, normalised(x, modulated_eps), scale), eps)
