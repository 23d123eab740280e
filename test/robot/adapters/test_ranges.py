"""Scans and point clouds: what is no distance is masked, never a zero that looks like one."""
import math

from hypothesis import example, given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from sensor_msgs.msg import LaserScan, PointCloud2, PointField

from jepa_ros.errors import ContractError
from jepa_ros.robot.adapters import tensor_spec, to_array

from .make import observation, recorded

SCAN = observation('sensor_msgs/msg/LaserScan', beams=8)
CLOUD = observation('sensor_msgs/msg/PointCloud2', height=4, width=8, elevation_min_rad=-0.8, elevation_max_rad=0.8,
                    range_max_m=20.0)
any_float32 = st.floats(width=32)      # NaN and infinities too


def scan(ranges, low: float = 0.1, high: float = 5.0) -> LaserScan:
    return LaserScan(ranges=[float(r) for r in ranges], range_min=low, range_max=high)


def test_zero_nan_infinity_and_what_lies_outside_the_limits_are_masked():
    tensor = to_array(SCAN, scan([0.0, math.nan, math.inf, -math.inf, -1.0, 0.05, 5.5, 2.0]))
    np.testing.assert_array_equal(tensor[0], [0, 0, 0, 0, 0, 0, 0, 2])
    np.testing.assert_array_equal(tensor[1], [0, 0, 0, 0, 0, 0, 0, 1])


def test_distances_at_the_limits_are_valid_after_their_way_through_float32():
    message = scan([0.1] * 4 + [5.1] * 4, 0.1, 5.1)
    np.testing.assert_array_equal(to_array(SCAN, message)[1], np.ones(8))
    np.testing.assert_array_equal(to_array(SCAN, recorded(message))[1], np.ones(8))


def test_limits_of_the_contract_replace_those_of_the_message():
    narrow = SCAN.model_copy(update={'range_min_m': 1.0, 'range_max_m': 2.0})
    np.testing.assert_array_equal(to_array(narrow, scan([0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 1.2, 0.0]))[1],
                                  [0, 1, 1, 1, 0, 0, 1, 0])


@pytest.mark.parametrize('have, expected', [(15, [0, 2, 4, 6, 8, 10, 12, 14]), (4, [0, 0, 1, 1, 2, 2, 3, 3]),
                                            (1, [0] * 8)])
def test_each_beam_is_the_nearest_one_of_the_message(have, expected):
    tensor = to_array(SCAN, scan(1 + np.arange(have) / 10))
    np.testing.assert_allclose(tensor[0], 1 + np.array(expected) / 10, rtol=1e-6)


@given(st.lists(any_float32, min_size=1, max_size=30), st.floats(0, 2, width=32), st.floats(2.5, 100, width=32))
@settings(max_examples=80, deadline=None)
def test_any_garbage_gives_finite_tensors_whose_flags_follow_the_rule(ranges, low, high):
    exact = SCAN.model_copy(update={'beams': max(len(ranges), 2)})
    if len(ranges) == 1:
        ranges *= 2
    message = scan(ranges, low, high)
    tensor = to_array(exact, message)
    assert np.isfinite(tensor).all() and (tensor.shape, tensor.dtype) == tensor_spec(exact)[:2]
    rule = [math.isfinite(r) and r > 0 and low <= r <= high for r in ranges]
    np.testing.assert_array_equal(tensor[1], np.array(rule, np.float32))
    np.testing.assert_array_equal(tensor[0], np.where(rule, np.array(ranges, np.float32), 0))
    np.testing.assert_array_equal(tensor, to_array(exact, recorded(message)))


@pytest.mark.parametrize('message, words', [
    (scan([]), 'sensor: ranges is empty'),
    (scan([1.0], 0.0, 0.0), 'sensor: range_min 0 and range_max 0 leave no valid distance; set range_min_m'),
    (scan([1.0], 0.0, math.nan), 'range_max nan leave no valid distance'),
])
def test_scans_without_anything_to_measure_are_refused(message, words):
    for made in (message, recorded(message)):
        with pytest.raises(ContractError, match=words):
            to_array(SCAN, made)


# ---- point clouds

