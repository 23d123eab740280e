"""What the simulated robot says, as ROS messages. Fields are filled with frombytes: lists cost 100 times more."""
import math

from builtin_interfaces.msg import Time
from geometry_msgs.msg import TransformStamped, Twist
from nav_msgs.msg import Odometry
import numpy as np
from sensor_msgs.msg import Image, LaserScan

from jepa_ros.sim.worlds.base import Scan

MAP_FRAME, ODOM_FRAME, BASE_FRAME = 'map', 'odom', 'base_link'  # REP-105
CAMERA_FRAME = 'overhead_camera'
CAMERA_HEIGHT_M = 3.0


def time_message(time_ns: int) -> Time:
    return Time(sec=time_ns // 10**9, nanosec=time_ns % 10**9)


def image_message(image: np.ndarray, stamp: Time) -> Image:
    """rgb8 image from (H, W, 3) uint8."""
    message = Image(height=image.shape[0], width=image.shape[1], encoding='rgb8', step=image.shape[1] * 3)
    message.header.stamp, message.header.frame_id = stamp, CAMERA_FRAME
    message.data.frombytes(np.ascontiguousarray(image).data.cast('B'))
    return message


def odometry_message(pose: tuple[float, float], velocity: tuple[float, float], stamp: Time) -> Odometry:
    """Perfect odometry: frame `odom` lies on `map`. Yaw is 0, so the velocity is the same in `base_link`."""
    message = Odometry(child_frame_id=BASE_FRAME)
    message.header.stamp, message.header.frame_id = stamp, ODOM_FRAME
    message.pose.pose.position.x, message.pose.pose.position.y = pose
    message.twist.twist.linear.x, message.twist.twist.linear.y = velocity
    return message


def scan_message(scan: Scan, period_s: float, stamp: Time) -> LaserScan:
    """All beams at once, from the robot's centre."""
    last = scan.angle_min_rad + scan.angle_increment_rad * (len(scan.ranges_m) - 1)
    message = LaserScan(angle_min=scan.angle_min_rad, angle_max=last, angle_increment=scan.angle_increment_rad,
                        scan_time=period_s, range_min=scan.range_min_m, range_max=scan.range_max_m)
    message.header.stamp, message.header.frame_id = stamp, BASE_FRAME
    message.ranges.frombytes(scan.ranges_m.data.cast('B'))
    return message


def base_transform(pose: tuple[float, float], stamp: Time) -> TransformStamped:
    message = TransformStamped(child_frame_id=BASE_FRAME)
    message.header.stamp, message.header.frame_id = stamp, ODOM_FRAME
    message.transform.translation.x, message.transform.translation.y = pose
    return message


def static_transforms(stamp: Time) -> list[TransformStamped]:
    """map → odom (the same place) and map → overhead camera (z down, x right: half a turn about x)."""
    odom, camera = (TransformStamped(child_frame_id=frame) for frame in (ODOM_FRAME, CAMERA_FRAME))
    for message in (odom, camera):
        message.header.stamp, message.header.frame_id = stamp, MAP_FRAME
    camera.transform.translation.z = CAMERA_HEIGHT_M
    camera.transform.rotation.x, camera.transform.rotation.w = 1.0, 0.0
    return [odom, camera]


def command_from(message: Twist) -> np.ndarray | None:
    """(vx, vy) in m/s, or None where any of the six numbers is not finite."""
    numbers = [getattr(part, axis) for part in (message.linear, message.angular) for axis in 'xyz']
    return np.array(numbers[:2]) if all(math.isfinite(number) for number in numbers) else None
