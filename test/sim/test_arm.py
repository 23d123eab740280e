"""Physics, resets and errors of the arm world."""
import importlib.util
import math

import numpy as np
import pytest

from jepa_ros.errors import WorldError
from jepa_ros.robot.contract import RobotContract
from jepa_ros.sim.worlds import arm_model, load_config, make_world
from jepa_ros.sim.worlds.arm import Arm, CUBE_VALUES, DRAWN_HIGH, DRAWN_LOW, JOINT_VALUES, NEAR_CUBE_M
from jepa_ros.sim.worlds.arm_model import JOINTS, PACKAGE, SPEED_LIMITS

if importlib.util.find_spec(PACKAGE) is None:
    pytest.skip(f"needs the arm's meshes: {arm_model.INSTALL}", allow_module_level=True)

HIGH_UP = np.array([0.0, -0.1, 0.0, -2.0, 0.0, 0.6, 0.0, 0.02])
OVER_CUBE = np.array([0.0, 0.55, 0.0, -2.05, 0.0, 1.03, 0.0, 0.04])      # fingers 3 cm above the table, pointing down
AWAY = {'cube_x_m': -0.2, 'cube_y_m': 0.5, 'cube_yaw_rad': 0.0}         # a cube that is in nobody's way


@pytest.fixture(scope='module')
def world():
    return Arm()


def start(world, joints, **more):
    world.reset(0, {**dict(zip(JOINT_VALUES, joints)), **AWAY, **more})


def go(world, joints, seconds):
    for _ in range(round(seconds / 0.1)):
        world.step(joints)


# --- motion

@pytest.mark.parametrize('seed', range(8))
def test_the_arm_reaches_free_configurations_and_stands_there(world, seed):
    start(world, HIGH_UP)
    target = world.sample_joints(np.random.default_rng(seed))
    target[1] = min(target[1], 0.3)  # the way there is high above the table
    go(world, target, 2.5)
    assert world.collisions == 0
    assert world.joints == pytest.approx(target, abs=1e-3)
    assert world.joint_speeds == pytest.approx(np.zeros(8), abs=1e-3)


def test_gravity_does_not_move_a_resting_arm(world):
    start(world, HIGH_UP)
    go(world, HIGH_UP, 2.0)
    assert world.joints == pytest.approx(HIGH_UP, abs=1e-5)


@pytest.mark.parametrize('joint', range(len(JOINTS)))
def test_a_joint_comes_near_its_speed_limit_and_never_exceeds_it(world, joint):
    low, high = np.array(world.command.low)[joint], np.array(world.command.high)[joint]
    margin = 0.05 * (high - low)
    first, second = HIGH_UP.copy(), HIGH_UP.copy()
    first[joint], second[joint] = max(low + margin, HIGH_UP[joint] - 1.0), min(high - margin, HIGH_UP[joint] + 1.0)
    start(world, first)
    fastest = 0.0
    for _ in range(200):
        world.step(second, 0.004)
        fastest = max(fastest, abs(world.joint_speeds[joint]))
    assert world.collisions == 0
    assert 0.8 * SPEED_LIMITS[joint] < fastest <= SPEED_LIMITS[joint]


def test_without_commands_a_moving_arm_brakes_where_it_says(world):
    start(world, HIGH_UP)
    target = HIGH_UP + [0.8, 0, 0, 0, 0, 0, 0.8, 0]
    go(world, target, 0.3)
    stop = world.idle_command
    assert np.abs(world.joint_speeds).max() > 1.0
    for _ in range(25):  # asked for anew each time, as the simulator does
        world.step(world.idle_command, 0.02)
    assert world.joints == pytest.approx(stop, abs=2e-3)
    assert np.abs(world.joints - target).max() > 0.1


def test_commands_beyond_a_joints_range_end_at_its_limit(world):
    start(world, HIGH_UP)
    beyond = HIGH_UP.copy()
    beyond[3] = 1.0
    go(world, beyond, 1.5)
    assert world.joints[3] == pytest.approx(world.command.high[3], abs=5e-3)


def test_the_fingers_move_together(world):
    start(world, HIGH_UP)
    closed = HIGH_UP.copy()
    closed[-1] = 0.0
    go(world, closed, 1.0)
    assert world._data.qpos[world._qpos[-2:]] == pytest.approx([0.0, 0.0], abs=1e-3)


@pytest.mark.parametrize('command', [[math.nan] * 8, [0.0] * 7, [math.inf] + [0.0] * 7, [[0.0] * 8]])
def test_a_command_that_is_not_eight_finite_positions_is_refused(world, command):
    with pytest.raises(WorldError, match='8 finite joint positions') as caught:
        world.step(np.array(command))
    assert '\n' not in str(caught.value)


# --- contact

