"""The perception organ: percept -> state at every level, with readouts (LeCun §2, §4.4, §4.5.2)."""
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jepa_ros.errors import ContractError
from jepa_ros.perception.base import IMAGE
from jepa_ros.world_model.hjepa import HJEPA

Percept = Mapping[str, np.ndarray | Tensor]
Completion = Callable[[Percept, int | None], Percept]   # with the stamp of an observed percept: it is remembered then


@dataclass(frozen=True)
class EncodedState:
    """s of one moment. Levels that share a state space hold the same tensor."""

    levels: tuple[Tensor, ...]      # each (D_l,) float32
    readouts: dict[str, float]


class Perception:
    """Encodes percepts given as arrays, one robot at a time."""

    def __init__(self, model: HJEPA, readout_names: list[str]):
        self._model, self._readout_names = model, readout_names
        self._specs = model.encoder.specs
        self.completion: Completion | None = None   # fills in what is not seen now, as memory/completion.py does
        self._token: Tensor | None = None       # of the task, (task_dim,)
        self.reset()

    @property
    def specs(self) -> dict:
        """What the encoder takes: observation key -> shape and dtype."""
        return self._specs

    @property
    def looks_back(self) -> bool:
        """What was observed before matters to the state of now."""
        return any(n > 1 for n in self._model.windows)

    def modulate(self, token: Mapping[str, float]) -> None:
        """Let a task say what matters (LeCun §2): numbers by name, those not named are 0; none: as if unmodulated.

        ConfigError for a model without task tokens, or another name. Holds for `encode` too, until the next call.
        """
        self._token = self._model.task_token(token)

    def reset(self) -> None:
        """Forget what was observed: what comes next has nothing to do with it."""
        spans = [1 + (n - 1) * below.period for n, below in zip(self._model.windows[1:], self._model.levels)]
        self._past: list[deque[Tensor]] = [deque(maxlen=span) for span in spans]    # states of the level below

    @torch.inference_mode()
    def encode(self, percept: Percept, valid: Mapping[str, bool] | None = None,
               token: Mapping[str, float] | None = None) -> EncodedState:
        """State of one percept alone, as if the world stood still in it: of a goal, for one.

        percept[key] is an array as `robot/adapters` shape it, or an image (C, H, W) float32 from `intake`, normalised
        already. Sensors that may be missing are left out or marked in `valid`. `token`: of the task for which it is
        encoded; None: of the one in force. ContractError for what does not fit.
        """
        asked = self._token if token is None else self._model.task_token(token)
        return self.state(self._encode(self._completed(percept, None), valid, asked))

    @torch.inference_mode()
    def observe(self, percept: Percept, valid: Mapping[str, bool] | None = None, stamp_ns: int = 0) -> EncodedState:
        """State of the newest percept, one control step after the last one observed.

        Levels with an encoder of their own look back over their period; before a whole period has been observed, the
        world is taken to have stood still before (LeCun §4.6, Fig. 15).
        """
        s = self._encode(self._completed(percept, stamp_ns), valid, self._token)
        levels = [s]
        for level, past in enumerate(self._past, 1):
            past.append(levels[-1])
            n, spacing = self._model.windows[level], self._model.levels[level - 1].period
            if n == 1:
                levels.append(levels[-1])
                continue
            window = [past[max(0, len(past) - 1 - k * spacing)] for k in reversed(range(n))]
            levels.append(self._model.pool(level, torch.stack(window)))
        return EncodedState(tuple(levels), self._readouts(s))

    @torch.inference_mode()
    def state(self, s: Tensor) -> EncodedState:
        """Level-0 state (D,) with its readouts and the levels above, the world standing still."""
        return EncodedState(self._model.still(s), self._readouts(s))

    def intake(self, convert: Callable) -> Callable:
        """`convert(stream, message)` of the robot's adapters, or one that leaves images on this model's GPU."""
        device = self._model.readout_mean.device
        if device.type != 'cuda':
            return convert
        from jepa_ros.robot.adapters.gpu import gpu_or
        encoders = {key: self._model.encoder.encoder(key) for key in self._specs}
        there = {key: gpu_or(convert, encoder.mean.flatten().tolist(), encoder.std.flatten().tolist(),
                             device.index or 0)
                 for key, encoder in encoders.items() if IMAGE in encoder.KINDS}
        return lambda stream, message: there.get(getattr(stream, 'key', None), convert)(stream, message)

    def _completed(self, percept: Percept, stamp_ns: int | None) -> Percept:
        return percept if self.completion is None else self.completion(percept, stamp_ns)

    def _encode(self, percept: Percept, valid: Mapping[str, bool] | None, token: Tensor | None) -> Tensor:
        device = self._model.readout_mean.device
        for key in self._specs:
            if key not in percept and key not in self._model.encoder.optional:
                raise ContractError(f'percept has no {key!r}: it holds {", ".join(percept) or "nothing"}')
        tensors = {key: self._tensor(key, value).to(device)[None] for key, value in percept.items()
                   if key in self._specs}
        flags = {key: torch.tensor([bool(flag)], device=device) for key, flag in (valid or {}).items()
                 if key in tensors}
        return self._model.encode(tensors, flags, None if token is None else token.to(device))[0].float()

    def _tensor(self, key: str, value: np.ndarray | Tensor) -> Tensor:
        spec = self._specs[key]
        if isinstance(value, Tensor):
            return value
        if value.shape != tuple(spec.shape) or value.dtype != spec.dtype:
            raise ContractError(f'percept {key!r} is {value.dtype} {value.shape}: this model takes '
                                f'{np.dtype(spec.dtype)} {tuple(spec.shape)}')
        return torch.from_numpy(np.ascontiguousarray(value))

    def _readouts(self, s: Tensor) -> dict[str, float]:
        return dict(zip(self._readout_names, self._model.readouts(s).tolist())) if self._readout_names else {}
