"""Records three cameras (640×480 rgb8, 30 Hz) and joint states (100 Hz), and counts what is missing in the bag.

    python benchmark/record_load.py [--minutes 5] [--compress none|jpeg|png] [--output results/bags.json]

Cameras and joints are processes of their own, as they are on a robot, and all use config/dds/one_machine.xml unless the
environment names another profile. Prints a table and merges its rows into results/bags.json.
"""
import argparse
import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np
from rich.console import Console
from rich.table import Table
from rosbags.rosbag2 import Reader

from jepa_ros.paths import config_file
from jepa_ros.robot.bag_types import typestore
from jepa_ros.runtime.child import Child
from jepa_ros.runtime.ros import PROFILES

sys.path.insert(0, str(Path(__file__).resolve().parent))
from rows import BAGS, merge, row  # noqa: E402

CAMERAS = ('left', 'front', 'right')
WIDTH, HEIGHT, CAMERA_HZ, JOINTS_HZ, JOINTS = 640, 480, 30, 100, 12
CONTRACT = """
name: load
control_period_s: 0.033333333
observations:
""" + ''.join(f'  - {{key: {name}, topic: {name}/image_raw, type: sensor_msgs/msg/Image, height: 96, width: 128, '
              'timeout_s: 0.5}\n' for name in CAMERAS) + """
actions:
  - key: base
    topic: cmd_vel
    type: geometry_msgs/msg/Twist
    fields: [{name: vx_mps, field: linear.x, min: -1, max: 1, max_rate: 10}]
"""
START_S = 30.0      # until the recorder hears all topics
DRAIN_S = 1.0       # for the last messages to arrive


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--minutes', type=float, default=5.0)
    parser.add_argument('--compress', choices=('none', 'jpeg', 'png'), default='none')
    parser.add_argument('--best-effort', action='store_true', help='cameras that send nothing again')
    parser.add_argument('--quality', type=int, default=90)
    parser.add_argument('--folder', type=Path, help='where the bag is written; deleted afterwards')
    parser.add_argument('--output', type=Path, default=BAGS)
    parser.add_argument('--publish', help=argparse.SUPPRESS)   # this process is a part of the robot
    options = parser.parse_args()
    if options.publish:
        return publish(json.loads(options.publish))
    rows = measure(options)
    table = Table('what', 'value', 'unit')
    for one in rows:
        table.add_row(one['what'], f'{one["value"]:g}', one['unit'])
    Console().print(table)
    merge(options.output, rows)
    return 0 if rows[0]['value'] == 0 else 1


def measure(options: argparse.Namespace) -> list[dict]:
    """Record for a while; rows of what was lost and what it cost."""
    if not any(name in os.environ for name in PROFILES):    # the profile keeps it on this machine
        os.environ |= {PROFILES[-1]: str(config_file('dds', 'one_machine').with_suffix('.xml')),
                       'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SUBNET'}
    with tempfile.TemporaryDirectory(prefix='record_load_', dir=options.folder) as folder:
        place = Path(folder)
        (place / 'load.yaml').write_text(CONTRACT)
        recorder = Child('recorder')
        recorder.start([sys.executable, '-m', 'jepa_ros.robot.recorder_node', '--ros-args', '-p', 'autostart:=true',
                        '-p', f'robot:={place / "load.yaml"}', '-p', f'output:={place / "bag"}',
                        '-p', 'topics:=joint_states:sensor_msgs/msg/JointState', '-p',
                        f'compress_images:={options.compress}', '-p', f'jpeg_quality:={options.quality}'], place)
        robot = [_start(options, place, 'cameras', [f'{name}/image_raw' for name in CAMERAS]),
                 _start(options, place, 'joints', ['joint_states'])]
        try:
            cpu_s = _watch(robot, recorder, place)
        finally:
            for process in (*robot, recorder.process):
                _end(process)
        return _rows(options, place / 'bag', [json.loads(file.read_text()) for file in place.glob('*.sent')], cpu_s)


def _start(options: argparse.Namespace, place: Path, name: str, topics: list[str]) -> subprocess.Popen:
    settings = {'name': name, 'topics': topics, 'best_effort': options.best_effort, 'seconds': options.minutes * 60,
                'begun': str(place / f'{name}.begun'), 'sent': str(place / f'{name}.sent')}
    return subprocess.Popen([sys.executable, __file__, '--publish', json.dumps(settings)])


def _watch(robot: list[subprocess.Popen], recorder: Child, place: Path) -> float:
    """Wait until all is published; CPU seconds that the recorder took meanwhile."""
    while len(list(place.glob('*.begun'))) < len(robot):
        if any(process.poll() is not None for process in robot) or not recorder.alive:
            raise SystemExit(f'could not begin: {(place / "recorder.log").read_text()[-500:]}')
        time.sleep(0.05)
    before_s = _cpu_s(recorder.process.pid)
    while any(process.poll() is None for process in robot):
        if not recorder.alive:
            raise SystemExit(f'the recorder ended: {(place / "recorder.log").read_text()[-500:]}')
        time.sleep(0.1)
    if any(process.returncode for process in robot):
        raise SystemExit('a publisher failed')
    used_s = _cpu_s(recorder.process.pid) - before_s
    time.sleep(DRAIN_S)
    return used_s


