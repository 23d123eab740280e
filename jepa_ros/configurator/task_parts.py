"""Parts of a task file: what to reach, when it is reached, what to keep out of, what to follow, what comes next.

Each checks itself; pydantic's errors become one line that names file, line and field (`robot/yaml_errors.py`).
"""
from collections.abc import Mapping, Sequence
import math
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from jepa_ros.cost.cost import Region
from jepa_ros.registry import nearest

GOAL_WORDS = ('given', 'stay', 'none')
GOAL_KEYS = ('readouts', 'image', 'bag')
# Goals given as readouts count as reached within this distance, in the readouts' own unit (metres, mostly).
READOUT_TOLERANCE = 0.1

_CONDITION = re.compile(r'^\s*([A-Za-z_]\w*)\s*(<=|>=|<|>)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*$')
_RETRY = re.compile(r'retry [1-9]\d{0,3}')


class Strict(BaseModel):
    """No unknown keys, no NaN, never changed."""

    model_config = ConfigDict(extra='forbid', frozen=True, allow_inf_nan=False)


class Avoid(Strict):
    """A region that no plan may enter, in the units of the readouts that span it; see `Region`."""

    centre: dict[str, float | str] = Field(min_length=1)
    radius: float = Field(gt=0)

    @property
    def region(self) -> Region:
        """As the cost takes it."""
        return Region(self.centre, self.radius)

    def holds(self, values: Mapping[str, float]) -> bool:
        """Whether readouts `values` lie inside; False where they do not say."""
        centre = {name: values.get(value) if isinstance(value, str) else value for name, value in self.centre.items()}
        if any(value is None or name not in values for name, value in centre.items()):
            return False
        return math.dist(list(centre.values()), [values[name] for name in centre]) < self.radius


class Moment(Strict):
    """A moment of a recording made with the same robot contract."""

    file: str = Field(min_length=1)
    time_s: float = Field(ge=0, description='seconds from its start')


class GoalSpec(Strict):
    """`given` (with the action), `stay` (the state of the start), `none`; or readouts, an image, a moment of a bag."""

    kind: Literal['given', 'stay', 'none', 'readouts', 'image', 'bag']
    readouts: dict[str, float] = Field(default_factory=dict)
    image: str = ''
    bag: Moment = None

    @model_validator(mode='before')
    @classmethod
    def _read(cls, value: Any) -> Any:
        if isinstance(value, str):
            if value not in GOAL_WORDS:
                raise ValueError(f'{value!r} is unknown{nearest(value, GOAL_WORDS)}; known: {", ".join(GOAL_WORDS)}, '
                                 f'or one of {", ".join(GOAL_KEYS)} with what it shows')
            return {'kind': value}
        if not isinstance(value, dict) or 'kind' in value:
            return value
        named = [key for key in GOAL_KEYS if key in value]
        if len(named) == 1 and not value[named[0]]:
            raise ValueError(f'{named[0]} is empty')
        if len(named) > 1:
            raise ValueError(f'{" and ".join(named)} contradict each other: one goal is shown in one way')
        if not named and not set(value) - {'kind'}:
            raise ValueError(f'it is empty; known: {", ".join(GOAL_WORDS)}, or one of {", ".join(GOAL_KEYS)}')
        return {'kind': named[0] if named else 'none', **value}

    @property
    def own(self) -> bool:
        """The task knows its goal itself: none may be given with it."""
        return self.kind != 'given'

    @property
    def files(self) -> dict[str, str]:
        """Files it is read from, by field."""
        return {'image': self.image} if self.image else {'bag.file': self.bag.file} if self.bag else {}


class Condition(Strict):
    """`x_m > 1`: a readout, a comparison, a number in the readout's unit."""

    readout: str
    sign: Literal['<', '<=', '>', '>=']
    value: float

    @model_validator(mode='before')
    @classmethod
    def _read(cls, text: Any) -> Any:
        if isinstance(text, dict):
            return text
        match = _CONDITION.match(str(text))
        if match is None:
            raise ValueError(f'{text!r} is no condition: write a readout, <, <=, > or >=, and a number, as in x_m > 1')
        return dict(zip(('readout', 'sign', 'value'), match.groups()))

    def __str__(self) -> str:
        return f'{self.readout} {self.sign} {self.value:g}'

    def true(self, value: float) -> bool:
        """Whether it holds."""
        return {'<': value < self.value, '<=': value <= self.value,
                '>': value > self.value, '>=': value >= self.value}[self.sign]

    @property
    def span(self) -> tuple[float, float]:
        """What it leaves of the numbers: least and most."""
        return (-math.inf, self.value) if '<' in self.sign else (self.value, math.inf)


