"""From bags to training data, through the cache."""
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
import numpy as np
import pytest
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image
import tiny
import torch

from jepa_ros.errors import BagError, TrainingError
from jepa_ros.msg import EpisodeEvent
from jepa_ros.robot.bag_metadata import Provenance
from jepa_ros.robot.bag_writer import BagWriter
from jepa_ros.training import data as training_data
from jepa_ros.training.trainer import gather

TOPICS = {'/camera/image_raw': 'sensor_msgs/msg/Image', '/odom': 'nav_msgs/msg/Odometry',
          '/cmd_vel': 'geometry_msgs/msg/Twist', '/episode': 'jepa_ros/msg/EpisodeEvent'}


def record(path, steps: int = 6, vx: float = 0.25):
    """A lockstep recording of one episode, driven with `vx`."""
    with BagWriter(path, Provenance(tiny.contract(), 'lockstep')) as bag:
        for topic, kind in TOPICS.items():
            bag.add_topic(topic, kind)

        def put(topic, message, ns, received=0):
            if hasattr(message, 'header'):
                message.header.stamp.sec, message.header.stamp.nanosec = divmod(ns, 10**9)
            bag.write(topic, ns + received, serialize_message(message))
        put('/episode', EpisodeEvent(event=EpisodeEvent.START, episode_id='a'), 10**9)
        for step in range(steps):
            ns, image, odometry, command = 10**9 + step * 10**8, Image(), Odometry(), Twist()
            image.height = image.width = 16
            image.encoding, image.step = 'rgb8', 48
            image.data.frombytes(tiny.image(step).tobytes())
            odometry.pose.pose.position.x, command.linear.x = float(step), vx
            for offset, (topic, message) in enumerate(zip(TOPICS, (image, odometry, command))):
                put(topic, message, ns, offset)
        put('/episode', EpisodeEvent(event=EpisodeEvent.STOP, episode_id='a'), ns + 10)
    return path


def test_a_recording_becomes_scaled_training_data(tmp_path):
    data = gather([record(tmp_path / 'day')], tiny.contract(), tmp_path / 'work')
    assert len(data.images) >= 5 and np.array_equal(data.images[2], tiny.image(2))
    assert data.readouts[:, 0].tolist() == list(range(len(data.images)))
    assert torch.allclose(data.actions, torch.zeros_like(data.actions))     # 0.25 m/s is the middle of −0.5 … 1
    assert list(data.bags) == ['day']


def test_the_cache_is_used_as_long_as_the_bags_are_the_same(tmp_path):
    bag, work = record(tmp_path / 'day'), tmp_path / 'work'
    first = gather([bag], tiny.contract(), work)
    cache, = work.iterdir()
    marked = type(first)(**{**first.__dict__, 'readouts': first.readouts + 100})
    training_data.save(marked, cache)
    assert torch.equal(gather([bag], tiny.contract(), work).readouts, marked.readouts)
    both = gather([bag, record(tmp_path / 'night', vx=0.5)], tiny.contract(), work)
    assert both.lengths.tolist() == first.lengths.tolist() * 2 and float(both.readouts.max()) < 100


def test_a_cache_does_not_hide_that_the_bag_is_of_a_robot_with_other_limits(tmp_path):
    """Its actions are scaled by the old limits."""
    bag, work = record(tmp_path / 'day'), tmp_path / 'work'
    gather([bag], tiny.contract(), work)
    slower = tiny.contract(tiny.CONTRACT.replace('max: 1.0', 'max: 0.5'))
    with pytest.raises(BagError, match='recorded with another robot contract: actions'):
        gather([bag], slower, work)


def test_two_bags_of_one_name_are_refused(tmp_path):
    bags = [record(tmp_path / 'a' / 'day'), record(tmp_path / 'b' / 'day', vx=0.5)]
    with pytest.raises(TrainingError, match='two bags have the same name'):
        gather(bags, tiny.contract(), tmp_path / 'work')


def test_a_cache_file_may_stand_for_the_bags(tmp_path):
    data = tiny.episodes([5, 5])
    training_data.save(data, tmp_path / 'carried.npz')
    assert torch.equal(gather([tmp_path / 'carried.npz'], tiny.contract(), tmp_path / 'work').images, data.images)
