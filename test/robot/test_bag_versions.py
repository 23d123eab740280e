"""Which learned weights acted when, as a bag tells it."""
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
import pytest
from rclpy.serialization import serialize_message

from jepa_ros.cli.main import main
from jepa_ros.errors import BagError
from jepa_ros.msg import Action, ModelUpdate, Plan
from jepa_ros.robot.bag_metadata import Provenance
from jepa_ros.robot.bag_versions import ACTION, bag_versions, DIAGNOSTICS, PLAN, UPDATE
from jepa_ros.robot.bag_writer import BagWriter

BEGIN_NS = 10**9
KINDS = {Action: ('/action', ACTION), Plan: ('/plan', PLAN), ModelUpdate: ('/model_update', UPDATE),
         DiagnosticArray: ('/diagnostics', DIAGNOSTICS)}
REFUSED = 'dropped model_update: policy version # refused: sha# does not match its data'


def says(node: str, **figures: str) -> DiagnosticArray:
    """Diagnostics of a node."""
    pairs = [KeyValue(key=key, value=value) for key, value in figures.items()]
    return DiagnosticArray(status=[DiagnosticStatus(name=node, values=pairs)])


@pytest.fixture
def write(tmp_path, contract):
    def make(*messages):
        """Bag of (seconds, message)."""
        writer = BagWriter(tmp_path / 'bag', Provenance(contract, 'sim', {}))
        for kind in dict.fromkeys(type(message) for _, message in messages):
            writer.add_topic(*KINDS[kind])
        for s, message in messages:
            writer.write(KINDS[type(message)][0], BEGIN_NS + round(s * 1e9), serialize_message(message))
        writer.close()
        return tmp_path / 'bag'
    return make


@pytest.fixture
def bag(write):
    """A critic that all take, a policy that the actor refuses, a critic that nobody acted with."""
    return write(
        (0.0, Action()), (0.0, Plan()),
        (1.0, ModelUpdate(organ='critic', version=1, note='error 2 to 1', sha256='ab')),
        (1.1, says('actor', learned='critic 1')), (1.2, says('cost', learned='critic 1')),
        (1.3, Action(critic_version=1)), (1.3, Plan(critic_version=1)),
        (1.4, Action(critic_version=1)),
        (2.0, ModelUpdate(organ='policy', version=1)),
        (2.1, says('actor', learned='critic 1', **{REFUSED: '1'})),
        (2.2, says('actor', learned='critic 1', **{REFUSED: '1'})),
        (3.0, ModelUpdate(organ='critic', version=2)))


def test_each_update_names_who_took_it_and_the_first_action_made_with_it(bag):
    first, policy, second = bag_versions(bag).updates
    assert (first.organ, first.version, first.note, first.sha256) == ('critic', 1, 'error 2 to 1', 'ab')
    assert {node: round(s, 3) for node, s in first.taken.items()} == {'actor': 1.1, 'cost': 1.2}
    assert first.acted_s == pytest.approx(1.3)
    assert (policy.taken, policy.acted_s, second.taken, second.acted_s) == ({}, None, {}, None)


def test_actions_and_plans_are_counted_by_the_versions_they_were_made_with(bag):
    one, other = bag_versions(bag).spans
    assert (one.versions, one.actions, one.plans) == ({'policy': 0, 'critic': 0, 'world_model': 0}, 1, 1)
    assert (other.versions, other.actions, other.plans) == ({'policy': 0, 'critic': 1, 'world_model': 0}, 2, 1)
    assert (other.begin_s, other.end_s) == pytest.approx((1.3, 1.4))


def test_a_refused_update_is_told_once_with_the_line_of_who_refused_it(bag, capsys):
    (s, node, line), = bag_versions(bag).refused
    assert (round(s, 3), node) == (2.1, 'actor') and line.startswith('policy version # refused')
    assert main(['bag', 'versions', str(bag)]) == 0
    shown = capsys.readouterr().out
    assert '2.1 s: actor refused policy version' in shown and 'nobody' in shown and 'error 2 to 1' in shown


def test_without_diagnostics_nobody_is_said_to_have_refused(write, capsys):
    bag = write((0.0, ModelUpdate(organ='critic', version=1)))
    assert not bag_versions(bag).heard and main(['bag', 'versions', str(bag)]) == 0
    assert '/diagnostics was not recorded' in capsys.readouterr().out


def test_a_bag_without_an_agent_is_refused_with_what_to_record(write):
    bag = write((0.0, says('actor')))
    with pytest.raises(BagError, match='neither actions, plans nor model updates: record the topics action'):
        bag_versions(bag)
