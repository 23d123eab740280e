"""Record episodes into one bag, on a robot or next to sim.launch.py: driven by chance, a person, or a model's agent."""
from datetime import datetime
import shutil

from launch import LaunchDescription
from launch.actions import ExecuteProcess, IncludeLaunchDescription, OpaqueFunction, Shutdown
from launch.conditions import IfCondition
from launch.substitutions import (
    AndSubstitution,
    EqualsSubstitution,
    IfElseSubstitution,
    LaunchConfiguration,
    NotEqualsSubstitution,
    PathJoinSubstitution,
    ThisLaunchFileDir,
)

from jepa_ros.errors import ConfigError
from jepa_ros.robot.contract import RobotContract
from jepa_ros.runtime.launching import (
    arguments,
    AS_EVER,
    decimal,
    DRIVING,
    flag,
    NO_MODEL,
    node,
    number,
    text,
    with_agent,
)
from jepa_ros.runtime.names import full_namespace
from jepa_ros.runtime.rosbag2 import record_command, RECORDER, ROSBAG2


def _driven_by(driver: str | None = None) -> IfCondition:
    """Hold when no agent drives but this driver, or any of them."""
    chosen = LaunchConfiguration('driver')
    wanted = NotEqualsSubstitution(chosen, 'none') if driver is None else EqualsSubstitution(chosen, driver)
    return IfCondition(AndSubstitution(EqualsSubstitution(LaunchConfiguration('model'), NO_MODEL), wanted))


def _rosbag2(context) -> list[ExecuteProcess]:
    """rosbag2's recorder with our settings, if it is wanted."""
    def given(name: str) -> str:
        return LaunchConfiguration(name).perform(context)
    if given('recorder') != ROSBAG2:
        return []
    if shutil.which('ros2') is None:
        raise ConfigError(f'recorder:={ROSBAG2} needs `ros2 bag`: install ros-jazzy-rosbag2, or record with '
                          f'recorder:={RECORDER}')
    clock = 'sim' if given('use_sim_time') == 'true' else 'system'
    command = record_command(RobotContract.load(given('robot')), given('output'), full_namespace(given('namespace')),
                             clock, int(given('split_mb')), round(float(given('split_s'))))
    return [ExecuteProcess(cmd=command, output='screen', on_exit=Shutdown(reason='ros2 bag record has ended'))]


def generate_launch_description():
    common = {'robot': text('robot'), 'use_sim_time': flag('use_sim_time'), 'autostart': True}
    clock = IfElseSubstitution(LaunchConfiguration('use_sim_time'), 'sim', 'system')
    return LaunchDescription([
        *arguments(
            {**DRIVING, 'model': "Checkpoint of the agent that drives; 'none' leaves that to `driver`.",
             'output': 'Folder of the bag; it must not exist yet.',
             'driver': 'Without a model: random explores, teleop follows a joystick, none leaves it to others.',
             'episodes': 'Number of episodes to drive at random; then the launch ends.',
             'joy_topic': 'Topic of a joystick: it drives with teleop, its buttons begin and end episodes.',
             'split_mb': 'Size in MB at which a new file of the bag is begun; 0 is never.',
             'split_s': 'Seconds after which a new file of the bag is begun; 0 is never.',
             'compress_images': 'Raw images as jpeg or png under <topic>/compressed, or none.',
             'recorder': f'{RECORDER} records with audits and episodes by hand; {ROSBAG2} with `ros2 bag record`.'},
            **AS_EVER, model=NO_MODEL, output=f'bags/{datetime.now():%Y-%m-%d_%H-%M-%S}', driver='random',
            episodes='10', joy_topic='joy', split_mb='0', split_s='0', compress_images='none', recorder=RECORDER),
        node('recorder', IfCondition(NotEqualsSubstitution(LaunchConfiguration('recorder'), ROSBAG2)), vital=True,
             output=text('output'), clock=clock, joy_topic=text('joy_topic'), split_mb=number('split_mb'),
             split_s=decimal('split_s'), compress_images=text('compress_images'), **common),
        OpaqueFunction(function=_rosbag2),
        node('command_gate', _driven_by(), required_organs='driver', **common),
        node('driver', _driven_by('random'), vital=True, episodes=number('episodes'),
             reset_world=flag('use_sim_time'), **common),
        node('teleop', _driven_by('teleop'), joy_topic=text('joy_topic'), **common),
        IncludeLaunchDescription(
            PathJoinSubstitution([ThisLaunchFileDir(), 'bringup.launch.py']), condition=with_agent()),
    ])
