"""Record episodes into one bag, on a robot or next to sim.launch.py: driven at random, or by the agent of a model."""
from datetime import datetime

from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription
from launch.substitutions import IfElseSubstitution, LaunchConfiguration, PathJoinSubstitution, ThisLaunchFileDir

from jepa_ros.runtime.launching import arguments, flag, NO_MODEL, node, number, text, with_agent, without_agent


def generate_launch_description():
    common = {'robot': text('robot'), 'use_sim_time': flag('use_sim_time'), 'autostart': True}
    clock = IfElseSubstitution(LaunchConfiguration('use_sim_time'), 'sim', 'system')
    return LaunchDescription([
        *arguments(
            {'model': "Checkpoint of the agent that drives; 'none' drives at random, to explore.",
             'output': 'Folder of the bag; it must not exist yet.',
             'episodes': 'Number of episodes to drive at random; then the launch ends.'},
            model=NO_MODEL, output=f'bags/{datetime.now():%Y-%m-%d_%H-%M-%S}', episodes='10'),
        node('recorder', vital=True, output=text('output'), clock=clock, **common),
        node('command_gate', without_agent(), required_organs='driver', **common),
        node('driver', without_agent(), vital=True, episodes=number('episodes'), reset_world=flag('use_sim_time'),
             **common),
        IncludeLaunchDescription(
            PathJoinSubstitution([ThisLaunchFileDir(), 'bringup.launch.py']), condition=with_agent()),
    ])
