"""Correlated random exploration (LeCun §4.10: data gathered by a behaviour that ignores the model). Pure and seeded.

Each action number follows an Ornstein-Uhlenbeck process around a bias, amplified and clipped to its limits, so that
the robot keeps a heading for about a second, is often at full speed and sometimes turns. Now and then it stands still.
Time constant, gain and bias are drawn anew for each episode: calm and hectic ones both occur. Numbers that hold
(joint positions) wander over their whole range, and standing still means to stay where they are.
"""
import math

import numpy as np

CORRELATION_S = (0.4, 2.0)    # drawn log-uniformly
GAIN = (0.8, 2.0)             # at 2, six of ten actions are at a limit
BIAS = 0.3                    # standard deviation: a drift towards one side, to get through doors and into corners
STILL_EVERY_S = 6.0           # mean time between two rests
STILL_FOR_S = 0.5             # mean length of a rest


class Exploration:
    """Random actions within `low` and `high` (A,), one per control period."""

    def __init__(self, low: np.ndarray, high: np.ndarray, period_s: float, seed: int, hold: np.ndarray | None = None):
        """`hold` (A,): which numbers keep their last value to stand still, instead of going to 0; default: none."""
        self._low, self._high = np.asarray(low, float), np.asarray(high, float)
        self._hold = np.zeros(self._low.shape, bool) if hold is None else np.asarray(hold, bool)
        self._period_s, self._seed = period_s, seed
        self.start(0)

    def start(self, episode: int) -> None:
        """Begin an episode; its actions depend on seed and number only."""
        rng = self._rng = np.random.default_rng([self._seed, episode])
        correlation_s = math.exp(rng.uniform(*np.log(CORRELATION_S)))
        self._keep = math.exp(-self._period_s / correlation_s)
        self._gain = rng.uniform(*GAIN)
        self._bias = rng.normal(0, BIAS, self._low.shape)  # (A,)
        self._x = rng.normal(size=self._low.shape)         # (A,) unit variance
        self._still_s = 0.0
        self._last = (self._low + self._high) / 2

    def still(self) -> np.ndarray:
        """Action (A,) that stands still: 0, or the last value of numbers that hold (at first the middle)."""
        return np.where(self._hold, self._last, 0.0)

    def next(self) -> np.ndarray:
        """Action (A,) in SI units."""
        rng = self._rng
        noise = rng.normal(size=self._x.shape)
        self._x = self._keep * self._x + math.sqrt(1 - self._keep ** 2) * noise
        if rng.random() < self._period_s / STILL_EVERY_S:
            self._still_s = rng.exponential(STILL_FOR_S)
        self._still_s -= self._period_s
        if self._still_s > 0:
            return self.still()
        share = np.clip(self._gain * (self._x + self._bias), -1, 1)  # of the limits
        two_sided = np.where(share > 0, share * self._high, -share * self._low)
        # a throttle or a choice begins at 0: it is spread over its range, not at 0 half of the time
        one_sided = self._low + (share + 1) / 2 * (self._high - self._low)
        self._last = np.where((self._low < 0) & (self._high > 0) & ~self._hold, two_sided, one_sided)
        return self._last.copy()
