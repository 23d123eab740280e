"""What a check finds and suggests, and how numbers are rounded for a person to read. Used by check and draft."""
from dataclasses import dataclass
import math
from typing import Any

ERROR, WARNING, NOTE = 'error', 'warning', 'note'
FLOAT32_NOISE = 1e-4    # relative: 0.30000001 is 0.3 that went through a float32


@dataclass(frozen=True)
class Finding:
    """One thing worth saying. An error keeps the contract from being used with this source."""

    level: str      # error, warning or note
    where: str      # key of the stream or name of the contract's field
    text: str


@dataclass(frozen=True)
class Suggestion:
    """A value for the contract that fits what was seen."""

    path: str       # observations.scan.timeout_s
    now: Any
    value: Any
    why: str


def round_out(value: float, digits: int = 2) -> float:
    """Away from zero to so many significant digits; what is such a number but for float32 noise stays.

    >>> round_out(3.14159), round_out(-0.412), round_out(0.30000001)
    (3.2, -0.42, 0.3)
    """
    if value == 0 or not math.isfinite(value):
        return 0.0 if value == 0 else value
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - digits + 1)
    steps = abs(value) / unit
    whole = round(steps)
    if abs(steps - whole) > FLOAT32_NOISE * steps:
        whole = math.ceil(steps)
    return math.copysign(float(f'{whole * unit:.{digits + 2}g}'), value)


def seconds(value: float) -> str:
    """A time for a table: 3 significant digits."""
    return f'{value:.3g} s'
