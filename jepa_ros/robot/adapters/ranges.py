"""Distances: LaserScan as (2, beams), PointCloud2 as (2, rows, columns) float32.

Channel 0 is metres, 0.0 where nothing valid was measured; channel 1 is 1.0 where it was, else 0.0. A range of 0, NaN,
infinity or one outside the sensor's limits is no distance: drivers write all of these for 'no echo'.
"""
import math

import numpy as np

from ...errors import ContractError
from .spec import Adapter, TensorSpec

_FLOATS = {7: 'f4', 8: 'f8'}    # sensor_msgs/PointField datatypes


def masked(metres: np.ndarray, low: float, high: float) -> np.ndarray:
    """(2, …) float32 of distances and their validity: finite, above 0 and within [low, high]."""
    low32, high32 = np.float32(low), np.float32(high)   # as the message's own limits are once they were sent
    result = np.empty((2, *metres.shape), np.float32)
    with np.errstate(invalid='ignore'):
        valid = np.isfinite(metres) & (metres > 0) & (metres >= low32) & (metres <= high32)
    result[0] = np.where(valid, metres, np.float32(0))
    result[1] = valid
    return result


def laser_scan(observation, message) -> np.ndarray:
    """LaserScan -> (2, beams) float32; beam i is the message's beam nearest to it, in the message's order."""
    topic, ranges = observation.topic, np.asarray(message.ranges, np.float32)
    if len(ranges) == 0:
        raise ContractError(f'{topic}: ranges is empty')
    low = message.range_min if observation.range_min_m is None else observation.range_min_m
    high = message.range_max if observation.range_max_m is None else observation.range_max_m
    if not low < high:      # NaN too
        raise ContractError(f'{topic}: range_min {low:g} and range_max {high:g} leave no valid distance; set '
                            'range_min_m and range_max_m in the robot contract')
    if len(ranges) != observation.beams:
        ranges = ranges[_nearest_index(len(ranges), observation.beams)]
    return masked(ranges, low, high)


def laser_spec(observation) -> TensorSpec:
    """(2, beams) float32."""
    if observation.beams < 2:
        raise ContractError(f'beams is {observation.beams}; a scan has at least 2')
    check_limits(observation)
    return TensorSpec((2, observation.beams), np.dtype(np.float32))


def check_limits(observation) -> None:
    """`ContractError` where range_max_m does not exceed range_min_m."""
    low, high = observation.range_min_m or 0.0, observation.range_max_m
    if high is not None and not low < high:
        raise ContractError(f'range_min_m ({low:g}) must be less than range_max_m ({high:g})')


def _nearest_index(have: int, want: int) -> np.ndarray:
    """(want,) index of the nearest of `have` beams: the first and last stay the first and last."""
    return np.rint(np.linspace(0, have - 1, want)).astype(np.intp)


def point_cloud(observation, message) -> np.ndarray:
    """PointCloud2 -> (2, height, width) float32 range image, the nearest point of each cell.

    Row 0 is at elevation_max_rad. Column 0 begins at azimuth −π (behind the sensor), columns run counter-clockwise as
    the beams of a LaserScan do: the middle one looks along +x, left of it in space is right of it in the image.
    """
    rows, columns = observation.height, observation.width
    x, y, z = _coordinates(observation.topic, message)
    with np.errstate(over='ignore'):    # an infinite distance is masked
        ground = np.hypot(x, y)
        distance = np.hypot(ground, z)
    low, high = observation.range_min_m or 0.0, observation.range_max_m or math.inf
    bottom, top = observation.elevation_min_rad, observation.elevation_max_rad
    elevation = np.arctan2(z, ground)
    keep = (distance > 0) & (distance >= low) & (distance <= high) & (elevation >= bottom) & (elevation <= top)
    distance, elevation, x, y = distance[keep], elevation[keep], x[keep], y[keep]
    row = np.minimum(((top - elevation) / (top - bottom) * rows).astype(np.intp), rows - 1)
    column = ((np.arctan2(y, x) + math.pi) / (2 * math.pi) * columns).astype(np.intp) % columns
    nearest = np.full(rows * columns, np.inf, np.float32)
    np.minimum.at(nearest, row * columns + column, distance)
    return masked(nearest.reshape(rows, columns), low, high)


def cloud_spec(observation) -> TensorSpec:
    """(2, height, width) float32."""
    bottom, top = observation.elevation_min_rad, observation.elevation_max_rad
    if not -math.pi / 2 - 1e-6 <= bottom < top <= math.pi / 2 + 1e-6:
        raise ContractError(f'elevation_min_rad ({bottom:g}) must be less than elevation_max_rad ({top:g}), both '
                            'within ±π/2')
    check_limits(observation)
    return TensorSpec((2, observation.height, observation.width), np.dtype(np.float32))


def _coordinates(topic: str, message) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, y, z (n,) float32 in m of the points whose three coordinates are finite."""
    points = _points(topic, message)
    with np.errstate(over='ignore'):    # what float32 cannot hold becomes infinite and is left out
        x, y, z = (points[axis].astype(np.float32).ravel() for axis in 'xyz')
    keep = np.isfinite(x) & np.isfinite(y) & np.isfinite(z)
    return x[keep], y[keep], z[keep]


def _points(topic: str, message) -> np.ndarray:
    """(height, width) view of the message's bytes with fields x, y, z."""
    height, width, step, row = message.height, message.width, message.point_step, message.row_step
    fields = {field.name: field for field in message.fields}
    missing = [axis for axis in 'xyz' if axis not in fields]
    if missing:
        raise ContractError(f'{topic}: the point cloud has no field {missing[0]!r}; it has '
                            f'{", ".join(fields) or "none"}')
    order, formats = '>' if message.is_bigendian else '<', []
    for axis in 'xyz':
        field = fields[axis]
        if field.datatype not in _FLOATS:
            raise ContractError(f'{topic}: field {axis} has datatype {field.datatype}, not FLOAT32 (7) or FLOAT64 (8)')
        formats.append(order + _FLOATS[field.datatype])
        if field.offset + np.dtype(formats[-1]).itemsize > step:
            raise ContractError(f'{topic}: field {axis} at offset {field.offset} does not fit point_step {step}')
    size = len(message.data)
    if height * width == 0:
        return np.zeros((0, 0), np.dtype({'names': list('xyz'), 'formats': formats}))
    row = row or width * step
    if row < width * step or size < row * (height - 1) + width * step:
        raise ContractError(f'{topic}: data has {size} bytes, {width}×{height} points of {step} bytes with row_step '
                            f'{row} need {max(row, width * step) * height}')
    layout = np.dtype({'names': list('xyz'), 'formats': formats, 'offsets': [fields[axis].offset for axis in 'xyz'],
                       'itemsize': step})
    return np.ndarray((height, width), layout, memoryview(message.data).cast('B'), strides=(row, step))


LASER_SCAN = Adapter(laser_scan, laser_spec, needs=('beams',), may=('range_min_m', 'range_max_m'))
POINT_CLOUD = Adapter(
    point_cloud, cloud_spec, needs=('height', 'width', 'elevation_min_rad', 'elevation_max_rad'),
    may=('range_min_m', 'range_max_m'))