def _rows(options: argparse.Namespace, bag: Path, published: list[dict], cpu_s: float) -> list[dict]:
    sent = {'counts': {topic: count for one in published for topic, count in one['counts'].items()},
            'bytes': sum(one['bytes'] for one in published), 'seconds': max(one['seconds'] for one in published)}
    with Reader(bag) as reader:
        counts = {c.topic.removesuffix('/compressed'): c.msgcount for c in reader.connections}
        stamps = _stamps(reader)
    lost = sum(count - counts[topic] for topic, count in sent['counts'].items())
    if any(len(set(stamps[topic])) != counts[topic] for topic in sent['counts']):
        raise SystemExit('a message is in the bag twice')
    size, seconds = sum(file.stat().st_size for file in bag.iterdir()), sent['seconds']
    kind = '' if options.compress == 'none' else f'_{options.compress}'
    return [row(f'record{kind}_lost_messages', lost, 'messages'),
            row(f'record{kind}_sent_messages', sum(sent['counts'].values()), 'messages'),
            row(f'record{kind}_duration', round(seconds, 1), 's'),
            row(f'record{kind}_input_rate', round(sent['bytes'] / seconds / 1e6, 1), 'MB/s'),
            row(f'record{kind}_disk_rate', round(size / seconds / 1e6, 1), 'MB/s'),
            row(f'record{kind}_cpu', round(cpu_s / seconds, 2), 'cores')]


def _stamps(reader: Reader) -> dict[str, list[int]]:
    """Header stamps per topic, read without unpacking an image."""
    from jepa_ros.robot.raw import header_ns
    found: dict[str, list[int]] = {}
    for connection, _, raw in reader.messages():
        if connection.msgtype != 'jepa_ros/msg/EpisodeEvent':
            found.setdefault(connection.topic.removesuffix('/compressed'), []).append(header_ns(raw))
    return found


def _cpu_s(pid: int) -> float:
    fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def _end(process: subprocess.Popen) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


# ---- the processes of the robot

def publish(settings: dict) -> int:
    """Publish at fixed rates and write down how many messages were sent."""
    import rclpy
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import Image, JointState

    from jepa_ros.runtime.ros import init
    init(args=[])
    node = rclpy.create_node(settings['name'])
    quality = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT if settings['best_effort']
                         else ReliabilityPolicy.RELIABLE)
    publishers = {f'/{topic}': node.create_publisher(JointState, topic, QoSProfile(depth=10))
                  if topic == 'joint_states' else node.create_publisher(Image, topic, quality)
                  for topic in settings['topics']}
    until_s = time.monotonic() + START_S
    while not all(p.get_subscription_count() for p in publishers.values()):
        if time.monotonic() > until_s:
            return 1
        time.sleep(0.05)
    time.sleep(2.0)     # both sides of all connections are there
    messages = _messages()
    Path(settings['begun']).touch()
    sent = _publish_all(publishers, messages, settings['seconds'])
    Path(settings['sent']).write_text(json.dumps(sent))
    for publisher in publishers.values():
        publisher.wait_for_all_acked(rclpy.duration.Duration(seconds=2))
    time.sleep(DRAIN_S)
    node.destroy_node()
    rclpy.try_shutdown()
    return 0


def _messages() -> dict[str, list[bytearray]]:
    """A second of serialised messages per kind; images with edges, gradients and noise, as a camera gives them."""
    store, rng = typestore(), np.random.default_rng(0)
    types = store.types
    header = types['std_msgs/msg/Header'](types['builtin_interfaces/msg/Time'](0, 0), 'camera')
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    images = []
    for n in range(CAMERA_HZ):
        scene = np.stack([(x + 9 * n) / 3, y / 2, (x + y) / 5], -1) % 256
        pixels = np.clip(scene + rng.normal(0, 3, scene.shape), 0, 255).astype(np.uint8)
        images.append(bytearray(store.serialize_cdr(types['sensor_msgs/msg/Image'](
            header, HEIGHT, WIDTH, 'rgb8', 0, 3 * WIDTH, pixels.reshape(-1)), 'sensor_msgs/msg/Image')))
    names = [f'joint_{n}' for n in range(JOINTS)]
    joints = bytearray(store.serialize_cdr(types['sensor_msgs/msg/JointState'](
        header, names, *[rng.normal(size=JOINTS) for _ in range(3)]), 'sensor_msgs/msg/JointState'))
    return {'image': images, 'joints': [joints]}


def _publish_all(publishers: dict, messages: dict, seconds: float) -> dict:
    counts, size, began_s = dict.fromkeys(publishers, 0), 0, time.monotonic()
    periods = {topic: 1 / (JOINTS_HZ if topic == '/joint_states' else CAMERA_HZ) for topic in publishers}
    due_s = {topic: began_s + number * 0.004 for number, topic in enumerate(publishers)}
    while (now_s := time.monotonic()) < began_s + seconds:
        topic = min(due_s, key=due_s.__getitem__)
        if due_s[topic] > now_s:
            time.sleep(due_s[topic] - now_s)
        kind = messages['joints' if topic == '/joint_states' else 'image']
        raw = kind[counts[topic] % len(kind)]
        stamp = time.time_ns()
        raw[4:12] = (stamp // 10**9).to_bytes(4, 'little') + (stamp % 10**9).to_bytes(4, 'little')
        publishers[topic].publish(bytes(raw))
        counts[topic] += 1
        size += len(raw)
        due_s[topic] += periods[topic]
    return {'counts': counts, 'bytes': size, 'seconds': time.monotonic() - began_s}


if __name__ == '__main__':
    sys.exit(main())
