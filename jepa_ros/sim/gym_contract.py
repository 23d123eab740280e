"""A robot contract drafted from the spaces of a Gymnasium environment, for `jepa-ros robot init --gym`.

What the contract says is what `jepa-ros sim gym:<id>` does: the same world is asked for its topics.
"""
import json
import re
import textwrap
from typing import cast

import numpy as np
import yaml

from jepa_ros.sim.worlds.base import Joints, sending_order, Sensor
from jepa_ros.sim.worlds.gym_world import GymWorld, RENDERED

SIDE = 64              # a picture's tensor has no more rows and columns
WIDTH = 110            # columns of a line with many names
LEAST_TIMEOUT_S = 0.3
STOP_S = 0.25          # the simulator's: a command counts this long
RATE_MARGIN = 1.01     # so that rounding does not slow a change over the whole range in one step


def draft(env_id: str, name: str = '', render: bool = False) -> str:
    """Text of a robot contract for an environment's id, as CartPole-v1 or package:Env-v0.

    `name` is the robot's, default after the id; `render` adds the camera that `jepa-ros sim --render` has. WorldError
    in one line for an environment that is unknown, does not start or has spaces without a fixed size.
    """
    env_id = env_id.removeprefix('gym:')
    world = GymWorld(env_id, render)
    try:
        return _header(world, name, render) + _observations(world) + _actions(world)
    finally:
        world.close()


def robot_name(env_id: str) -> str:
    """cart_pole_v1 for CartPole-v1: fit for a contract and for a file."""
    words = re.sub(r'(?<=[a-z0-9])(?=[A-Z])', '_', env_id.rpartition(':')[2]).lower()
    key = re.sub(r'[^a-z0-9]+', '_', words).strip('_')
    return key if key[:1].isalpha() else f'gym_{key}'


def _header(world: GymWorld, name: str, render: bool) -> str:
    command = f'jepa-ros sim {world.name}' + (' --render' if render else '')
    return (f'# Drafted from the spaces of an environment of Gymnasium; its robot: {command}\n'
            f'name: {name or robot_name(world.id)}\n'
            f'description: {json.dumps(f"environment {world.id} of Gymnasium behind ROS topics")}\n'
            f'clock: sim\n'
            f'control_period_s: {world.control_period_s!r}   # one step of the environment\n{_pace(world)}')


def _pace(world: GymWorld) -> str:
    """A tick is made by the sensor that is sent last: those sent after it would count for the next tick."""
    if len(world.sensors) == 1:
        return ''
    return f'pace: {_key(sending_order(world.sensors)[-1])}   # the simulator sends it after the others\n'


def _observations(world: GymWorld) -> str:
    timeout_s = max(LEAST_TIMEOUT_S, 3 * world.control_period_s)
    return 'observations:\n' + ''.join(_observation(world, sensor, timeout_s) for sensor in world.sensors)


def _observation(world: GymWorld, sensor: Sensor, timeout_s: float) -> str:
    reading = world.read(sensor.topic)
    if isinstance(reading, Joints):
        kind, more = 'sensor_msgs/msg/JointState', _names(reading.names) + '    fields: [position]\n'
    elif sensor.kind == 'array':
        size = np.size(cast(np.ndarray, reading))
        kind, more = 'std_msgs/msg/Float64MultiArray', f'    size: {size}\n    stamp: receive\n'
    else:
        full = cast(np.ndarray, reading).shape
        height, width = (min(side, SIDE) for side in full[:2])
        comment = '' if (height, width) == full[:2] else f"   # of the picture's {full[0]} × {full[1]}: choose"
        kind, more = 'sensor_msgs/msg/Image', f'    height: {height}{comment}\n    width: {width}\n    encoding: rgb8\n'
    return (f'  - key: {_key(sensor)}\n    topic: {sensor.topic}\n    type: {kind}\n{more}'
            f'    align: hold\n    timeout_s: {_number(timeout_s)}\n')


def _key(sensor: Sensor) -> str:
    if sensor.topic == RENDERED:
        return 'rendered'
    return sensor.topic.removeprefix('observation/').removesuffix('/image_raw').replace('/', '_')


def _names(names: tuple[str, ...]) -> str:
    lines = textwrap.wrap(', '.join(names), WIDTH, break_long_words=False)
    return '    joints: [' + '\n             '.join(lines) + ']\n'


def _actions(world: GymWorld) -> str:
    port, period_s = world.command, world.control_period_s
    text = (f'actions:\n  - key: command\n    topic: {port.topic}\n    type: {port.type}\n    safe: zeros\n'
            f'    timeout_s: {_number(max(STOP_S, 2 * period_s))}\n    fields:   # max_rate: any change in one step\n')
    for field, path in zip(world.actions, port.fields):
        rate = (field.high - field.low) / period_s * RATE_MARGIN or 1.0
        comment = '   # a whole number: rounded' if field.whole else ''
        text += (f'      - {{name: {field.name}, field: "{path}", min: {_number(field.low)}, '
                 f'max: {_number(field.high)}, max_rate: {_number(rate)}}}{comment}\n')
    return text


def _number(value: float) -> str:
    """Seven digits, those of a float32, as YAML reads a number."""
    return yaml.safe_dump(float(f'{value:.7g}')).partition('\n')[0]
