"""Compressed images: what the bytes are decides, damage is said, sizes are reduced without harm."""
import struct

import cv2
from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage

from jepa_ros.errors import ContractError
from jepa_ros.robot.adapters import tensor_spec, to_array

from .make import observation, recorded

KIND = 'sensor_msgs/msg/CompressedImage'
CAMERA = observation(KIND, height=60, width=80)
DEPTH = observation(KIND, height=60, width=80, encoding='depth')


def message(data: bytes, label: str = 'jpeg') -> CompressedImage:
    made = CompressedImage(format=label)
    made.data.frombytes(data)
    return made


def encoded(pixels: np.ndarray, suffix: str = '.jpg', *options: int) -> bytes:
    """File of BGR, grey or 16-bit pixels."""
    return cv2.imencode(suffix, pixels, list(options))[1].tobytes()


def scene(height: int, width: int) -> np.ndarray:
    """Smooth BGR picture with a disc, (height, width, 3) uint8."""
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([x * 255 // width, y * 255 // height, np.full_like(x, 90)], axis=2).astype(np.uint8)
    return cv2.circle(pixels, (width // 3, height // 2), height // 5, (20, 40, 220), -1, cv2.LINE_AA)


def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.abs(a.astype(int) - b.astype(int))


@pytest.mark.parametrize('label', ['png', 'rgb8; png compressed bgr8', 'jpeg', ''])
def test_a_png_is_exact_whatever_its_format_string_says(label):
    pixels = scene(60, 80)
    np.testing.assert_array_equal(to_array(CAMERA, message(encoded(pixels, '.png'), label)), pixels[:, :, ::-1])


@pytest.mark.parametrize('label', ['jpeg', 'jpg', 'bgr8; jpeg compressed bgr8', 'rgb8; jpeg compressed bgr8', 'png'])
def test_a_jpeg_is_decoded_to_rgb(label):
    pixels = scene(60, 80)
    array = to_array(CAMERA, message(encoded(pixels, '.jpg', cv2.IMWRITE_JPEG_QUALITY, 98), label))
    assert distance(array, pixels[:, :, ::-1]).mean() < 1.5
    assert (array.shape, array.dtype) == tensor_spec(CAMERA)[:2] and array.flags.writeable


def test_colours_compressed_in_the_order_rgb_are_put_right():
    stored = scene(60, 80)[:, :, ::-1]     # image_transport without conversion: red and blue swapped in the file
    array = to_array(CAMERA, message(encoded(stored, '.png'), 'rgb8; png compressed rgb8'))
    np.testing.assert_array_equal(array, stored)


@pytest.mark.parametrize('times', [2, 3, 4, 8, 9])
def test_a_large_jpeg_is_as_good_as_if_it_were_averaged_down_from_the_original(times):
    pixels = scene(60 * times, 80 * times)
    array = to_array(CAMERA, message(encoded(pixels, '.jpg', cv2.IMWRITE_JPEG_QUALITY, 95)))
    averaged = cv2.resize(pixels, (80, 60), interpolation=cv2.INTER_AREA)[:, :, ::-1]
    assert distance(array, averaged).mean() < 2.0


def test_a_jpeg_is_not_turned_by_what_its_exif_header_says():
    exif = b'Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0'     # a quarter turn
    plain = encoded(scene(60, 80))
    turned = plain[:2] + b'\xff\xe1' + struct.pack('>H', len(exif) + 2) + exif + plain[2:]
    np.testing.assert_array_equal(to_array(CAMERA, message(turned)), to_array(CAMERA, message(plain)))


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_grey_files_and_grey_tensors(suffix):
    grey = cv2.cvtColor(scene(60, 80), cv2.COLOR_BGR2GRAY)
    colour = to_array(CAMERA, message(encoded(grey, suffix)))
    assert distance(colour, grey[:, :, None]).mean() < 1.0
    mono = observation(KIND, height=60, width=80, encoding='mono8')
    array = to_array(mono, message(encoded(scene(60, 80), suffix)))
    assert array.shape == (60, 80, 1) and distance(array[:, :, 0], grey).mean() < 1.5


def test_a_png_with_transparency_loses_it():
    pixels = np.dstack([scene(60, 80), np.full((60, 80), 3, np.uint8)])
    np.testing.assert_array_equal(to_array(CAMERA, message(encoded(pixels, '.png'), 'png')), pixels[:, :, 2::-1])


@given(st.sampled_from(['.jpg', '.png']), st.integers(8, 300), st.integers(8, 300), st.booleans())
@settings(max_examples=30, deadline=None)
def test_bag_messages_give_the_same_tensor_as_live_ones(suffix, height, width, grey):
    pixels = scene(height, width)
    live = message(encoded(pixels[:, :, 0] if grey else pixels, suffix))
    np.testing.assert_array_equal(to_array(CAMERA, live), to_array(CAMERA, recorded(live)))


# ---- depth

def test_a_16_bit_png_is_depth_in_millimetres():
    millimetres = np.arange(60 * 80, dtype=np.uint16).reshape(60, 80)
    array = to_array(DEPTH, message(encoded(millimetres, '.png'), '16UC1; png compressed '))
    np.testing.assert_allclose(array[0], millimetres / 1000, rtol=1e-6)
    assert array[1, 0, 0] == 0 and array[1].sum() == 60 * 80 - 1


def test_compressed_depth_skips_its_parameters():
    millimetres = np.full((60, 80), 1500, np.uint16)
    data = struct.pack('<iff', 0, 0.0, 0.0) + encoded(millimetres, '.png')
    array = to_array(DEPTH, message(data, '16UC1; compressedDepth png'))
    np.testing.assert_allclose(array[0], 1.5)


def test_quantised_compressed_depth_is_put_back_into_metres():
    # depth_image_transport: a = q (q + 1), b = 1 − a / max, stored = a / depth + b, here with q 100 and max 10 m
    a = 100.0 * 101.0
    b = 1.0 - a / 10.0
    metres = np.linspace(1.0, 5.0, 60 * 80).reshape(60, 80)
    stored = np.clip(np.rint(a / metres + b), 0, 65535).astype(np.uint16)
    stored[0, 0] = 0
    data = struct.pack('<iff', 0, a, b) + encoded(stored, '.png')
    array = to_array(DEPTH, message(data, '32FC1; compressedDepth png'))
    assert array[1, 0, 0] == 0
    np.testing.assert_allclose(array[0].ravel()[1:], metres.ravel()[1:], atol=0.002)


@pytest.mark.parametrize('data, label, words', [
    (encoded(scene(60, 80), '.png'), 'png', 'sensor: the PNG has 3 channels of 8 bits; depth needs one of 16'),
    (encoded(scene(60, 80)), 'jpeg', 'sensor: a JPEG cannot hold depth, it needs a PNG of 16 bits'),
    (struct.pack('<iff', 0, 1, 1) + b'RVL-data', '32FC1; compressedDepth rvl', 'neither JPEG nor PNG'),
])
def test_what_is_no_depth_is_refused(data, label, words):
    with pytest.raises(ContractError, match=words):
        to_array(DEPTH, message(data, label))


# ---- damage

@pytest.mark.parametrize('data, label, words', [
    (b'', 'jpeg', "sensor: format 'jpeg' with 0 bytes that begin with nothing is neither JPEG nor PNG"),
    (b'\0\0\0\x01gD', 'h264', "sensor: format 'h264' with 6 bytes that begin with 00 00 00 01 is neither"),
    (encoded(scene(60, 80))[:-200], 'jpeg', 'sensor: the JPEG of .* is cut off'),
    (encoded(scene(60, 80))[:30], 'jpeg', 'sensor: the JPEG of 30 bytes has no header with its size'),
    (encoded(scene(60, 80), '.png')[:-200], 'png', 'sensor: the PNG of .* is cut off'),
    (b'\x89PNG\r\n\x1a\n' + bytes(20) + b'IEND', 'png', 'sensor: the PNG of 32 bytes cannot be decoded'),
    (encoded(np.zeros((60, 80), np.uint16), '.png'), 'png', 'has 16 bits a channel; if it is depth, set encoding'),
    (encoded(scene(60, 80)[:, :, 0], '.png'), 'bayer_rggb8; png compressed bayer_rggb8', 'is a Bayer mosaic'),
])
def test_damaged_or_foreign_data_is_refused_in_one_line(data, label, words):
    for made in (message(data, label), recorded(message(data, label))):
        with pytest.raises(ContractError, match=words) as refused:
            to_array(CAMERA, made)
        assert '\n' not in str(refused.value)


def test_a_jpeg_with_padding_behind_its_end_is_read():
    data = encoded(scene(60, 80))
    np.testing.assert_array_equal(to_array(CAMERA, message(data + bytes(50))), to_array(CAMERA, message(data)))


@given(st.binary(max_size=80), st.sampled_from([b'', b'\xff\xd8', b'\xff\xd8\xff\xc0', b'\x89PNG\r\n\x1a\n']))
@settings(max_examples=80, deadline=None)
def test_any_bytes_are_an_image_or_one_line(data, start):
    try:
        to_array(CAMERA, message(start + data))
    except ContractError as error:
        assert str(error).startswith('sensor: ') and '\n' not in str(error)


@given(st.integers(0, 3000), st.integers(0, 255), st.sampled_from(['.jpg', '.png']))
@settings(max_examples=60, deadline=None)
def test_a_file_with_one_wrong_byte_is_an_image_or_one_line(where, value, suffix):
    data = bytearray(encoded(scene(60, 80), suffix))
    data[where % len(data)] = value
    try:
        assert to_array(CAMERA, message(bytes(data))).shape == (60, 80, 3)
    except ContractError as error:
        assert str(error).startswith('sensor: ') and '\n' not in str(error)
