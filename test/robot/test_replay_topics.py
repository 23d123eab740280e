"""Which topics are replayed under which names: never a command on a robot's topic by mistake."""
from geometry_msgs.msg import Twist
import pytest
from rclpy.serialization import serialize_message
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_types_from_msg, get_typestore, Stores

from jepa_ros.errors import BagError
from jepa_ros.robot.bag_open import open_bag
from jepa_ros.robot.bag_types import offered_qos
from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.replay_topics import pace_topic, recorded_name, routes

TWIST = 'geometry_msgs/msg/Twist'
TOPICS = {
    '/camera/image_raw': 'sensor_msgs/msg/Image', '/camera/camera_info': 'sensor_msgs/msg/CameraInfo',
    '/odom': 'nav_msgs/msg/Odometry', '/cmd_vel': TWIST, '/teleop': TWIST,
    '/arm/commands': 'std_msgs/msg/Float64MultiArray', '/tf': 'tf2_msgs/msg/TFMessage',
    '/state': 'jepa_ros/msg/State', '/action': 'jepa_ros/msg/Action', '/episode': 'jepa_ros/msg/EpisodeEvent',
    '/heartbeat': 'diagnostic_msgs/msg/DiagnosticStatus', '/diagnostics': 'diagnostic_msgs/msg/DiagnosticArray',
    '/rosout': 'rcl_interfaces/msg/Log', '/clock': 'rosgraph_msgs/msg/Clock'}


def bag_of(path, topics: dict[str, str], qos: dict[str, list] | None = None):
    """A bag with one message per topic; the bytes are those of a Twist, nobody unpacks them."""
    store = get_typestore(Stores.ROS2_JAZZY)
    for name in set(topics.values()) - set(store.fielddefs):
        store.register(get_types_from_msg('uint8 a', name))
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        for number, (topic, kind) in enumerate(topics.items()):
            connection = writer.add_connection(topic, kind, typestore=store,
                                               offered_qos_profiles=(qos or {}).get(topic, []))
            writer.write(connection, 10**9 + number, serialize_message(Twist()))
    return path


@pytest.fixture
def bag(tmp_path):
    with open_bag(bag_of(tmp_path / 'bag', TOPICS)) as opened:
        yield opened


def names(found) -> dict[str, str]:
    return {route.topic: route.name for route in found}


def test_sensors_keep_their_names_and_commands_go_aside(bag, contract):
    assert names(routes(bag, contract)) == {
        '/camera/image_raw': '/camera/image_raw', '/camera/camera_info': '/camera/camera_info', '/odom': '/odom',
        '/tf': '/tf', '/cmd_vel': '/recorded/cmd_vel', '/teleop': '/recorded/teleop',
        '/arm/commands': '/recorded/arm/commands'}


def test_without_a_contract_commands_are_known_by_type_and_name(bag):
    assert {r.topic for r in routes(bag, None) if r.command} == {'/cmd_vel', '/teleop', '/arm/commands'}


def test_a_command_of_the_contract_is_one_whatever_its_type(tmp_path):
    text = RobotContract.load('two_rooms').to_yaml().replace('topic: cmd_vel', 'topic: drive')
    kinds = {'/camera/image_raw': 'sensor_msgs/msg/Image', '/odom': 'nav_msgs/msg/Odometry',
             '/drive': 'std_msgs/msg/Float64MultiArray'}
    with open_bag(bag_of(tmp_path / 'other', kinds)) as opened:
        assert names(routes(opened, RobotContract.parse(text)))['/drive'] == '/recorded/drive'


def test_commands_keep_their_topic_only_when_asked(bag, contract):
    assert names(routes(bag, contract, with_commands=True))['/cmd_vel'] == '/cmd_vel'


def test_named_topics_are_replayed_also_what_the_agent_said(bag, contract):
    assert names(routes(bag, contract, ['state', '/odom'])) == {'/state': '/state', '/odom': '/odom'}


def test_patterns_choose_several(bag, contract):
    assert set(names(routes(bag, contract, ['camera/*']))) == {'/camera/image_raw', '/camera/camera_info'}
    assert set(names(routes(bag, contract, ['*']))) == set(TOPICS) - {'/clock'}


