"""`recorder`: writes the topics of a robot contract, and what the agent says, into one bag.

Messages are taken as bytes and never unpacked, but for images that shall be compressed. Services, keys and joystick
buttons begin and end episodes; each is audited when it ends. A full disk ends the recording with one line and a
readable bag.
"""
from collections import deque
import json
from pathlib import Path
import sys
import time

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message

from jepa_ros.msg import EpisodeEvent

from ..cost.term_set import term_set_sha256
from ..errors import BagError, ConfigError, JepaRosError
from ..runtime.diagnostics import ERROR, WARN
from ..runtime.ear import Ear
from ..runtime.episode_control import Buttons, EpisodeControl
from ..runtime.node import ManagedNode
from ..runtime.parameters import Param
from ..runtime.process import run
from ..runtime.qos import EVENTS, LATCHED, PROFILES, SENSOR, STREAM
from .audit import Auditor, EpisodeAudit
from .bag_metadata import Provenance
from .bag_types import offered_qos
from .bag_writer import BagWriter
from .compress import chosen, COMPRESSED, compressed_contract, Compressor
from .contract import RobotContract
from .order import Arrival, TIME_ONLY
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
    'model_update': ('jepa_ros/msg/ModelUpdate', EVENTS),    # of several organs, each latched
    'sim/collisions': ('std_msgs/msg/UInt32', LATCHED),
    '/clock': ('rosgraph_msgs/msg/Clock', SENSOR),
    '/diagnostics': ('diagnostic_msgs/msg/DiagnosticArray', STREAM),
}
OWN_WORD_S = 0.5    # longer than a message of one's own is under way