def cloud(points: np.ndarray, layout: str = '<f4', step: int = 16, padding: int = 0, rows: int = 1) -> PointCloud2:
    """Point cloud of (n, 3) with fields z, x, y from offset 0 on, `step` bytes a point, `padding` behind each row."""
    item = np.dtype(layout).itemsize
    dtype = np.dtype({'names': ['z', 'x', 'y'], 'formats': [layout] * 3, 'offsets': [0, item, 2 * item],
                      'itemsize': step})
    packed = np.zeros(len(points), dtype)
    for axis, values in zip('xyz', points.T):
        packed[axis] = values
    lines = packed.view(np.uint8).reshape(rows, -1) if len(points) else np.zeros((rows, 0), np.uint8)
    data = np.pad(lines, ((0, 0), (0, padding)))
    message = PointCloud2(height=rows, width=len(points) // rows, point_step=step, row_step=data.shape[1],
                          is_bigendian=layout[0] == '>')
    kind = PointField.FLOAT32 if item == 4 else PointField.FLOAT64
    message.fields = [PointField(name=n, offset=dtype.fields[n][1], datatype=kind, count=1) for n in ('x', 'y', 'z')]
    message.data.frombytes(data.tobytes())
    return message


def at(azimuth: float, elevation: float, distance: float) -> list[float]:
    return [distance * math.cos(elevation) * math.cos(azimuth), distance * math.cos(elevation) * math.sin(azimuth),
            distance * math.sin(elevation)]


POINTS = np.array([at(-3.0, 0.7, 3.0), at(0.1, 0.1, 7.0), at(0.2, 0.15, 6.0), at(1.7, -0.7, 2.0), at(3.1, 0.0, 4.0),
                   at(0.1, 1.2, 5.0), at(0.1, 0.1, 30.0), [math.nan, 0, 0]])


@pytest.mark.parametrize('layout, step, padding, rows', [
    ('<f4', 16, 0, 1), ('>f4', 12, 0, 1), ('<f8', 32, 0, 1), ('>f8', 24, 0, 2), ('<f4', 18, 7, 4)])
def test_a_cloud_becomes_a_range_image_whatever_its_layout(layout, step, padding, rows):
    message = cloud(POINTS, layout, step, padding, rows)
    image = to_array(CLOUD, message)
    expected = np.zeros((4, 8))
    expected[0, 0], expected[1, 4], expected[3, 6], expected[2, 7] = 3.0, 6.0, 2.0, 4.0
    np.testing.assert_allclose(image[0], expected, rtol=1e-6)
    np.testing.assert_array_equal(image[1], expected > 0)
    np.testing.assert_array_equal(image, to_array(CLOUD, recorded(message)))
    assert (image.shape, image.dtype) == tensor_spec(CLOUD)[:2]


def test_the_middle_column_looks_ahead_and_columns_run_counter_clockwise():
    ahead_left = to_array(CLOUD, cloud(np.array([at(0.01, 0, 1), at(math.pi / 2 + 0.01, 0, 2)])))[0]
    assert ahead_left[:, 4].max() == pytest.approx(1) and ahead_left[:, 6].max() == pytest.approx(2)


def test_an_empty_cloud_is_a_measurement_of_nothing():
    for message in (cloud(np.zeros((0, 3))), recorded(cloud(np.zeros((0, 3))))):
        np.testing.assert_array_equal(to_array(CLOUD, message), np.zeros((2, 4, 8)))


@given(st.lists(st.tuples(any_float32, any_float32, any_float32), max_size=20))
@example([(3e38, 3e38, 0.0)])
@settings(max_examples=60, deadline=None)
@pytest.mark.filterwarnings('error')
def test_any_points_give_a_finite_image_of_distances_within_the_limits(points):
    image = to_array(CLOUD, cloud(np.array(points, np.float32).reshape(-1, 3)))
    assert np.isfinite(image).all()
    np.testing.assert_array_equal(image[1] == 1, image[0] > 0)
    assert image[0].max() <= 20.0


@pytest.mark.parametrize('change, words', [
    (lambda m: m.fields.pop(), "the point cloud has no field 'z'; it has x, y"),
    (lambda m: setattr(m, 'width', 9), r'data has 128 bytes, 9×1 points of 16 bytes with row_step 128 need 144'),
    (lambda m: setattr(m, 'row_step', 10), 'with row_step 10'),
    (lambda m: setattr(m, 'point_step', 8), 'field y at offset 8 does not fit point_step 8'),
    (lambda m: setattr(m.fields[1], 'datatype', PointField.INT16), r'field y has datatype 3, not FLOAT32'),
])
def test_a_cloud_that_contradicts_itself_is_refused_in_one_line(change, words):
    message = cloud(POINTS)
    change(message)
    for made in (message, recorded(message)):
        with pytest.raises(ContractError, match=words) as refused:
            to_array(CLOUD, made)
        assert str(refused.value).startswith('sensor: ')