@pytest.mark.parametrize('pattern, words', [
    ('camera/imag_raw', ('camera/imag_raw is not in the bag', 'did you mean camera/image_raw?', '/odom')),
    ('lidar/*', ('lidar/* is not in the bag',)), ('/clock', ('/clock cannot be chosen',)),
    ('clock', ('/clock cannot be chosen',))])
def test_a_topic_that_cannot_be_had_is_one_line(bag, contract, pattern, words):
    with pytest.raises(BagError) as caught:
        routes(bag, contract, [pattern])
    assert all(word in str(caught.value) for word in words) and '\n' not in str(caught.value)


def test_a_namespace_moves_all_but_transforms(bag, contract):
    found = names(routes(bag, contract, namespace='/r2'))
    assert found['/camera/image_raw'] == '/r2/camera/image_raw' and found['/tf'] == '/tf'
    assert found['/cmd_vel'] == '/r2/recorded/cmd_vel'


def test_a_namespace_takes_the_place_of_the_recorded_one(tmp_path, contract):
    recorded = {f'/r1{topic}': kind for topic, kind in TOPICS.items() if topic in ('/camera/image_raw', '/cmd_vel')}
    with open_bag(bag_of(tmp_path / 'r1', recorded)) as opened:
        assert names(routes(opened, contract)) == {
            '/r1/camera/image_raw': '/r1/camera/image_raw', '/r1/cmd_vel': '/r1/recorded/cmd_vel'}
        assert names(routes(opened, contract, namespace='/r2')) == {
            '/r1/camera/image_raw': '/r2/camera/image_raw', '/r1/cmd_vel': '/r2/recorded/cmd_vel'}


def test_absolute_topics_of_a_contract_stay_where_its_agent_listens(bag, contract):
    text = contract.to_yaml().replace('topic: camera/image_raw', 'topic: /camera/image_raw') \
        .replace('topic: cmd_vel', 'topic: /cmd_vel')
    found = names(routes(bag, RobotContract.parse(text), namespace='/r2'))
    assert found['/camera/image_raw'] == '/camera/image_raw' and found['/odom'] == '/r2/odom'
    assert found['/cmd_vel'] == recorded_name('/cmd_vel') == '/recorded/cmd_vel'


def test_the_first_observation_makes_the_ticks_unless_it_is_not_replayed(bag, contract):
    assert pace_topic(bag, contract, routes(bag, contract)) == '/camera/image_raw'
    assert pace_topic(bag, contract, routes(bag, contract, ['odom'])) is None
    assert pace_topic(bag, None, routes(bag, None)) is None


@pytest.mark.parametrize('offered, reliable, latched, depth', [
    ([], True, False, 10), (offered_qos(False, 1), False, False, 1), (offered_qos(True, 5), True, False, 5),
    (offered_qos(False, 1) + offered_qos(True, 3), True, False, 3),     # two publishers: whoever heard one hears it
    (offered_qos(True, 0), True, False, 10),                            # written by a recorder that did not know it
    (offered_qos(True, 1, True) + offered_qos(True, 1, True), True, True, 2)])
def test_the_qos_is_what_the_bag_says(tmp_path, offered, reliable, latched, depth):
    with open_bag(bag_of(tmp_path / 'qos', {'/odom': 'nav_msgs/msg/Odometry'}, {'/odom': offered})) as opened:
        (route,) = routes(opened, None)
    assert (route.reliable, route.latched, route.depth) == (reliable, latched, depth)


def test_a_type_that_is_not_installed_or_has_changed_is_marked(tmp_path):
    kinds = {'/odom': 'nav_msgs/msg/Odometry', '/accel': 'nowhere_msgs/msg/Accel'}
    with open_bag(bag_of(tmp_path / 'types', kinds)) as opened:
        assert {r.topic: r.known for r in routes(opened, None)} == {'/odom': True, '/accel': False}
    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg('uint8 other', 'std_msgs/msg/UInt8'))
    with Writer(tmp_path / 'changed', version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection('/count', 'std_msgs/msg/UInt8', typestore=store)
        writer.write(connection, 1, b'\x00\x01\x00\x00\x07')
    with open_bag(tmp_path / 'changed') as opened:
        assert [r.known for r in routes(opened, None)] == [False]
