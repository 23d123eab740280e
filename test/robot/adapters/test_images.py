"""Raw images: live messages and bag messages must give the same tensors."""
from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from jepa_ros.errors import ContractError
from jepa_ros.robot.adapters import tensor_spec, to_array
from jepa_ros.robot.contract import RobotContract

from .make import image, observation, recorded

CONTRACT = RobotContract.load('two_rooms')
CAMERA = CONTRACT.observations[0]
SIZE = (CAMERA.height, CAMERA.width)
IMAGE = 'sensor_msgs/msg/Image'
GREY = observation(IMAGE, height=64, width=64, encoding='mono8')
DEPTH = observation(IMAGE, height=8, width=10, encoding='depth')
BAYER = {'bayer_rggb8': 'rggb', 'bayer_bggr8': 'bggr', 'bayer_gbrg8': 'gbrg', 'bayer_grbg8': 'grbg'}


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
    tensor = to_array(CAMERA, live)
    np.testing.assert_array_equal(tensor, to_array(CAMERA, recorded(live)))
    assert (tensor.shape, tensor.dtype) == tensor_spec(CAMERA)[:2]


@pytest.mark.parametrize('change, words', [
    (dict(encoding='32FC1'), "camera/image_raw: encoding '32FC1' is not supported; set encoding: depth"),
    (dict(encoding='nv12'), "camera/image_raw: encoding 'nv12' is not supported; rgb8, bgr8, .* yuyv, mono16 are"),
    (dict(height=65), 'camera/image_raw: data has 12288 bytes, 64×65 rgb8 with step 192 needs 12480'),
    (dict(height=63), 'camera/image_raw: data has 12288 bytes, 64×63 rgb8 with step 192 needs 12096'),
    (dict(step=10), 'camera/image_raw: step 10 is less than the 192 bytes of a row of 64 pixels rgb8'),
    (dict(width=0), 'camera/image_raw: data has'),
    (dict(height=0), 'camera/image_raw: data has'),
    (dict(data=[]), 'camera/image_raw: data has 0 bytes'),
])
def test_unusable_images_are_refused_in_one_line(pixels, change, words):
    message = image(pixels, 'rgb8')
    for key, value in change.items():
        setattr(message, key, value)
    for made in (message, recorded(message)):
        with pytest.raises(ContractError, match=words):
            to_array(CAMERA, made)


@given(st.integers(0, 70), st.integers(0, 70), st.integers(0, 300), st.integers(0, 20_000),
       st.sampled_from(['rgb8', 'bgra8', 'mono8', '16UC1', 'bayer_rggb8', 'nonsense']))
@settings(max_examples=80, deadline=None)
def test_any_header_gives_the_tensor_or_one_line(height, width, step, size, encoding):
    message = recorded(image(np.zeros((8, 8), np.uint8), 'mono8'))
    message.height, message.width, message.step, message.encoding = height, width, step, encoding
    message.data = np.zeros(size, np.uint8)
    try:
        assert to_array(CAMERA, message).shape == (*SIZE, 3)
    except ContractError as error:
        assert str(error).startswith('camera/image_raw: ') and '\n' not in str(error)


def test_a_step_of_zero_means_rows_without_padding(pixels):
    message = image(pixels, 'rgb8')
    message.step = 0
    np.testing.assert_array_equal(to_array(CAMERA, message), pixels)


@pytest.mark.parametrize('encoding', ['rgb8', 'bgr8', 'rgba8', 'bgra8'])
def test_a_grey_tensor_weighs_red_green_and_blue_in_their_order(encoding):
    colour = {'r': 200, 'g': 100, 'b': 50, 'a': 9}
    pixels = np.tile(np.array([colour[c] for c in encoding[:-1]], np.uint8), (64, 64, 1))
    grey = to_array(GREY, image(pixels, encoding))
    assert grey.shape == (64, 64, 1) and set(grey.flat) == {round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)}


def test_grey_to_grey_passes_unchanged_as_a_copy(pixels):
    message = image(pixels[:, :, 0], 'mono8')
    grey = to_array(GREY, message)
    np.testing.assert_array_equal(grey, pixels[:, :, :1])
    grey[:] = 0
    assert np.any(np.frombuffer(message.data, np.uint8))


@pytest.mark.parametrize('encoding', BAYER)
def test_a_mosaic_becomes_its_colour(encoding):
    colour = {'r': 200, 'g': 100, 'b': 50}
    cell = np.array([colour[c] for c in BAYER[encoding]], np.uint8).reshape(2, 2)
    array = to_array(CAMERA, image(np.tile(cell, (32, 32)), encoding))
    assert set(map(tuple, array.reshape(-1, 3))) == {(200, 100, 50)}