def test_the_table_stops_the_arm_without_being_entered(world):
    start(world, OVER_CUBE)
    above = world.hand[2]
    down = OVER_CUBE.copy()
    down[1] += 0.4
    go(world, down, 2.0)
    assert world.collisions == 1
    assert world.joints[1] < down[1] - 0.2
    assert 0.0 < world.hand[2] < above
    assert world._data.contact.dist.min() > -0.004
    assert np.abs(world.joint_states().efforts[1]) < 87


def test_the_arm_goes_on_when_it_is_no_longer_held_up(world):
    start(world, OVER_CUBE)
    down = OVER_CUBE.copy()
    down[1] += 0.4
    go(world, down, 1.0)
    go(world, OVER_CUBE, 1.0)
    assert world.joints == pytest.approx(OVER_CUBE, abs=2e-3)


def test_lasting_contact_is_one_collision_and_a_second_visit_another(world):
    start(world, OVER_CUBE)
    down = OVER_CUBE.copy()
    down[1] += 0.3
    go(world, down, 2.0)
    assert world.collisions == 1
    go(world, OVER_CUBE, 1.0)
    go(world, down, 1.0)
    assert world.collisions == 2
    start(world, OVER_CUBE)
    assert world.collisions == 0


def test_the_hand_pushes_the_cube_and_that_is_no_collision(world):
    start(world, OVER_CUBE + [-0.35, 0, 0, 0, 0, 0, 0, -0.04], cube_x_m=0.6, cube_y_m=0.0)
    before = world.cube
    go(world, OVER_CUBE + [0.35, 0, 0, 0, 0, 0, 0, -0.04], 2.0)
    assert world.cube[1] > before[1] + 0.1
    assert world.cube[2] == pytest.approx(before[2], abs=5e-3)
    assert world.collisions == 0


def test_the_gripper_lifts_the_cube(world):
    x, y, _ = hand_at(world, OVER_CUBE)
    start(world, OVER_CUBE, cube_x_m=x, cube_y_m=y, cube_yaw_rad=0.0)
    closed, lifted = OVER_CUBE.copy(), HIGH_UP.copy()
    closed[-1] = lifted[-1] = 0.0
    go(world, closed, 0.8)
    go(world, lifted, 1.5)
    assert world.cube[2] > 0.2
    assert np.linalg.norm(world.cube[:3] - world.hand) < 0.07


def hand_at(world, joints):
    start(world, joints)
    return world.hand


# --- resets and determinism

def test_same_seed_and_commands_give_the_same_trajectory_bit_for_bit(world):
    def trajectory(world):
        rng = np.random.default_rng(4)
        world.reset(11, {})
        out = []
        for _ in range(30):
            world.step(rng.uniform(DRAWN_LOW, DRAWN_HIGH))
            out.append(np.concatenate([world.joints, world.joint_speeds, world.cube, world.joint_states().efforts]))
        return np.array(out), world.collisions, world.image()
    go(world, OVER_CUBE, 0.5)
    for used, new in zip(trajectory(world), trajectory(Arm())):
        assert np.array_equal(used, new)


def test_one_long_step_is_many_short_ones(world):
    start(world, HIGH_UP)
    world.step(OVER_CUBE, 0.2)
    long = world.joints
    start(world, HIGH_UP)
    for _ in range(10):
        world.step(OVER_CUBE, 0.02)
    assert np.array_equal(world.joints, long)
    assert world.time_s == pytest.approx(0.2)


def test_drawn_starts_are_free_and_the_reset_says_what_it_drew(world):
    near = 0
    for seed in range(60):
        state = world.reset(seed, {})
        assert tuple(state) == world.value_names
        assert world.free(world.joints)
        assert world.joints == pytest.approx([state[name] for name in JOINT_VALUES], abs=0)
        assert world.cube[[0, 1, 3]] == pytest.approx([state[name] for name in CUBE_VALUES])
        assert (world.joints >= DRAWN_LOW).all() and (world.joints <= DRAWN_HIGH).all()
        near += np.linalg.norm(world.hand - world.cube[:3]) < NEAR_CUBE_M
    assert 12 <= near <= 35  # a third by design, and a few of the others


def test_given_values_are_taken_and_do_not_change_the_drawn_cube(world):
    drawn = world.reset(9, {})
    fixed = world.reset(9, {'joint1_rad': 0.5, 'finger_m': 0.01})
    assert (fixed['joint1_rad'], fixed['finger_m']) == (0.5, 0.01)
    assert [fixed[name] for name in CUBE_VALUES] == [drawn[name] for name in CUBE_VALUES]
    assert world.reset(9, fixed) == fixed


