"""The topics of a simulated world: its sensors out, its command in. Used by the `sim` node."""
import array
from collections.abc import Callable
import math

import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile

from jepa_ros.errors import ContractError
from jepa_ros.robot.adapters import to_array
from jepa_ros.robot.adapters.commands import ARRAYS
from jepa_ros.robot.contract import ActionField, ActionStream
from jepa_ros.robot.ros_types import message_class
from jepa_ros.runtime import qos
from jepa_ros.sim import messages
from jepa_ros.sim.worlds.base import CommandPort, Odometry2D, sending_order, World

try:  # the wheels have no tf2_msgs; ROS 2 installations do
    from tf2_msgs.msg import TFMessage
except ImportError:
    TFMessage = None

ANY = 1e300   # no limit: the world clips to its own


class SensorPorts:
    """One publisher per sensor of a world, and transforms where tf2_msgs is installed."""

    def __init__(self, node: Node, world: World, stamp):
        self._world = world
        self._sensors = [(sensor, node.create_publisher(messages.TYPES[sensor.kind], sensor.topic, qos.SENSOR))
                         for sensor in sending_order(world.sensors)]
        if TFMessage is not None:
            self._tf = node.create_publisher(TFMessage, '/tf', QoSProfile(depth=100))
            self._tf_static = node.create_publisher(TFMessage, '/tf_static', qos.LATCHED)
            self._tf_static.publish(TFMessage(transforms=messages.static_transforms(world.frames, stamp)))

    def publish(self, stamp, tick: int | None) -> None:
        """Readings of all sensors that are due at the control period `tick`; None: of all."""
        for sensor, publisher in self._sensors:
            if tick is not None and tick % sensor.every:
                continue
            # a picture that nobody would get need not be drawn
            if sensor.kind == 'image' and not publisher.get_subscription_count():
                continue
            reading = self._world.read(sensor.topic)
            period_s = self._world.control_period_s * sensor.every
            publisher.publish(messages.reading_message(sensor, reading, stamp, period_s))
            if isinstance(reading, Odometry2D) and TFMessage is not None:
                self._tf.publish(TFMessage(transforms=[messages.base_transform(reading, stamp)]))


class CommandInput:
    """The subscription to the command topic: hands over commands (A,) and says why one is dropped."""

    def __init__(self, node: Node, port: CommandPort, take: Callable[[np.ndarray], None],
                 drop: Callable[[str], None]):
        self.type = port.type
        # decoded like recorded commands: what the world is told is what a bag holds
        fields = [ActionField(name=f'c{i}', field=path, min=-ANY, max=ANY, max_rate=ANY)
                  for i, path in enumerate(port.fields)]
        self._stream = ActionStream(key='command', topic=port.topic, type=port.type, fields=fields)
        self._take, self._drop = take, drop
        kind = message_class(port.type, port.topic)
        self.topic = node.create_subscription(kind, port.topic, self._on_command, qos.STREAM).topic_name

    def _on_command(self, message) -> None:
        if not all_finite(message):
            self._drop(f'{self.topic}: dropping commands with NaN or infinity')
            return
        if self.type in ARRAYS and len(message.data) != len(self._stream.fields):
            self._drop(f'{self.topic}: dropping commands of {len(message.data)} numbers, '
                       f'they must have {len(self._stream.fields)}')
            return
        try:
            command = np.asarray(to_array(self._stream, message), float)
        except ContractError as error:
            self._drop(f'{error}; dropping such commands')
            return
        self._take(command)


def all_finite(message) -> bool:
    """Whether all numbers of a ROS message are finite, those that are not used included."""
    for field in message.get_fields_and_field_types():
        value = getattr(message, field)
        if isinstance(value, (array.array, np.ndarray)):
            if not np.isfinite(np.asarray(value)).all():
                return False
        elif isinstance(value, float):
            if not math.isfinite(value):
                return False
        else:
            parts = value if isinstance(value, (list, tuple)) else [value]
            if not all(all_finite(part) for part in parts if hasattr(part, 'get_fields_and_field_types')):
                return False
    return True
