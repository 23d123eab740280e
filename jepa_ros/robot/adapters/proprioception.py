"""What a robot feels of itself: JointState, Imu, Odometry and plain numbers, as (n,) float32.

Units and frames are the message's own (SI, REP-103); joints are found by name, so their order in the message is free.
"""
import numpy as np

from ...errors import ContractError
from .fields import all_finite, ANGLES, finite, parts_of, read_fields, rotation
from .spec import Adapter, numbers, TensorSpec

JOINT_FIELDS = ('position', 'velocity', 'effort')
IMU_FIELDS = {'orientation': 'xyzw', 'angular_velocity': 'xyz', 'linear_acceleration': 'xyz'}
IMU_DEFAULT = ('angular_velocity', 'linear_acceleration')   # many IMUs estimate no orientation


def joint_state(observation, message) -> np.ndarray:
    """JointState -> (fields × joints,) float32: all joints of the first field, then of the next; rad, m, rad/s, N m."""
    index = _joint_indices(observation, message)
    fields = joint_fields(observation)
    values = [_joint_values(observation, message, field)[index] for field in fields]
    return all_finite(observation.topic, np.concatenate(values), lambda: joint_spec(observation).names)


def joint_fields(observation) -> list[str]:
    """The observation's fields; positions when it names none."""
    return list(observation.fields) or ['position']


def joint_spec(observation) -> TensorSpec:
    """(fields × joints,) with names `position[elbow]`."""
    _each_known(observation, joint_fields(observation), JOINT_FIELDS)
    joints = observation.joints
    twice = sorted({joint for joint in joints if joints.count(joint) > 1})
    if twice:
        raise ContractError(f'joints lists {twice[0]!r} twice')
    return numbers([f'{field}[{joint}]' for field in joint_fields(observation) for joint in joints])


def _joint_indices(observation, message) -> list[int]:
    where = {name: i for i, name in enumerate(message.name)}
    missing = [joint for joint in observation.joints if joint not in where]
    if missing:
        raise ContractError(f'{observation.topic}: joint {missing[0]!r} is missing; the message has '
                            f'{", ".join(message.name) or "none"}')
    if len(where) < len(message.name):
        twice = next(name for name in message.name if message.name.count(name) > 1)
        raise ContractError(f'{observation.topic}: joint {twice!r} is in the message twice')
    return [where[joint] for joint in observation.joints]


def _joint_values(observation, message, field: str) -> np.ndarray:
    values = np.asarray(getattr(message, field), np.float64)
    if len(values) != len(message.name):
        raise ContractError(f'{observation.topic}: {field} has {len(values)} values for {len(message.name)} joints')
    return values


def imu(observation, message) -> np.ndarray:
    """Imu -> (n,) float32: orientation x y z w, angular velocity in rad/s, linear acceleration in m/s²."""
    topic, values = observation.topic, []
    for group in imu_fields(observation):
        if getattr(message, f'{group}_covariance')[0] == -1:
            raise ContractError(f'{topic}: this sensor gives no {group} (its covariance starts with -1); '
                                f'remove {group} from the fields of the robot contract')
        part = getattr(message, group)
        if group == 'orientation':
            w, x, y, z = rotation(topic, part, group)
            values += [x, y, z, w]
        else:
            values += [finite(topic, getattr(part, axis), f'{group}.{axis}') for axis in 'xyz']
    return np.array(values, np.float32)


def imu_fields(observation) -> list[str]:
    """The observation's fields; what every IMU measures when it names none."""
    return list(observation.fields) or list(IMU_DEFAULT)


def imu_spec(observation) -> TensorSpec:
    """(n,) with names `angular_velocity.x`."""
    _each_known(observation, imu_fields(observation), tuple(IMU_FIELDS))
    return numbers([f'{group}.{axis}' for group in imu_fields(observation) for axis in IMU_FIELDS[group]])


def plain(observation, message) -> np.ndarray:
    """Any message -> (n,) float32, the numbers at the field paths."""
    return read_fields(observation.topic, message, observation.fields)


def plain_spec(observation) -> TensorSpec:
    """(n,) named by the field paths."""
    _no_twins(observation)
    return numbers(list(observation.fields))


def odometry_spec(observation) -> TensorSpec:
    """(n,) named by the field paths, which must be those of an Odometry."""
    for path in observation.fields:
        if not _in_odometry(path):
            raise ContractError(f'nav_msgs/msg/Odometry has no number at {path!r}; it has pose.pose.position.x|y|z, '
                                'pose.pose.orientation.x|y|z|w|roll|pitch|yaw, twist.twist.linear.x|y|z, '
                                'twist.twist.angular.x|y|z and both covariances[0…35]')
    return plain_spec(observation)


def multi_array(observation, message) -> np.ndarray:
    """Float64MultiArray or Float32MultiArray -> (size,) float32."""
    values = np.asarray(message.data, np.float64)
    if len(values) != observation.size:
        raise ContractError(f'{observation.topic}: data has {len(values)} values, the robot contract says size '
                            f'{observation.size}')
    return all_finite(observation.topic, values, lambda: multi_array_spec(observation).names)


def multi_array_spec(observation) -> TensorSpec:
    """(size,) with names `data[0]`."""
    return numbers([f'data[{i}]' for i in range(observation.size)])


def _in_odometry(path: str) -> bool:
    names = [part.name for part in parts_of(path)]
    elements = [part.element for part in parts_of(path)]
    if names in (['pose', 'covariance'], ['twist', 'covariance']):
        return elements[0] == '' and elements[1].isdecimal() and int(elements[1]) < 36
    allowed = {('pose', 'pose', 'position'): 'xyz', ('twist', 'twist', 'linear'): 'xyz',
               ('twist', 'twist', 'angular'): 'xyz', ('pose', 'pose', 'orientation'): ('x', 'y', 'z', 'w', *ANGLES)}
    return not any(elements) and len(names) == 4 and names[3] in allowed.get((names[0], names[1], names[2]), ())


def _each_known(observation, fields: list[str], known: tuple[str, ...]) -> None:
    wrong = [field for field in fields if field not in known]
    if wrong:
        raise ContractError(f'field {wrong[0]!r} is unknown for {observation.type}, which has {", ".join(known)}')
    _no_twins(observation)


def _no_twins(observation) -> None:
    twice = [field for field in observation.fields if observation.fields.count(field) > 1]
    if twice:
        raise ContractError(f'fields lists {twice[0]!r} twice')


JOINT_STATE = Adapter(joint_state, joint_spec, needs=('joints',), may=('fields',))
IMU = Adapter(imu, imu_spec, may=('fields',))
PLAIN = Adapter(plain, plain_spec, needs=('fields',))
ODOMETRY = Adapter(plain, odometry_spec, needs=('fields',))
MULTI_ARRAY = Adapter(multi_array, multi_array_spec, needs=('size',))
