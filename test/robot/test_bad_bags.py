"""What is wrong with a recording is said in one line that names file, topic or field; nothing becomes a silent zero."""
from pathlib import Path

from made_bags import base_bag, every, image, message, odometry, scan, STORE, twist, UNKNOWN, WALL_NS, write_bag
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_types_from_msg, get_typestore, Stores

from jepa_ros.errors import BagError, JepaRosError
from jepa_ros.robot.bags import bag_sha256, iter_episodes, read_episodes, read_percept
from jepa_ros.robot.contract import RobotContract

ROWS = 39       # of `base_bag`: no command follows its last scan
TWIST = {'key': 'base', 'topic': 'cmd_vel', 'type': 'geometry_msgs/msg/Twist', 'fields': [
    {'name': 'v', 'field': 'linear.x', 'min': -1.0, 'max': 1.0, 'max_rate': 9.0}]}
SCAN = {'key': 'scan', 'topic': 'scan', 'type': 'sensor_msgs/msg/LaserScan', 'beams': 8}
ODOM = {'key': 'odom', 'topic': 'odom', 'type': 'nav_msgs/msg/Odometry', 'fields': ['twist.twist.linear.x']}
X = {'name': 'x_m', 'topic': 'odom', 'type': 'nav_msgs/msg/Odometry', 'field': 'pose.pose.position.x'}


def robot(*observations: dict, action: dict = TWIST, **fields) -> RobotContract:
    return RobotContract.model_validate({'name': 'base', 'control_period_s': 0.1, 'actions': [action],
                                         'observations': list(observations or (SCAN, ODOM))} | fields)


def refusal(bag: Path, contract: RobotContract) -> str:
    """The one line with which a bag is refused."""
    with pytest.raises(JepaRosError) as caught:
        read_episodes(bag, contract)
    line = str(caught.value)
    assert '\n' not in line and bag.name in line, line
    return line


def read(bag: Path, contract: RobotContract) -> tuple[list, list[str]]:
    """Episodes and the lines that were reported."""
    lines: list[str] = []
    episodes = read_episodes(bag, contract, report=lines.append)
    assert all('\n' not in line and str(bag) in line for line in lines)
    return episodes, lines


@pytest.fixture
def bag(tmp_path) -> Path:
    return base_bag(tmp_path / 'bag')


def test_a_foreign_bag_is_one_episode_named_after_it(bag):
    episodes, lines = read(bag, robot())
    assert [(e.episode_id, len(e)) for e in episodes] == [('bag', ROWS)] and not lines
    assert episodes[0].percepts['scan'].shape == (ROWS, 2, 8) and episodes[0].valid['scan'].all()


# ---- damaged files

@pytest.fixture
def sqlite(tmp_path) -> Path:
    return base_bag(tmp_path / 'bag', storage=StoragePlugin.SQLITE3)


def test_a_sqlite_bag_reads_like_an_mcap_bag(bag, tmp_path):
    other = base_bag(tmp_path / 'other' / 'bag', storage=StoragePlugin.SQLITE3)
    (ours,), (theirs,) = (read_episodes(b, robot()) for b in (bag, other))
    assert ours.percepts['scan'].tobytes() == theirs.percepts['scan'].tobytes()
    assert ours.actions.tobytes() == theirs.actions.tobytes()


@pytest.mark.parametrize('share', [0.0, 0.001, 0.3, 0.7])
def test_a_cut_off_database(sqlite, share):
    file = next(sqlite.glob('*.db3'))
    file.write_bytes(file.read_bytes()[:int(share * file.stat().st_size)])
    line = refusal(sqlite, robot())
    assert 'was cut off or is damaged' in line and f'jepa-ros bag repair {sqlite}' in line


@pytest.mark.parametrize('share', [0.0, 0.0003, 0.3, 0.999])
def test_a_cut_off_mcap_file(bag, share):
    file = next(bag.glob('*.mcap'))
    file.write_bytes(file.read_bytes()[:int(share * file.stat().st_size)])
    line = refusal(bag, robot())
    assert 'was cut off or is damaged' in line and f'jepa-ros bag repair {bag}' in line


