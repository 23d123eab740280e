"""`robot check --live`: what a robot in this ROS domain publishes, hears and offers, over real DDS."""
import threading

from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import Odometry
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import LaserScan

from jepa_ros.errors import BagError
from jepa_ros.robot.contract import RobotContract
from jepa_ros.runtime.listen import check_live

PERIOD_S = 0.05
LISTEN_S = 1.5


class Robot:
    """A robot of another process's making: scan and odometry at 20 Hz, ears for commands; spins in its own thread."""

    def __init__(self, command_type: type | None = Twist, scan_reliable: bool = True, namespace: str = ''):
        self._context = rclpy.Context()
        self._context.init()
        self._node = node = rclpy.create_node('robot', context=self._context, namespace=namespace or None)
        scan_qos = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE if scan_reliable
                              else ReliabilityPolicy.BEST_EFFORT)
        self._scan, self._odom = node.create_publisher(LaserScan, 'scan', scan_qos), node.create_publisher(
            Odometry, 'odom', 5)
        if command_type is not None:
            node.create_subscription(command_type, 'cmd_vel', lambda message: None, 5)
        node.create_timer(PERIOD_S, self._publish)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(node)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._spin)

    def _publish(self):
        now = self._node.get_clock().now().to_msg()
        scan = LaserScan(range_min=0.1, range_max=5.0, ranges=[1.0] * 200 + [0.0] * 161)
        odom = Odometry()
        odom.pose.pose.orientation.w = 1.0
        for message, frame in ((scan, 'base_laser_link'), (odom, 'odom')):
            message.header.stamp, message.header.frame_id = now, frame
        self._odom.publish(odom)
        self._scan.publish(scan)

    def _spin(self):
        while not self._ending.is_set():
            self._executor.spin_once(timeout_sec=0.05)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ending.set()
        self._thread.join()
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()


@pytest.fixture(scope='module')
def neato() -> RobotContract:
    return RobotContract.load('neato').model_copy(update={'control_period_s': PERIOD_S})


def said(report) -> str:
    return '\n'.join(f'{f.level} {f.where}: {f.text}' for f in report.findings)


def test_a_robot_that_fits_is_usable(ros_domain, neato):
    with Robot():
        report = check_live(neato, seconds=LISTEN_S)
    assert report.usable, said(report)
    rows = {row.key: row for row in report.rows}
    assert rows['scan'].rate_hz == pytest.approx(20, rel=0.25) and '361 beams, 55.4 % valid' in rows['scan'].content
    assert 0 <= rows['scan'].delay_s < 0.1
    assert rows['base'].content == 'publishers 0, subscribers 1'
    assert report.percepts > 5


def test_best_effort_is_a_conflict_where_the_contract_asks_for_reliable(ros_domain, neato):
    scan = neato.observations[0].model_copy(update={'qos': 'stream'})
    wants = neato.model_copy(update={'observations': [scan, neato.observations[1]]})
    with Robot(scan_reliable=False):
        report = check_live(wants, seconds=LISTEN_S)
    assert not report.usable
    assert 'error scan: /scan is offered best effort where the contract asks for reliable' in said(report)
    assert next(row for row in report.rows if row.key == 'scan').messages > 5  # heard all the same


@pytest.mark.parametrize('heard_as, line', [
    (None, 'error base: topic cmd_vel is not there'),
    (TwistStamped, 'error base: topic /cmd_vel has type geometry_msgs/msg/TwistStamped')])
def test_a_robot_that_does_not_hear_the_commands_is_not_usable(ros_domain, neato, heard_as, line):
    with Robot(heard_as):
        report = check_live(neato, seconds=0.5)
    assert not report.usable and line in said(report)


def test_nobody_is_one_line_that_names_topics_domain_and_remedy(ros_domain, neato):
    with pytest.raises(BagError) as caught:
        check_live(neato, seconds=0.5)
    line = str(caught.value)
    assert '\n' not in line and 'nobody publishes or hears a topic of contract neato (cmd_vel, odom, scan)' in line
    assert f'ROS domain {ros_domain["ROS_DOMAIN_ID"]}' in line and '--namespace' in line


def test_a_robot_is_found_in_its_namespace_only(ros_domain, neato):
    with Robot(namespace='robot_1'):
        assert check_live(neato, 'robot_1', 0.5).usable
        with pytest.raises(BagError, match=r'namespace /robot_2.*topics there: .*/robot_1/scan'):
            check_live(neato, 'robot_2', 0.5)
