"""A robot of several sensors: a scanner, wheel odometry, and a camera that may be missing. Made up, no bag needed."""
import numpy as np

from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.episode import Episode

BEAMS = 5
CONTRACT = """
name: rover
control_period_s: 0.1
observations:
  - {key: scan, topic: scan, type: sensor_msgs/msg/LaserScan, beams: 5}
  - {key: odom, topic: odom, type: nav_msgs/msg/Odometry, fields: [twist.twist.linear.x, twist.twist.angular.z]}
  - {key: camera, topic: camera, type: sensor_msgs/msg/Image, height: 8, width: 9, required: false, align: asof,
     timeout_s: 0.5}
readouts:
  - {name: x_m, topic: odom, type: nav_msgs/msg/Odometry, field: pose.pose.position.x}
actions:
  - key: base
    topic: cmd_vel
    type: geometry_msgs/msg/Twist
    fields:
      - {name: vx_mps, field: linear.x, min: -0.5, max: 1.0, max_rate: 10.0}
      - {name: wz_radps, field: angular.z, min: -2.0, max: 2.0, max_rate: 10.0}
"""


def contract(text: str = CONTRACT) -> RobotContract:
    return RobotContract.parse(text)


def episode(steps: int, seed: int = 0, name: str = 'e', source: str = 'bags/a', missing: bool = False) -> Episode:
    """Random numbers of the right shapes; with `missing`, every second camera image is not there."""
    rng = np.random.default_rng(seed)
    seen = np.ones(steps, bool)
    if missing:
        seen[1::2] = False
    scan = np.stack([rng.uniform(0.1, 4, (steps, BEAMS)), np.ones((steps, BEAMS))], 1).astype(np.float32)
    images = rng.integers(0, 256, (steps, 8, 9, 3), np.uint8) * seen[:, None, None, None]
    return Episode(
        name, source, np.arange(steps, dtype=np.int64) * 100_000_000 + 1,
        {'scan': scan, 'odom': rng.normal(size=(steps, 2)).astype(np.float32), 'camera': images.astype(np.uint8)},
        rng.uniform([-0.5, -2], [1, 2], (steps, 2)).astype(np.float32),
        rng.normal(size=(steps, 1)).astype(np.float32), {'camera': seen})
