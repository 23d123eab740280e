"""Rollouts of a LeWM predictor for a planner: what `LeWMPredictor.step` gives, for less work and without gradients.

The same function in another order. What is saved:
- a state enters once, as one token of each window it will be in, all of them in one product. Positions are counted from
  the oldest state of a window, so keys and values of a window that slides cannot be kept; those of one that grows are;
- an action is embedded and makes its modulations, those of all blocks, once and not once per window;
- in the last block only the newest token goes on after its keys and values: what becomes of the others nobody reads;
- the oldest token of a window sees itself alone: its attention is its value, one map from what goes in;
- what all candidates share, the present state and the past, is computed for one of them (a leading dimension that is
  expanded, stride 0);
- maps that follow one another without anything between are one, and laid out for the processor (`linear.py`).
"""
from collections import defaultdict
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn, Tensor
from torch.nn.functional import gelu, silu

from jepa_ros.world_model.fast_block import attend, FastBlock, modulation, normalised, PARTS, Seen
from jepa_ros.world_model.linear import Affine, affine, chain, Map
from jepa_ros.world_model.numerics import fingerprint, Numerics
from jepa_ros.world_model.predictors_base import Memory

# predictor -> (numbers, compiled) -> its weights when the form was made, the form
_forms: 'WeakKeyDictionary[nn.Module, dict[tuple[torch.dtype, bool], tuple[Any, FastLeWM]]]' = WeakKeyDictionary()


def fast_form(predictor: nn.Module, numerics: Numerics) -> 'FastLeWM':
    """The fast form of a `LeWMPredictor`, made at first use and again when its weights have changed."""
    key = numerics.dtype(predictor.positions.device), numerics.compiled
    weights, forms = fingerprint(predictor), _forms.setdefault(predictor, {})
    if key not in forms or forms[key][0] != weights:
        with torch.inference_mode(False), torch.no_grad():
            forms[key] = weights, FastLeWM(predictor, *key)
    return forms[key][1]


class FastLeWM:
    """The weights of a `LeWMPredictor` as they are now; the products inside its blocks, nine tenths of all, in `dtype`.

    Actions, modulations and states stay in fp32: rounded too, they alone would more than double the error of a bf16
    energy (0.26 against 0.10 of the energies' spread, where a search has all but settled).

    Compiled, on a GPU the whole rollout becomes a few kernels; on a CPU, which spends its time in products, it is the
    attention alone that gains.
    """

    def __init__(self, predictor: nn.Module, dtype: torch.dtype, compiled: bool = False):
        p, self.context = predictor, predictor.context
        self.positions = p.positions.detach().clone()       # (context, W)
        if isinstance(p.enter, nn.Linear):
            self.positions = self.positions @ p.enter.weight.T
        self._embed = Map(_first_embedding(p)), Map(affine(p.embed[3]))
        self._enter, self._enter_action = (None if isinstance(m, nn.Identity) else Map(affine(m))
                                           for m in (p.enter, p.enter_action))
        weights, biases = zip(*(modulation(block) for block in p.blocks))
        self._modulation = Map((torch.cat(weights), torch.cat(biases)))
        on_cpu = self.positions.device.type == 'cpu'
        attention = torch.compile(attend) if compiled and on_cpu else attend
        self.blocks = [FastBlock(block, dtype, attention) for block in p.blocks]
        self._norm_eps, self._leave = p.norm.eps, _leave(p)
        self._run = torch.compile(self._steps, dynamic=False) if compiled and not on_cpu else self._steps

    def rollout(self, s: Tensor, c: Tensor, memory: Memory | None = None) -> Tensor:
        """s (..., D), conditions c (..., H, C) -> states (..., H, D), as `Predictor.rollout`."""
        past = None if memory is None else tuple(_once(m, own) for m, own in zip(memory, (1, 2, 2)))
        return self._run(_once(s, 1), c, past)

    def _steps(self, s: Tensor, c: Tensor, past: Memory | None) -> Tensor:
        first, last = self._embed
        e = last(silu(first(c)))        # (..., H, D)
        windows, states = _Windows(self, c.shape[-2], past), []
        for t in range(c.shape[-2]):
            # each step's here, where they are needed: those of all steps would push all else out of a CPU's cache
            s = self.leave(windows.enter(t, s, self.modulations(e[..., t, :])))
            states.append(s)
        return torch.stack([x.expand(*c.shape[:-2], -1) for x in states], -2)

    def modulations(self, e: Tensor) -> Tensor:
        """Embedded action (..., D) -> the modulations of all blocks (..., 6 · blocks, W)."""
        e = e if self._enter_action is None else self._enter_action(e)
        return self._modulation(silu(e)).unflatten(-1, (PARTS * len(self.blocks), -1))

    def enter(self, s: Tensor) -> Tensor:
        """State (..., D) as a token without its position, (..., W)."""
        return s if self._enter is None else self._enter(s)

    def leave(self, x: Tensor) -> Tensor:
        """Token after the last block (..., W) -> state (..., D)."""
        y = normalised(x, self._norm_eps)
        for layer in self._leave:
            y = layer(y)
        return y


