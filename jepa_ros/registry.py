"""Names for exchangeable parts: encoders, predictors, planners, cost terms, worlds.

A part is one class in one file, registered by name and selected in YAML. Third parties add theirs through an
entry point of the group `jepa_ros.<kind>`; it is loaded when a name is not found among the registered ones.
"""
from collections.abc import Callable, Iterable
import difflib
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from jepa_ros.errors import ConfigError

T = TypeVar('T')


def nearest(name: str, names: Iterable[str]) -> str:
    """' (did you mean …?)' for the closest of `names`, or an empty string."""
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f' (did you mean {close[0]}?)' if close else ''


class Registry(Generic[T]):
    """Maps names to parts of one kind. A name that is taken stays with its part."""

    def __init__(self, kind: str):
        self.kind = kind
        self._parts: dict[str, T] = {}
        self._plugins: list[str] | None = None      # looked up once: it takes 25 ms

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that gives a part its name; ConfigError where another part has it."""
        def add(part: T) -> T:
            if name in self._parts:
                raise ConfigError(f'{self.kind} {name!r} is there already: choose another name, none is replaced')
            self._parts[name] = part
            return part
        return add

    def names(self) -> list[str]:
        if self._plugins is None:
            self._plugins = [e.name for e in entry_points(group=f'jepa_ros.{self.kind}s')]
        return sorted({*self._parts, *self._plugins})

    def get(self, name: str) -> T:
        """The part of that name; ConfigError lists the known ones."""
        if name not in self._parts:
            for entry in entry_points(group=f'jepa_ros.{self.kind}s', name=name):
                part = entry.load()     # which may have registered itself
                self._parts.setdefault(name, part)
        if name not in self._parts:
            raise ConfigError(f'unknown {self.kind} {name!r}{nearest(name, self.names())}; '
                              f'known: {", ".join(self.names())}')
        return self._parts[name]
