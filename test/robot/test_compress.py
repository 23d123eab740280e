"""Images compressed on their way into a bag, and the contract that says so."""
import numpy as np
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image

from jepa_ros.errors import BagError, ConfigError
from jepa_ros.robot.adapters import to_array
from jepa_ros.robot.bag_metadata import Provenance
from jepa_ros.robot.bag_writer import BagWriter
from jepa_ros.robot.bags import iter_percepts, read_episodes
from jepa_ros.robot.compress import chosen, compress, COMPRESSED, compressed_contract, Compressor
from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.order import Arrival
from jepa_ros.robot.recording import Recording

from .conftest import stamped, Tape, TYPES

TWO_CAMERAS = RobotContract.parse("""
name: two_cameras
control_period_s: 0.1
observations:
  - {key: front, topic: front/image_raw, type: sensor_msgs/msg/Image, height: 32, width: 32}
  - {key: grey, topic: grey/image_raw, type: sensor_msgs/msg/Image, height: 32, width: 32, encoding: mono8}
  - {key: depth, topic: depth/image_raw, type: sensor_msgs/msg/Image, height: 32, width: 32, encoding: depth}
actions:
  - key: base
    topic: cmd_vel
    type: geometry_msgs/msg/Twist
    fields: [{name: vx_mps, field: linear.x, min: -1, max: 1, max_rate: 1}]
""")


def scene(encoding: str = 'rgb8', size: int = 64) -> Image:
    """A smooth picture with colours that tell red from blue."""
    y, x = np.mgrid[0:size, 0:size] * 255 // size
    channels = {'rgb8': [x, y, 0 * x], 'bgr8': [0 * x, y, x], 'rgba8': [x, y, 0 * x, 0 * x + 9], 'mono8': [x]}[encoding]
    pixels = np.stack(channels, -1).astype(np.uint8)
    message = stamped(Image, 5, height=size, width=size, encoding=encoding, step=pixels.shape[2] * size)
    message.header.frame_id = 'lens'
    message.data.frombytes(pixels.tobytes())
    return message


@pytest.mark.parametrize('encoding', ['rgb8', 'bgr8', 'rgba8', 'mono8'])
@pytest.mark.parametrize(('form', 'tolerance'), [('png', 0), ('jpeg', 6)])
def test_a_compressed_image_gives_the_tensor_of_the_raw_one(encoding, form, tolerance):
    key = 'grey' if encoding == 'mono8' else 'front'
    raw_contract = TWO_CAMERAS
    contract = compressed_contract(raw_contract, {f'{key}/image_raw': form})
    message = scene(encoding, 32)
    done = deserialize_message(compress('t', serialize_message(message), form, 95), CompressedImage)
    assert done.header == message.header and done.format.startswith(f'{encoding}; {form} compressed')
    index = [o.key for o in contract.observations].index(key)
    before = to_array(raw_contract.observations[index], message).astype(int)
    after = to_array(contract.observations[index], done).astype(int)
    assert np.abs(after - before).max() <= tolerance


def test_formats_are_chosen_per_observation():
    assert chosen('none', TWO_CAMERAS) == {} == chosen('', TWO_CAMERAS)
    assert chosen('jpeg', TWO_CAMERAS) == {'front/image_raw': 'jpeg', 'grey/image_raw': 'jpeg'}   # never depth
    assert chosen('jpeg, front=png,grey=none', TWO_CAMERAS) == {'front/image_raw': 'png'}


@pytest.mark.parametrize(('text', 'words'), [
    ('webp', "'webp' is unknown; give jpeg, png, none"), ('back=jpeg', "'back' is no raw image"),
    ('depth=jpeg', 'depth holds distances')])
def test_a_choice_that_cannot_be_is_one_line(text, words):
    with pytest.raises(ConfigError, match=words):
        chosen(text, TWO_CAMERAS)


def test_the_contract_in_the_bag_names_the_compressed_topics(contract):
    there = compressed_contract(contract, {'camera/image_raw': 'jpeg'})
    assert (there.observations[0].topic, there.observations[0].type) == ('camera/image_raw/compressed', COMPRESSED)
    assert there.observations[0].height == contract.observations[0].height and there.actions == contract.actions
    assert compressed_contract(contract, {}) is contract
    assert RobotContract.parse(there.to_yaml()).sha256() == there.sha256() != contract.sha256()


def test_an_image_that_cannot_be_compressed_ends_the_recording_in_one_line(tmp_path, contract):
    message = scene('rgb8')
    message.encoding = 'nv12'
    with pytest.raises(BagError, match="'nv12' is not supported.*--compress-images none"):
        compress('camera/image_raw', serialize_message(message), 'jpeg', 95)


def test_an_image_of_16_bits_is_not_compressed_to_8():
    message = scene('rgb8')
    message.encoding = 'mono16'
    with pytest.raises(BagError, match='mono16 would lose half of its bits; record it raw'):
        compress('camera/image_raw', serialize_message(message), 'png', 95)


def test_a_recording_with_compressed_images_reads_like_any_other(tmp_path, contract):
    there = compressed_contract(contract, {'camera/image_raw': 'png'})
    types = {f'{t}/compressed' if t == '/camera/image_raw' else t: COMPRESSED if t == '/camera/image_raw' else kind
             for t, kind in TYPES.items()}
    writer = BagWriter(tmp_path / 'small', Provenance(there, 'lockstep'))
    for topic, kind in types.items():
        writer.add_topic(topic, kind)
    recording = Recording(writer, sim_time=True, compressor=Compressor({'/camera/image_raw': 'png'}))

    class Recorder(Tape):
        def put(self, topic, message, ns):
            super().put(topic, message, ns)
            raw = serialize_message(message)
            recording.put(Arrival(topic, raw, ns, ns, ns if hasattr(message, 'header') else None))
    tape = Recorder(tmp_path / 'raw', contract)
    tape.episode('a', 20)
    tape.writer.close()
    recording.close()
    assert recording.failure == ''
    (raw,), (small,) = read_episodes(tmp_path / 'raw', contract), read_episodes(tmp_path / 'small', there)
    np.testing.assert_array_equal(small.percepts['overhead'], raw.percepts['overhead'])    # PNG loses nothing
    np.testing.assert_array_equal(small.actions, raw.actions)
    (same,) = read_episodes(tmp_path / 'small', contract)       # the robot's own contract, of raw images
    np.testing.assert_array_equal(same.percepts['overhead'], raw.percepts['overhead'])
    (back,) = read_episodes(tmp_path / 'raw', there)
    np.testing.assert_array_equal(back.percepts['overhead'], raw.percepts['overhead'])
    (percept, *_) = iter_percepts(tmp_path / 'small', contract)
    np.testing.assert_array_equal(percept.values['overhead'], raw.percepts['overhead'][0])
    smaller = RobotContract.parse(contract.to_yaml().replace('height: 64', 'height: 32'))
    with pytest.raises(BagError, match='another robot contract: observations'):
        read_episodes(tmp_path / 'small', smaller)
