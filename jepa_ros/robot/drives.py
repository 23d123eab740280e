"""The section `drives` of a robot contract: which readouts the robot's hard-wired drives look at (LeCun §3.2).

They are part of the robot, not of a task: nothing at run time changes them. Numbers are in the readouts' own units.
"""
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field, model_validator

from .streams import Key, Strict


class Hunger(Strict):
    """A charge that should not run low."""

    readout: Key = Field(description='name of the readout that measures the charge')
    low: float = Field(description='level below which hunger grows')
    empty: float = Field(0.0, description='level at which hunger is 1')

    @model_validator(mode='after')
    def _ordered(self) -> 'Hunger':
        if not self.empty < self.low:
            raise ValueError(f'low ({self.low:g}) must be above empty ({self.empty:g})')
        return self


class Clearance(Strict):
    """A distance to obstacles that should not become small; it may."""

    readout: Key = Field(description='name of the readout that measures a distance')
    least: Annotated[float, Field(gt=0)] = Field(description='distance below which it costs')


class Range(Strict):
    """Values between which a readout has to stay; no plan may lead out of them."""

    readout: Key
    low: float | None = Field(None, description='least value; without it there is no lower end')
    high: float | None = Field(None, description='largest value; without it there is no upper end')

    @model_validator(mode='after')
    def _ordered(self) -> 'Range':
        if self.low is None and self.high is None:
            raise ValueError(f'readout {self.readout!r} has neither low nor high: give one of them or both')
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError(f'low ({self.low:g}) must be less than high ({self.high:g})')
        return self


class Drives(Strict):
    """What the robot fears and hungers for. What is left out is felt nowhere."""

    battery: Hunger | None = Field(None, description='hunger: a charge that should not run low')
    clearance: list[Clearance] = Field([], description='distances to obstacles that should not become small')
    collision: list[Range] = Field([], description='guardrail: readouts beyond these values are a collision, such as '
                                   'a distance with low: 0 or a bumper with high: 0.5')
    limits: list[Range] = Field([], description='guardrail: joints, speeds and the like that must stay in a range')

    def named(self) -> Iterator[tuple[str, str]]:
        """Where each readout is named, as `limits.0`, and its name."""
        if self.battery is not None:
            yield 'battery', self.battery.readout
        for kind in ('clearance', 'collision', 'limits'):
            for number, each in enumerate(getattr(self, kind)):
                yield f'{kind}.{number}', each.readout
