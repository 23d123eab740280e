"""From bags to training data, through the cache."""
import dataclasses
import fcntl
import os

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
from jepa_ros.training.gather import gather

from .test_data_cache import assert_same

TOPICS = {'/camera/image_raw': 'sensor_msgs/msg/Image', '/odom': 'nav_msgs/msg/Odometry',
          '/cmd_vel': 'geometry_msgs/msg/Twist', '/episode': 'jepa_ros/msg/EpisodeEvent'}


def record(path, steps: int = 6, vx: float = 0.25, turn: float = 0.1):
    """A lockstep recording of one episode, driven with `vx`, and to the left by more each step."""
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
            command.linear.y = step * turn
            for offset, (topic, message) in enumerate(zip(TOPICS, (image, odometry, command))):
                put(topic, message, ns, offset)
        put('/episode', EpisodeEvent(event=EpisodeEvent.STOP, episode_id='a'), ns + 10)
    return path


def work_files(work) -> list[str]:
    return sorted(p.name for p in work.iterdir())


def test_a_recording_becomes_scaled_training_data(tmp_path):
    data = gather([record(tmp_path / 'day')], tiny.contract(), tmp_path / 'work')
    assert data.steps >= 5 and np.array_equal(data.percepts['overhead'][2], tiny.image(2))
    assert data.readouts[:, 0].tolist() == list(range(data.steps))
    assert torch.allclose(data.actions[:, 0], torch.zeros(data.steps))     # 0.25 m/s is the middle of −0.5 … 1
    assert list(data.bags) == ['day'] and data.names == ('day: episode a',)


def test_the_cache_is_used_as_long_as_the_bags_are_the_same(tmp_path):
    bag, work = record(tmp_path / 'day'), tmp_path / 'work'
    first = gather([bag], tiny.contract(), work)
    cache, = work.iterdir()
    training_data.save(dataclasses.replace(first, readouts=first.readouts + 100), cache, tiny.contract())
    assert torch.equal(gather([bag], tiny.contract(), work).readouts, first.readouts + 100)
    both = gather([bag, record(tmp_path / 'night', vx=0.5)], tiny.contract(), work)
    assert both.lengths.tolist() == first.lengths.tolist() * 2 and float(both.readouts.max()) < 100
    assert work_files(work) == [cache.name]


def test_a_damaged_cache_of_the_same_bags_is_refused_and_named(tmp_path):
    bag, work = record(tmp_path / 'day'), tmp_path / 'work'
    gather([bag], tiny.contract(), work)
    cache, = work.iterdir()
    (cache / 'actions.npy').write_bytes(b'')
    with pytest.raises(TrainingError, match=f'{cache}: not a readable training cache.*delete it'):
        gather([bag], tiny.contract(), work)


def test_a_cache_does_not_hide_that_the_bag_is_of_a_robot_with_other_limits(tmp_path):
    """Its actions are scaled by the old limits."""
    bag, work = record(tmp_path / 'day'), tmp_path / 'work'
    gather([bag], tiny.contract(), work)
    slower = tiny.contract(tiny.CONTRACT.replace('max: 1.0', 'max: 0.5'))
    with pytest.raises(BagError, match='recorded with another robot contract: actions'):
        gather([bag], slower, work)


def test_two_bags_of_one_name_are_refused(tmp_path):
    bags = [record(tmp_path / 'a' / 'day'), record(tmp_path / 'b' / 'day', vx=0.5)]
    with pytest.raises(TrainingError, match='two bags have the same name, day: leave one out'):
        gather(bags, tiny.contract(), tmp_path / 'work')


def test_a_folder_stands_for_the_bags_in_it(tmp_path):
    bags = [record(tmp_path / 'bags' / name, vx=vx) for name, vx in (('day', 0.25), ('night', 0.5))]
    assert_same(gather([tmp_path / 'bags'], tiny.contract(), tmp_path / 'a'),
                gather(bags, tiny.contract(), tmp_path / 'b'))


def test_a_bag_in_which_no_command_changes_is_refused(tmp_path):
    with pytest.raises(TrainingError, match=r'the actions never change \(vx_mps 0.25, vy_mps 0\).* from day'):
        gather([record(tmp_path / 'day', turn=0.0)], tiny.contract(), tmp_path / 'work')


@pytest.mark.parametrize('name', ['carried.npz', 'carried'])
def test_a_cache_may_stand_for_the_bags(tmp_path, name):
    data = tiny.episodes([5, 5])
    training_data.save(data, tmp_path / name)
    assert_same(gather([tmp_path / name], tiny.contract(), tmp_path / 'work'), data)
    assert work_files(tmp_path / 'work') == []


