"""What memory answers (LeCun §4.9)."""
from dataclasses import dataclass

import numpy as np
from torch import Tensor


@dataclass(frozen=True)
class Recall:
    """Answer to a query, best match first."""

    stamps_ns: np.ndarray   # (n,) int64
    states: Tensor          # (n, D)
    energies: np.ndarray    # (n,) intrinsic energy; NaN for a labelled state, whose energy is not kept
    distances: np.ndarray   # (n,) state distance, or seconds for a query by time
    value: Tensor           # (D + 1,) state and energy read by association (eq. 15–17); zeros for the unknown
    imagined: np.ndarray    # (n,) bool: predicted, not perceived
    confidence: float       # Σ c of `value`: 0 for the unknown, towards 1 for the well known
