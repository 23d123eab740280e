"""What is not seen now, filled in from memory: whole again before it is perceived or predicted (LeCun §2, §4.9).

"Estimate missing information about the state of the world not provided by perception." Here on images, whose patches
are entities; on states `reader.py` does it. Neither needs training. Off unless it is asked for.
"""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import math

import numpy as np
import torch
from torch import Tensor

from jepa_ros.errors import ConfigError
from jepa_ros.memory.entities import EntitySlots

# Keys are rows and columns of patches. exp(−β · ½) for patches side by side: nothing is mistaken for its neighbour.
BETA, GAMMA = 50.0, 0.5
SHADES = 255.0
MOST_PATCHES = 256


@dataclass(frozen=True)
class Completed:
    """An image with what is remembered of its hidden parts."""

    image: np.ndarray           # (H, W, C), type of the image given
    hidden: int                 # pixels that were not seen
    filled: int                 # of them, those that memory knows
    oldest_ns: int | None       # stamp of the oldest view that was filled in; None without one


class Scene:
    """An image's patches as entities: key (row, column), value the pixels.

    What is not seen is told by a mask with the image (something is known to hang in front of the camera there), or by
    `hidden_colour`, with which a camera's driver marks it and which nothing else has. `threshold` is the change of a
    patch, in shades of 255, up to which it is the same.
    """

    def __init__(self, shape: Sequence[int], hidden_colour: Sequence[int] | None = None, patch: int = 4,
                 threshold: float = 2.0):
        """`shape` (H, W, C) of uint8 images; ConfigError where patches of `patch` pixels do not fill it."""
        height, width, channels = shape
        if patch < 1 or height % patch or width % patch:
            raise ConfigError(f'memory: patches of {patch} pixels do not fill an image of {height} x {width}')
        if hidden_colour is not None and (
                len(hidden_colour) != channels or not all(0 <= c <= SHADES for c in hidden_colour)):
            raise ConfigError(f'memory: hidden_colour needs {channels} numbers from 0 to 255, not {hidden_colour!r}')
        self.shape, self.patch = (height, width, channels), patch
        self._rows, self._columns = height // patch, width // patch
        self._colour = None if hidden_colour is None else np.asarray(hidden_colour, np.uint8)
        self._keys = torch.cartesian_prod(torch.arange(float(self._rows)), torch.arange(float(self._columns)))
        self.entities = EntitySlots(2, patch * patch * channels, len(self._keys), threshold / SHADES, BETA, GAMMA)

    def see(self, image: np.ndarray, stamp_ns: int, hidden: np.ndarray | None = None) -> Tensor:
        """Remember what is visible, `hidden` (H, W) bool is not; which patches (rows, columns) bool changed."""
        seen = np.broadcast_to(~self._hidden(image, hidden)[..., None], image.shape)
        values = torch.from_numpy(self._split(image).astype(np.float32) / SHADES)
        changed = self.entities.see(self._keys, values, stamp_ns, torch.from_numpy(self._split(seen).copy()))
        return changed.reshape(self._rows, self._columns)

    def complete(self, image: np.ndarray, hidden: np.ndarray | None = None) -> Completed:
        """The image with its hidden pixels as they were last seen; what never was stays as it is."""
        hidden = self._hidden(image, hidden)
        if not hidden.any():
            return Completed(image, 0, 0, None)
        known = self.entities.about(self._keys)
        fill = hidden & self._whole(known.known).all(-1)
        completed = image.copy()
        completed[fill] = (self._whole(known.values)[fill] * SHADES).round().astype(image.dtype)
        rows = torch.from_numpy(self._split(fill[..., None].repeat(self.shape[2], -1))).any(1)
        oldest = int(known.seen_ns[rows].min()) if bool(rows.any()) else None
        return Completed(completed, int(hidden.sum()), int(fill.sum()), oldest)

    def _hidden(self, image: np.ndarray, hidden: np.ndarray | None) -> np.ndarray:
        """(H, W) bool; ConfigError for an image or a mask that does not fit."""
        if image.shape != self.shape or image.dtype != np.uint8:
            raise ConfigError(f'memory: image is {image.dtype} {image.shape}, this scene is uint8 {self.shape}')
        found = np.zeros(self.shape[:2], bool) if self._colour is None else (image == self._colour).all(-1)
        if hidden is None:
            return found
        if hidden.shape != found.shape or hidden.dtype != bool:
            raise ConfigError(f'memory: the mask of hidden pixels is {hidden.dtype} {hidden.shape}, '
                              f'not bool {found.shape}')
        return found | hidden

    def _split(self, image: np.ndarray) -> np.ndarray:
        """(H, W, C) -> (n, patch · patch · C)."""
        p, (rows, columns) = self.patch, (self._rows, self._columns)
        return image.reshape(rows, p, columns, p, -1).transpose(0, 2, 1, 3, 4).reshape(rows * columns, -1)

    def _whole(self, patches: Tensor) -> np.ndarray:
        """(n, patch · patch · C) -> (H, W, C)."""
        p, (rows, columns) = self.patch, (self._rows, self._columns)
        return patches.numpy().reshape(rows, columns, p, p, -1).transpose(0, 2, 1, 3, 4).reshape(self.shape)


class Scenes:
    """The images of a percept completed by `Scene`s: what `Perception.completion` takes.

    `hidden` may hold a mask (H, W) bool of what is not seen now, by the key of the image.
    """

    def __init__(self, scenes: Mapping[str, Scene]):
        self.scenes = dict(scenes)
        self.hidden: dict[str, np.ndarray] = {}

    @classmethod
    def of(cls, specs: Mapping, hidden_colour: str) -> 'Scenes':
        """One scene for each image of an encoder's `specs`; the colour is 'r,g,b'. ConfigError for what is wrong."""
        try:
            colour = [int(part) for part in hidden_colour.split(',')]
        except ValueError:
            raise ConfigError(f"memory: hidden_colour is {hidden_colour!r}: give 'r,g,b', each 0 to 255") from None
        images = {key: spec.shape for key, spec in specs.items() if len(spec.shape) == 3 and spec.dtype == np.uint8}
        if not images:
            raise ConfigError('memory: hidden_colour is given, but no observation of this model is an image')
        return cls({key: Scene(shape, colour, _patch(*shape[:2])) for key, shape in images.items()})

    def __call__(self, percept: Mapping, stamp_ns: int | None = None) -> dict:
        """The percept with hidden parts filled in. With a stamp it is what is seen then, and remembered."""
        whole = dict(percept)
        for key, scene in self.scenes.items():
            if key in whole:
                if stamp_ns is not None:
                    scene.see(whole[key], stamp_ns, self.hidden.get(key))
                whole[key] = scene.complete(whole[key], self.hidden.get(key)).image
        return whole


def _patch(height: int, width: int) -> int:
    """Smallest patch, in pixels, that divides the image into no more than MOST_PATCHES."""
    common = math.gcd(height, width)
    sides = [p for p in range(1, common + 1) if common % p == 0]
    return next((p for p in sides if height // p * (width // p) <= MOST_PATCHES), common)
