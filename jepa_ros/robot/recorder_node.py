"""`recorder`: writes the topics of a robot contract, and what the agent says, into one bag.

Messages are taken as bytes and never unpacked. A full disk ends the recording with one line and a readable bag.
"""
import json
from pathlib import Path
import sys
import time

from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from ..errors import BagError, ConfigError
from ..runtime.diagnostics import WARN
from ..runtime.node import ManagedNode
from ..runtime.parameters import Param
from ..runtime.process import run
from ..runtime.qos import EVENTS, LATCHED, SENSOR, STREAM
from .bag_metadata import Provenance
from .bag_types import offered_qos
from .bag_writer import BagWriter
from .contract import RobotContract
from .order import Arrival
from .raw import has_header, header_ns
from .recording import Recording
from .ros_types import message_class

AGENT_TOPICS = {  # what the agent says: topic -> (type, QoS of its publisher)
    'action': ('jepa_ros/msg/Action', STREAM),
    'episode': ('jepa_ros/msg/EpisodeEvent', EVENTS),
    'state': ('jepa_ros/msg/State', STREAM),
    'prediction': ('jepa_ros/msg/Prediction', STREAM),
    'imagination': ('jepa_ros/msg/Prediction', STREAM),
    'plan': ('jepa_ros/msg/Plan', STREAM),
    'energy': ('jepa_ros/msg/Energy', STREAM),
    'configuration': ('jepa_ros/msg/Configuration', LATCHED),
    'sim/collisions': ('std_msgs/msg/UInt32', LATCHED),
    '/clock': ('rosgraph_msgs/msg/Clock', SENSOR),
    '/diagnostics': ('diagnostic_msgs/msg/DiagnosticArray', STREAM),
}
QUEUE = 1000  # messages a subscription may hold while the executor is busy


