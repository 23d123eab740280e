"""From what a user shows (image, readout values, moment of a bag) to a goal of the agent. No ROS imports."""
from collections.abc import Sequence
import math
from pathlib import Path

from ..cost.cost import Goal
from ..errors import ContractError
from ..registry import nearest
from ..robot.adapters import to_array
from ..robot.bags import read_percept

IMAGE = 'sensor_msgs/msg/Image'


def from_image(agent, message) -> Goal:
    """State of a sensor_msgs/Image at every level. Raises ContractError for an image that cannot be converted."""
    observations = agent.contract.observations
    if len(observations) != 1 or observations[0].type != IMAGE:
        raise ContractError(f'a goal image needs a robot with one camera, {agent.contract.name} has '
                            f'{len(observations)} observations: give the goal as readouts or as a bag')
    return from_percept(agent, {observations[0].key: to_array(observations[0], message)})


def from_readouts(agent, names: Sequence[str], values: Sequence[float]) -> Goal:
    """Goal in readout values. Raises ContractError for an unknown name, a missing value or NaN."""
    known = agent.world_model.readout_names
    if not names:
        raise ContractError(f'a readout goal needs at least one of {", ".join(known)}')
    if len(names) != len(values):
        raise ContractError(f'a readout goal has {len(names)} names but {len(values)} values')
    for name, value in zip(names, values):
        if name not in known:
            has = f'{agent.contract.name} has {", ".join(known)}'
            raise ContractError(f"unknown readout '{name}'{nearest(name, known)}; {has}")
        if not math.isfinite(value):
            raise ContractError(f'readout {name} is {value}')
    if len(set(names)) < len(names):
        raise ContractError(f'a readout is given twice in {", ".join(names)}')
    return Goal(levels=(), readouts=dict(zip(names, (float(v) for v in values))))


def from_bag(agent, bag: str, time_s: float) -> Goal:
    """State of the percept at a moment of a recording. Raises BagError, also past the end of the bag."""
    return from_percept(agent, read_percept(Path(bag).expanduser(), agent.contract, time_s))


def from_percept(agent, percept) -> Goal:
    """State of a percept {observation key: uint8 (H, W, 3)} at every level."""
    state = agent.perception.encode(percept)
    return Goal(levels=tuple(state.levels), readouts={})
