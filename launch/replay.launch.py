"""A recording on its topics again, with /clock; with a model also an agent that watches, without a command gate."""
from launch import LaunchDescription
from launch.actions import OpaqueFunction
from launch.substitutions import LaunchConfiguration

from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.replay_topics import recorded_name
from jepa_ros.runtime.launching import arguments, decimal, flag, NO_MODEL, node, text, with_agent
from jepa_ros.runtime.names import ORGANS


def generate_launch_description():
    return LaunchDescription([
        *arguments(
            {'bag': 'Folder of the recording, or a single .mcap or .db3 file.',
             'rate': 'Recorded seconds per second; 0 does not wait for time.',
             'start': 'Seconds after the first message at which to begin.',
             'duration': 'Seconds of the recording to play; 0 is to its end.',
             'loop': 'true: begin again at the end, with stamps and clock that go on.',
             'paused': 'true: wait for replay/resume or replay/step before the first message.',
             'topics': 'Topics to replay, separated by commas; empty is all but what the agent and its nodes say.',
             'with_commands': 'true: recorded commands on their own topics, where robots obey; false: recorded/.',
             'robot': 'Robot contract: a name or a YAML file; empty takes the one inside the bag or the checkpoint.',
             'use_sim_time': 'Of the agent: true, because the replay is the clock.',
             'model': "Checkpoint of an agent that watches without acting; 'none' replays alone."},
            bag='', rate='1.0', start='0.0', duration='0.0', loop='false', paused='false', topics='',
            with_commands='false', robot='', use_sim_time='true', model=NO_MODEL),
        node('replay', vital=True, bag=text('bag'), robot=text('robot'), topics=text('topics'), rate=decimal('rate'),
             start=decimal('start'), duration=decimal('duration'), loop=flag('loop'), paused=flag('paused'),
             with_commands=flag('with_commands')),
        OpaqueFunction(function=_watching_agent),
    ])


def _watching_agent(context):
    """The organs, hearing the recorded commands where they would hear the gate's."""
    model = LaunchConfiguration('model').perform(context)
    robot = LaunchConfiguration('robot').perform(context)
    if model == NO_MODEL:
        return []
    from jepa_ros import checkpoint  # loads torch
    contract = RobotContract.load(robot) if robot else RobotContract.model_validate(
        checkpoint.read_card(checkpoint.find(model)).contract)
    remappings = [(action.topic, recorded_name(action.topic)) for action in contract.actions]
    organs = {'robot': text('robot'), 'model': text('model'), 'use_sim_time': flag('use_sim_time'), 'autostart': True}
    return [
        node('agent', with_agent(composed=True), remappings=remappings, **organs),
        *[node(organ, with_agent(composed=False), remappings=remappings, **organs) for organ in ORGANS],
    ]
