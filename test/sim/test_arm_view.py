"""What the arm's camera shows: where things are, what hides what, and the same picture for the same state."""
import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest

from jepa_ros.sim.worlds import arm_model
from jepa_ros.sim.worlds.arm import Arm, CUBE_HIGH, CUBE_LOW, JOINT_VALUES
from jepa_ros.sim.worlds.arm_view import CAMERA

if importlib.util.find_spec(arm_model.PACKAGE) is None:
    pytest.skip(f"needs the arm's meshes: {arm_model.INSTALL}", allow_module_level=True)

ASIDE = np.array([-0.8, -0.1, 0.0, -2.5, 0.0, 0.8, 0.0, 0.04])  # to its right, the hand high and far from the cubes
OVER_TABLE = np.array([0.0, 0.2, 0.0, -2.2, 0.0, 0.83, 0.0, 0.02])


@pytest.fixture(scope='module')
def world():
    return Arm()


def start(world, joints, x=0.45, y=0.25, yaw=0.0):
    world.reset(0, {**dict(zip(JOINT_VALUES, joints)), 'cube_x_m': x, 'cube_y_m': y, 'cube_yaw_rad': yaw})


def orange(image):
    """Where the cube is: nothing else is red and neither green nor blue."""
    red, green, blue = (image[..., i].astype(float) for i in range(3))
    return (red > 1.7 * green) & (red > 2.5 * blue)


def green(image):
    """Where the fingers are."""
    red, green, blue = (image[..., i].astype(float) for i in range(3))
    return (green > 1.6 * red) & (green > 1.3 * blue)


def centre(mask):
    """(column, row) of a mask, in pixels."""
    rows, columns = np.nonzero(mask)
    return np.array([columns.mean() + 0.5, rows.mean() + 0.5])


def pixel(point, size=128):
    return CAMERA.project(np.array([point]), size)[0][0]


# --- where things are

def test_the_camera_sees_its_target_in_the_middle_and_up_is_up():
    assert pixel(CAMERA.target) == pytest.approx([64, 64])
    x, y, z = CAMERA.target
    assert pixel((x, y, z + 0.1))[1] < 64
    assert pixel((x, y + 0.1, z))[0] > 64  # y is to the robot's left, the camera looks at it from its right
    w, *xyz = CAMERA.rotation
    forward = CAMERA.axes[2]
    turned = rotate((w, *xyz), (0.0, 0.0, 1.0))
    assert turned == pytest.approx(forward)
    assert rotate((w, *xyz), (1.0, 0.0, 0.0)) == pytest.approx(CAMERA.axes[0])


def rotate(quaternion, vector):
    w, xyz, vector = quaternion[0], np.array(quaternion[1:]), np.array(vector)
    return vector + 2 * np.cross(xyz, np.cross(xyz, vector) + w * vector)


def test_the_cube_is_seen_where_it_is(world):
    rng = np.random.default_rng(0)
    for _ in range(20):
        x, y, yaw = rng.uniform(CUBE_LOW, CUBE_HIGH)
        start(world, ASIDE, x, max(y, 0.0), yaw)
        assert centre(orange(world.image())) == pytest.approx(pixel(world.cube[:3]), abs=1.0)


def test_the_fingers_are_seen_where_they_are(world):
    for turn in (-0.4, 0.0, 0.4):
        start(world, OVER_TABLE + [turn, 0, 0, 0, 0, 0, 0, 0], 0.6, 0.5)
        assert centre(green(world.image())) == pytest.approx(pixel(world.hand - [0, 0, 0.01]), abs=4)


def test_a_millimetre_of_the_cube_and_a_hundredth_of_a_radian_can_be_seen(world):
    start(world, ASIDE)
    images = [world.image(), world.image(cube=(0.451, 0.25, 0.0)),
              world.image(joints=ASIDE + [0.01, 0, 0, 0, 0, 0, 0, 0])]
    assert (images[0] != images[1]).any() and (images[0] != images[2]).any()


def test_a_turned_hand_changes_the_picture_at_the_hand_and_in_its_shadow_only(world):
    start(world, OVER_TABLE, 0.6, 0.5)
    before = world.image()
    after = world.image(joints=OVER_TABLE + [0, 0, 0, 0, 0, 0, 0.7, 0])
    rows, columns = np.nonzero((before != after).any(2))
    assert len(rows) > 50
    hand = pixel(world.hand)
    distance = np.hypot(columns + 0.5 - hand[0], rows + 0.5 - hand[1])
    assert distance.max() < 32
    assert (distance < 12).mean() > 0.4