class _Windows:
    """Which tokens see which, in one rollout. Window w ends with the state of step w.

    Without a past, those that would begin before it are one window that grows; it bears the number of the last of them.
    """

    def __init__(self, model: FastLeWM, horizon: int, past: Memory | None):
        self._model, size = model, model.context
        self._first = size - 1 if past is None else 0
        self._last = max(horizon - 1, self._first)
        self._seen: list[dict[int, list[Seen]]] = [defaultdict(list) for _ in model.blocks]     # by block and window
        self._known: Tensor | None = None       # (..., context − 1)
        if past is None:
            return
        self._known, states, actions = past
        unseen = torch.zeros_like(states[..., :1]).masked_fill(~self._known.unsqueeze(-1), -torch.inf)
        for i in range(size - 1):
            self.enter(i - size + 1, states[..., i, :], model.modulations(actions[..., i, :]), unseen[..., i, :])

    def enter(self, t: int, s: Tensor, modulations: Tensor, unseen: Tensor | None = None) -> Tensor:
        """State s (..., D) of step t, < 0 in the past, and its action -> the token after all blocks (..., W).

        Of the window that ends with it; in the past, of none that is read.
        """
        model = self._model
        windows = range(max(t, self._first), min(t + model.context - 1, self._last) + 1)
        entered = model.enter(s)
        x = torch.stack(torch.broadcast_tensors(*(entered + self._position(t, w) for w in windows)))
        for i, (block, seen) in enumerate(zip(model.blocks, self._seen), 1):
            parts = modulations[..., PARTS * (i - 1):PARTS * i, :]
            y, kv = block.enter(x, parts)
            read = len(windows) if i < len(model.blocks) else int(t >= 0)
            if read:
                x = block.leave(x[:read], y[:read], kv[:read], [seen[w] for w in windows[:read]], parts)
            for w, own in zip(windows, kv):
                seen[w].append(Seen(own, unseen))
            seen.pop(t, None)       # nothing more will look into the window that ends here
        return x[0]

    def _position(self, t: int, window: int) -> Tensor:
        """(W,), or (..., W) where it depends on how much of the past is known."""
        positions, first = self._model.positions, window - self._model.context + 1
        if self._known is None or first >= 0:
            return positions[t - first]
        past = self._known[..., window:]        # of this window
        if t >= 0:
            return positions[past.sum(-1) + t]
        return positions[(past[..., :t - first + 1].sum(-1) - 1).clamp_min(0)]


def _once(x: Tensor, own: int) -> Tensor:
    """With the leading dimensions that only repeat, all but the last `own`, made 1."""
    for dim in range(x.dim() - own):
        if x.stride(dim) == 0:
            x = x.narrow(dim, 0, 1)
    return x


def _first_embedding(p: Any) -> Affine:
    """Actions of −1…1 in the units of training, held `repeat` times, smoothed and widened."""
    weight, bias = chain(affine(p.embed[0]), affine(p.embed[1]))
    weight = weight.unflatten(1, (p.repeat, -1)).sum(1)
    return weight * p.gain.double(), weight @ p.offset.double() + bias


def _leave(p: Any) -> list[Callable[[Tensor], Tensor]]:
    """What makes a state of a normalised token, with the weights of that norm."""
    first = [affine(p.norm), *([] if isinstance(p.leave, nn.Identity) else [affine(p.leave)])]
    if not len(p.head.net):
        return [Map(chain(*first))]
    widen, norm, _, narrow = p.head.net
    first += [affine(widen), *([affine(norm)] if isinstance(norm, nn.BatchNorm1d) else [])]
    if not isinstance(norm, nn.LayerNorm):
        return [Map(chain(*first), activated=True), Map(affine(narrow))]
    weight, bias = norm.weight.detach().clone(), norm.bias.detach().clone()
    return [Map(chain(*first)), lambda y: gelu(normalised(y, norm.eps) * weight + bias), Map(affine(narrow))]
