"""What an adapter is: how one message type becomes a tensor, and what a contract must say for it."""
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ...errors import ContractError


class TensorSpec(NamedTuple):
    """Shape and type of one observation's tensor."""

    shape: tuple[int, ...]
    dtype: np.dtype
    names: tuple[str, ...] = ()   # of the numbers of a one-dimensional tensor; () where there are no names


@dataclass(frozen=True)
class Adapter:
    """One message type. Another package makes one of these and names it in the entry-point group `jepa_ros.adapters`.

    `to_array(observation, message)` returns an array of exactly `tensor_spec(observation)`, or raises `ContractError`
    that names topic and field. `tensor_spec(observation)` raises `ContractError` where the contract's entry makes no
    sense; it is called once when a contract is read. `needs` and `may` are the entry's keys, out of `OPTIONS`,
    that this type must or can have.
    """

    to_array: Callable[[Any, Any], np.ndarray]
    tensor_spec: Callable[[Any], TensorSpec]
    needs: tuple[str, ...] = ()
    may: tuple[str, ...] = ()


# Keys of an observation that only some message types have, with what they are when left out.
OPTIONS: dict[str, Any] = {
    'height': None, 'width': None, 'encoding': 'rgb8', 'beams': None, 'range_min_m': None, 'range_max_m': None,
    'elevation_min_rad': None, 'elevation_max_rad': None, 'joints': [], 'fields': [], 'size': None,
    'parent_frame': '', 'child_frame': ''}


def numbers(names: list[str]) -> TensorSpec:
    """Spec of (n,) float32 numbers with names."""
    return TensorSpec((len(names),), np.dtype(np.float32), tuple(names))


def check_options(observation, adapter: Adapter) -> None:
    """`ContractError` for a key that is missing or does not belong to the observation's message type."""
    missing = [name for name in adapter.needs if getattr(observation, name) == OPTIONS[name]]
    if missing:
        raise ContractError(f'{missing[0]} is missing: {observation.type} needs {", ".join(adapter.needs)}')
    known = {*adapter.needs, *adapter.may}
    foreign = [name for name, absent in OPTIONS.items()
               if name not in known and getattr(observation, name) != absent]
    if foreign:
        raise ContractError(f'{foreign[0]} does not belong to {observation.type}, which has '
                            f'{", ".join((*adapter.needs, *adapter.may))}')
