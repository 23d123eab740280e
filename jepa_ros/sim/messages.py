"""What a simulated robot says, as ROS messages. Fields are filled with frombytes: lists cost 100 times more."""
import math

from builtin_interfaces.msg import Time
from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import Odometry
import numpy as np
from sensor_msgs.msg import Image, JointState, LaserScan
from std_msgs.msg import Float64MultiArray, MultiArrayDimension

from jepa_ros.sim.worlds.base import Frame, Joints, Odometry2D, Scan, Sensor

ODOM_FRAME, BASE_FRAME = 'odom', 'base_link'  # REP-105
CAMERA_FRAME = 'overhead_camera'
TYPES = {'image': Image, 'odometry': Odometry, 'scan': LaserScan, 'joints': JointState, 'array': Float64MultiArray}


def time_message(time_ns: int) -> Time:
    return Time(sec=time_ns // 10**9, nanosec=time_ns % 10**9)


def reading_message(sensor: Sensor, reading, stamp: Time, period_s: float):
    """Message of a sensor's kind; `period_s` is the time between two of its readings."""
    if sensor.kind == 'image':
        return image_message(reading, stamp, sensor.frame)
    if sensor.kind == 'odometry':
        return odometry_message(reading, stamp, sensor.frame or ODOM_FRAME)
    if sensor.kind == 'scan':
        return scan_message(reading, period_s, stamp, sensor.frame)
    if sensor.kind == 'joints':
        return joints_message(reading, stamp, sensor.frame)
    return array_message(reading)


def image_message(image: np.ndarray, stamp: Time, frame: str = CAMERA_FRAME) -> Image:
    """rgb8 image from (H, W, 3) uint8."""
    message = Image(height=image.shape[0], width=image.shape[1], encoding='rgb8', step=image.shape[1] * 3)
    message.header.stamp, message.header.frame_id = stamp, frame
    message.data.frombytes(np.ascontiguousarray(image).data.cast('B'))
    return message


def odometry_message(odometry: Odometry2D, stamp: Time, frame: str = ODOM_FRAME) -> Odometry:
    """Perfect odometry: frame `odom` lies on `map`; the velocity is in `base_link`."""
    message = Odometry(child_frame_id=BASE_FRAME)
    message.header.stamp, message.header.frame_id = stamp, frame
    pose, twist = message.pose.pose, message.twist.twist
    pose.position.x, pose.position.y = odometry.x, odometry.y
    pose.orientation.z, pose.orientation.w = _half_turn(odometry.yaw)
    twist.linear.x, twist.linear.y, twist.angular.z = odometry.vx, odometry.vy, odometry.wz
    return message


def scan_message(scan: Scan, period_s: float, stamp: Time, frame: str = BASE_FRAME) -> LaserScan:
    """All beams at once, from the robot's centre."""
    last = scan.angle_min_rad + scan.angle_increment_rad * (len(scan.ranges_m) - 1)
    message = LaserScan(angle_min=scan.angle_min_rad, angle_max=last, angle_increment=scan.angle_increment_rad,
                        scan_time=period_s, range_min=scan.range_min_m, range_max=scan.range_max_m)
    message.header.stamp, message.header.frame_id = stamp, frame
    message.ranges.frombytes(_bytes(scan.ranges_m, np.float32))
    return message


def joints_message(joints: Joints, stamp: Time, frame: str = '') -> JointState:
    """Named positions, and velocities and efforts where the world has them."""
    message = JointState(name=list(joints.names))
    message.header.stamp, message.header.frame_id = stamp, frame
    for field, values in ((message.position, joints.positions), (message.velocity, joints.velocities),
                          (message.effort, joints.efforts)):
        if len(values):
            field.frombytes(_bytes(values, np.float64))
    return message


def array_message(values: np.ndarray) -> Float64MultiArray:
    """(n,) numbers; the message has no header, so no stamp."""
    message = Float64MultiArray()
    message.layout.dim = [MultiArrayDimension(label='values', size=len(values), stride=len(values))]
    message.data.frombytes(_bytes(values, np.float64))
    return message


def base_transform(odometry: Odometry2D, stamp: Time, frame: str = ODOM_FRAME) -> TransformStamped:
    """The frame of the odometry → the robot's base."""
    message = TransformStamped(child_frame_id=BASE_FRAME)
    message.header.stamp, message.header.frame_id = stamp, frame
    message.transform.translation.x, message.transform.translation.y = odometry.x, odometry.y
    message.transform.rotation.z, message.transform.rotation.w = _half_turn(odometry.yaw)
    return message


def static_transforms(frames: tuple[Frame, ...], stamp: Time) -> list[TransformStamped]:
    """The frames of a world that do not move, for /tf_static."""
    messages = []
    for frame in frames:
        message = TransformStamped(child_frame_id=frame.child)
        message.header.stamp, message.header.frame_id = stamp, frame.parent
        shift, turn = message.transform.translation, message.transform.rotation
        shift.x, shift.y, shift.z = frame.position_m
        turn.w, turn.x, turn.y, turn.z = frame.rotation
        messages.append(message)
    return messages


def _half_turn(yaw_rad: float) -> tuple[float, float]:
    """z and w of the quaternion of a turn about the vertical axis."""
    return math.sin(yaw_rad / 2), math.cos(yaw_rad / 2)


def _bytes(values, dtype) -> memoryview:
    return np.ascontiguousarray(values, dtype).data.cast('B')
