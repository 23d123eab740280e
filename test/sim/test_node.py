"""The simulator over real DDS, in a process of its own."""
import itertools
import math
import signal
import subprocess
import sys
import time

from geometry_msgs.msg import TwistStamped
import numpy as np
import pytest
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
import rclpy

from jepa_ros.runtime import qos
from jepa_ros.sim.node import main
from jepa_ros.sim.worlds import TwoRooms
from jepa_ros.srv import ResetWorld

GRID_NS = 100_000_000


def stamp_ns(message) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def clock_ns(message) -> int:
    return message.clock.sec * 10**9 + message.clock.nanosec


def test_percepts_come_at_each_multiple_of_a_tenth_second(robot):
    robot.forget()
    robot.wait(lambda: len(robot.images) >= 8, 'images')
    stamps = [stamp_ns(image) for image in robot.images]
    assert all(stamp % GRID_NS == 0 for stamp in stamps)
    assert {b - a for a, b in itertools.pairwise(stamps)} == {GRID_NS}
    assert {stamp_ns(m) for m in robot.odometry} >= set(stamps[1:-1]) <= {stamp_ns(m) for m in robot.scans}


def test_the_image_shows_the_pose_of_its_stamp(robot):
    state = robot.reset(5, start_x_m=-0.7, start_y_m=0.4)
    expected = TwoRooms()
    expected.reset(5, dict(zip(state.names, state.values)))
    robot.wait(lambda: robot.position() == pytest.approx((-0.7, 0.4)), 'the new pose')
    fresh = stamp_ns(robot.odometry[-1])
    image = robot.wait(lambda: next((m for m in robot.images if stamp_ns(m) >= fresh), None), 'its image')
    assert (image.height, image.width, image.encoding, image.step) == (128, 128, 'rgb8', 384)
    assert image.header.frame_id == 'overhead_camera'
    assert np.array_equal(np.frombuffer(image.data, np.uint8).reshape(128, 128, 3), expected.image())


def test_time_never_goes_back_over_resets(robot):
    robot.forget()
    for seed in range(5):
        assert robot.reset(seed).success
    robot.wait(lambda: len(robot.clocks) > 30, 'the clock')
    times = [clock_ns(message) for message in robot.clocks]
    assert all(a < b for a, b in itertools.pairwise(times))
    assert all(time % 20_000_000 == 0 for time in times)  # 50 Hz


def test_a_reset_is_followed_at_once_by_a_fresh_percept(robot):
    robot.forget()
    robot.wait(lambda: robot.images, 'an image')
    before = stamp_ns(robot.images[-1])
    robot.reset(start_x_m=1.0, start_y_m=-1.0)
    robot.wait(lambda: robot.odometry and robot.position() == (1.0, -1.0), 'the start pose')
    first = next(m for m in robot.odometry if m.pose.pose.position.x == 1.0)
    assert stamp_ns(first) > before
    assert stamp_ns(first) % GRID_NS == 0


def test_the_robot_moves_as_commanded_and_stops_by_itself(robot):
    robot.reset(start_x_m=-1.0, start_y_m=0.0)
    robot.drive(0.5, 0.0, lambda: robot.odometry[-1].twist.twist.linear.x > 0.45)
    heard = stamp_ns(robot.odometry[-1])
    robot.wait(lambda: stamp_ns(robot.odometry[-1]) >= heard + 6 * GRID_NS, 'half a second')
    # the last command is at most one percept older than `heard`; 0.25 s later it is void, motors take 3 × 30 ms
    late = [m.twist.twist.linear.x for m in robot.odometry if stamp_ns(m) >= heard + 4 * GRID_NS]
    assert late and max(map(abs, late)) < 0.03
    moving = [m.twist.twist.linear.x for m in robot.odometry if heard - GRID_NS <= stamp_ns(m) <= heard + GRID_NS]
    assert max(moving) > 0.45