class Recorder(ManagedNode):
    """Records while it is active; one activation, one bag."""

    PARAMETERS = (
        Param('robot', 'two_rooms', 'robot contract: a name or a YAML file'),
        Param('output', '', 'folder of the bag; it must not exist yet'),
        Param('topics', 'action,episode,state,prediction,plan,energy,configuration,model_update,sim/collisions',
              'what to record beyond the contract: names, separated by commas; name:package/msg/Type for others'),
        Param('clock', 'system', 'log times: system is the time of sending, sim and lockstep take them from stamps',
              choices=('system', 'sim', 'lockstep')),
        Param('parameters', '{}', 'what the recording was made with, a JSON object; kept in the bag'),
        Param('model_sha256', '', 'hash of the checkpoint that drives, if one does; kept in the bag'),
        Param('split_mb', 0, 'size in MB at which a new file of the bag is begun; 0 is never', 0, 1_000_000),
        Param('split_s', 0.0, 'seconds of log time after which a new file of the bag is begun; 0 is never', 0.0, 1e6),
        Param('compress_images', 'none', 'raw images of the contract as jpeg or png, under <topic>/compressed; or '
              'key=format for single observations, separated by commas'),
        Param('jpeg_quality', 95, 'quality of jpeg', 1, 100),
        Param('min_free_mb', 500, 'MB of the disk that must be free to begin and to go on', 0, 1_000_000),
        Param('joy_topic', '', 'topic of a joystick whose buttons begin and end episodes; empty is none'),
        Param('button_start', 7, 'number of the button that begins an episode; -1 is none', -1, 64),
        Param('button_success', 0, 'number of the button that ends an episode as a success; -1 is none', -1, 64),
        Param('button_failure', 1, 'number of the button that ends an episode as a failure; -1 is none', -1, 64),
    )

    def __init__(self, **node_options):
        self.contract: RobotContract | None = None
        self._recording: Recording | None = None
        super().__init__('recorder', **node_options)

    def setup(self) -> None:
        """Read the contract and check what can be checked before a bag exists."""
        p = self.params
        self.contract = RobotContract.load(p.robot)
        if not p.output:
            raise ConfigError('parameter output is empty: give the folder of the bag')
        if Path(p.output).exists():
            raise BagError(f'{p.output} exists already: give another output')
        try:
            self._settings = json.loads(p.parameters)
        except ValueError as error:
            raise ConfigError(f'parameter parameters is not JSON: {error}') from error
        self._term_set = term_set_sha256()
        self._formats = chosen(p.compress_images, self.contract)
        self._topics = self._wanted()
        self._unseen = {self.resolve_topic_name(s.topic) for s in self._streams()}
        self._ears: list[Ear] = []
        self._percept_ns: int | None = None
        self._audits: deque[EpisodeAudit] = deque()     # from the writer's thread
        self._audited = self._failed = 0
        self._control = EpisodeControl(self, Path(p.output).name, self._event_stamp_ns, p.joy_topic,
                                       Buttons(p.button_start, p.button_success, p.button_failure))

    def started(self) -> None:
        """Open the bag and listen."""
        p, formats = self.params, {self.resolve_topic_name(t): form for t, form in self._formats.items()}
        contract = compressed_contract(self.contract, self._formats)
        told = Provenance(contract, p.clock, self._settings, p.model_sha256, self._term_set)
        writer = BagWriter(p.output, told, split_bytes=p.split_mb * 1_000_000, split_ns=round(p.split_s * 1e9),
                           min_free_bytes=p.min_free_mb * 1_000_000)
        for name, (kind, profile) in self._topics.items():
            topic = self.resolve_topic_name(name)
            recorded = (f'{topic}/compressed', COMPRESSED) if topic in formats else (topic, kind)
            writer.add_topic(*recorded, _offered(profile))
        self._recording = Recording(
            writer, p.clock != 'system', Auditor(contract, self.resolve_topic_name),
            self.resolve_topic_name('episode'), Compressor(formats, p.jpeg_quality), self._audits.append)
        for name, (kind, profile) in self._topics.items():
            self._listen(name, message_class(kind, name), profile)
        if p.clock != 'system' and not any(self._is_stamped(name) for name in self._topics):
            self._listen_to_clock()

    def stopped(self) -> None:
        """Take what still waits, write all and close the bag."""
        if self._recording is None:
            return
        self._end_own_episode()
        self._take_waiting()
        self._recording.close()
        self._tell_audits()
        totals, failure = self._recording.totals(), self._recording.failure
        self._recording = None
        if not failure:
            self.get_logger().info(f'{self.params.output}: {sum(totals.messages.values())} messages, '
                                   f'{totals.bytes / 1e6:.1f} MB before compression, {totals.lost} lost, '
                                   f'{self._failed} of {self._audited} episodes failed their audit')

    def check(self) -> None:
        """Show progress; end when the disk does not take any more."""
        self._tell_audits()
        for ear in self._ears:
            ear.adapt()
        if self._recording.failure:
            raise BagError(self._recording.failure)
        totals = self._recording.totals()
        self._unseen -= {topic for topic in self._unseen if self.count_publishers(topic)}
        self.health.figures.update({
            'messages': json.dumps(totals.messages), 'megabytes': f'{totals.bytes / 1e6:.1f}',
            'lost': str(totals.lost), 'late': str(totals.late), 'skewed': str(totals.skewed),
            'episode': self._control.marks.running, 'ready': str(not self._unseen).lower()})
        if totals.lost:
            self.health.report('lost', WARN, f'{totals.lost} messages were lost: the disk, the CPU or DDS is too slow')
        if totals.skewed:
            self.health.report('skewed', WARN, "a publisher's clock is off by more than a second: its messages are "
                               'logged at their arrival; set the clocks of the machines (NTP, PTP)')
        if self._unseen:
            self.health.report('unseen', WARN, f'nobody publishes {", ".join(sorted(self._unseen))} yet')
        else:
            self.health.clear('unseen', 'all topics of the contract are there')

    @property
    def hardware_id(self) -> str:
        """Name of the robot."""
        return self.contract.name if self.contract else ''

    # ---- episodes

    def _event_stamp_ns(self) -> int:
        """Stamp of an event: that of the newest percept, with which an episode begins or before which it ends."""
        pacing = self.contract.pacing
        if pacing is None or not self._has_stamps(pacing):
            return self.get_clock().now().nanoseconds
        if self._percept_ns is None:
            raise JepaRosError(f'nothing has come on {pacing.topic} yet: is the robot on?')
        return self._percept_ns

    def _end_own_episode(self) -> None:
        """A recording that ends within an episode begun by hand ends it too, and hears itself say so."""
        if not self._control.marks.own:
            return
        topic = self.resolve_topic_name('episode')
        before = self._recording.taken(topic)
        self._control.stop(EpisodeEvent.STOP, 'recording ended')
        until_s = time.monotonic() + OWN_WORD_S
        while self._recording.taken(topic) == before and time.monotonic() < until_s:
            self._take_waiting()
            time.sleep(0.005)

    def _tell_audits(self) -> None:
        while self._audits:
            audit = self._audits.popleft()
            self._audited += 1
            if audit.passed:
                self.health.clear('audit', f'episode {audit.episode} passed its audit')
                continue
            self._failed += 1
            self.health.clear('audit')  # each failed episode is said
            self.health.figures['audit'] = audit.line
            self.health.report('audit', ERROR, audit.line)
        self.health.figures.update({'audited': str(self._audited), 'failed': str(self._failed)})

    # ---- topics

    def _streams(self):
        return (*self.contract.observations, *self.contract.readouts, *self.contract.actions)

    def _wanted(self) -> dict[str, tuple[str, QoSProfile]]:
        """Topic -> (type, QoS) of all that is to be recorded."""
        wanted = {s.topic: (s.type, SENSOR) for s in self.contract.readouts}
        wanted |= {s.topic: (s.type, PROFILES[s.qos]) for s in self.contract.observations}
        wanted |= {s.topic: (s.type, STREAM) for s in self.contract.actions}
        wanted['episode'] = AGENT_TOPICS['episode']
        for entry in filter(None, (entry.strip() for entry in self.params.topics.split(','))):
            name, _, kind = entry.partition(':')
            if kind:
                wanted[name] = (kind, SENSOR)  # best effort hears every publisher
            elif name in AGENT_TOPICS:
                wanted[name] = AGENT_TOPICS[name]
            else:
                raise ConfigError(f'parameter topics: {name!r} needs its type, {name}:package/msg/Type')
            message_class(wanted[name][0], name)
        for topic in self._formats:
            if f'{topic}/compressed' in wanted:
                raise ConfigError(f'{topic}/compressed is recorded as it is: do not compress {topic} too')
        return wanted

    def _has_stamps(self, observation) -> bool:
        return (has_header(message_class(observation.type, observation.topic))
                and observation.stamp == 'header')

    def _is_stamped(self, name: str) -> bool:
        """True for measurements whose stamps say what time it is on the robot."""
        measured = [s for s in (*self.contract.observations, *self.contract.readouts) if s.topic == name]
        by_arrival = self.params.clock == 'system' and any(getattr(s, 'stamp', '') == 'receive' for s in measured)
        return bool(measured) and has_header(message_class(measured[0].type, name)) and not by_arrival

    def _listen_to_clock(self) -> None:
        """A robot whose messages have no stamps: simulated time comes from /clock, whose messages begin with it."""
        recording = self._recording

        def take(raw: bytes, info) -> None:
            received = info['received_timestamp'] or time.time_ns()
            recording.put(Arrival(TIME_ONLY, raw, info['source_timestamp'] or received, received, header_ns(raw)))
        self._ears.append(Ear(self, message_class('rosgraph_msgs/msg/Clock', '/clock'), '/clock', SENSOR, take,
                              lambda count: None))

    def _listen(self, name: str, kind: type, profile: QoSProfile) -> None:
        stamped = self._is_stamped(name)
        pacing = self.contract.pacing
        first = stamped and pacing is not None and name == pacing.topic
        recording, topic, marks = self._recording, self.resolve_topic_name(name), self._control.marks

        def take(raw: bytes, info) -> None:
            received = info['received_timestamp'] or time.time_ns()
            stamp_ns = header_ns(raw) if stamped else None
            if first:
                self._percept_ns = stamp_ns
            elif name == 'episode':
                event = deserialize_message(raw, EpisodeEvent)
                marks.heard(event.event, event.episode_id)
            recording.put(Arrival(topic, raw, info['source_timestamp'] or received, received, stamp_ns))
        self._ears.append(Ear(self, kind, topic, profile, take, lambda count: recording.lost(topic, count)))
        self._subscribed[topic] = f'{kind.__module__.split(".")[0]}/msg/{kind.__name__}'

    def _take_waiting(self) -> None:
        for ear in self._ears:
            ear.take_waiting()


def _offered(profile: QoSProfile) -> list:
    return offered_qos(profile.reliability == ReliabilityPolicy.RELIABLE, profile.depth,
                       profile.durability == DurabilityPolicy.TRANSIENT_LOCAL)


def main(args: list[str] | None = None) -> int:
    """Run the recorder until a signal comes."""
    return run(lambda: [Recorder()], args)


if __name__ == '__main__':
    sys.exit(main())
