"""What the real recorder writes while a world runs in lockstep reads back as what the world's sensors measured.

Each world is recorded over DDS by `jepa-ros record`, and then driven again, without ROS, by the recorded actions.
"""
import itertools
import subprocess
import sys

import numpy as np
import pytest

from jepa_ros.robot.adapters import tensor_spec, to_array
from jepa_ros.robot.bags import read_episodes
from jepa_ros.robot.contract import RobotContract
from jepa_ros.sim.gym_contract import draft
from jepa_ros.sim.messages import reading_message, time_message
from jepa_ros.sim.worlds import make_world
from jepa_ros.sim.worlds.base import Episodic, Joints, Odometry2D, Scan

SEED = 4
POLE = 'world: gym\noptions: {id: CartPole-v1, render: true}\n'


def recorded(folder, world: str, robot: str, *args: str):
    """Episodes of a real recording and the contract they were read with."""
    done = subprocess.run(
        [sys.executable, '-m', 'jepa_ros.cli.main', 'record', f'world={world}', f'robot={robot}', '--seed', str(SEED),
         '--output', str(folder / 'bag'), *args], capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    assert ' 0 lost' in done.stdout
    contract = RobotContract.load(robot)
    return read_episodes(folder / 'bag', contract), contract


def expected(reading) -> np.ndarray:
    """The tensor of a reading, without a message on the way."""
    if isinstance(reading, Joints):
        return np.float32(reading.positions)
    if isinstance(reading, Odometry2D):
        return np.float32([reading.x, reading.y, reading.yaw, reading.vx, reading.wz])
    assert isinstance(reading, Scan)
    valid = reading.ranges_m > 0
    return np.stack([np.where(valid, reading.ranges_m, 0.0), valid]).astype(np.float32)


def tensor(observation, world) -> np.ndarray:
    """What the contract makes of a sensor's reading now."""
    sensor = next(sensor for sensor in world.sensors if sensor.topic == observation.topic)
    message = reading_message(sensor, world.read(sensor.topic), time_message(0), world.control_period_s)
    return to_array(observation, message)


def assert_replayed(episode, contract, world, commands=()) -> None:
    """Drive `world` along the recorded actions; every percept must be what its sensors measure.

    Between reset and first row the driver stands still for a step; a busy machine, on which the simulator has to go on
    without a command, makes it some more, and a last one of `commands` may come in between.
    """
    first, seed = contract.observations[0], sum(map(int, episode.episode_id.split('~')[0].split('-')))
    before = ([world.idle_command] * n for n in range(1, 20)) if not len(commands) else (
        list(steps) for n in range(1, 6) for steps in itertools.product(commands, repeat=n))
    for steps in before:
        world.reset(seed, {})
        for command in steps:
            world.step(command, world.control_period_s)
        if np.array_equal(tensor(first, world), episode.percepts[first.key][0]):
            break
    for row, action in enumerate(episode.actions):
        for observation in contract.observations:
            seen, reading = episode.percepts[observation.key][row], world.read(observation.topic)
            np.testing.assert_array_equal(seen, tensor(observation, world))
            if not isinstance(reading, np.ndarray):
                # a yaw goes through a quaternion on its way
                np.testing.assert_allclose(seen, expected(reading), atol=2e-7, rtol=0)
        world.step(action.astype(float), world.control_period_s)


def test_scan_and_odometry_of_the_differential_drive(tmp_path, ros_domain):
    episodes, contract = recorded(tmp_path, 'diff_drive', 'diff_drive', '--episodes', '2', '--steps', '25')
    assert {e.episode_id.split('~')[0]: len(e) for e in episodes} == {'4-000000': 25, '4-000001': 25}
    world = make_world('diff_drive')
    for episode in episodes:
        assert_replayed(episode, contract, world)
        assert 0.02 < (episode.percepts['scan'][:, 1] == 0).mean() < 0.5
        assert np.ptp(episode.readouts[:, 2]) > 0.1
        assert set(np.diff(episode.stamps_ns)) == {200_000_000}


def test_numbers_of_a_gymnasium_environment(tmp_path, ros_domain):
    robot = tmp_path / 'pendulum.yaml'
    robot.write_text(draft('Pendulum-v1'))
    episodes, contract = recorded(tmp_path, 'gym:Pendulum-v1', str(robot), '--episodes', '2', '--steps', '40')
    assert len(episodes) == 2
    for episode in episodes:
        assert_replayed(episode, contract, make_world('gym:Pendulum-v1'))
        assert episode.percepts['observation'].shape == (40, 3) and np.ptp(episode.actions) > 1.0


def test_pictures_and_the_end_of_a_gymnasium_environments_episode(tmp_path, ros_domain):
    pytest.importorskip('pygame')
    robot, place = tmp_path / 'pole.yaml', tmp_path / 'pole_world.yaml'
    robot.write_text(draft('CartPole-v1', render=True))
    place.write_text(POLE)
    episodes, contract = recorded(tmp_path, str(place), str(robot), '--episodes', '3', '--steps', '200')
    assert len(episodes) == 3
    world = make_world(str(place))
    assert isinstance(world, Episodic)
    for episode in episodes:
        assert_replayed(episode, contract, world, commands=(np.array([0.0]), np.array([1.0])))
        assert world.ending is not None   # the recorded episode ends where the pole has fallen: not one row more
        assert 3 < len(episode) < 200
        assert episode.percepts['rendered'].shape[1:] == tensor_spec(contract.observations[1]).shape
