"""Coordinate frames: where `child_frame` is in `parent_frame`, as (7,) float32 x y z qx qy qz qw (m, unit quaternion).

A `tf2_msgs/TFMessage` holds some links of the tree. `TransformTree` collects links over messages and composes them
along the way from one frame to another; it takes ROS messages where tf2 is installed, and those of bags anywhere. Each
link counts as its newest message told it: nothing is interpolated, so a bag and live topics agree.
"""
import math
from typing import Any, NamedTuple

import numpy as np
from transforms3d.quaternions import qconjugate, qmult, rotate_vector

from ...errors import ContractError
from .fields import all_finite, rotation
from .spec import Adapter, numbers, TensorSpec

TYPE = 'tf2_msgs/msg/TFMessage'
NAMES = ('x', 'y', 'z', 'qx', 'qy', 'qz', 'qw')
_DEEPEST = 256      # links from a frame to its root: more is a loop


class Pose(NamedTuple):
    """A frame in another: translation (3,) in m and rotation (4,) w x y z, both float64."""

    translation: np.ndarray
    quaternion: np.ndarray

    def __matmul__(self, inner: 'Pose') -> 'Pose':
        """Pose of a frame given in this one, in the frame this one is given in."""
        return Pose(self.translation + rotate_vector(inner.translation, self.quaternion, is_normalized=True),
                    qmult(self.quaternion, inner.quaternion))

    def inverse(self) -> 'Pose':
        """Pose of the outer frame in this one."""
        back = qconjugate(self.quaternion)
        return Pose(-rotate_vector(self.translation, back, is_normalized=True), back)


HERE = Pose(np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0]))


class TransformTree:
    """The newest pose of each frame in its parent. Not thread-safe."""

    def __init__(self) -> None:
        self._links: dict[str, Any] = {}    # child frame -> TransformStamped, read when it is wanted: most never are

    def put(self, message) -> set[str]:
        """Take the links of a TFMessage; returns the child frames it told of."""
        told = {_bare(link.child_frame_id): link for link in message.transforms}
        self._links |= told
        return set(told)

    def chain(self, frame: str) -> list[str]:
        """`frame`, its parent, its parent's parent … up to the root."""
        names = [_bare(frame)]
        while names[-1] in self._links and len(names) <= _DEEPEST:
            names.append(_bare(self._links[names[-1]].header.frame_id))
        if len(names) > _DEEPEST:
            raise ContractError(f'the transforms of frame {frame!r} form a loop')
        return names

    def links(self, parent: str, child: str) -> list[str]:
        """Child frames of the links between two frames; empty while they are not connected."""
        up, down, common = self._way(parent, child)
        return [] if common is None else up[:up.index(common)] + down[:down.index(common)]

    def lookup(self, topic: str, parent: str, child: str) -> Pose | None:
        """Pose of `child` in `parent`; None while they are not connected. `ContractError` names topic and frames."""
        up, down, common = self._way(parent, child)
        if common is None:
            return None
        return self._in(topic, down, common).inverse() @ self._in(topic, up, common)

    def _way(self, parent: str, child: str) -> tuple[list[str], list[str], str | None]:
        """The frames above each of the two, and the first that is above both."""
        up, down = self.chain(child), self.chain(parent)
        return up, down, next((name for name in up if name in down), None)

    def _in(self, topic: str, names: list[str], ancestor: str) -> Pose:
        pose = HERE
        for name, outer in zip(names[:names.index(ancestor)], names[1:]):
            pose = _pose(topic, self._links[name].transform, f'transform {outer} → {name}') @ pose
        return pose


class TransformReader:
    """Looks frames up over messages, for one observation: links come from several nodes, in different messages.

    Call it with each message of `tf` and of `tf_static`: (7,) float32 when the message told of a link between the two
    frames and all others are known, else None.
    """

    def __init__(self, observation):
        self.observation = observation
        self.tree = TransformTree()

    def __call__(self, message) -> np.ndarray | None:
        """(7,) float32, or None where the message has nothing to say of the two frames."""
        o = self.observation
        told = self.tree.put(message)
        if told.isdisjoint(self.tree.links(o.parent_frame, o.child_frame)):
            return None
        return _vector(o.topic, self.tree.lookup(o.topic, o.parent_frame, o.child_frame))


def transform(observation, message) -> np.ndarray:
    """TFMessage -> (7,) float32 from the links of this one message; `ContractError` names the link that is missing."""
    tree, parent, child = TransformTree(), observation.parent_frame, observation.child_frame
    tree.put(message)
    pose = tree.lookup(observation.topic, parent, child)
    if pose is None:
        raise ContractError(f'{observation.topic}: {child} cannot be placed in {parent}: the message has no transform '
                            f'from {tree.chain(parent)[-1]} to {tree.chain(child)[-1]}')
    return _vector(observation.topic, pose)


def transform_spec(observation) -> TensorSpec:
    """(7,) named x y z qx qy qz qw."""
    if _bare(observation.parent_frame) == _bare(observation.child_frame):
        raise ContractError(f'parent_frame and child_frame are both {observation.child_frame!r}')
    return numbers(list(NAMES))


def _vector(topic: str, pose: Pose) -> np.ndarray:
    w, *xyz = pose.quaternion
    sign = -1.0 if w < 0 else 1.0   # q and −q are one rotation; a network must not see the sign flip
    vector = np.array([*pose.translation, *(sign * v for v in xyz), sign * w])
    return all_finite(topic, vector, lambda: NAMES)


def _pose(topic: str, message, path: str) -> Pose:
    translation = np.array([message.translation.x, message.translation.y, message.translation.z], float)
    if not all(math.isfinite(v) for v in translation):
        raise ContractError(f'{topic}: {path} has translation {translation.tolist()}, not finite')
    return Pose(translation, np.array(rotation(topic, message.rotation, path)))


def _bare(frame: str) -> str:
    return frame.removeprefix('/')      # tf names have no slash in front, some old drivers put one


TRANSFORM = Adapter(transform, transform_spec, needs=('parent_frame', 'child_frame'))
