"""Frames looked up in tf messages, as bags hold them."""
import math

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from transforms3d.affines import compose
from transforms3d.quaternions import mat2quat, quat2mat

from jepa_ros.errors import ContractError
from jepa_ros.robot.adapters import tensor_spec, to_array, TransformReader
from jepa_ros.robot.bag_types import typestore

from .make import observation

KIND = 'tf2_msgs/msg/TFMessage'
TYPES = typestore().types
HAND = observation(KIND, topic='tf', parent_frame='odom', child_frame='hand')


def tf(*links):
    """TFMessage of (parent, child, (x, y, z), (qx, qy, qz, qw))."""
    header, stamp = TYPES['std_msgs/msg/Header'], TYPES['builtin_interfaces/msg/Time']
    stamped, transform = TYPES['geometry_msgs/msg/TransformStamped'], TYPES['geometry_msgs/msg/Transform']
    vector, quaternion = TYPES['geometry_msgs/msg/Vector3'], TYPES['geometry_msgs/msg/Quaternion']
    made = TYPES[KIND](transforms=[
        stamped(header=header(stamp=stamp(sec=1, nanosec=0), frame_id=parent), child_frame_id=child,
                transform=transform(translation=vector(*map(float, xyz)), rotation=quaternion(*map(float, q))))
        for parent, child, xyz, q in links])
    return typestore().deserialize_cdr(typestore().serialize_cdr(made, KIND), KIND)


def about_z(angle: float) -> tuple[float, float, float, float]:
    return 0.0, 0.0, math.sin(angle / 2), math.cos(angle / 2)


STILL = (0, 0, 0, 1)


def test_links_of_one_message_are_composed_from_parent_to_child():
    message = tf(('odom', 'base', (1, 2, 0), about_z(math.pi / 2)), ('base', 'hand', (1, 0, 3), STILL))
    array = to_array(HAND, message)
    np.testing.assert_allclose(array, [1, 3, 3, *about_z(math.pi / 2)], atol=1e-6)
    assert (array.shape, array.dtype) == tensor_spec(HAND)[:2]


def test_frames_are_found_over_a_common_ancestor():
    message = tf(('map', 'odom', (1, 0, 0), STILL), ('map', 'hand', (0, 5, 0), STILL))
    np.testing.assert_allclose(to_array(HAND, message), [-1, 5, 0, *STILL])


def test_a_slash_in_front_of_a_frame_changes_nothing():
    np.testing.assert_allclose(to_array(HAND, tf(('/odom', '/hand', (1, 2, 3), STILL)))[:3], [1, 2, 3])


unit = st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: 0.1 < np.linalg.norm(q)).map(
    lambda q: tuple(np.array(q) / np.linalg.norm(q)))
place = st.tuples(*[st.floats(-5, 5)] * 3)


@given(st.lists(st.tuples(place, unit, st.booleans()), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_any_chain_agrees_with_products_of_matrices(steps):
    """Links are told from either end: `backwards` ones hang the known frame under the new one."""
    names = ['odom', *(f'f{i}' for i in range(len(steps) - 1)), 'hand']
    expected, links = np.eye(4), []
    for (xyz, q, backwards), here, there in zip(steps, names, names[1:]):
        backwards = backwards and not any(link[1] == here for link in links)     # a frame has one parent
        matrix = compose(xyz, quat2mat([q[3], *q[:3]]), np.ones(3))
        links.append((there, here, xyz, q) if backwards else (here, there, xyz, q))
        expected = expected @ (np.linalg.inv(matrix) if backwards else matrix)
    array = to_array(HAND, tf(*links))
    np.testing.assert_allclose(array[:3], expected[:3, 3], atol=1e-4)
    w, x, y, z = mat2quat(expected[:3, :3])
    assert abs(np.dot(array[3:], [x, y, z, w])) == pytest.approx(1, abs=1e-5)
    assert array[6] >= 0


def test_links_told_in_different_messages_are_remembered():
    reader = TransformReader(HAND)
    assert reader(tf(('base', 'hand', (0, 0, 1), STILL))) is None         # odom unknown yet
    np.testing.assert_allclose(reader(tf(('odom', 'base', (1, 0, 0), STILL))), [1, 0, 1, *STILL])
    assert reader(tf(('base', 'wheel', (9, 9, 9), STILL))) is None         # of no concern
    np.testing.assert_allclose(reader(tf(('odom', 'base', (2, 0, 0), STILL))), [2, 0, 1, *STILL])


def test_a_broken_link_of_other_frames_is_of_no_concern():
    message = tf(('odom', 'hand', (1, 2, 3), STILL), ('odom', 'other', (math.nan, 0, 0), (0, 0, 0, 0)))
    np.testing.assert_allclose(to_array(HAND, message)[:3], [1, 2, 3])


@pytest.mark.parametrize('message, words', [
    (tf(), 'tf: hand cannot be placed in odom: the message has no transform from odom to hand'),
    (tf(('odom', 'base', (0, 0, 0), STILL), ('arm', 'hand', (0, 0, 0), STILL)), 'no transform from odom to arm'),
    (tf(('odom', 'hand', (0, 0, 0), (0, 0, 0, 0))), 'tf: transform odom → hand is no rotation: quaternion'),
    (tf(('odom', 'hand', (math.nan, 0, 0), STILL)), r'tf: transform odom → hand has translation \[nan, 0.0, 0.0\]'),
    (tf(('hand', 'odom', (0, 0, 0), STILL), ('odom', 'hand', (0, 0, 0), STILL)), "frame 'hand' form a loop"),
])
def test_frames_that_cannot_be_found_are_named_in_one_line(message, words):
    with pytest.raises(ContractError, match=words) as refused:
        to_array(HAND, message)
    assert '\n' not in str(refused.value)