class SuccessTest(Strict):
    """All that is named must hold; `never` runs until it is stopped or time is up."""

    never: bool = False
    energy: float = Field(None, gt=0, description='share of the goal tolerance that the goal energy must fall below')
    when: list[Condition] = Field(default_factory=list, description='readouts, as in x_m > 1')
    after_s: float = Field(None, gt=0, description='seconds from the start before which there is no success')

    @model_validator(mode='before')
    @classmethod
    def _read(cls, value: Any) -> Any:
        if value == 'never':
            return {'never': True}
        if isinstance(value, str):
            raise ValueError(f'{value!r} is unknown: give a share of the goal tolerance as in 1.0, the word never, or '
                             'energy, when and after_s')
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if not value > 0:
                raise ValueError(f'{value} is no share of the goal tolerance: it must be positive')
            return {'energy': value}
        return value

    @model_validator(mode='after')
    def _possible(self):
        spans: dict[str, tuple[float, float]] = {}
        for condition in self.when:
            low, high = spans.get(condition.readout, (-math.inf, math.inf))
            least, most = condition.span
            spans[condition.readout] = low, high = max(low, least), min(high, most)
            if low > high or (low == high and not all(c.true(low) for c in self.when
                                                      if c.readout == condition.readout)):
                raise ValueError(f'when: {" and ".join(str(c) for c in self.when if c.readout == condition.readout)} '
                                 'contradict each other: no value does all of it')
        return self

    @property
    def asks(self) -> bool:
        """Something is named."""
        return self.never or self.energy is not None or bool(self.when) or self.after_s is not None

    def impossible(self, readouts: Mapping[str, float]) -> Condition | None:
        """The first condition that no state near a goal in `readouts` meets; None where all can be met."""
        for condition in self.when:
            value = readouts.get(condition.readout)
            if value is not None and not (condition.true(value - READOUT_TOLERANCE)
                                          or condition.true(value + READOUT_TOLERANCE)):
                return condition
        return None


class Program(Strict):
    """A demonstration to follow: a span of a recording."""

    bag: str = Field(min_length=1)
    from_s: float = Field(0.0, ge=0)
    to_s: float = Field(gt=0)

    @model_validator(mode='after')
    def _lasts(self):
        if self.to_s <= self.from_s:
            raise ValueError(f'to_s {self.to_s:g} is not after from_s {self.from_s:g}')
        return self


def _endless(word: str, instead: float):
    """A number, or a word for one that has no end."""
    def read(value: Any) -> Any:
        if isinstance(value, str):
            if value != word:
                raise ValueError(f'{value!r} is unknown{nearest(value, [word])}: give a number, or {word}')
            return instead
        return value
    return BeforeValidator(read)


Seconds = Annotated[float, Field(gt=0, allow_inf_nan=True), _endless('never', math.inf)]
FOREVER = 10 ** 9
Times = Annotated[int, Field(ge=1), _endless('forever', FOREVER)]


def _on_failure(value: Any) -> Any:
    if value in ('stop', 'next') or (isinstance(value, str) and _RETRY.fullmatch(value)):
        return value
    raise ValueError(f'{value!r} is unknown: known are stop, next and retry N, as in retry 2')


OnFailure = Annotated[str, BeforeValidator(_on_failure)]


class Part(Strict):
    """One part of a sequence: the name of a task, with a goal and a time of its own where given."""

    task: str = Field(min_length=1)
    goal: GoalSpec = None
    timeout_s: Seconds = None

    @model_validator(mode='before')
    @classmethod
    def _read(cls, value: Any) -> Any:
        return {'task': value} if isinstance(value, str) else value


def inside(regions: Sequence[Avoid], values: Mapping[str, float]) -> int | None:
    """Number, from 0, of the first region that holds `values`; None where none does."""
    return next((number for number, region in enumerate(regions) if region.holds(values)), None)