def test_a_file_of_something_else(tmp_path):
    path = tmp_path / 'holiday.mcap'
    path.write_bytes(b'\xff\xd8\xff\xe0 a picture' * 100)
    assert 'holiday.mcap' in refusal(path, robot())


@pytest.mark.parametrize('pattern', ['*.mcap', '*.db3'])
def test_missing_metadata_names_the_repair_that_can_make_it(tmp_path, pattern):
    storage = StoragePlugin.MCAP if pattern == '*.mcap' else StoragePlugin.SQLITE3
    bag = base_bag(tmp_path / 'bag', storage=storage)
    (bag / 'metadata.yaml').unlink()
    line = refusal(bag, robot())
    assert 'metadata.yaml is missing' in line and 'jepa-ros bag repair' in line
    assert len(read_episodes(next(bag.glob(pattern)), robot())) == 1, 'the file alone is a bag too'


# ---- message types

def undefined(path: Path, topic: str, **topics) -> Path:
    """A bag whose `topic` is of a type that is installed nowhere and that the bag does not define."""
    made = message(UNKNOWN)
    kind = UNKNOWN
    with Writer(path, version=8, storage_plugin=StoragePlugin.SQLITE3) as writer:
        for name, messages in topics.items():
            known = messages[0][1].__msgtype__
            connection = writer.add_connection(f'/{name}', known, typestore=STORE)
            for log_ns, each in messages:
                writer.write(connection, log_ns, STORE.serialize_cdr(each, known))
        connection = writer.add_connection(topic, kind, msgdef='', rihs01='none')
        writer.write(connection, WALL_NS, STORE.serialize_cdr(made, kind))
    return path


def test_an_unknown_type_is_skipped_with_a_warning_where_it_is_not_used(tmp_path):
    contract = robot(SCAN)
    bag = undefined(tmp_path / 'bag', '/bumper', scan=every(0.1, 5, lambda i, t: scan(t, [1.0] * 8)),
                    cmd_vel=every(0.1, 5, lambda i, t: twist(0.1)))
    episodes, lines = read(bag, contract)
    assert len(episodes) == 1
    assert lines == [f'{bag}: topic /bumper is skipped: its message type {UNKNOWN} is neither installed nor defined '
                     'in the bag']


def test_an_unknown_type_is_refused_where_it_is_used(tmp_path):
    contract = robot(SCAN, {'key': 'bump', 'topic': 'bumper', 'type': UNKNOWN, 'fields': ['left']})
    bag = undefined(tmp_path / 'bag', '/bumper', scan=every(0.1, 5, lambda i, t: scan(t, [1.0] * 8)),
                    cmd_vel=every(0.1, 5, lambda i, t: twist(0.1)))
    line = refusal(bag, contract)
    assert '/bumper' in line and UNKNOWN in line and 'no definition' in line


def test_a_type_that_the_bag_defines_itself_is_read(tmp_path):
    bumps = every(0.1, 5, lambda i, t: message(UNKNOWN, left=i % 2 == 1))
    bag = base_bag(tmp_path / 'bag', 5, bumper=bumps)
    (episode,), lines = read(bag, robot({'key': 'bump', 'topic': 'bumper', 'type': UNKNOWN, 'fields': ['left']}))
    assert not lines and episode.percepts['bump'][:, 0].tolist() == [0, 1, 0, 1, 0]