def test_a_cache_may_stand_beside_bags(tmp_path):
    day, night = record(tmp_path / 'day'), record(tmp_path / 'night', vx=0.5)
    expected = gather([day, night], tiny.contract(), tmp_path / 'both')
    carried = gather([day], tiny.contract(), tmp_path / 'one')
    training_data.save(carried, tmp_path / 'carried.npz', tiny.contract())
    assert_same(gather([tmp_path / 'carried.npz', night], tiny.contract(), tmp_path / 'work'), expected)


@pytest.mark.parametrize('change', [('height: 16', 'height: 32'), ('{name: x_m', '{name: z_m'), ('overhead', 'front')])
def test_a_cache_of_another_robot_is_refused_in_one_line(tmp_path, change):
    training_data.save(tiny.episodes([5, 5]), tmp_path / 'carried.npz')
    with pytest.raises(TrainingError, match="robot 'tiny' has") as refused:
        gather([tmp_path / 'carried.npz'], tiny.contract(tiny.CONTRACT.replace(*change)), tmp_path / 'work')
    assert '\n' not in str(refused.value)


def test_notes_on_the_data_are_logged_as_warnings(tmp_path, caplog):
    data = gather([record(tmp_path / 'day')], tiny.contract(), tmp_path / 'work')
    assert [r.getMessage() for r in caplog.records if r.levelname == 'WARNING'] == list(data.notes)
    assert 'action vx_mps is 0.25 at every step: the model cannot learn what it does' in data.notes


def test_the_share_of_one_machine_is_every_nth_episode(tmp_path):
    bags = [record(tmp_path / f'b{i}', steps=5 + i) for i in range(5)]
    whole = gather(bags, tiny.contract(), tmp_path / 'work')
    for rank in range(2):
        part = gather(bags, tiny.contract(), tmp_path / 'work', shard=(rank, 2))
        expected = whole.shard(rank, 2)
        assert part.names == expected.names and part.steps == int(expected.lengths.sum())
        rows = torch.cat([torch.arange(s, s + n) for s, n in zip(expected.starts, expected.lengths)])
        assert torch.equal(part.percepts['overhead'], whole.percepts['overhead'][rows])
    with pytest.raises(TrainingError, match='shard 2 of 2'):
        gather(bags, tiny.contract(), tmp_path / 'work', shard=(2, 2))
    with pytest.raises(TrainingError, match='5 episode.s. cannot be shared by 6 processes'):
        gather(bags, tiny.contract(), tmp_path / 'work', shard=(5, 6))


def test_an_interrupted_reading_goes_on_and_reads_no_finished_bag_again(tmp_path, monkeypatch):
    from jepa_ros.robot import bags as reader
    bags = [record(tmp_path / name, vx=vx) for name, vx in (('day', 0.25), ('night', 0.5))]
    read, whole = [], reader.iter_episodes

    def interrupted(bag, *rest):
        read.append(bag.name)
        if read == ['day', 'night']:
            raise KeyboardInterrupt
        return whole(bag, *rest)
    monkeypatch.setattr(reader, 'iter_episodes', interrupted)
    with pytest.raises(KeyboardInterrupt):
        gather(bags, tiny.contract(), tmp_path / 'work')
    data = gather(bags, tiny.contract(), tmp_path / 'work')
    assert read == ['day', 'night', 'night']
    assert_same(data, gather(bags, tiny.contract(), tmp_path / 'other'))


def test_reading_is_reported_bag_by_bag(tmp_path):
    bags, seen = [record(tmp_path / name, vx=vx) for name, vx in (('day', 0.25), ('night', 0.5))], []
    gather(bags, tiny.contract(), tmp_path / 'work', lambda *report: seen.append(report[:3]))
    assert {stage for stage, _, _ in seen} == {'reading day', 'reading night'} and {t for *_, t in seen} == {2000}
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)


def test_a_second_process_waits_for_the_one_that_fills_the_cache(tmp_path):
    bag, work, seen = record(tmp_path / 'day'), tmp_path / 'work', []
    work.mkdir()
    handle = os.open(work, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)

    def report(stage, *_):
        seen.append(stage)
        if stage == 'waiting for another process':
            fcntl.flock(handle, fcntl.LOCK_UN)
    gather([bag], tiny.contract(), work, report)
    assert seen[0] == 'waiting for another process' and 'reading day' in seen
    os.close(handle)
