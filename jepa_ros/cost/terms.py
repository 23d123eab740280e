"""What a term of the intrinsic cost is, and the register of all of them (LeCun §3.2, Fig. 6).

A term is one plain function, registered by name in one of the files `terms_*.py`. It maps states (..., T, D), actions
(..., T, A) in −1…1 (or None) and the context to an energy per step (..., T); lower is better. A term with a `floor` is
a guardrail: its weight can never be set below the floor. One that is a `constraint` also says where states are
forbidden: no plan may go there. Third parties register theirs through the entry points `jepa_ros.cost_terms`.
"""
from collections.abc import Callable
from dataclasses import dataclass
import inspect
import math

from torch import Tensor

from jepa_ros.cost.context import Context
from jepa_ros.errors import CostError
from jepa_ros.registry import Registry

TermFunction = Callable[[Tensor, Tensor | None, Context], Tensor]


@dataclass(frozen=True)
class IntrinsicTerm:
    """One immutable term: its weight `u` when nobody configures it, and the least it may ever be."""

    function: TermFunction
    weight: float
    floor: float = 0.0
    constraint: TermFunction | None = None      # how deep states are in each thing forbidden, ≥ 0, (..., T, K)
    needs: str = ''         # part of the context without which the term is 0
    costly: bool = False    # it asks the world model: while its weight is 0 it is not even reported

    def __post_init__(self) -> None:
        for function in filter(None, (self.function, self.constraint)):
            if not inspect.isfunction(function) or function.__closure__:
                raise CostError(f'cost term {function!r} is no plain function: an intrinsic term holds nothing that '
                                'could be trained or changed (LeCun §3.2); define it with def in a module')
        if not (math.isfinite(self.weight) and self.weight >= self.floor >= 0):
            raise CostError(f'cost term {self.function.__name__!r}: default weight {self.weight} must be finite and '
                            f'not below its floor {self.floor}, which must not be negative')

    def applies(self, context: Context) -> bool:
        """Whether the term can be anything but 0."""
        return not self.needs or getattr(context, self.needs) is not None

    @property
    def guardrail(self) -> bool:
        return self.floor > 0


TERMS: Registry[IntrinsicTerm] = Registry('cost_term')


def term(name: str, weight: float, floor: float = 0.0, constraint: TermFunction | None = None, needs: str = '',
         costly: bool = False) -> Callable[[TermFunction], TermFunction]:
    """Registers a function as the intrinsic term `name`; ConfigError where the name is taken."""
    def add(function: TermFunction) -> TermFunction:
        TERMS.register(name)(IntrinsicTerm(function, weight, floor, constraint, needs, costly))
        return function
    return add


def registered() -> dict[str, IntrinsicTerm]:
    """All terms by name; CostError where an entry point names something else."""
    found = {name: TERMS.get(name) for name in TERMS.names()}
    for name, part in found.items():
        if not isinstance(part, IntrinsicTerm):
            raise CostError(f'cost term {name!r} of an entry point is no IntrinsicTerm but {part!r}: define it with '
                            '@term of jepa_ros.cost.terms')
    return found


def nothing(states: Tensor) -> Tensor:
    """0 for each step of states (..., T, D)."""
    return states.new_zeros(states.shape[:-1])
