"""Statistics in LeRobot's form: min, max, mean, std, count and quantiles of each feature, per episode and in all."""
import numpy as np

QUANTILES = (0.01, 0.1, 0.5, 0.9, 0.99)
SAMPLES = 100               # pictures of an episode that are looked at; LeRobot samples them too


def of_numbers(values: np.ndarray) -> dict[str, np.ndarray]:
    """Of (T, …) numbers, over time."""
    values = np.asarray(values, np.float64)
    quantiles = np.quantile(values, QUANTILES, axis=0)
    found = {'min': values.min(0), 'max': values.max(0), 'mean': values.mean(0), 'std': values.std(0)}
    found |= {f'q{int(100 * q):02d}': quantiles[i] for i, q in enumerate(QUANTILES)}
    return {**{k: np.atleast_1d(v) for k, v in found.items()}, 'count': np.array([len(values)])}


class Pictures:
    """Histogram of the pixels of pictures, per channel; LeRobot counts in 0 … 1 and shapes (3, 1, 1)."""

    def __init__(self) -> None:
        self.histogram = np.zeros((3, 256), np.int64)
        self.pictures = 0

    def add(self, rows: np.ndarray) -> None:
        """Take uint8 (T, H, W, 3) in, at most SAMPLES of them and every fourth pixel each way."""
        for picture in rows[np.unique(np.linspace(0, len(rows) - 1, SAMPLES, dtype=int))]:
            part = picture[::4, ::4]
            self.histogram += [np.bincount(part[..., c].ravel(), minlength=256) for c in range(3)]
            self.pictures += 1

    def merge(self, other: 'Pictures') -> None:
        self.histogram += other.histogram
        self.pictures += other.pictures

    def statistics(self) -> dict[str, np.ndarray]:
        levels, share = np.arange(256) / 255.0, self.histogram / self.histogram.sum(1, keepdims=True)
        mean = share @ levels
        below = np.cumsum(share, axis=1)
        seen = self.histogram > 0
        found = {'min': levels[seen.argmax(1)], 'max': levels[255 - seen[:, ::-1].argmax(1)], 'mean': mean,
                 'std': np.sqrt(np.maximum(share @ levels ** 2 - mean ** 2, 0.0))}
        found |= {f'q{int(100 * q):02d}': levels[(below >= q - 1e-12).argmax(1)] for q in QUANTILES}
        return {**{k: v.reshape(3, 1, 1) for k, v in found.items()}, 'count': np.array([self.pictures])}