def test_actuators_can_be_made_to_do_something_else_while_it_runs(robot):
    client = robot.node.create_client(SetParameters, 'sim/set_parameters')
    robot.wait(client.service_is_ready, 'the parameters')

    def gain(value: float):
        given = ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=value)
        asked = client.call_async(SetParameters.Request(parameters=[Parameter(name='command_gain', value=given)]))
        robot.wait(asked.done, 'an answer')
        return asked.result().results[0]
    assert gain(-0.5).successful and not gain(9.0).successful
    try:
        robot.reset(start_x_m=-0.5, start_y_m=0.0)
        robot.drive(0.6, 0.0, lambda: robot.odometry[-1].twist.twist.linear.x < -0.27)
        assert robot.odometry[-1].twist.twist.linear.x == pytest.approx(-0.3, abs=0.03)
    finally:
        assert gain(1.0).successful


def test_a_wall_stops_the_robot_and_counts_one_collision(robot):
    robot.reset(start_x_m=-1.2, start_y_m=0.5)
    robot.wait(lambda: robot.collisions and robot.collisions[-1].data == 0, 'the count of 0')
    robot.drive(-0.8, 0.0, lambda: robot.collisions[-1].data == 1)
    robot.drive(-0.8, 0.3, lambda: robot.position()[1] > 0.7)
    assert robot.position()[0] == pytest.approx(-1.38, abs=0.005)
    assert robot.collisions[-1].data == 1
    robot.reset()
    robot.wait(lambda: robot.collisions[-1].data == 0, 'the count of 0')


@pytest.mark.parametrize('bad', [math.nan, math.inf])
def test_a_command_that_is_not_finite_is_dropped_and_reported(robot, bad):
    robot.reset(start_x_m=-1.0, start_y_m=0.0)
    robot.forget()
    robot.command(0.1, bad)
    robot.wait(lambda: any('NaN or infinity' in m.status[0].message for m in robot.diagnostics), 'a report')
    values = {pair.key: pair.value for pair in robot.diagnostics[-1].status[0].values}
    assert int(values['commands_dropped']) >= 1
    robot.wait(lambda: len(robot.odometry) > 3, 'odometry')
    assert robot.position() == (-1.0, 0.0)


@pytest.mark.parametrize(('names', 'values', 'line'), [
    (['start_z_m'], [0.0], 'start_z_m'),
    (['start_x_m', 'start_y_m'], [0.0, 1.2], 'would stand in a wall'),
    (['start_x_m'], [], '1 names but 0 values'),
    (['door_y_m'], [math.nan], 'door_y_m is nan'),
])
def test_an_impossible_reset_is_refused_in_one_line(robot, names, values, line):
    answer = robot.call(ResetWorld.Request(names=names, values=values))
    assert not answer.success
    assert line in answer.message
    assert '\n' not in answer.message


def test_the_scan_measures_the_walls(robot):
    robot.reset(start_x_m=-1.0, start_y_m=0.0)
    robot.forget()
    scan = robot.wait(lambda: robot.scans and robot.scans[-1], 'a scan')
    assert len(scan.ranges) == 90
    assert scan.angle_max == pytest.approx(scan.angle_min + 89 * scan.angle_increment)
    assert scan.ranges[0] == pytest.approx(0.5, abs=1e-3)    # behind: the left wall
    assert scan.ranges[45] == pytest.approx(2.5, abs=1e-3)   # ahead: through the door to the right wall


def test_transforms_are_published_where_tf2_msgs_is_installed(robot):
    tf2_msgs = pytest.importorskip('tf2_msgs.msg')
    moving, fixed = [], []
    robot.node.create_subscription(tf2_msgs.TFMessage, '/tf', moving.append, 10)
    robot.node.create_subscription(tf2_msgs.TFMessage, '/tf_static', fixed.append, qos.LATCHED)
    robot.reset(start_x_m=-1.0, start_y_m=0.5)
    robot.wait(lambda: fixed and moving and moving[-1].transforms[0].transform.translation.x == -1.0, 'transforms')
    assert {t.child_frame_id for t in fixed[0].transforms} == {'odom', 'overhead_camera'}


def test_a_foreign_type_on_the_command_topic_is_reported(robot):
    context = rclpy.Context()  # one participant cannot have two types on a topic: a second one
    context.init()
    stranger = rclpy.create_node('stranger', context=context)
    stranger.create_publisher(TwistStamped, 'cmd_vel', 1)
    robot.wait(lambda: any('geometry_msgs/msg/TwistStamped' in m.status[0].message for m in robot.diagnostics),
               'a report')
    stranger.destroy_node()
    context.shutdown()
    robot.forget()
    robot.wait(lambda: any('TwistStamped' not in m.status[0].message for m in robot.diagnostics), 'the all-clear')


