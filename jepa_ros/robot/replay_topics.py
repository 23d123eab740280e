"""Which topics of a bag are replayed, and under which names. No ROS here; used by `replay_node.py`.

Never by mistake: recorded commands go to `recorded/<topic>`, so that no robot moves; what the agent itself says stays
in the bag, so that a running agent is not contradicted. Naming a topic replays it.
"""
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, cast

from rosbags.serde import SerdeError

from ..errors import BagError
from ..registry import nearest
from .bag_open import OpenBag
from .bag_types import ensure_type, is_hashed, typestore, unpack
from .contract import ActionStream, Observation, Readout, RobotContract

CLOCK = '/clock'
RECORDED = 'recorded'
GLOBAL = ('/tf', '/tf_static')      # transforms are shared by all namespaces
UNASKED = ('/rosout', '/parameter_events', '/diagnostics', '/diagnostics_agg')   # what nodes say of themselves …
UNASKED_NAMES = ('heartbeat',)
UNASKED_TYPES = 'jepa_ros/'         # … and what the agent says
COMMAND_TYPES = frozenset({
    'geometry_msgs/msg/Twist', 'geometry_msgs/msg/TwistStamped', 'trajectory_msgs/msg/JointTrajectory',
    'ackermann_msgs/msg/AckermannDrive', 'ackermann_msgs/msg/AckermannDriveStamped'})
DEFAULT_DEPTH, MAX_DEPTH = 10, 1000
COMMAND_NAMES = ('command', 'commands')     # ros2_control's controllers listen on these


@dataclass(frozen=True)
class Route:
    """One topic of the bag and where its messages go."""

    topic: str       # in the bag
    type: str
    name: str        # published
    command: bool    # of a robot
    count: int       # messages in the bag
    reliable: bool
    latched: bool
    depth: int
    known: bool      # its type is installed as it was recorded


def recorded_name(topic: str) -> str:
    """Where recorded commands go: `cmd_vel` -> `recorded/cmd_vel`, `/cmd_vel` -> `/recorded/cmd_vel`."""
    return f'/{RECORDED}{topic}' if topic.startswith('/') else f'{RECORDED}/{topic}'


def routes(bag: OpenBag, contract: RobotContract | None, patterns: Iterable[str] = (), namespace: str = '',
           with_commands: bool = False) -> list[Route]:
    """Topics to replay: those that `patterns` name (`camera/*` works), or all that a robot's sensors say.

    `namespace` (full, as `/robot_1`) takes the place of the one they were recorded in. Raises BagError for a pattern
    that nothing in the bag fits.
    """
    connections: dict[str, list] = {}
    for connection in bag.connections:
        connections.setdefault(connection.topic, []).append(connection)
    patterns = list(patterns)
    chosen = _chosen(bag, {topic: bag.type_of(topic) for topic in connections}, patterns)
    home = _namespace_of(bag, contract)
    streams = _streams(contract)
    fixed = {*GLOBAL, *(stream.topic for stream in streams if stream.topic.startswith('/'))}
    commands = {bag.topic(action.topic) for action in contract.actions} if contract else set()
    out = []
    for topic in chosen:
        group, kind = connections[topic], bag.type_of(topic)
        command = topic in commands or kind in COMMAND_TYPES or topic.rsplit('/', 1)[-1] in COMMAND_NAMES
        name = _name(topic, home, namespace, topic in fixed, command and not with_commands)
        out.append(Route(topic, kind, name, command, sum(c.msgcount for c in group), *_qos(topic, group),
                         all(_as_installed(c) for c in group) and _fits(bag, topic, group)))
    return out


def pace_topic(bag: OpenBag, contract: RobotContract | None, chosen: Iterable[Route]) -> str | None:
    """Topic whose messages make the control ticks; None where time alone does."""
    if contract is None or contract.pacing is None:
        return None
    topic = bag.topic(contract.pacing.topic)
    return topic if topic in {route.topic for route in chosen if route.count} else None


