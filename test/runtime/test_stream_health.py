"""What an Ingest counts is told in figures; what makes samples unusable is a warning for a while."""
from geometry_msgs.msg import PoseStamped

from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.ingest import Ingest
from jepa_ros.runtime import stream_health
from jepa_ros.runtime.diagnostics import Health, OK, WARN
from jepa_ros.runtime.stream_health import StreamHealth

S = 10**9
POSE = {'type': 'geometry_msgs/msg/PoseStamped', 'fields': ['pose.position.x']}


def bench(*keys: str):
    """Ingest of pose streams, the health that is told of it, and the lines said."""
    contract = RobotContract.model_validate({
        'name': 'r', 'control_period_s': 0.1, 'observations': [POSE | {'key': k, 'topic': k} for k in keys],
        'actions': [{'key': 'base', 'topic': 'cmd_vel', 'type': 'geometry_msgs/msg/Twist', 'fields': [
            {'name': 'v', 'field': 'linear.x', 'min': -1, 'max': 1, 'max_rate': 1}]}]})
    said: list = []
    ingest, health = Ingest(contract), Health('perception', lambda level, line: said.append(line))
    health.set_phase('active')
    return ingest, health, StreamHealth(health, ingest), said


def put(ingest: Ingest, key: str, stamp_ns: int, sent_ns: int) -> None:
    message = PoseStamped()
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, S)
    ingest.put(key, message, sent_ns)


def test_all_counts_are_figures():
    ingest, health, streams, _ = bench('a')
    put(ingest, 'a', S, S)
    put(ingest, 'a', S, S)
    streams.look()
    assert health.figures == {'a received': '2', 'a converted': '1', 'a duplicate': '1'}


def test_an_unusable_sample_is_a_warning_that_ends(monkeypatch):
    ingest, health, streams, said = bench('a')
    put(ingest, 'a', S, S)
    put(ingest, 'a', 0, S)
    streams.look()
    streams.look()
    assert health.level == WARN and len(said) == 1 and 'the header stamp is 0' in said[0]
    monkeypatch.setattr(stream_health, 'REPORT_S', -1.0)    # its time is over
    streams.look()
    assert health.level == OK and len(said) == 2


def test_a_withheld_percept_is_a_warning_until_percepts_come():
    ingest, health, streams, said = bench('a', 'b')
    put(ingest, 'a', S, S)
    streams.look()
    assert said == ['no percept: b: no usable sample yet'] and health.figures['withheld'] == '1'
    put(ingest, 'b', S + 1, S + 1)
    put(ingest, 'a', S + 2, S + 2)
    streams.look()
    assert health.level == OK


def test_what_has_a_defined_outcome_is_counted_and_not_warned_of():
    ingest, health, streams, said = bench('a')
    for stamp in (S, 3 * S, 2 * S + S // 2):    # a gap, and one out of order
        put(ingest, 'a', stamp, stamp)
    streams.look()
    assert health.level == OK and not said
    assert (health.figures['a gap'], health.figures['a out_of_order']) == ('1', '1')