def test_simulated_time_keeps_the_pace_it_is_given_while_running(robot):
    client = robot.node.create_client(SetParameters, 'sim/set_parameters')
    robot.wait(client.service_is_ready, 'the parameter service')
    for factor, wall_s in ((4.0, 0.5), (1.0, 2.0)):
        value = ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=factor)
        answer = client.call_async(SetParameters.Request(parameters=[Parameter(name='real_time_factor', value=value)]))
        robot.wait(answer.done, 'an answer')
        assert answer.result().results[0].successful
        robot.forget()
        robot.wait(lambda: robot.clocks, 'the clock')
        start_s, first = time.monotonic(), len(robot.clocks)
        robot.wait(lambda first=first: len(robot.clocks) >= first + 100, 'two simulated seconds')
        assert time.monotonic() - start_s == pytest.approx(wall_s, abs=0.25)


# Without waiting it has started already when it discovers the other one.
@pytest.mark.parametrize('wait_s', [5.0, 0.0])
def test_a_second_simulator_in_the_domain_is_refused(robot, module_ros_domain, wait_s):
    wait = f'discovery_wait_s:={wait_s}'
    second = subprocess.run([sys.executable, '-m', 'jepa_ros.sim.node', '--ros-args', '-p', wait],
                            env=module_ros_domain, capture_output=True, text=True, timeout=30, check=False)
    assert second.returncode == 2
    domain = module_ros_domain['ROS_DOMAIN_ID']
    assert f'domain {domain} already has a simulator publishing /clock: /sim; ' in second.stderr
    assert len(second.stderr.strip().splitlines()) == (1 if wait_s else 2)    # it has said its world by then


def test_lockstep_moves_one_period_for_each_command_and_repeats_exactly(lockstep_robot):
    robot, runs = lockstep_robot, []
    for _ in range(2):
        robot.reset(3, start_x_m=-1.0, start_y_m=0.0)
        robot.forget()
        robot.command(0.0, 0.0)
        robot.wait(lambda: robot.odometry, 'odometry')
        for step in range(30):
            count = len(robot.odometry)
            robot.command(0.8 * math.sin(step / 5), 0.6)
            robot.wait(lambda count=count: len(robot.odometry) > count, 'one step')
        stamps = [stamp_ns(m) for m in robot.odometry]
        assert stamps == list(range(stamps[0], stamps[0] + 31 * GRID_NS, GRID_NS))
        runs.append([(m.pose.pose.position.x, m.pose.pose.position.y) for m in robot.odometry])
    assert runs[0] == runs[1]
    assert len(set(runs[0])) == 31


def test_lockstep_goes_on_standing_still_when_no_command_comes(lockstep_robot):
    robot = lockstep_robot
    robot.reset(start_x_m=-1.0, start_y_m=0.0)
    robot.forget()
    robot.command(0.5, 0.0)
    robot.wait(lambda: len(robot.odometry) >= 3, 'two more percepts without commands')
    speeds = [m.twist.twist.linear.x for m in robot.odometry]
    assert speeds[0] > 0.4 and abs(speeds[2]) < 0.02


@pytest.mark.parametrize(('parameter', 'line'), [
    ('world:=two_room', "unknown world 'two_room' (did you mean two_rooms?)"),
    ('wolrd:=two_rooms', 'unknown parameter wolrd'),
    ('real_time_factor:=-1.0', 'real_time_factor is -1.0'),
    ('clock_rate_hz:=30', 'clock_rate_hz = 30: must be one of 10, 20, 40, 50, 100, 200'),
])
def test_a_bad_parameter_ends_in_one_line(ros_domain, capsys, parameter, line):
    assert main(['--ros-args', '-p', parameter]) == 2
    error = capsys.readouterr().err
    assert line in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(robot_to_end, number):
    robot_to_end.process.send_signal(number)
    assert robot_to_end.process.wait(5) == 0
