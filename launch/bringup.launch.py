"""The agent on a robot: command gate and six organs, which configure and activate themselves."""
from launch import LaunchDescription

from jepa_ros.runtime.launching import arguments, AS_EVER, decimal, DRIVING, flag, node, text, with_agent
from jepa_ros.runtime.names import ORGANS


def generate_launch_description():
    common = {'robot': text('robot'), 'use_sim_time': flag('use_sim_time'), 'autostart': True}
    organs = {**common, 'model': text('model'), 'planners': text('planners'), 'tasks': text('tasks'),
              'learn': flag('learn'), 'speed': decimal('speed')}
    return LaunchDescription([
        *arguments(DRIVING, **AS_EVER),
        node('command_gate', **common),
        node('agent', with_agent(composed=True), **organs),
        *[node(organ, with_agent(composed=False), **organs) for organ in ORGANS],
    ])
