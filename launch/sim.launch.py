"""A simulated robot and the agent that drives it; `model:=none` leaves the robot to others."""
from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription
from launch.substitutions import PathJoinSubstitution, ThisLaunchFileDir

from jepa_ros.runtime.launching import arguments, AS_EVER, DRIVING, node, text, with_agent


def generate_launch_description():
    return LaunchDescription([
        *arguments(
            {**DRIVING, 'world': 'Simulated world: a name in config/worlds, or the path of a YAML file.',
             'model': "Checkpoint: a shipped model's name, or the path of a folder; 'none' starts the robot alone."},
            world='two_rooms', use_sim_time='true', **AS_EVER),
        node('sim', world=text('world')),
        IncludeLaunchDescription(
            PathJoinSubstitution([ThisLaunchFileDir(), 'bringup.launch.py']), condition=with_agent()),
    ])
