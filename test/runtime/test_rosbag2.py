"""The command line of rosbag2's recorder: same topics, same storage, same words inside."""
from jepa_ros.robot.bag_metadata import PREFIX
from jepa_ros.robot.contract import RobotContract
from jepa_ros.runtime.rosbag2 import record_command

CONTRACT = RobotContract.load('two_rooms')


def options(command: list[str]) -> dict[str, list[str]]:
    out: dict[str, list[str]] = {}
    for word in command[3:]:
        if word.startswith('--'):
            values = out.setdefault(word, [])
        else:
            values.append(word)
    return out


def test_the_bag_is_mcap_with_zstd_chunks_and_the_same_splits():
    command = record_command(CONTRACT, 'bag', split_mb=100, split_s=60)
    assert command[:3] == ['ros2', 'bag', 'record']
    given = options(command)
    assert given['--storage'] == ['mcap'] and given['--storage-preset-profile'] == ['zstd_fast']
    assert given['--max-bag-size'] == ['100000000'] and given['--max-bag-duration'] == ['60']
    assert '--max-bag-size' not in options(record_command(CONTRACT, 'bag'))


def test_topics_of_contract_and_agent_are_recorded_once_in_their_namespace():
    topics = options(record_command(CONTRACT, 'bag', '/r1'))['--topics']
    assert {'/r1/camera/image_raw', '/r1/odom', '/r1/cmd_vel', '/r1/action', '/r1/episode'} < set(topics)
    assert len(topics) == len(set(topics))


def test_what_the_bag_says_about_itself_survives_the_command_line():
    """rosbag2 takes what stands between the first and the second '=' of each pair."""
    contract = CONTRACT.model_copy(update={'description': 'speed = 0.8 m/s, a "disc"'})
    command = record_command(contract, 'bag', clock='sim', parameters={'note': 'a=b'})
    said = {pair.split('=')[0]: pair.split('=')[1] for pair in options(command)['--custom-data']}
    assert RobotContract.parse(said[f'{PREFIX}contract']) == contract
    assert said[f'{PREFIX}contract_sha256'] == contract.sha256() and said[f'{PREFIX}clock'] == 'sim'
    assert '--use-sim-time' in command