def test_a_definition_in_the_bag_that_differs_from_the_installed_one_is_the_one_that_counts(tmp_path):
    """A message that had one field more when it was recorded: by the installed definition, its bytes mean nothing."""
    kind, store = 'geometry_msgs/msg/Point32', get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg('float32 confidence\nfloat32 x\nfloat32 y\nfloat32 z\n', kind))
    bag = tmp_path / 'bag'
    with Writer(bag, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        points = writer.add_connection('/point', kind, typestore=store)
        commands = writer.add_connection('/cmd_vel', 'geometry_msgs/msg/Twist', typestore=STORE)
        for i in range(4):
            made = store.types[kind](confidence=0.5, x=float(i), y=0.0, z=0.0)
            writer.write(points, WALL_NS + i * 10**8, store.serialize_cdr(made, kind))
            writer.write(commands, WALL_NS + i * 10**8 + 1, STORE.serialize_cdr(twist(0.1), 'geometry_msgs/msg/Twist'))
    (episode,), _ = read(bag, robot({'key': 'point', 'topic': 'point', 'type': kind, 'fields': ['x']}))
    assert episode.percepts['point'][:, 0].tolist() == [0, 1, 2, 3]


# ---- another robot

def test_a_topic_that_is_not_there_is_named_with_what_is_there(bag):
    line = refusal(bag, robot(SCAN | {'topic': 'scann'}))
    assert 'topic scann of contract base is not in the bag' in line and 'did you mean /scan?' in line


def test_a_topic_of_another_type_is_named_with_both_types(bag):
    line = refusal(bag, robot({'key': 'c', 'topic': 'scan', 'type': 'sensor_msgs/msg/Image', 'height': 8, 'width': 8}))
    assert '/scan has type sensor_msgs/msg/LaserScan' in line and 'says sensor_msgs/msg/Image' in line


def test_a_bag_of_two_robots_asks_for_the_namespace(tmp_path):
    scans = every(0.1, 5, lambda i, t: scan(t, [1.0] * 8))
    bag = write_bag(tmp_path / 'bag', {'/a/scan': scans, '/b/scan': scans,
                                       '/cmd_vel': every(0.1, 5, lambda i, t: twist(0.1))})
    assert 'write one of /a/scan, /b/scan into the contract' in refusal(bag, robot(SCAN))
    assert len(read_episodes(bag, robot(SCAN | {'topic': '/b/scan'}))) == 1


def test_an_observation_that_is_not_required_may_be_missing_altogether(bag):
    (episode,), _ = read(bag, robot(SCAN, ODOM | {'key': 'imu', 'topic': 'second_odom', 'required': False}))
    assert not episode.valid['imu'].any() and not episode.percepts['imu'].any() and episode.valid['scan'].all()


# ---- fields and values

@pytest.mark.parametrize('contract, words', [
    (robot(SCAN, action=TWIST | {'type': 'geometry_msgs/msg/Twist', 'topic': 'cmd_vel'}, readouts=[
        X | {'field': 'pose.pose.position.w'}]), ('odom', "'pose.pose.position.w'")),
    (robot({'key': 'o', 'topic': 'odom', 'type': 'nav_msgs/msg/Odometry', 'fields': ['pose.covariance[35]']},
           action={'key': 'b', 'topic': 'odom', 'type': 'nav_msgs/msg/Odometry', 'fields': [
               {'name': 'v', 'field': 'twist.twist.linear.w', 'min': -1, 'max': 1, 'max_rate': 1}]}),
     ('odom', "'twist.twist.linear.w'")),
])
def test_a_wrong_field_path_is_named_with_its_topic(bag, contract, words):
    line = refusal(bag, contract)
    assert all(word in line for word in words) and 'robot contract' in line


CAMERA = {'key': 'camera', 'topic': 'camera', 'type': 'sensor_msgs/msg/Image', 'height': 24, 'width': 32}


def images(path: Path, broken, count: int = 6) -> Path:
    """A bag of images of which those with a number in `broken` have half their data."""
    def make(i, t):
        made = image(t, seed=i)
        return message(made.__msgtype__, t, 'camera', height=48, width=64, encoding='rgb8', step=192,
                       data=made.data[:len(made.data) // 2]) if i in broken else made
    return write_bag(path, {'/camera': every(0.1, count, make), '/cmd_vel': every(0.1, count, lambda i, t: twist(0.1))})


def test_an_image_whose_data_contradict_its_header_is_left_out_and_said(tmp_path):
    episodes, lines = read(images(tmp_path / 'bag', {2}), robot(CAMERA))
    assert [len(e) for e in episodes] == [2, 3], 'cut there: no row has the image of another moment'
    assert len(lines) == 2 and 'camera: 1 of 6 messages: bad' in lines[0] and '4608 bytes' in lines[0]
    assert '1 ticks have no percept, because camera' in lines[1]


def test_a_bag_of_such_images_alone_is_refused(tmp_path):
    line = refusal(images(tmp_path / 'bag', range(6)), robot(CAMERA))
    assert 'none of the 6 messages on camera can be used' in line and '4608 bytes' in line
    with pytest.raises(BagError, match='4608 bytes'):
        read_percept(tmp_path / 'bag', robot(CAMERA), 0.0)


def joints(names: list[str], positions: list[float], t: int):
    return message('sensor_msgs/msg/JointState', t, name=names, position=np.array(positions, float))


JOINTS = {'key': 'arm', 'topic': 'joint_states', 'type': 'sensor_msgs/msg/JointState', 'joints': ['shoulder', 'elbow']}


def joint_bag(path: Path, make) -> Path:
    return write_bag(path, {'/joint_states': every(0.1, 4, make),
                            '/cmd_vel': every(0.1, 4, lambda i, t: twist(0.1))})


def test_joints_in_another_order_are_put_in_that_of_the_contract(tmp_path):
    bag = joint_bag(tmp_path / 'bag', lambda i, t: joints(['elbow', 'shoulder'][::1 - 2 * (i % 2)],
                                                          [1.0, 2.0][::1 - 2 * (i % 2)], t))
    (episode,), lines = read(bag, robot(JOINTS))
    assert episode.percepts['arm'].tolist() == [[2.0, 1.0]] * 4 and not lines


def test_a_missing_joint_is_named(tmp_path):
    bag = joint_bag(tmp_path / 'bag', lambda i, t: joints(['shoulder', 'wrist'], [1.0, 2.0], t))
    line = refusal(bag, robot(JOINTS))
    assert 'joint_states' in line and "'elbow' is missing" in line and 'shoulder, wrist' in line


def test_joint_states_of_another_arm_alone_are_refused_and_not_read_as_zeros(tmp_path):
    bag = joint_bag(tmp_path / 'bag', lambda i, t: joints(['finger'], [1.0], t))
    line = refusal(bag, robot(JOINTS))
    assert 'joint_states' in line and 'shoulder' in line


def test_a_command_that_is_no_number_is_left_out_and_said(tmp_path):
    bag = base_bag(tmp_path / 'bag', 10, cmd_vel=every(0.1, 10, lambda i, t: twist(np.nan if i == 3 else 0.2)))
    (episode,), lines = read(bag, robot())
    assert np.isfinite(episode.actions).all() and len(lines) == 1
    assert 'base: 1 of 10 messages: bad' in lines[0] and 'linear.x is nan' in lines[0]


def test_a_bag_without_commands_is_refused(tmp_path):
    bag = base_bag(tmp_path / 'bag', 10, cmd_vel=None)
    assert 'topic cmd_vel of contract base is not in the bag' in refusal(bag, robot())


def test_other_frames_are_said(bag):
    episodes, lines = read(bag, robot(SCAN | {'frame': 'base_scan'}))
    assert len(episodes) == 1 and len(lines) == 1
    assert '40 of 40 messages: frame' in lines[0] and "'laser'" in lines[0] and "'base_scan'" in lines[0]


# ---- stamps

def scans(path: Path, stamp, count: int = 10, **more) -> Path:
    return base_bag(path, count, scan=every(0.1, count, lambda i, t: scan(stamp(i, t), [1.0] * 8)), **more)


def test_stamps_of_zero_are_refused_with_the_remedy_that_works(tmp_path):
    bag = scans(tmp_path / 'bag', lambda i, t: 0)
    line = refusal(bag, robot(SCAN))
    assert 'scan: the header stamp is 0' in line and 'stamp: receive' in line
    assert len(read_episodes(bag, robot(SCAN | {'stamp': 'receive'}))[0]) == 10


def test_stamps_in_the_future_are_refused_with_the_remedy_that_works(tmp_path):
    bag = scans(tmp_path / 'bag', lambda i, t: t + 5 * 10**9)
    line = refusal(bag, robot(SCAN))
    assert 'scan: a stamp lies 5 s in the future' in line and 'stamp: receive' in line
    assert len(read_episodes(bag, robot(SCAN | {'stamp': 'receive'}))[0]) == 10


def test_single_wrong_stamps_are_left_out_and_said(tmp_path):
    bag = scans(tmp_path / 'bag', lambda i, t: {3: 0, 6: t + 10**10}.get(i, t))
    episodes, lines = read(bag, robot(SCAN))
    assert [len(e) for e in episodes] == [3, 2, 3]
    assert '1 of 10 messages: zero stamp' in lines[0] and '1 of 10 messages: future' in lines[1]


def test_a_clock_that_was_set_back_cuts_the_episode(tmp_path):
    bag = scans(tmp_path / 'bag', lambda i, t: t - 60 * 10**9 * (i >= 5))
    episodes, lines = read(bag, robot(SCAN | {'topic': 'scan'}, action=TWIST | {'align': 'hold'}))
    assert len(episodes[0]) == 5 and 'jump back' in lines[0] and 'went back by 59.9 s' in lines[0]
    assert all((np.diff(e.stamps_ns) > 0).all() for e in episodes)


def test_stale_readouts_are_left_out_and_said(tmp_path):
    odoms = [m for i, m in enumerate(every(0.1, 20, lambda i, t: odometry(t, float(i)))) if not 5 <= i < 12]
    contract = robot(SCAN, readouts=[X | {'align': 'asof', 'timeout_s': 0.3}])
    episodes, lines = read(base_bag(tmp_path / 'bag', 20, odom=odoms), contract)
    assert [len(e) for e in episodes] == [7, 7] and len(lines) == 1
    assert '5 rows are left out' in lines[0] and 'odom: the newest sample is 0.3' in lines[0]


def test_simulated_stamps_logged_at_wall_time_are_put_on_one_clock(tmp_path):
    """As `ros2 bag record` without --use-sim-time logs a simulator."""
    bag = scans(tmp_path / 'bag', lambda i, t: t - WALL_NS + 10**9, odom=every(
        0.1, 10, lambda i, t: odometry(t - WALL_NS + 10**9, float(i))))
    (episode,), lines = read(bag, robot(clock='sim'))
    assert len(lines) == 1 and '1 ticks have no percept, because odom' in lines[0]     # which comes behind the scan
    assert episode.stamps_ns[0] == 1_100_000_000
    np.testing.assert_allclose(episode.actions[:, 0], [0.1 * (i % 4) for i in range(1, 10)], atol=1e-6)


# ---- reading on

def test_iter_episodes_gives_the_first_before_it_reads_the_last(tmp_path):
    gaps = [m for i, m in enumerate(every(0.1, 100, lambda i, t: scan(t, [1.0] * 8))) if i % 20]
    bag = base_bag(tmp_path / 'bag', 100, scan=gaps)
    shares: list[float] = []
    seen = [(e.episode_id, len(e), shares[-1] if shares else 0.0)
            for e in iter_episodes(bag, robot(SCAN), lambda share: shares.append(share))]
    assert [name for name, *_ in seen] == ['bag', 'bag+1', 'bag+2', 'bag+3', 'bag+4']
    assert seen[0][2] < 1.0 and shares[-1] == 1.0
    assert len(bag_sha256(bag)) == 64