def _chosen(bag: OpenBag, kinds: dict[str, str], patterns: list[str]) -> list[str]:
    kinds = {topic: kind for topic, kind in kinds.items() if topic != CLOCK}
    if not patterns:
        return [topic for topic, kind in kinds.items() if not _unasked(topic, kind)]
    chosen: dict[str, None] = {}
    for pattern in patterns:
        fitting = [topic for topic in kinds if fnmatchcase(topic, pattern) or fnmatchcase(topic, f'/{pattern}')]
        one = bag.topic(pattern)
        fitting = fitting or ([one] if one in kinds else [])
        if pattern.lstrip('/') == CLOCK.lstrip('/'):
            raise BagError('topic /clock cannot be chosen: the replay makes its own, from the log times')
        if not fitting:
            names = [name for topic in kinds for name in (topic, topic.lstrip('/'))]
            raise BagError(f'{bag.path}: topic {pattern} is not in the bag{nearest(pattern, names)}; it has '
                           f'{", ".join(kinds) or "none"}')
        chosen.update(dict.fromkeys(fitting))
    return list(chosen)


def _as_installed(connection: Any) -> bool:
    """False for a type that is not installed, or was another one when it was recorded: its bytes mean nothing here."""
    try:
        ensure_type(connection.msgtype)
    except BagError:
        return False
    recorded, store = connection.digest or '', cast(Any, typestore())  # rosbags makes its types at run time
    return not recorded.startswith('RIHS01_') or recorded == store.hash_rihs01(connection.msgtype)


def _fits(bag: OpenBag, topic: str, connections: list) -> bool:
    """False where the recorder kept no hash of the type, and its messages are laid out as an older ROS 2 did."""
    if all(is_hashed(c) for c in connections):
        return True
    _, _, raw = next(bag.raw_messages([topic]), (topic, 0, b''))
    try:
        return not raw or unpack(typestore(), raw, bag.type_of(topic)) is not None
    except SerdeError:
        return False


def _unasked(topic: str, kind: str) -> bool:
    return topic in UNASKED or topic.rsplit('/', 1)[-1] in UNASKED_NAMES or kind.startswith(UNASKED_TYPES)


def _streams(contract: RobotContract | None) -> list[Observation | Readout | ActionStream]:
    return [*contract.observations, *contract.readouts, *contract.actions] if contract else []


def _namespace_of(bag: OpenBag, contract: RobotContract | None) -> str:
    """Namespace that the contract's topics were recorded in; empty for none."""
    for stream in _streams(contract):
        found = bag.topic(stream.topic)
        if found and not stream.topic.startswith('/'):
            return found.removesuffix(f'/{stream.topic}')
    return ''


def _name(topic: str, home: str, namespace: str, fixed: bool, aside: bool) -> str:
    """Name to publish a topic under that was recorded in namespace `home`; `aside`: below `recorded/` in its own."""
    front, rest = namespace, topic
    if fixed:
        front = ''
    elif topic.startswith(f'{home}/'):
        front, rest = namespace or home, topic[len(home):]
    return front + (recorded_name(rest) if aside else rest)


def _qos(topic: str, group: list) -> tuple[bool, bool, int]:
    """(reliable, latched, depth) that satisfies whoever the recorded publishers satisfied.

    Deadline, lifespan and liveliness are not carried over: they speak of the pace of the live publishers.
    """
    offers = [qos for connection in group for qos in connection.ext.offered_qos_profiles]
    if not offers:      # as publishers are without a word about it
        return True, topic == '/tf_static', DEFAULT_DEPTH
    reliable = any(qos.reliability.name != 'BEST_EFFORT' for qos in offers)
    latched = any(qos.durability.name == 'TRANSIENT_LOCAL' for qos in offers)
    depths = [qos.depth for qos in offers]      # 0: unknown, as older recorders wrote it
    depth = max(sum(depths), len(offers)) if latched else max(depths) or DEFAULT_DEPTH
    return reliable, latched, min(depth, MAX_DEPTH)
