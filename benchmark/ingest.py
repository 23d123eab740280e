"""How fast camera bags become a training store, and what one live image costs.

    python benchmark/ingest.py [--frames 20000 4000] [--repeats 3] [--workers 0] [--only store|live]

Store: a bag of JPEG images (one bag, one episode, the hardest to divide) is built into a store by `jepa-ros dataset
build`: the start of Python and of the workers, hashing, decoding, compression and statistics included; the best of the
repeats counts. Pictures: frames of ../shared/data/donkeycar where it is
there, enlarged with new sensor noise for 640×480; else a rendered scene with noise.
Live: one 640×480 message to the normalised tensor of an encoder (3, 224, 224), by OpenCV on the CPU and by cupy on a
GPU, where there is one. Prints a table and merges its rows into results/bags.json.
"""
import argparse
from collections.abc import Callable
from pathlib import Path
import shutil
import subprocess
import sys
import tempfile
import time

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from jepa_ros.robot.adapters import gpu, to_array
from jepa_ros.robot.bag_metadata import Provenance
from jepa_ros.robot.bag_types import typestore
from jepa_ros.robot.bag_writer import BagWriter
from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.dataset.info import folder_bytes
from jepa_ros.robot.dataset.store import Store
from jepa_ros.robot.ingest import Ingest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from rows import BAGS, merge, row  # noqa: E402

SHARED = Path(__file__).resolve().parents[1].parent / 'shared' / 'data' / 'donkeycar' / 'seg_01'
CONTRACT = """
name: camera_car
control_period_s: 0.05
observations:
  - {{key: front, topic: front, type: sensor_msgs/msg/{type}, height: {height}, width: {width}}}
actions:
  - key: drive
    topic: cmd_vel
    type: geometry_msgs/msg/Twist
    fields: [{{name: throttle, field: linear.x, min: -1, max: 1, max_rate: 10}},
             {{name: steering, field: angular.z, min: -1, max: 1, max_rate: 10}}]
"""
DISTINCT = 256          # pictures; a longer bag repeats them
QUALITY = 90            # of the JPEGs that are made here
NOISE = 4.0             # standard deviation of a pixel, as of a small camera indoors
PERIOD_NS = 50_000_000
ENCODER = 224           # side of the tensor
LIVE_IMAGES = 500


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--frames', type=int, nargs=2, default=(20_000, 4_000), help='of 160×120 and of 640×480')
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--workers', type=int, default=0, help='0: one for each core')
    parser.add_argument('--only', choices=('store', 'live'))
    parser.add_argument('--output', type=Path, default=BAGS)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    rows = []
    if options.only != 'live':
        for (width, height), count in zip(((160, 120), (640, 480)), options.frames):
            rows += store_rows(width, height, count, options.repeats, options.workers)
    if options.only != 'store':
        rows += live_rows()
    table = Table('what', 'value', 'unit')
    for one in rows:
        table.add_row(one['what'], f'{one["value"]:.4g}', one['unit'])
    Console().print(table)
    merge(options.output, rows)
    return 0


# ---- bags into a store

def store_rows(width: int, height: int, count: int, repeats: int, workers: int) -> list[dict]:
    """Frames per second from a bag of JPEGs into a store, and how large both are."""
    contract = RobotContract.parse(CONTRACT.format(type='CompressedImage', height=height, width=width))
    best = 0.0
    with tempfile.TemporaryDirectory(prefix='jepa_ros_ingest_') as folder:
        bag, store = Path(folder) / 'bag', Path(folder) / 'store'
        write_bag(bag, contract, jpegs(width, height), count)
        (Path(folder) / 'robot.yaml').write_text(contract.to_yaml(), encoding='utf-8')
        command = [sys.executable, '-m', 'jepa_ros.cli.main', 'dataset', 'build', str(bag), '-o', str(store),
                   '--robot', f'{folder}/robot.yaml', '--workers', str(workers)]
        for _ in range(repeats):
            shutil.rmtree(store, ignore_errors=True)
            began_s = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            best = max(best, count / (time.perf_counter() - began_s))
        steps = Store(store).steps
        assert steps == count, f'{steps} of {count} frames are in the store'
        sizes = folder_bytes(bag), folder_bytes(store)
    what = f'jpeg_{width}x{height}'
    return [row(f'{what}_fps', round(best, 1), 'frames/s'),
            row(f'{what}_bag_bytes', round(sizes[0] / count), 'bytes/frame'),
            row(f'{what}_store_bytes', round(sizes[1] / count), 'bytes/frame')]


def write_bag(path: Path, contract: RobotContract, pictures: list[bytes], count: int) -> None:
    """A recording of `count` pictures, each answered by a command."""
    types = typestore()
    kinds = {'/front': 'sensor_msgs/msg/CompressedImage', '/cmd_vel': 'geometry_msgs/msg/Twist'}
    image, twist, vector, header, stamp = (types.types[name] for name in (
        *kinds.values(), 'geometry_msgs/msg/Vector3', 'std_msgs/msg/Header', 'builtin_interfaces/msg/Time'))
    arrays = [np.frombuffer(picture, np.uint8) for picture in pictures]
    with BagWriter(path, Provenance(contract, 'lockstep')) as bag:
        for topic, kind in kinds.items():
            bag.add_topic(topic, kind)
        for number in range(count):
            ns = 10**9 + number * PERIOD_NS
            message = image(header(stamp(*divmod(ns, 10**9)), 'camera'), 'jpeg', arrays[number % len(arrays)])
            bag.write('/front', ns, bytes(types.serialize_cdr(message, kinds['/front'])))
            command = twist(vector(0.5, 0.0, 0.0), vector(0.0, 0.0, float(np.sin(number / 30))))
            bag.write('/cmd_vel', ns + 1, bytes(types.serialize_cdr(command, kinds['/cmd_vel'])))


