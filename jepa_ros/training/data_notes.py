"""What a user should know of the data before hours of training: sensors and actions that never change or are missing.

Each note is one line. They go with the data (`EpisodeSet.notes`) and are logged as warnings when it is gathered.
"""
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from jepa_ros.errors import TrainingError
from jepa_ros.robot.adapters import tensor_spec
from jepa_ros.robot.contract import RobotContract
from jepa_ros.training.data_episodes import EpisodeSet

_BLOCK_BYTES = 64 << 20     # of percepts compared at once: they may be larger than the memory
_OUTSIDE = 1.001            # scaled; float32 rounds the limits themselves


def noted(data: EpisodeSet, contract: RobotContract, more: tuple[str, ...] = ()) -> EpisodeSet:
    """The data with notes on its streams, after those in `more`."""
    return replace(data, notes=(*more, *_sensors(data, contract), *_actions(data, contract), *_readouts(data)))


def short(count: int) -> tuple[str, ...]:
    """The note on episodes that were left out."""
    return (f'{count} episode(s) of fewer than two steps were left out',) if count else ()


def refuse_still(data: EpisodeSet, contract: RobotContract) -> None:
    """`TrainingError` when no action ever changes: nothing shows what an action does."""
    if not _changing(data.actions).any():
        named = zip(contract.action_names, _unscaled(data, contract))
        values, bags = ', '.join(f'{name} {value:.3g}' for name, value in named), ', '.join(data.bags)
        raise TrainingError(f'the actions never change ({values}): there is nothing to learn from '
                            f'{bags or "the data"}; record the robot while it is driven')


def _sensors(data: EpisodeSet, contract: RobotContract) -> Iterator[str]:
    for observation in contract.observations:
        key, spec = observation.key, tensor_spec(observation)
        valid = data.valid.get(key)
        if valid is not None and not bool(valid.any()):
            yield f'observation {key} is missing at every step: {observation.topic} may not have been recorded'
            continue
        changing = _changing(data.percepts[key], valid)
        if not changing.any():
            yield f'observation {key} never changes: the sensor of {observation.topic} may be covered or stuck'
        elif spec.names and not changing.all():
            still = [name for name, moves in zip(spec.names, changing.tolist()) if not moves]
            yield f'observation {key}: {", ".join(still)} never change{"s" if len(still) == 1 else ""}'


def _actions(data: EpisodeSet, contract: RobotContract) -> Iterator[str]:
    still, values = _changing(data.actions).logical_not().tolist(), _unscaled(data, contract)
    beyond = (data.actions.abs() > _OUTSIDE).float().mean(0).tolist()
    for name, never, value, share in zip(contract.action_names, still, values, beyond):
        if never:
            yield f'action {name} is {value:.3g} at every step: the model cannot learn what it does'
        if share:
            yield f'action {name} is outside its limits in {share:.1%} of the steps: check min and max in the contract'


def _readouts(data: EpisodeSet) -> Iterator[str]:
    for name, changes in zip(data.readout_names, _changing(data.readouts).tolist()):
        if not changes:
            yield f'readout {name} never changes'


def _unscaled(data: EpisodeSet, contract: RobotContract) -> list[float]:
    """The first action in the contract's units."""
    low, high = torch.from_numpy(contract.action_low), torch.from_numpy(contract.action_high)
    return (low + (data.actions[0].double() + 1) / 2 * (high - low)).tolist()


def _changing(x: Tensor, valid: Tensor | None = None) -> Tensor:
    """x (N, …), valid (N,) -> bool: whether anything changes, for vectors (n,) each number.

    Stops at the first block after which all do: a pass over all rows is needed only for a sensor that is stuck.
    """
    each = x.dim() == 2
    first = x[0] if valid is None else x[int(valid.int().argmax())]
    changed = torch.zeros(x.shape[1] if each else (), dtype=torch.bool)
    rows = max(1, _BLOCK_BYTES // max(1, x[0].numel() * x.element_size()))
    size = 64               # grows: nearly every sensor changes at once
    begin = 0
    while begin < len(x) and not changed.all():
        differs = x[begin:begin + size] != first
        if valid is not None:
            differs &= valid[begin:begin + size].view(-1, *[1] * (x.dim() - 1))
        changed |= differs.any(0) if each else differs.any()
        begin, size = begin + size, min(rows, size * 4)
    return changed
