"""The perception organ: percept -> state at every level, with readouts (LeCun §2, §4.4, §4.5.2)."""
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jepa_ros.errors import ContractError
from jepa_ros.world_model.hjepa import HJEPA


@dataclass(frozen=True)
class EncodedState:
    """s of one percept; levels share one state space, so every entry is the same tensor until Enc_2 is learned."""

    levels: tuple[Tensor, ...]      # each (D_l,) float32
    readouts: dict[str, float]


class Perception:
    """Encodes percepts given as arrays, one robot at a time."""

    def __init__(self, model: HJEPA, key: str, readout_names: list[str]):
        self._model, self._key, self._readout_names = model, key, readout_names

    @torch.inference_mode()
    def encode(self, percept: dict[str, np.ndarray | Tensor]) -> EncodedState:
        """percept[key] (H, W, C) uint8 as the contract says; ContractError when it is not.

        Or a (C, H, W) float32 tensor from `intake`, normalised already.
        """
        image, shape = percept.get(self._key), self._model.encoder.shape
        if image is None:
            raise ContractError(f'percept has no {self._key!r}: it holds {", ".join(percept) or "nothing"}')
        if isinstance(image, Tensor):
            return self.state(self._model.encode(image[None])[0].float())
        if image.shape != shape or image.dtype != np.uint8:
            raise ContractError(f'percept {self._key!r} is {image.dtype} {image.shape}: this model takes uint8 {shape}')
        device = self._model.readout_mean.device
        s = self._model.encode(torch.from_numpy(np.ascontiguousarray(image))[None].to(device))[0].float()
        return self.state(s)

    def intake(self, convert: Callable) -> Callable:
        """`convert(stream, message)` of the robot's adapters, or one that leaves images on this model's GPU."""
        encoder, device = self._model.encoder, self._model.readout_mean.device
        if device.type != 'cuda':
            return convert
        from jepa_ros.robot.adapters.gpu import gpu_or
        return gpu_or(convert, encoder.mean.flatten().tolist(), encoder.std.flatten().tolist(), device.index or 0)

    @torch.inference_mode()
    def state(self, s: Tensor) -> EncodedState:
        """Level-0 state (D,) with its readouts and the levels above."""
        readouts = self._model.readouts(s).tolist() if self._readout_names else []
        return EncodedState((s,) * len(self._model.levels), dict(zip(self._readout_names, readouts)))
