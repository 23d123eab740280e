"""The whole agent learns while it drives: critic, policy and dynamics change over topics, and the bag tells it."""
from dataclasses import dataclass
from pathlib import Path
import signal
import subprocess
import sys

import pytest
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
import torch

from jepa_ros.action import PursueGoal
from jepa_ros.agent import Agent
from jepa_ros.cli.main import main
from jepa_ros.robot.bag_versions import bag_versions, Versions
from jepa_ros.runtime.names import ORGANS
from jepa_ros.runtime.publish_update import publish, Sent
from jepa_ros.runtime.stack import Stack
from jepa_ros.runtime.supervisor import Supervisor
from jepa_ros.srv import ResetWorld

TOPICS = 'action,plan,configuration,model_update,/diagnostics'
SETTINGS = '/**/cost: {ros__parameters: {learn_every_s: 0.3}}\n'
TASK = 'goal: given\ntimeout_s: 20\nmode: planned\nbudget_ms: 50\n'
CENTRE, NEAR, FAR = (-0.8, 0.0), (-0.5, 0.1), (-0.8, 0.9)
EITHER = PursueGoal.Result.NONE, PursueGoal.Result.TIMEOUT


@dataclass(frozen=True)
class Run:
    """What came of it."""

    bag: Path
    found: Versions
    sent: Sent


class Drive:
    """A person who shows goals to the running agent."""

    def __init__(self, client):
        self.client = client

    def learned(self, organ: str) -> bool:
        """Whether an action was made with a newer version of the organ."""
        return any(getattr(action, f'{organ}_version') for action in self.client.heard('action'))

    def place(self, x_m: float, y_m: float):
        """Put the robot there; returns a picture of it."""
        answer = self.client.call(ResetWorld, 'sim/reset', names=['start_x_m', 'start_y_m'], values=[x_m, y_m])
        assert answer.success, answer.message
        return self.client.fresh('camera/image_raw')

    def go(self, start, goal):
        """From a place to what is seen at another one; returns the handle of the goal."""
        image = self.place(*goal)
        self.place(*start)
        return self.client.send(kind=PursueGoal.Goal.IMAGE, image=image, task='short')

    def pursue_until(self, condition) -> None:
        """Have a goal pursued until something holds, or the goal ends."""
        handle = self.go(CENTRE, FAR)
        self.client.wait(lambda: condition() or handle.answer.done(), 'the end of a goal', 30.0)
        self.client.wait(handle.cancel_goal_async().done, 'an answer', 10.0)
        self.client.result(handle)

    def reverse(self) -> None:
        """The base's axes are turned round."""
        value = ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=-1.0)
        answer = self.client.node.create_client(SetParameters, 'sim/set_parameters')
        self.client.wait(answer.service_is_ready, 'the simulator')
        asked = answer.call_async(SetParameters.Request(parameters=[Parameter(name='command_gain', value=value)]))
        self.client.wait(asked.done, 'an answer')
        assert asked.result().results[0].successful


def other_policy(folder: Path) -> Path:
    """A checkpoint whose policy alone is not that of two_rooms."""
    agent = Agent.load('two_rooms', device='cpu')
    torch.manual_seed(0)
    for weights in agent.networks.policy.parameters():
        weights.add_(1e-3 * torch.randn_like(weights))
    agent.save(folder)
    return folder


@pytest.fixture(scope='module', params=[True, False], ids=['composed', 'separate'])
def run(request, new_client, tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp('learning')
    (folder / 'short.yaml').write_text(TASK)
    (folder / 'params.yaml').write_text(SETTINGS)
    stack = Stack(world='two_rooms', composition=request.param, learn=True, real_time_factor=2.0,
                  tasks=str(folder / 'short.yaml'), params_file=str(folder / 'params.yaml'))
    recorder = subprocess.Popen([
        sys.executable, '-m', 'jepa_ros.robot.recorder_node', '--ros-args', '-p', 'autostart:=true', '-p',
        'use_sim_time:=true', '-p', 'clock:=sim', '-p', f'output:={folder / "bag"}', '-p', f'topics:={TOPICS}'])
    try:
        with Supervisor(stack, print) as supervisor:
            policy = other_policy(folder / 'policy')
            supervisor.wait_ready(60.0)
            client = new_client()
            sent = drive(Drive(client), policy)
            client.close()
            recorder.send_signal(signal.SIGINT)
            assert recorder.wait(20.0) == 0
    finally:
        if recorder.poll() is None:
            recorder.kill()
    return Run(folder / 'bag', bag_versions(folder / 'bag'), sent)


def drive(person: Drive, policy: Path) -> Sent:
    client = person.client
    client.wait(lambda: all(any(reader.node_name == 'recorder' for reader in
                                client.node.get_subscriptions_info_by_topic(topic)) for topic in TOPICS.split(',')),
                'the recorder', 60.0)
    client.wait(lambda: client.heard('state'), 'the first state')
    while not person.learned('critic'):
        assert client.result(person.go(CENTRE, NEAR), 30.0).error_code in EITHER
    sent = publish(policy, 'policy')
    person.reverse()
    while not person.learned('world_model'):
        person.pursue_until(lambda: person.learned('world_model'))
    since = len(client.heard('plan'))
    person.pursue_until(lambda: any(plan.policy_version and plan.critic_version and plan.world_model_version
                                    for plan in client.heard('plan')[since:]))
    return sent


def test_all_three_are_published_and_in_force_in_the_nodes_that_use_them(run):
    users = {'critic': {'cost', 'actor'}, 'policy': {'actor'}, 'world_model': set(ORGANS)}
    for organ, nodes in users.items():
        updates = [u for u in run.found.updates if u.organ == organ]
        assert [u.version for u in updates] == list(range(1, len(updates) + 1)) and updates, organ
        assert nodes <= set(updates[0].taken), f'{organ}: {updates[0].taken}'


def test_the_bag_tells_which_versions_made_each_action_and_plan(run):
    spans = run.found.spans
    assert spans[0].versions == {'policy': 0, 'critic': 0, 'world_model': 0}
    assert any(span.actions and span.plans and all(span.versions.values()) for span in spans)
    for one, other in zip(spans, spans[1:]):        # history only grows
        assert all(one.versions[organ] <= other.versions[organ] for organ in one.versions)
    published = {(u.organ, u.version): u.time_s for u in run.found.updates}
    for span in spans:
        assert all(published[each] <= span.begin_s for each in span.versions.items() if each[1])


def test_who_sends_a_policy_is_told_that_it_is_in_force(run):
    assert (run.sent.version, run.sent.taken, run.sent.refused) == (1, ('actor',), {})
    assert run.sent.in_force and run.sent.note.startswith('from two_rooms ')


def test_a_user_sees_it_in_the_recording(run, capsys):
    assert main(['bag', 'versions', str(run.bag)]) == 0
    shown = capsys.readouterr().out
    assert 'dynamics 1: what actions do' in shown and 'held out' in shown and 'from two_rooms' in shown
