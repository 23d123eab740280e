"""Messages to arrays: live messages and bag messages must give the same tensors."""
import math

from geometry_msgs.msg import Twist
from hypothesis import given, settings
from hypothesis import strategies as st
from nav_msgs.msg import Odometry
import numpy as np
import pytest
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image

from jepa_ros.errors import ContractError
from jepa_ros.robot.adapters import fill, to_array, to_command
from jepa_ros.robot.bag_types import typestore
from jepa_ros.robot.contract import RobotContract

CONTRACT = RobotContract.load('two_rooms')
CAMERA, BASE = CONTRACT.observations[0], CONTRACT.actions[0]
SIZE = (CAMERA.height, CAMERA.width)


def image(pixels: np.ndarray, encoding: str, padding: int = 0) -> Image:
    """Image message of (H, W) or (H, W, 3) uint8 with `padding` bytes behind each row."""
    rows = pixels.reshape(len(pixels), -1)
    data = np.pad(rows, ((0, 0), (0, padding)), constant_values=255)
    message = Image(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding, step=data.shape[1])
    message.data.frombytes(np.ascontiguousarray(data).tobytes())
    return message


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)


def test_rgb_of_the_contracts_size_passes_unchanged(pixels):
    np.testing.assert_array_equal(to_array(CAMERA, image(pixels, 'rgb8')), pixels)


def test_bgr_becomes_rgb(pixels):
    np.testing.assert_array_equal(to_array(CAMERA, image(pixels[:, :, ::-1], 'bgr8')), pixels)


@pytest.mark.parametrize('encoding, order', [('rgba8', [0, 1, 2]), ('bgra8', [2, 1, 0])])
def test_transparency_is_left_out(pixels, encoding, order):
    alpha = np.full((*pixels.shape[:2], 1), 7, np.uint8)
    message = image(np.concatenate([pixels[:, :, order], alpha], axis=2), encoding)
    np.testing.assert_array_equal(to_array(CAMERA, message), pixels)


def test_grey_becomes_three_equal_channels(pixels):
    array = to_array(CAMERA, image(pixels[:, :, 0], 'mono8'))
    np.testing.assert_array_equal(array, np.repeat(pixels[:, :, :1], 3, axis=2))


def test_row_padding_is_skipped(pixels):
    np.testing.assert_array_equal(to_array(CAMERA, image(pixels, 'rgb8', padding=5)), pixels)


def test_larger_images_are_averaged_down(pixels):
    large = np.repeat(np.repeat(pixels, 2, axis=0), 2, axis=1)
    np.testing.assert_array_equal(to_array(CAMERA, image(large, 'rgb8')), pixels)


def test_result_is_a_copy_that_can_be_written(pixels):
    array = to_array(CAMERA, image(pixels, 'rgb8'))
    array[:] = 0
    assert array.flags.c_contiguous


@given(st.sampled_from(['rgb8', 'bgr8', 'mono8']), st.integers(8, 40), st.integers(8, 40), st.integers(0, 7),
       st.integers(0))
@settings(max_examples=40, deadline=None)
def test_bag_messages_give_the_same_tensor_as_live_ones(encoding, height, width, padding, seed):
    shape = (height, width) if encoding == 'mono8' else (height, width, 3)
    live = image(np.random.default_rng(seed).integers(0, 256, shape, np.uint8), encoding, padding)
    recorded = typestore().deserialize_cdr(serialize_message(live), 'sensor_msgs/msg/Image')
    np.testing.assert_array_equal(to_array(CAMERA, live), to_array(CAMERA, recorded))


def test_readouts_and_commands_of_bags_equal_live_ones():
    odometry, twist = Odometry(), Twist()
    odometry.pose.pose.position.x, twist.linear.y = 1.25, -0.5
    recorded = typestore().deserialize_cdr(serialize_message(odometry), 'nav_msgs/msg/Odometry')
    assert to_array(CONTRACT.readouts[0], odometry) == to_array(CONTRACT.readouts[0], recorded) == 1.25
    recorded = typestore().deserialize_cdr(serialize_message(twist), 'geometry_msgs/msg/Twist')
    np.testing.assert_array_equal(to_array(BASE, recorded), [0.0, -0.5])
    np.testing.assert_array_equal(to_array(BASE, twist), [0.0, -0.5])


@pytest.mark.parametrize('change, words', [
    (dict(encoding='32FC1'), "camera/image_raw: encoding '32FC1' is not supported"),
    (dict(height=65), 'camera/image_raw: data has 12288 bytes'),
    (dict(step=10), 'camera/image_raw: data has'),
    (dict(width=0), 'camera/image_raw: data has'),
])
def test_unusable_images_are_refused_in_one_line(pixels, change, words):
    message = image(pixels, 'rgb8')
    for key, value in change.items():
        setattr(message, key, value)
    with pytest.raises(ContractError, match=words):
        to_array(CAMERA, message)


def test_command_round_trip():
    kind, fields = to_command(BASE, [0.25, -0.75])
    assert kind == 'geometry_msgs/msg/Twist'
    np.testing.assert_array_equal(to_array(BASE, fill(Twist(), fields)), [0.25, -0.75])


@pytest.mark.parametrize('values, words', [
    ([1.0], '1 values for 2 fields'), ([0.0, math.nan], r'linear.y \(vy_mps\) is nan')])
def test_commands_that_cannot_be_are_refused(values, words):
    with pytest.raises(ContractError, match=words):
        to_command(BASE, values)


def test_field_that_the_message_lacks_is_named():
    wrong = BASE.fields[0].model_copy(update={'field': 'linear.q'})
    with pytest.raises(ContractError, match="cmd_vel: Twist has no field 'linear.q'"):
        to_array(BASE.model_copy(update={'fields': [wrong]}), Twist())
    with pytest.raises(ContractError, match="Twist has no field 'linear.q'"):
        fill(Twist(), {'linear.q': 1.0})


def test_field_that_is_no_number_is_named():
    whole = BASE.fields[0].model_copy(update={'field': 'linear'})
    with pytest.raises(ContractError, match="field 'linear' is Vector3, not a number"):
        to_array(BASE.model_copy(update={'fields': [whole]}), Twist())
