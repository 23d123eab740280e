"""From what a user shows (image, readout values, moment of a bag) to a goal of the agent. No ROS imports."""
from collections.abc import Mapping, Sequence
import math
from pathlib import Path
from types import SimpleNamespace

import torch

from ..cost.cost import Goal
from ..errors import ConfigError, ContractError, JepaRosError
from ..registry import nearest
from ..robot.adapters import to_array
from ..robot.bags import iter_percepts, read_percept
from .sentences import Labelled, Sentences, Silent
from .task_parts import GoalSpec, Program
from .tasks import located, Task

IMAGE = 'sensor_msgs/msg/Image'


def from_image(agent, message, token: Mapping[str, float] | None = None) -> Goal:
    """State of a sensor_msgs/Image at every level. Raises ContractError for an image that cannot be converted."""
    observations = agent.contract.observations
    if len(observations) != 1 or observations[0].type != IMAGE:
        raise ContractError(f'a goal image needs a robot with one camera, {agent.contract.name} has '
                            f'{len(observations)} observations: give the goal as readouts or as a bag')
    return from_percept(agent, {observations[0].key: to_array(observations[0], message)}, token)


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


def from_bag(agent, bag: str, time_s: float, token: Mapping[str, float] | None = None) -> Goal:
    """State of the percept at a moment of a recording. Raises BagError, also past the end of the bag."""
    return from_percept(agent, read_percept(Path(bag).expanduser(), agent.contract, time_s), token)


def from_sentence(agent, sentences: Sentences, sentence: str, asked: str, default: str,
                  memory: Labelled | None = None) -> tuple[Goal | None, str]:
    """Goal and task that a sentence means; `asked` names a task that is wanted anyway, `default` one for places.

    `memory` knows the places; None: the agent's own. Where it is silent, tasks can be meant all the same. ConfigError
    for a sentence that nothing matches or two things match.
    """
    known = agent.configurator.tasks
    own = {} if asked else {name: task for name, task in known.items() if not agent.configurator.asks(name)}
    try:
        match = sentences.match(sentence, own, memory or agent.memory)
    except Silent as silent:
        try:
            match = sentences.match(sentence, own)
        except ConfigError as error:
            raise ConfigError(f'{error}; {silent}') from None
    if match.task:
        return None, match.name
    return Goal(levels=(match.state.to(agent.device),)), asked or default


def from_percept(agent, percept, token: Mapping[str, float] | None = None) -> Goal:
    """State of a percept {observation key: uint8 (H, W, 3)} at every level, seen with the task token of its task."""
    state = agent.perception.encode(percept, token=token)
    return Goal(levels=tuple(state.levels), readouts={})


def from_image_file(agent, path: Path, token: Mapping[str, float] | None = None) -> Goal:
    """State of a picture on disk, taken by the robot's camera. ConfigError for a file that is none."""
    import cv2
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)    # (H, W, 3) BGR
    if pixels is None:
        raise ConfigError(f'{path}: not an image that can be read (PNG and JPEG can)')
    height, width, _ = pixels.shape
    data = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB).tobytes()
    return from_image(agent, SimpleNamespace(encoding='rgb8', height=height, width=width, step=3 * width, data=data),
                      token)


class Shown:
    """What task files show, as states of an agent: the configurator's eyes."""

    def __init__(self, agent):
        self._agent = agent

    def goal(self, spec: GoalSpec, task: Task, token: Mapping[str, float]) -> Goal:
        """Goal of an image or a moment of a bag. The error names the task's file where it has one."""
        try:
            if spec.kind == 'image':
                return from_image_file(self._agent, located(task, spec.image), token)
            if spec.kind == 'bag':
                return from_bag(self._agent, str(located(task, spec.bag.file)), spec.bag.time_s, token)
        except JepaRosError as error:
            raise type(error)(f'{task.source}: goal: {error}' if task.source else f'goal: {error}') from None
        return from_readouts(self._agent, list(spec.readouts), list(spec.readouts.values()))

    def program(self, program: Program, task: Task):
        """States (T, D) of a demonstration, one per control step. Raises BagError, ConfigError for an empty span."""
        agent, bag = self._agent, located(task, program.bag)
        first, states = None, []
        for percept in iter_percepts(bag, agent.contract):
            first = percept.stamp_ns if first is None else first
            at_s = (percept.stamp_ns - first) * 1e-9
            if at_s > program.to_s:
                break
            if at_s >= program.from_s:
                states.append(agent.perception.encode(percept.values, percept.valid, task.modulation).levels[0])
        if len(states) < 2:
            raise ConfigError(f'{task.source}: program: {bag} has no percepts from {program.from_s:g} to '
                              f'{program.to_s:g} s')
        return torch.stack(states)