class Recorder(ManagedNode):
    """Records while it is active; one activation, one bag."""

    PARAMETERS = (
        Param('robot', 'two_rooms', 'robot contract: a name or a YAML file'),
        Param('output', '', 'folder of the bag; it must not exist yet'),
        Param('topics', 'action,episode,state,prediction,plan,energy,configuration,sim/collisions',
              'what to record beyond the contract: names, separated by commas; name:package/msg/Type for others'),
        Param('clock', 'system', 'log times: system is the time of arrival, sim and lockstep take them from stamps',
              choices=('system', 'sim', 'lockstep')),
        Param('parameters', '{}', 'what the recording was made with, a JSON object; kept in the bag'),
        Param('model_sha256', '', 'hash of the checkpoint that drives, if one does; kept in the bag'),
    )

    def __init__(self, **node_options):
        self.contract: RobotContract | None = None
        self._recording: Recording | None = None
        super().__init__('recorder', **node_options)

    def setup(self) -> None:
        """Read the contract and check what can be checked before a bag exists."""
        self.contract = RobotContract.load(self.params.robot)
        if not self.params.output:
            raise ConfigError('parameter output is empty: give the folder of the bag')
        if Path(self.params.output).exists():
            raise BagError(f'{self.params.output} exists already: give another output')
        try:
            self._settings = json.loads(self.params.parameters)
        except ValueError as error:
            raise ConfigError(f'parameter parameters is not JSON: {error}') from error
        self._topics = self._wanted()
        self._unseen = {self.resolve_topic_name(s.topic) for s in self._streams()}
        self._lost = 0
        self._subscriptions_here: list[tuple] = []

    def started(self) -> None:
        """Open the bag and listen."""
        provenance = Provenance(self.contract, self.params.clock, self._settings, self.params.model_sha256)
        writer = BagWriter(self.params.output, provenance)
        self._recording = Recording(writer, self.params.clock != 'system')
        for name, (kind, profile) in self._topics.items():
            topic = self.resolve_topic_name(name)
            writer.add_topic(topic, kind, _offered(profile))
            self._listen(topic, message_class(kind, name), profile, drives_time=self._drives_time(name))

    def stopped(self) -> None:
        """Take what still waits, write all and close the bag."""
        if self._recording is None:
            return
        for subscription, take in self._subscriptions_here:
            with subscription.handle:
                while (waiting := subscription.handle.take_message(subscription.msg_type, True)) is not None:
                    take(*waiting)
        self._recording.close()
        totals, failure = self._recording.totals(), self._recording.failure
        self._recording = None
        if not failure:
            self.get_logger().info(f'{self.params.output}: {sum(totals.messages.values())} messages, '
                                   f'{totals.bytes / 1e6:.1f} MB before compression, {totals.lost + self._lost} lost')

    def check(self) -> None:
        """Show progress; end when the disk does not take any more."""
        if self._recording.failure:
            raise BagError(self._recording.failure)
        totals = self._recording.totals()
        lost = totals.lost + self._lost
        self._unseen -= {topic for topic in self._unseen if self.count_publishers(topic)}
        self.health.figures.update({
            'messages': json.dumps(totals.messages), 'megabytes': f'{totals.bytes / 1e6:.1f}', 'lost': str(lost),
            'late': str(totals.late), 'ready': str(not self._unseen).lower()})
        if lost:
            self.health.report('lost', WARN, f'{lost} messages were lost: the disk or the CPU is too slow')
        if self._unseen:
            self.health.report('unseen', WARN, f'nobody publishes {", ".join(sorted(self._unseen))} yet')
        else:
            self.health.clear('unseen', 'all topics of the contract are there')

    @property
    def hardware_id(self) -> str:
        """Name of the robot."""
        return self.contract.name if self.contract else ''

    def _streams(self):
        return (*self.contract.observations, *self.contract.readouts, *self.contract.actions)

    def _wanted(self) -> dict[str, tuple[str, QoSProfile]]:
        """Topic -> (type, QoS) of all that is to be recorded."""
        wanted = {s.topic: (s.type, SENSOR) for s in (*self.contract.observations, *self.contract.readouts)}
        wanted |= {s.topic: (s.type, STREAM) for s in self.contract.actions}
        for entry in filter(None, (entry.strip() for entry in self.params.topics.split(','))):
            name, _, kind = entry.partition(':')
            if kind:
                wanted[name] = (kind, SENSOR)  # best effort hears every publisher
            elif name in AGENT_TOPICS:
                wanted[name] = AGENT_TOPICS[name]
            else:
                raise ConfigError(f'parameter topics: {name!r} needs its type, {name}:package/msg/Type')
            message_class(wanted[name][0], name)
        return wanted

    def _drives_time(self, name: str) -> bool:
        """True for measurements, whose stamps say what time it is on the robot."""
        return name in {s.topic for s in (*self.contract.observations, *self.contract.readouts)}

    def _listen(self, topic: str, kind: type, profile: QoSProfile, drives_time: bool) -> None:
        deep = QoSProfile(depth=QUEUE, reliability=profile.reliability, durability=profile.durability)
        stamped = drives_time and has_header(kind)
        recording = self._recording

        def take(raw: bytes, info) -> None:
            received = time.time_ns()
            recording.put(Arrival(topic, raw, info['source_timestamp'] or received, received,
                                  header_ns(raw) if stamped else None))
        subscription = self.create_subscription(
            kind, topic, take, deep, raw=True, event_callbacks=SubscriptionEventCallbacks(message_lost=self._on_lost))
        self._entities.append(lambda: self.destroy_subscription(subscription))
        self._subscriptions_here.append((subscription, take))
        self._subscribed[topic] = f'{kind.__module__.split(".")[0]}/msg/{kind.__name__}'

    def _on_lost(self, event) -> None:
        self._lost += event.total_count_change


def _offered(profile: QoSProfile) -> list:
    return offered_qos(profile.reliability == ReliabilityPolicy.RELIABLE, profile.depth,
                       profile.durability == DurabilityPolicy.TRANSIENT_LOCAL)


def main(args: list[str] | None = None) -> int:
    """Run the recorder until a signal comes."""
    return run(lambda: [Recorder()], args)


if __name__ == '__main__':
    sys.exit(main())