def test_a_mosaic_too_small_to_have_colours_is_refused():
    with pytest.raises(ContractError, match='sensor: 3×3 is too small for bayer_rggb8'):
        to_array(observation(IMAGE, height=8, width=8), image(np.zeros((3, 3), np.uint8), 'bayer_rggb8'))


@pytest.mark.parametrize('encoding, element, per_metre', [('16UC1', np.uint16, 1000), ('32FC1', np.float32, 1)])
@pytest.mark.parametrize('big_endian', [False, True])
@pytest.mark.parametrize('padding', [0, 3])
def test_depth_is_in_metres_with_its_validity(encoding, element, per_metre, big_endian, padding):
    metres = np.arange(80).reshape(8, 10) / 8      # the first pixel is 0: nothing measured
    array = to_array(DEPTH, image((metres * per_metre).astype(element), encoding, padding, big_endian))
    np.testing.assert_allclose(array[0], metres, rtol=1e-6)
    np.testing.assert_array_equal(array[1], metres > 0)
    assert (array.shape, array.dtype) == tensor_spec(DEPTH)[:2]


def test_depth_beyond_its_limits_and_non_finite_is_invalid():
    metres = np.full((8, 10), 2.0, np.float32)
    metres[0, :5] = [np.nan, np.inf, -1.0, 0.1, 9.0]
    near = observation(IMAGE, height=8, width=10, encoding='depth', range_min_m=0.2, range_max_m=5.0)
    array = to_array(near, image(metres, '32FC1'))
    np.testing.assert_array_equal(array[:, 0, :5], np.zeros((2, 5)))
    assert array[1].sum() == 75


def test_smaller_depth_takes_the_pixels_at_the_centres_and_no_averages():
    metres = np.arange(1, 1 + 24 * 30, dtype=np.float32).reshape(24, 30)
    np.testing.assert_array_equal(to_array(DEPTH, image(metres, '32FC1'))[0], metres[1::3, 1::3])


def test_colours_where_depth_is_expected_are_refused(pixels):
    with pytest.raises(ContractError, match="sensor: encoding 'rgb8' is no depth; 16UC1, 32FC1 are"):
        to_array(DEPTH, image(pixels, 'rgb8'))


@pytest.mark.parametrize('name, order', [('8UC3', 'bgr8'), ('8UC1', 'mono8')])
def test_names_that_say_no_colours_are_those_of_opencv(pixels, name, order):
    channels = pixels if order == 'bgr8' else pixels[:, :, 0]
    np.testing.assert_array_equal(to_array(CAMERA, image(channels, name)), to_array(CAMERA, image(channels, order)))


@pytest.mark.parametrize('encoding, order', [('yuv422', 'uyvy'), ('uyvy', 'uyvy'), ('yuv422_yuy2', 'yuyv'),
                                             ('yuyv', 'yuyv')])
@pytest.mark.parametrize('padding', [0, 6])
def test_two_pixels_that_share_their_colour_become_two_of_it(encoding, order, padding):
    """Video range: y 81, u 90, v 240 is pure red, y 41, u 240, v 110 pure blue."""
    colours = ({'y': 81, 'u': 90, 'v': 240}, {'y': 41, 'u': 240, 'v': 110})
    row = np.array([[c[o] for o in order] for c in colours], np.uint8).reshape(1, 4, 2)     # red, red, blue, blue
    array = to_array(CAMERA, image(np.tile(row, (64, 16, 1)), encoding, padding)).astype(int)
    np.testing.assert_allclose(array[:, :2], np.broadcast_to([255, 0, 0], (64, 2, 3)), atol=2)
    np.testing.assert_allclose(array[:, 2:4], np.broadcast_to([0, 0, 255], (64, 2, 3)), atol=2)


def test_an_odd_width_has_no_pairs_of_pixels(pixels):
    with pytest.raises(ContractError, match='camera/image_raw: yuyv needs an even width, not 63'):
        to_array(CAMERA, image(np.zeros((64, 63, 2), np.uint8), 'yuyv'))


@pytest.mark.parametrize('big_endian', [False, True])
def test_grey_of_16_bits_is_scaled_to_8(big_endian):
    deep = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (64, 1))
    array = to_array(GREY, image(deep, 'mono16', 2, big_endian))
    np.testing.assert_array_equal(array[:, :, 0], np.round(deep / 257).astype(np.uint8))
    assert array.min() == 0 and array.max() == 255