def jpegs(width: int, height: int) -> list[bytes]:
    """DISTINCT pictures as a camera would send them."""
    recorded = recorded_jpegs()
    if recorded and (width, height) == (160, 120):
        return recorded
    noise, made = np.random.default_rng(0), []
    for number in range(DISTINCT):
        plain = cv2.imdecode(np.frombuffer(recorded[number], np.uint8), cv2.IMREAD_COLOR) if recorded \
            else rendered(number)
        plain = cv2.resize(plain, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.float32)
        noisy = np.clip(plain + noise.normal(0, NOISE, plain.shape), 0, 255).astype(np.uint8)
        made.append(cv2.imencode('.jpg', noisy, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes())
    return made


def recorded_jpegs() -> list[bytes]:
    """Pictures of a real car, as its camera compressed them; none where they are not at hand."""
    if not SHARED.is_dir():
        return []
    from rosbags.rosbag2 import Reader
    found = []
    with Reader(SHARED) as reader:
        connections = [c for c in reader.connections if c.msgtype == 'sensor_msgs/msg/CompressedImage']
        for connection, _, raw in reader.messages(connections):
            found.append(bytes(typestore().deserialize_cdr(raw, connection.msgtype).data))
            if len(found) == DISTINCT:
                break
    return found


def rendered(number: int) -> np.ndarray:
    """A room with walls, a disc and light that falls off, (120, 160, 3)."""
    rows, columns = np.mgrid[:120, :160]
    light = 60 + 140 * np.exp(-((columns - 80 - 60 * np.sin(number / 20)) ** 2 + (rows - 40) ** 2) / 9000)
    scene = np.repeat(light[..., None], 3, axis=2) * (0.9, 0.95, 1.0)
    scene[(rows // 12 + columns // 16) % 2 == 0] *= 0.8
    scene = scene.astype(np.uint8)
    cv2.circle(scene, (20 + number % 120, 80), 14, (30, 140, 230), -1, cv2.LINE_AA)
    return scene


# ---- one live image

def live_rows() -> list[dict]:
    """Milliseconds for one 640×480 image, raw and JPEG, on the CPU and, where there is one, on a GPU."""
    jpeg = jpegs(640, 480)[0]
    pixels = cv2.cvtColor(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    rows = []
    for name, kind, message in (('', 'Image', raw_image(pixels)), ('_jpeg', 'CompressedImage', jpeg_image(jpeg))):
        full, small = (RobotContract.parse(CONTRACT.format(type=kind, height=h, width=w)).observations[0]
                       for h, w in ((480, 640), (ENCODER, ENCODER)))
        rows += timed(f'to_array{name}', lambda o=full, m=message: to_array(o, m))
        rows += timed(f'ingest{name}', lambda o=small, m=message: on_cpu(o, m), 'cpu')
        if not gpu.unavailable():
            rows += timed(f'ingest{name}', on_gpu(small, message), 'gpu')
        rows += percept_row(f'percept{name}', kind, message)
    if gpu.unavailable():
        Console().print(f'no GPU rows: {gpu.unavailable()}')
    return rows


def raw_image(pixels: np.ndarray):
    from sensor_msgs.msg import Image
    message = Image(height=480, width=640, encoding='rgb8', step=1920)
    message.data.frombytes(pixels.tobytes())
    return message


def jpeg_image(jpeg: bytes):
    from sensor_msgs.msg import CompressedImage
    message = CompressedImage(format='jpeg')
    message.data.frombytes(jpeg)
    return message


def on_cpu(observation, message):
    """What a GPU does in one pass: convert, resize, normalise, channels first."""
    import torch
    picture = torch.from_numpy(to_array(observation, message)).permute(2, 0, 1).contiguous()
    return picture.float().div_(255).sub_(0.5).div_(0.25)


def on_gpu(observation, message) -> Callable[[], None]:
    import torch
    convert = gpu.GpuImages((0.5,), (0.25,))

    def once() -> None:
        convert(observation, message)
        torch.cuda.synchronize()
    return once


def percept_row(name: str, kind: str, message) -> list[dict]:
    """Through buffer and grid too: a message in, a percept out."""
    ingest = Ingest(RobotContract.parse(CONTRACT.format(type=kind, height=ENCODER, width=ENCODER)))
    ns = 10**9

    def once() -> None:
        nonlocal ns
        ns += PERIOD_NS
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(ns, 10**9)
        assert len(ingest.put('front', message, ns)) == 1
    return timed(name, once)


def timed(name: str, once: Callable[[], object], device: str = 'cpu') -> list[dict]:
    """Median and 99th percentile of LIVE_IMAGES calls, one after another."""
    for _ in range(20):
        once()
    spent_ms = []
    for _ in range(LIVE_IMAGES):
        began_s = time.perf_counter()
        once()
        spent_ms.append(1e3 * (time.perf_counter() - began_s))
    return [row(f'{name}_ms_640x480_{device}', round(float(np.median(spent_ms)), 4), 'ms'),
            row(f'{name}_p99_ms_640x480_{device}', round(float(np.quantile(spent_ms, 0.99)), 4), 'ms')]


if __name__ == '__main__':
    sys.exit(main())