@pytest.mark.parametrize(('values', 'line'), [
    ({'elbow_rad': 0.0}, "unknown value 'elbow_rad'; it has joint1_rad, "),
    ({'joint4_rad': 0.5}, 'joint4_rad = 0.5 is out of range; it must be within -3.072 … -0.4'),
    ({'joint1_rad': math.nan}, 'joint1_rad = nan is out of range'),
    ({'finger_m': 0.05}, 'finger_m = 0.05 is out of range; it must be within 0 … 0.04'),
    ({'cube_x_m': 2.0}, 'cube_x_m = 2 is out of range'),
    ({'cube_yaw_rad': math.inf}, 'cube_yaw_rad = inf is out of range'),
    ({'cube_x_m': 0.0, 'cube_y_m': 0.0}, 'with cube_x_m = 0, cube_y_m = 0 the arm would touch'),
    (dict(zip(JOINT_VALUES, OVER_CUBE + [0, 0.4, 0, 0, 0, 0, 0, 0])), 'the arm would touch the table'),
])
def test_an_impossible_reset_is_refused_and_changes_nothing(world, values, line):
    start(world, HIGH_UP)
    go(world, OVER_CUBE, 0.3)
    before = np.concatenate([world.joints, world.joint_speeds, world.cube, [world.time_s]])
    with pytest.raises(WorldError, match=line) as caught:
        world.reset(0, values)
    assert '\n' not in str(caught.value)
    assert np.array_equal(before, np.concatenate([world.joints, world.joint_speeds, world.cube, [world.time_s]]))


def test_sampled_configurations_are_free_and_leave_the_state_alone(world):
    world.reset(3, {})
    joints, rng = world.joints, np.random.default_rng(0)
    samples = np.array([world.sample_joints(rng) for _ in range(40)])
    assert all(world.free(sample) for sample in samples)
    assert np.array_equal(world.joints, joints)
    assert (samples.max(0) - samples.min(0) > 0.5 * (DRAWN_HIGH - DRAWN_LOW)).all()


def test_a_configuration_in_the_table_or_in_the_cube_is_not_free(world):
    start(world, HIGH_UP)
    assert world.free(OVER_CUBE)
    assert not world.free(OVER_CUBE + [0, 0.4, 0, 0, 0, 0, 0, 0])
    x, y, _ = hand_at(world, OVER_CUBE)
    start(world, HIGH_UP, cube_x_m=x + 0.05, cube_y_m=y + 0.05)
    assert not world.free(OVER_CUBE)


# --- names, files, package

def test_sensors_say_names_and_numbers_of_one_length(world):
    for topic in ('joint_states', 'sim/scene'):
        reading = world.read(topic)
        assert len(reading.names) == len(reading.positions)
    states = world.read('joint_states')
    assert states.names == JOINTS
    assert len(states.velocities) == len(states.efforts) == len(JOINTS)


def test_what_joint_states_say_does_not_change_afterwards(world):
    start(world, HIGH_UP)
    said = world.read('joint_states')
    go(world, OVER_CUBE, 0.2)
    assert np.array_equal(said.positions, HIGH_UP)


def test_the_robot_contract_fits_the_world(world):
    contract = RobotContract.load('arm')
    [stream] = contract.actions
    assert (stream.topic, stream.type) == (world.command.topic, world.command.type)
    assert tuple(field.field for field in stream.fields) == world.command.fields
    assert np.array_equal(contract.action_low, DRAWN_LOW) and np.array_equal(contract.action_high, DRAWN_HIGH)
    assert (contract.action_low >= world.command.low).all() and (contract.action_high <= world.command.high).all()
    assert np.array_equal(contract.action_max_rate, SPEED_LIMITS)
    assert contract.action_names == list(JOINT_VALUES)
    assert world.sensors[-1].topic == contract.pacing.topic  # what is sent after it would be one percept late
    topics = {sensor.topic for sensor in world.sensors}
    assert {stream.topic for stream in (*contract.observations, *contract.readouts)} <= topics


def test_the_shipped_world_is_made_from_its_file():
    assert load_config('arm').options == Arm.Options(image_size=128, renderer='drawn')
    assert make_world('arm', seed=5).reset(5, {}) == Arm(seed=5).reset(5, {})


def test_without_the_package_one_line_names_the_extra(monkeypatch):
    monkeypatch.setattr(arm_model, 'PACKAGE', 'a_package_that_nobody_has')
    with pytest.raises(WorldError, match=r"not installed; install it with: pip install 'jepa_ros\[arm\]'") as caught:
        make_world('arm')
    assert '\n' not in str(caught.value)


def test_a_package_without_the_meshes_is_named_in_one_line(monkeypatch):
    monkeypatch.setattr(arm_model, 'ASSETS', 'envs/assets/elsewhere')
    with pytest.raises(WorldError, match='elsewhere/assets.xml does not exist') as caught:
        make_world('arm')
    assert '\n' not in str(caught.value)


def test_meshes_that_cannot_be_loaded_are_named_in_one_line(tmp_path, monkeypatch):
    (tmp_path / 'meshes/collision').mkdir(parents=True)
    for name in ('assets.xml', 'chain.xml', 'meshes/collision/link1.stl'):
        (tmp_path / name).write_text('<mujocoinclude><nonsense/></mujocoinclude>')
    monkeypatch.setattr(arm_model, 'assets', lambda: tmp_path)
    with pytest.raises(WorldError, match='cannot load .*nonsense') as caught:
        make_world('arm')
    assert '\n' not in str(caught.value)
