"""Goals for an agent that records while nobody watches. Pure and seeded.

Half of the goals are readouts that the robot has had in this recording: they can be reached. The others are drawn
from where the robot was in the training data (uniform, with the mean and the spread of the readouts in the checkpoint):
from the seen ones alone the robot would never leave the place where it began.
"""
from collections.abc import Mapping, Sequence

import numpy as np

SEEN_SHARE = 0.5
RESERVOIR = 1000        # seen readouts that are kept, each of all seen ones with the same chance


class RandomGoals:
    """Draws goals `{readout: value}`; `mean` and `std` (R,) are those of the training data."""

    def __init__(self, names: Sequence[str], mean: np.ndarray, std: np.ndarray, seed: int = 0):
        self.names = list(names)
        # A uniform distribution spreads over √3 standard deviations on both sides of its mean.
        self._low, self._high = mean - np.sqrt(3) * std, mean + np.sqrt(3) * std
        self._rng = np.random.default_rng(seed)
        self._kept: list[np.ndarray] = []
        self._count = 0

    def seen(self, readouts: Mapping[str, float]) -> None:
        """Note where the robot is; readouts that are not finite or incomplete are passed over."""
        values = np.array([readouts.get(name, np.nan) for name in self.names])
        if not np.isfinite(values).all():
            return
        self._count += 1
        if len(self._kept) < RESERVOIR:
            self._kept.append(values)
        elif (slot := int(self._rng.integers(self._count))) < RESERVOIR:
            self._kept[slot] = values

    def draw(self) -> dict[str, float]:
        """The next goal."""
        if self._kept and self._rng.random() < SEEN_SHARE:
            values = self._kept[int(self._rng.integers(len(self._kept)))]
        else:
            values = self._rng.uniform(self._low, self._high)
        return dict(zip(self.names, values.tolist()))
