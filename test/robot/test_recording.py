"""The recorder's work without ROS: what happens to messages between their arrival and the bag."""
import json
import time

from geometry_msgs.msg import Twist
from mcap.reader import make_reader
from nav_msgs.msg import Odometry
from rclpy.serialization import serialize_message
from rosbags.rosbag2 import Reader
import yaml

from jepa_ros.msg import EpisodeEvent
from jepa_ros.robot import recording as module
from jepa_ros.robot.audit import Auditor
from jepa_ros.robot.bag_metadata import AUDIT, custom_data, Provenance
from jepa_ros.robot.bag_writer import BagWriter
from jepa_ros.robot.compress import COMPRESSED, Compressor
from jepa_ros.robot.order import Arrival
from jepa_ros.robot.recording import Recording

from .conftest import picture, stamped, TYPES

TWIST = serialize_message(Twist())


def begin(folder, contract, topics=TYPES, **settings) -> Recording:
    writer = BagWriter(folder, Provenance(contract, 'sim'))
    for topic, kind in topics.items():
        writer.add_topic(topic, kind)
    return Recording(writer, sim_time=True, **settings)


def event(recording: Recording, kind: int, name: str, ns: int) -> None:
    raw = serialize_message(stamped(EpisodeEvent, ns, event=kind, episode_id=name))
    recording.put(Arrival('/episode', raw, ns, ns))


def drive(recording: Recording, name: str, first_ns: int, lost: int = 0) -> None:
    """Two seconds at 10 Hz; once the episode's beginning is in the bag, `lost` images are reported as lost."""
    begun = recording.totals().messages['/episode'] + 1
    event(recording, EpisodeEvent.START, name, first_ns)
    wait(lambda: recording.totals().messages['/episode'] == begun)
    recording.lost('/camera/image_raw', lost)
    for n in range(20):
        ns = first_ns + n * 10**8
        recording.put(Arrival('/camera/image_raw', serialize_message(picture(n, ns, 8)), ns, ns, ns))
        recording.put(Arrival('/odom', serialize_message(stamped(Odometry, ns)), ns + 1, ns + 1, ns))
        recording.put(Arrival('/cmd_vel', TWIST, ns + 2, ns + 2))
    event(recording, EpisodeEvent.STOP, name, first_ns + 20 * 10**8)
    wait(lambda: recording.totals().messages['/episode'] == begun + 1)


def wait(condition) -> None:
    until_s = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until_s
        time.sleep(0.005)


def test_audits_are_told_and_kept_in_the_bag(tmp_path, contract):
    told = []
    recording = begin(tmp_path / 'bag', contract, auditor=Auditor(contract, lambda topic: f'/{topic}'),
                      episode_topic='/episode', on_audit=told.append)
    recording.put(Arrival('/odom', serialize_message(stamped(Odometry, 1)), 1, 1, 1))   # simulated time begins
    drive(recording, 'good', 10**9)
    drive(recording, 'bad', 10**10, lost=3)
    recording.close()
    assert [(a.episode, a.problems) for a in told] == [
        ('good', []), ('bad', ['3 messages lost on camera/image_raw'])]
    assert json.loads(custom_data(tmp_path / 'bag')[AUDIT]) == {'episodes': 2, 'failed': {'bad': told[1].problems}}
    with (tmp_path / 'bag' / 'bag.mcap').open('rb') as stream:
        kept = [json.loads(m.metadata['audit']) for m in make_reader(stream).iter_metadata() if m.name == AUDIT]
    assert [(k['episode'], k['passed']) for k in kept] == [('good', True), ('bad', False)]
    assert kept[0]['streams']['/camera/image_raw'] == {
        'count': 20, 'rate_hz': 10.0, 'longest_gap_s': 0.1, 'lost': 0}
    assert recording.totals().lost == 3


def test_a_full_queue_loses_messages_and_counts_them(tmp_path, contract, monkeypatch):
    monkeypatch.setattr(module, 'QUEUE_BYTES', 5 * len(TWIST))
    recording = begin(tmp_path / 'bag', contract)
    for n in range(9):     # faster than the writer's thread looks
        recording.put(Arrival('/cmd_vel', TWIST, n, n))
    recording.close()
    totals = recording.totals()
    assert totals.lost == 4 and totals.messages['/cmd_vel'] == 5


def test_compressed_images_keep_their_place_however_long_they_take(tmp_path, contract):
    topics = {'/camera/image_raw/compressed': COMPRESSED, '/cmd_vel': TYPES['/cmd_vel']}
    recording = begin(tmp_path / 'bag', contract, topics, compressor=Compressor({'/camera/image_raw': 'png'}))
    for n, size in enumerate((900, 8, 900, 8)):     # noise: the large ones take a thousand times longer
        ns = 10 * n + 1
        recording.put(Arrival('/camera/image_raw', serialize_message(picture(n, ns, size)), ns, ns, ns))
        recording.put(Arrival('/cmd_vel', TWIST, ns + 5, ns + 5))
    recording.close()
    with Reader(tmp_path / 'bag') as reader:
        found = [(c.topic, ns) for c, ns, _ in reader.messages()]
    assert [topic for topic, _ in found] == list(topics) * 4
    assert [ns for topic, ns in found[::2]] == [1, 11, 21, 31]


def test_metadata_of_a_running_recording_lists_its_topics(tmp_path, contract):
    recording = begin(tmp_path / 'bag', contract)
    recording.put(Arrival('/cmd_vel', TWIST, 1, 1, 1))

    def listed() -> set[str]:
        info = yaml.safe_load((tmp_path / 'bag' / 'metadata.yaml').read_text())['rosbag2_bagfile_information']
        return {topic['topic_metadata']['name'] for topic in info['topics_with_message_count']}
    wait(lambda: listed() == set(TYPES))
    recording.close()