def test_a_raised_hand_casts_its_shadow_farther_away(world):
    start(world, OVER_TABLE, 0.6, 0.5)
    low = world.image(joints=OVER_TABLE + [0, 0.2, 0, 0, 0, 0.2, 0, 0])
    high = world.image(joints=OVER_TABLE + [0, -0.2, 0, 0, 0, -0.2, 0, 0])
    dark = np.array(arm_model.TABLE_COLOUR) * 0.72
    shadows = [np.abs(image - dark).max(2) < 3 for image in (low, high)]
    assert shadows[1].sum() > 100
    assert not np.array_equal(*shadows)


def test_the_hand_hides_a_cube_behind_it(world):
    start(world, ASIDE)
    seen = orange(world.image(joints=ASIDE, cube=(0.42, 0.1, 0.0))).sum()
    eye, cube = np.array(CAMERA.eye), np.array([0.42, 0.1, 0.035])
    for share in (0.1, 0.2, 0.3):  # of the way from the cube to the camera
        joints = reaching(world, cube + share * (eye - cube))
        assert orange(world.image(joints=joints, cube=(0.42, 0.1, 0.0))).sum() < 0.5 * seen


def reaching(world, point):
    """Joints, of many drawn ones, with the hand nearest to a point."""
    rng = np.random.default_rng(1)
    nearest, best = np.inf, None
    for _ in range(1500):
        joints = world.sample_joints(rng)
        distance = np.linalg.norm(world._probe.site_xpos[world._hand] - point)
        if distance < nearest:
            nearest, best = distance, joints
    assert nearest < 0.08
    return best


# --- sameness

def test_same_state_same_picture_in_any_world_of_this_kind(world):
    start(world, OVER_TABLE)
    first = world.image()
    other = Arm()
    for _ in range(3):
        other.step(OVER_TABLE)
        other.image(64)
    start(other, OVER_TABLE)
    assert np.array_equal(first, other.image()) and np.array_equal(first, world.read('camera/image_raw'))
    assert first.shape == (128, 128, 3) and first.dtype == np.uint8


def test_a_picture_of_other_joints_is_that_of_an_arm_that_has_them_and_moves_nothing(world):
    start(world, ASIDE, 0.6, 0.5)
    before = world.image()
    imagined = world.image(joints=OVER_TABLE, cube=(0.4, 0.3, 0.5))
    assert np.array_equal(world.image(), before) and np.array_equal(world.joints, ASIDE)
    start(world, OVER_TABLE, 0.4, 0.3, 0.5)
    assert np.array_equal(world.image(), imagined)


def test_taking_pictures_does_not_change_what_happens(world):
    def end(look):
        start(world, ASIDE)
        for _ in range(5):
            world.step(OVER_TABLE)
            if look:
                world.image(joints=ASIDE)
        return world.joints
    assert np.array_equal(end(False), end(True))


def test_the_size_of_pictures_can_be_chosen():
    assert Arm(image_size=64).read('camera/image_raw').shape == (64, 64, 3)


# --- OpenGL

def run(code, **environment):
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=60, check=False,
                          env={**os.environ, **environment})
    return done.stdout, done.stderr


def test_without_opengl_the_drawn_view_works_and_the_other_is_refused_in_one_line():
    out, error = run("""
from jepa_ros.errors import WorldError
from jepa_ros.sim.worlds import make_world
print(make_world('arm').image().shape)
try:
    make_world('arm', renderer='mujoco')
except WorldError as error:
    print(error)
""", MUJOCO_GL='disable')
    assert error == ''
    shape, line = out.splitlines()
    assert shape == '(128, 128, 3)'
    assert line.startswith('world arm: renderer mujoco finds no OpenGL') and line.endswith('renderer: drawn')


def test_both_renderers_show_the_same_things_in_the_same_places(tmp_path):
    """Their meshes differ, the drawn one is coarser."""
    file = tmp_path / 'pictures.npz'
    out, _ = run(f"""
import numpy as np
from jepa_ros.errors import WorldError
from jepa_ros.sim.worlds import make_world
try:
    worlds = [make_world('arm'), make_world('arm', renderer='mujoco')]
except WorldError as error:
    print(error)
else:
    pictures = [[world.image() for seed in (3, 5, 11) if world.reset(seed, {{}})] for world in worlds]
    np.savez({str(file)!r}, drawn=pictures[0], rendered=pictures[1])
""", MUJOCO_GL='egl')
    if 'no OpenGL' in out:
        pytest.skip(out)
    pictures = np.load(file)
    for drawn, rendered in zip(pictures['drawn'], pictures['rendered']):
        for part in (orange, green):
            if part(drawn).sum() > 10:
                assert centre(part(drawn)) == pytest.approx(centre(part(rendered)), abs=2.5)
        assert np.abs(drawn.astype(float) - rendered).mean() < 25
