"""A Gymnasium environment as a robot contract sees it, without ROS: what `jepa-ros sim gym:<id>` would have published.

Readings come from the same world and go through the same adapters as messages do, so a percept here is, bit for bit,
the one that was recorded; a command goes the same way back. Used by `gym_loop`.
"""
from collections.abc import Mapping
import math
from types import SimpleNamespace
from typing import Any

import numpy as np

from jepa_ros.errors import ConfigError, ContractError
from jepa_ros.registry import nearest
from jepa_ros.robot.adapters import to_array
from jepa_ros.robot.contract import RobotContract
from jepa_ros.sim.worlds.base import Joints, Reading
from jepa_ros.sim.worlds.gym_world import check_id, GymWorld, RENDERED

SUCCESS_KEYS = ('is_success', 'success')    # of `info`: Gymnasium's robotics environments, and most others
MESSAGES = {'image': 'sensor_msgs/msg/Image', 'joints': 'sensor_msgs/msg/JointState',
            'array': 'std_msgs/msg/Float64MultiArray'}


def make_robot(env_id: str, contract: RobotContract, arguments: Mapping[str, Any] | None = None) -> 'GymRobot':
    """The environment `env_id`, with a camera where the contract has one that only rendering gives.

    WorldError for an id that is unknown; ConfigError where the contract is of another robot.
    """
    env_id = env_id.removeprefix('gym:')
    check_id(env_id)
    render = any(_plain_topic(o.topic) == RENDERED for o in contract.observations)
    return GymRobot(GymWorld(env_id, render, arguments), contract)


class GymRobot:
    """Percepts, readouts and commands of a contract for a world; time passes in whole steps of the environment."""

    def __init__(self, world: GymWorld, contract: RobotContract):
        self.world, self.contract = world, contract
        self._kinds = {sensor.topic: sensor.kind for sensor in world.sensors}
        steps = contract.control_period_s / world.control_period_s
        if round(steps) < 1 or not math.isclose(steps, round(steps), rel_tol=1e-3):
            raise ConfigError(f'robot {contract.name} acts every {contract.control_period_s:g} s, world {world.name} '
                              f'steps every {world.control_period_s:g} s, which does not divide it')
        self._steps = round(steps)
        self._check_observations()
        self._fields = self._command_fields()
        self.percept()      # says now what cannot be converted

    def reset(self, seed: int, options: dict[str, Any] | None = None) -> None:
        """Begin an episode drawn with the seed; `options` are the environment's own."""
        self.world.reset(seed, {}, options)

    def percept(self, instead: Mapping[str, Reading] | None = None) -> dict[str, np.ndarray]:
        """Tensors by observation key; readings of `instead`, by topic, stand in for the world's own."""
        return {o.key: np.asarray(self._array(o, instead)) for o in self.contract.observations
                if _plain_topic(o.topic) in self._kinds}

    def readouts(self, instead: Mapping[str, Reading] | None = None) -> dict[str, float]:
        """Numbers by readout name, of those that this world has."""
        return {r.name: float(self._array(r, instead)) for r in self.contract.readouts
                if _plain_topic(r.topic) in self._kinds}

    def step(self, action: np.ndarray) -> float:
        """One control period under an action (A,) in the contract's units and order; its reward, summed over steps."""
        command = self.world.idle_command
        command[self._fields] = np.asarray(action, float)
        reward = 0.0
        for _ in range(self._steps):
            if self.world.ending is not None:
                break
            self.world.step(command)
            reward += self.world.reward
        return reward

    @property
    def most_steps(self) -> int:
        """Control periods until the environment ends an episode by itself; 0 for never."""
        return -(-(self.world.step_limit or 0) // self._steps)

    @property
    def succeeded(self) -> bool | None:
        """Whether the environment says that its task is done; None where it never says."""
        said = next((self.world.info[key] for key in SUCCESS_KEYS if key in self.world.info), None)
        return None if said is None else bool(np.all(said))

    def _array(self, stream, instead: Mapping[str, Reading] | None) -> np.ndarray | np.float32:
        topic = _plain_topic(stream.topic)
        reading = (instead or {}).get(topic)
        return to_array(stream, plain_message(self._kinds[topic], self.world.read(topic) if reading is None
                                              else reading))

    def _check_observations(self) -> None:
        for o in self.contract.observations:
            kind = self._kinds.get(_plain_topic(o.topic))
            if kind is None and not o.required:
                continue
            if kind is None:
                raise self._other_robot(f'observation {o.key} comes on topic {o.topic}'
                                        f'{nearest(_plain_topic(o.topic), self._kinds)}', list(self._kinds))
            if MESSAGES[kind] != o.type:
                raise self._other_robot(f'observation {o.key} is {o.type}', [f'{o.topic} as {MESSAGES[kind]}'])

    def _command_fields(self) -> list[int]:
        """For each action number of the contract its place in the world's command."""
        port, found = self.world.command, []
        for stream in self.contract.actions:
            if _plain_topic(stream.topic) != port.topic or stream.type != port.type:
                raise self._other_robot(f'action {stream.key} goes to {stream.topic} as {stream.type}',
                                        [f'{port.topic} as {port.type}'])
            for field in stream.fields:
                if field.field not in port.fields:
                    raise self._other_robot(f'action {field.name} is {field.field}', list(port.fields))
                found.append(port.fields.index(field.field))
        return found

    def _other_robot(self, what: str, has: list[str]) -> ConfigError:
        return ConfigError(f'the model is for robot {self.contract.name}, whose {what}; world {self.world.name} has '
                           f'{", ".join(has)}: choose a model that was trained on this world')


def plain_message(kind: str, reading: Reading) -> SimpleNamespace:
    """What `sim/messages.py` makes of a reading, with the fields that adapters read and no ROS."""
    if kind == 'joints':
        assert isinstance(reading, Joints)
        return SimpleNamespace(name=list(reading.names), position=np.asarray(reading.positions, np.float64),
                               velocity=np.asarray(reading.velocities, np.float64),
                               effort=np.asarray(reading.efforts, np.float64))
    assert isinstance(reading, np.ndarray)
    if kind == 'array':
        return SimpleNamespace(data=np.asarray(reading, np.float64),
                               layout=SimpleNamespace(dim=[], data_offset=0))
    if kind != 'image':
        raise ContractError(f'a reading of kind {kind} is none of an environment of Gymnasium')
    height, width = reading.shape[:2]
    return SimpleNamespace(encoding='rgb8', height=height, width=width, step=3 * width, is_bigendian=0,
                           data=np.ascontiguousarray(reading).tobytes())


def _plain_topic(topic: str) -> str:
    return topic.removeprefix('/')
