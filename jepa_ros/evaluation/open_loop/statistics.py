"""Rank statistics of scores, and intervals by resampling episodes. numpy only; scores in float64.

Steps of one episode resemble each other, so it is episodes that are drawn again, not steps (cluster bootstrap,
Davison & Hinkley 1997, §3.8): an interval says how much a figure would change with other episodes of the same robot.
"""
from collections.abc import Callable
from dataclasses import dataclass
import math

import numpy as np

RESAMPLES = 1000
LEVEL = 0.95            # of an interval
FALSE_ALARMS = 0.01


@dataclass(frozen=True)
class Figure:
    """A value and its 95 % interval over episodes; None where it cannot be told (the JSON file's null)."""

    value: float | None
    low: float | None = None
    high: float | None = None


def auroc(positive: np.ndarray, negative: np.ndarray) -> float:
    """P(positive > negative) + ½ P(positive = negative), exact; 0.5 by chance. NaN where one has no entries.

    Area under the receiver operating characteristic (Hanley & McNeil 1982): the Mann-Whitney U over the pairs.
    """
    if not len(positive) or not len(negative):
        return math.nan
    return float(pairs_won(positive, np.sort(negative)).sum() / (2 * len(positive) * len(negative)))


def pairs_won(positive: np.ndarray, negative_sorted: np.ndarray) -> np.ndarray:
    """For each of P scores: 2 × how many negatives are lower + how many are equal, (P,) int64."""
    return np.searchsorted(negative_sorted, positive, 'left') + np.searchsorted(negative_sorted, positive, 'right')


def threshold(negative: np.ndarray, false_alarms: float) -> float:
    """Lowest score that at most a share `false_alarms` of the negatives lies above; NaN without negatives."""
    if not len(negative):
        return math.nan
    allowed = math.floor(false_alarms * len(negative) + 1e-9)      # 0.01 · 300 is 3, not 2.9999…
    return float(np.sort(negative)[len(negative) - 1 - min(allowed, len(negative) - 1)])


def detected(positive: np.ndarray, negative: np.ndarray, false_alarms: float) -> float:
    """Share of the positives above that threshold."""
    return float((positive > threshold(negative, false_alarms)).mean()) if len(positive) and len(negative) \
        else math.nan


def receiver_operating_curve(positive: np.ndarray, negative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False-alarm rates and detection rates, from (0, 0) to (1, 1), one point per distinct score."""
    scores = np.unique(np.concatenate([positive, negative]))[::-1]
    above = [1 - np.searchsorted(np.sort(x), scores, 'left') / len(x) for x in (negative, positive)]
    return np.concatenate([[0.0], above[0]]), np.concatenate([[0.0], above[1]])


class Bootstrap:
    """How often each of E episodes is drawn in each of B resamples: `weights` (B, E), the same for every figure."""

    def __init__(self, episodes: int, seed: int = 0, resamples: int = RESAMPLES):
        rng = np.random.default_rng(seed)
        self.episodes = episodes
        self.weights = rng.multinomial(episodes, np.full(episodes, 1 / episodes), resamples).astype(np.float64) \
            if episodes > 1 else np.zeros((0, max(episodes, 1)))

    def figure(self, value: float, resampled: Callable[[np.ndarray], np.ndarray]) -> Figure:
        """`value` with the interval of `resampled`(weights (B, E)) -> (B,); no interval for a single episode."""
        if not math.isfinite(value):
            return Figure(None)
        if not len(self.weights):
            return Figure(value)
        with np.errstate(divide='ignore', invalid='ignore'):
            values = resampled(self.weights)
        values = values[np.isfinite(values)]      # a resample may have no case of something rare
        if not len(values):
            return Figure(value)
        low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return Figure(value, float(low), float(high))

    def ratio(self, above: np.ndarray, below: np.ndarray, function: Callable = lambda x: x) -> Figure:
        """function(Σ above / Σ below) of sums per episode, each (E,)."""
        with np.errstate(divide='ignore', invalid='ignore'):
            value = float(function(above.sum() / np.float64(below.sum())))
        return self.figure(value, lambda w: function((w @ above) / (w @ below)))

    def auroc(self, positive: np.ndarray, positive_episodes: np.ndarray, negative: np.ndarray,
              negative_episodes: np.ndarray) -> Figure:
        """AUROC, each resample's exact too: pairs won are counted once per pair of episodes."""
        won = np.zeros((self.episodes, self.episodes))
        for e in np.unique(negative_episodes):
            in_e = pairs_won(positive, np.sort(negative[negative_episodes == e]))
            won[:, e] = np.bincount(positive_episodes, in_e, self.episodes)
        ups = np.bincount(positive_episodes, minlength=self.episodes).astype(float)
        downs = np.bincount(negative_episodes, minlength=self.episodes).astype(float)
        return self.figure(auroc(positive, negative),
                           lambda w: np.einsum('be,ef,bf->b', w, won, w, optimize=True)
                           / (2 * (w @ ups) * (w @ downs)))

    def detected(self, positive: np.ndarray, positive_episodes: np.ndarray, negative: np.ndarray,
                 negative_episodes: np.ndarray, false_alarms: float = FALSE_ALARMS) -> Figure:
        """Detection rate; each resample has its own threshold."""
        falling = np.argsort(-negative, kind='stable')
        ranked, owners = negative[falling], negative_episodes[falling]

        def resampled(weights: np.ndarray) -> np.ndarray:
            rates = np.empty(len(weights))
            for b, w in enumerate(weights):         # one row at a time: (B, N) would be large
                above = np.cumsum(w[owners])
                first = np.searchsorted(above, math.floor(false_alarms * above[-1] + 1e-9), 'right')
                found = positive > ranked[min(first, len(ranked) - 1)]
                rates[b] = (w[positive_episodes] * found).sum() / w[positive_episodes].sum()
            return rates
        return self.figure(detected(positive, negative, false_alarms), resampled)
