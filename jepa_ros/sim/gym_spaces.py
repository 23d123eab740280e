"""Gymnasium's spaces as sensors and command numbers. Pure; used by `worlds/gym_world.py` and `gym_contract.py`.

An observation space is taken apart into leaves, one topic each: pictures stay pictures, everything else becomes the
vector of `gymnasium.spaces.flatten` (a discrete value is one-hot). An action space becomes a list of numbers.
"""
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
import re
from typing import Any

import gymnasium
from gymnasium import spaces
import numpy as np

from jepa_ros.errors import WorldError

LEAST_IMAGE = 8        # pixels along a side; a smaller array of bytes is no picture
MOST_ONE_HOT = 1024    # a discrete space with more values is given as its index
MOST_NAMED = 1024      # numbers that are given names; more go without, as names would be most of the message
UNLIMITED = 1.0        # limit of a command number that the space leaves open


@dataclass(frozen=True)
class Leaf:
    """One part of an observation that goes on a topic of its own."""

    path: tuple[str | int, ...]   # from the whole observation: keys and indices
    key: str                      # unique and fit for topic and contract: end_effector
    space: gymnasium.Space

    @property
    def image(self) -> bool:
        return _image_axes(self.space) is not None

    @property
    def size(self) -> int:
        """How many numbers `vector` gives."""
        return 1 if _as_index(self.space) else spaces.flatdim(self.space)

    @property
    def names(self) -> tuple[str, ...]:
        return (self.key,) if self.size == 1 else tuple(f'{self.key}_{i}' for i in range(self.size))

    def part(self, observation) -> Any:
        """This leaf's part of a whole observation."""
        for step in self.path:
            observation = observation[step]
        return observation

    def picture(self, observation) -> np.ndarray:
        """uint8 (H, W, 3) of an image leaf."""
        array = np.asarray(self.part(observation), np.uint8)
        axes = _image_axes(self.space)
        array = array[..., None] if axes == 'hw' else np.moveaxis(array, 0, -1) if axes == 'chw' else array
        return np.ascontiguousarray(np.broadcast_to(array, (*array.shape[:2], 3)))

    def vector(self, observation) -> np.ndarray:
        """float64 (size,) of any other leaf."""
        part = self.part(observation)
        if _as_index(self.space):
            return np.array([part], float)
        return np.asarray(spaces.flatten(self.space, part), float)


def leaves(space: gymnasium.Space, name: str) -> tuple[Leaf, ...]:
    """The parts of an observation space. WorldError for one without a fixed size; `name` is the world's."""
    found: list[Leaf] = []
    used: set[str] = set()
    for path, leaf in _walk(space, ()):
        said = '.'.join(map(str, path)) or 'observation'
        if not leaf.is_np_flattenable or isinstance(leaf, (spaces.Text, spaces.OneOf)):
            raise WorldError(f'world {name}: observation {said} is a {type(leaf).__name__} space, which is not a fixed '
                             'number of numbers: wrap the environment')
        key = _unique('_'.join(str(step) for step in path) or 'observation', used)
        found.append(Leaf(path, key, leaf))
    return tuple(found)


@dataclass(frozen=True)
class ActionField:
    """One number of a command: its name, limits, and whether it stands for a whole number."""

    name: str
    low: float
    high: float
    whole: bool


class Actions:
    """An action space as numbers. Discrete spaces are an index 0 … n − 1; open limits are ±1.

    0 is always within the limits of a field, as it is what a stopped robot is told; where the space has no 0 the
    environment gets the nearest value it allows.
    """

    def __init__(self, space: gymnasium.Space, name: str):
        """WorldError for a space that is not made of Box, Discrete, MultiDiscrete and MultiBinary."""
        self._space = space
        self._leaves: list[tuple[tuple, gymnasium.Space, int]] = []   # path, space, how many numbers
        fields: list[ActionField] = []
        used: set[str] = set()
        for path, leaf in _walk(space, ()):
            if not isinstance(leaf, (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)):
                raise WorldError(f'world {name}: an action with a {type(leaf).__name__} space cannot be a command: '
                                 'wrap the environment')
            prefix = '_'.join(str(step) for step in path) or ('choice' if isinstance(leaf, spaces.Discrete) else 'a')
            low, high = _limits(leaf)
            whole = not isinstance(leaf, spaces.Box) or np.issubdtype(leaf.dtype, np.integer)
            for i, (lowest, highest) in enumerate(zip(low, high)):
                single = len(low) == 1 and prefix != 'a'
                fields.append(ActionField(_unique(prefix if single else f'{prefix}_{i}', used),
                                          min(lowest, 0.0), max(highest, 0.0), whole))
            self._leaves.append((path, leaf, len(low)))
        self.fields = tuple(fields)

    def decode(self, command: np.ndarray) -> Any:
        """The environment's action for a command (A,) of finite numbers; each is clipped to what the space allows."""
        parts, first = {}, 0
        for path, leaf, count in self._leaves:
            parts[path] = _decoded(leaf, command[first:first + count])
            first += count
        return _assembled(self._space, parts, ())


