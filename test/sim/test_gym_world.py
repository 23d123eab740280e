"""Gymnasium environments as worlds."""
import gymnasium
from gymnasium import spaces
import numpy as np
import pytest

from jepa_ros.errors import JepaRosError, WorldError
from jepa_ros.sim.worlds import load_config, make_world
from jepa_ros.sim.worlds.base import Ending, Episodic, Joints
from jepa_ros.sim.worlds.gym_world import GymWorld

DRAWN_LINES = [
    ('gym:CartPol-v1', r"unknown environment 'CartPol-v1' \(did you mean CartPole-v1"),
    ('gym:CartPole-v7', r"unknown environment 'CartPole-v7' \(did you mean CartPole-v1"),
    ('gym:ALE/Pong-v5', 'one of another package is gym:package:Name-v0'),
    ('gym:no_such_package:Thing-v0', "package 'no_such_package' cannot be imported"),
    ('gym:not an id', 'not an id, which is Name-v0'),
    ('gym:', 'not an id, which is Name-v0'),
]


class Reacher(gymnasium.Env):
    """Ends with success at 1, and breaks when told to go below −0.5."""

    metadata = {'render_modes': ['ansi'], 'render_fps': 4}
    observation_space = spaces.Dict(place=spaces.Box(-2, 2, (1,)), camera=spaces.Box(0, 255, (8, 8, 3), np.uint8))
    action_space = spaces.Box(-1, 1, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = float(self.np_random.uniform(-0.1, 0.1))
        return self._observation(), {}

    def step(self, action):
        self.place += float(action[0])
        if self.place < -0.5:
            raise RuntimeError('off the\ntable')
        return self._observation(), self.place, self.place > 1, False, {'is_success': self.place > 1}

    def _observation(self):
        return {'place': np.array([self.place], np.float32), 'camera': np.full((8, 8, 3), 100 * (self.place > 0))}


@pytest.fixture
def reacher():
    gymnasium.register('Reacher-v0', Reacher)
    yield GymWorld('Reacher-v0')
    del gymnasium.registry['Reacher-v0']


def test_a_world_tells_its_topics_limits_and_period():
    world = make_world('gym:CartPole-v1')
    assert [(s.topic, s.kind) for s in world.sensors] == [('observation', 'joints')]
    assert (world.command.topic, world.command.type) == ('command', 'std_msgs/msg/Float64MultiArray')
    assert (world.command.fields, world.command.low, world.command.high) == (('data[0]',), (0.0,), (1.0,))
    assert world.control_period_s == world.physics_step_s == 0.02
    assert isinstance(world, Episodic) and world.ending is None


@pytest.mark.parametrize(('name', 'period_s'), [
    ('gym:Pendulum-v1', 0.05), ('gym:MountainCar-v0', 0.033333333), ('gym:FrozenLake-v1', 0.25),
    ('gym:gymnasium.envs.classic_control:Acrobot-v1', 0.2)])
def test_the_period_is_the_environments_own(name, period_s):
    world = make_world(name)
    world.step(world.idle_command, 2 * world.control_period_s)
    assert world.control_period_s == period_s and world.time_s == pytest.approx(2 * period_s)


def test_same_seed_and_commands_give_the_environments_own_trajectory():
    env = gymnasium.make('Pendulum-v1')
    world = GymWorld('Pendulum-v1', seed=7)
    observation, _ = env.reset(seed=7)
    for step in range(30):
        reading = world.read('observation')
        assert isinstance(reading, Joints) and reading.names == ('observation_0', 'observation_1', 'observation_2')
        np.testing.assert_array_equal(reading.positions, observation.astype(float))
        torque = 2 * np.sin(step)
        world.step(np.array([torque]))
        observation, reward, *_ = env.step(np.array([torque], np.float32))
        assert world.reward == pytest.approx(float(reward), rel=1e-5)


def test_after_the_end_of_an_episode_it_stands_still_until_it_is_reset():
    world = GymWorld('CartPole-v1', seed=1)
    while world.ending is None:
        world.step(np.array([1.0]))
    assert world.ending == Ending('stop', 'terminated')
    last, time_s = world.read('observation').positions, world.time_s
    world.step(np.array([0.0]))
    np.testing.assert_array_equal(world.read('observation').positions, last)
    assert world.time_s == time_s
    world.reset(1, {})
    assert (world.ending, world.time_s, world.reward) == (None, 0.0, 0.0)


def test_a_time_limit_ends_an_episode_too():
    world = GymWorld('Pendulum-v1', arguments={'max_episode_steps': 5})
    world.step(np.zeros(1), 10 * world.control_period_s)
    assert world.ending == Ending('stop', 'truncated') and world.time_s == pytest.approx(5 * 0.05)


def test_success_and_several_sensors_come_from_the_environment(reacher):
    assert [(s.topic, s.kind) for s in reacher.sensors] == [
        ('observation/place', 'joints'), ('observation/camera/image_raw', 'image')]
    reacher.step(np.array([0.6]))
    assert reacher.read('observation/camera/image_raw').mean() == 100
    reacher.step(np.array([0.6]))
    assert reacher.ending == Ending('success', 'terminated') and reacher.reward > 1


def test_an_environment_that_breaks_is_one_line(reacher):
    with pytest.raises(WorldError) as caught:
        reacher.step(np.array([-1.0]))
    assert str(caught.value) == 'world gym:Reacher-v0: step() failed: RuntimeError: off the table'


def test_what_cannot_be_drawn_is_said_at_the_start(reacher):
    with pytest.raises(WorldError, match=r'no render mode rgb_array \(ansi\): run it without --render'):
        GymWorld('Reacher-v0', render=True)


@pytest.mark.parametrize('command', [[0.0, 0.0], [np.nan], []])
def test_a_command_of_other_than_its_finite_numbers_is_refused(command):
    with pytest.raises(WorldError, match='a command is 1 finite numbers'):
        GymWorld('Pendulum-v1').step(np.array(command))


def test_a_reset_takes_a_seed_and_no_values():
    world = GymWorld('CartPole-v1')
    assert world.reset(2**63, {}) == {}
    with pytest.raises(WorldError, match="unknown value 'start_x_m'; it has none"):
        world.reset(0, {'start_x_m': 0.0})


@pytest.mark.parametrize(('name', 'line'), DRAWN_LINES)
def test_an_unknown_environment_is_one_line_with_the_nearest_ids(name, line):
    with pytest.raises(WorldError, match=line) as caught:
        load_config(name)
    assert '\n' not in str(caught.value)


def test_arguments_that_the_environment_does_not_know_are_refused_in_one_line(tmp_path):
    path = tmp_path / 'pole.yaml'
    path.write_text('world: gym\noptions: {id: CartPole-v1, arguments: {lenght: 3}}')
    with pytest.raises(JepaRosError, match=r'world gym:CartPole-v1: cannot be made: TypeError: .*lenght') as caught:
        make_world(str(path))
    assert '\n' not in str(caught.value)
    path.write_text('world: gym')
    with pytest.raises(JepaRosError, match='options: is missing'):
        make_world(str(path))


@pytest.mark.parametrize(('name', 'needs'), [('CartPole-v1', 'pygame'), ('FrozenLake-v1', 'pygame')])
def test_the_rendered_picture_is_a_camera(name, needs):
    pytest.importorskip(needs)
    world = make_world(f'gym:{name}', render=True)
    assert (world.sensors[-1].topic, world.sensors[-1].kind) == ('camera/image_raw', 'image')
    picture = world.read('camera/image_raw')
    assert max(picture.shape) == 256 and picture.shape[2] == 3 and picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, world.read('camera/image_raw'))


def test_a_mujoco_environment_runs_and_renders_where_there_is_opengl():
    world = make_world('gym:InvertedPendulum-v5', seed=2)
    world.step(np.array([0.5]), 5 * world.control_period_s)
    assert world.read('observation').positions.shape == (4,) and world.control_period_s == 0.04
    try:
        drawn = make_world('gym:InvertedPendulum-v5', render=True)
    except WorldError as error:
        pytest.skip(f'no OpenGL on this machine: {error}')
    assert drawn.read('camera/image_raw').std() > 5
    drawn.close()
