"""What the simulated robot says, as messages."""
from geometry_msgs.msg import Twist
import numpy as np
import pytest
import transforms3d

from jepa_ros.sim.messages import base_transform, command_from, image_message, static_transforms, time_message


def test_an_image_of_any_memory_layout_arrives_row_by_row():
    image = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)[:, ::-1]
    message = image_message(image, time_message(1_100_000_000))
    assert (message.height, message.width, message.step) == (4, 6, 18)
    assert np.array_equal(np.frombuffer(message.data, np.uint8).reshape(4, 6, 3), image)
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (1, 100_000_000)


@pytest.mark.parametrize('part', ['linear', 'angular'])
@pytest.mark.parametrize('axis', ['x', 'y', 'z'])
def test_a_command_with_any_number_not_finite_is_no_command(part, axis):
    message = Twist()
    message.linear.x, message.linear.y = 0.3, -0.2
    assert command_from(message) == pytest.approx([0.3, -0.2])
    setattr(getattr(message, part), axis, float('-inf'))
    assert command_from(message) is None


def test_the_camera_looks_down_with_columns_along_x():
    stamp = time_message(0)
    frames = {t.child_frame_id: t for t in static_transforms(stamp)}
    assert {t.header.frame_id for t in frames.values()} == {'map'}
    q = frames['overhead_camera'].transform.rotation
    camera_axes = transforms3d.quaternions.quat2mat([q.w, q.x, q.y, q.z])  # columns: right, down, forward in `map`
    assert camera_axes == pytest.approx(np.diag([1.0, -1.0, -1.0]), abs=1e-9)
    assert base_transform((0.1, 0.2), stamp).transform.translation.y == 0.2