def _walk(space: gymnasium.Space, path: tuple) -> Iterator[tuple[tuple, gymnasium.Space]]:
    if isinstance(space, spaces.Dict):
        parts: Any = space.spaces.items()
    elif isinstance(space, spaces.Tuple):
        parts = enumerate(space.spaces)
    else:
        yield path, space
        return
    for step, part in parts:
        yield from _walk(part, (*path, step))


def _assembled(space: gymnasium.Space, parts: Mapping[tuple, Any], path: tuple) -> Any:
    if isinstance(space, spaces.Dict):
        return {key: _assembled(part, parts, (*path, key)) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_assembled(part, parts, (*path, i)) for i, part in enumerate(space.spaces))
    return parts[path]


def _limits(space: Any) -> tuple[list[float], list[float]]:
    """Lowest and highest value of each number of a command."""
    if isinstance(space, spaces.Discrete):
        return [0.0], [float(space.n - 1)]
    if isinstance(space, spaces.MultiDiscrete):
        return [0.0] * space.nvec.size, (space.nvec.ravel() - 1.0).tolist()
    if isinstance(space, spaces.MultiBinary):
        return [0.0] * int(np.prod(space.shape)), [1.0] * int(np.prod(space.shape))
    low, high = (np.asarray(limit, float).ravel() for limit in (space.low, space.high))
    low, high = np.where(np.isfinite(low), low, np.minimum(-UNLIMITED, high - UNLIMITED)), high
    return low.tolist(), np.where(np.isfinite(high), high, np.maximum(UNLIMITED, low + UNLIMITED)).tolist()


def _decoded(space: gymnasium.Space, numbers: np.ndarray) -> Any:
    low, high = _limits(space)
    numbers = np.clip(numbers, low, high)
    if not isinstance(space, spaces.Box) or np.issubdtype(space.dtype, np.integer):
        numbers = np.floor(numbers + 0.5)   # not rint: 0.5 and 1.5 would both go to an even number
    if isinstance(space, spaces.Discrete):
        return space.start + int(numbers[0])   # an int: environments look it up in tables
    offset = space.start.ravel() if isinstance(space, spaces.MultiDiscrete) else 0
    return (numbers + offset).reshape(space.shape).astype(space.dtype)


def _image_axes(space: gymnasium.Space) -> str | None:
    """'hwc', 'chw' or 'hw' for a space of pictures of bytes, None for another."""
    if not isinstance(space, spaces.Box) or space.dtype != np.uint8:
        return None
    shape = space.shape
    for axes, sides, channels in (('hwc', shape[:2], shape[2:]), ('chw', shape[1:], shape[:1]), ('hw', shape, (1,))):
        if len(shape) == len(axes) and min(sides) >= LEAST_IMAGE and channels[0] in (1, 3):
            return axes
    return None


def _as_index(space: gymnasium.Space) -> bool:
    return isinstance(space, spaces.Discrete) and space.n > MOST_ONE_HOT


def _unique(text: str, used: set[str]) -> str:
    """`text` as a name of lower-case letters, digits and _ that is not in `used`; adds it there."""
    key = re.sub(r'_+', '_', re.sub(r'[^a-z0-9]', '_', text.lower())).strip('_') or 'part'
    key = key if key[0].isalpha() else f'part_{key}'
    name, number = key, 2
    while name in used:
        name, number = f'{key}_{number}', number + 1
    used.add(name)
    return name
