"""A seven-jointed arm with a gripper on a table, and a cube to push or to lift: Franka's meshes in MuJoCo.

Commands are joint positions, as trajectories with one point; the arm goes there within its joints' speed limits and
stops where it hits something. Model and motors are in `arm_model.py`, the camera in `arm_view.py` and `arm_gl.py`.
"""
from collections.abc import Callable, Mapping
import math
from typing import Literal

import mujoco
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from jepa_ros.errors import WorldError
from jepa_ros.sim.worlds import arm_model
from jepa_ros.sim.worlds.arm_gl import OpenGlView
from jepa_ros.sim.worlds.arm_model import CUBE_HALF_M, JOINTS, TABLE_M
from jepa_ros.sim.worlds.arm_motion import SetPoints
from jepa_ros.sim.worlds.arm_view import CAMERA, DrawnView
from jepa_ros.sim.worlds.base import CommandPort, Frame, Joints, Reading, Sensor

IMAGE, JOINT_STATES, SCENE = 'camera/image_raw', 'joint_states', 'sim/scene'
CAMERA_FRAME = 'table_camera'
CONTACT_RELEASE_S = 0.1      # contact that is lost for less than this is the same contact: no counting of chatter

# Drawn configurations, and the limits of config/robots/arm.yaml: the hand above the part of the table that is in view.
DRAWN_LOW = np.array([-0.8, -0.1, -0.4, -2.6, -0.4, 0.2, -0.8, 0.0])   # rad, finger m
DRAWN_HIGH = np.array([0.8, 0.8, 0.4, -1.7, 0.4, 1.4, 0.8, 0.04])
CUBE_LOW = np.array([0.35, -0.3, -math.pi / 4])                        # x, y in m, yaw in rad
CUBE_HIGH = np.array([0.65, 0.3, math.pi / 4])
NEAR_CUBE_SHARE = 1 / 3      # of the starts: touching the cube is rare in random motion and must be learnt
NEAR_CUBE_M = 0.15           # from between the fingers to the cube's centre
DRAWS = 1000                 # tries to find a free configuration before saying that there is none
CUBE_REACH_M = CUBE_HALF_M * math.sqrt(2)  # from its centre to an upright edge

JOINT_VALUES = (*(f'joint{i}_rad' for i in range(1, 8)), 'finger_m')
CUBE_VALUES = ('cube_x_m', 'cube_y_m', 'cube_yaw_rad')
SCENE_NAMES = ('hand_x', 'hand_y', 'hand_z', 'cube_x', 'cube_y', 'cube_z', 'cube_yaw')


class Arm:
    """See `base.World`. Same seed and same commands give the same trajectory, bit for bit.

    Frame `map` is on the table under the arm: x away from it, y to its left, z up.
    """

    name = 'arm'
    value_names = (*JOINT_VALUES, *CUBE_VALUES)
    rooms = ()
    control_period_s = 0.1
    physics_step_s = arm_model.PHYSICS_STEP_S
    # The scene is what no sensor of a real robot says: where hand and cube are, in m and rad, for readouts. The picture
    # comes last: it makes the percepts, and what is sent after it belongs to the next one.
    sensors = (Sensor(JOINT_STATES, 'joints'), Sensor(SCENE, 'joints', 'map'), Sensor(IMAGE, 'image', CAMERA_FRAME))
    frames = (Frame('map', CAMERA_FRAME, CAMERA.eye, CAMERA.rotation),)

    class Options(BaseModel):
        """What `config/worlds/*.yaml` may set for this world."""

        model_config = ConfigDict(extra='forbid')
        image_size: int = Field(128, ge=64, le=128, description='of the camera, pixels')
        renderer: Literal['drawn', 'mujoco'] = Field('drawn', description='mujoco needs OpenGL')

    def __init__(self, image_size: int = 128, renderer: Literal['drawn', 'mujoco'] = 'drawn', seed: int = 0):
        """Raises WorldError where the package with the meshes, or OpenGL for renderer 'mujoco', is missing."""
        self._model = model = arm_model.build(visual=renderer == 'mujoco')
        self._data, self._probe = mujoco.MjData(model), mujoco.MjData(model)
        self._view: DrawnView | OpenGlView = OpenGlView(model) if renderer == 'mujoco' else DrawnView(model)
        self._size = image_size
        names = (*JOINTS, 'panda_finger_joint2')
        self._qpos = np.array([model.joint(name).qposadr[0] for name in names])  # (9,)
        self._qvel = np.array([model.joint(name).dofadr[0] for name in names])
        self._cube_qpos, self._cube_geom = model.joint('cube').qposadr[0], model.geom('cube').id
        self._hand = model.site('end_effector').id
        self._robot = np.array([model.body(body).name.startswith('panda0_') for body in model.geom_bodyid])  # (G,)
        ranges = np.array([model.joint(name).range for name in JOINTS])          # (8, 2)
        self.command = CommandPort(
            'arm_controller/joint_trajectory', 'trajectory_msgs/msg/JointTrajectory',
            tuple(f'position[{name}]' for name in JOINTS), tuple(ranges[:, 0].tolist()), tuple(ranges[:, 1].tolist()))
        self._set_points = SetPoints(len(JOINTS), self.physics_step_s)
        self._steps = self._collisions = self._last_contact = 0
        self.reset(seed, {})

    @property
    def joints(self) -> np.ndarray:
        """(8,) positions in the order of the command: rad, finger m."""
        return self._data.qpos[self._qpos[:-1]]

    @property
    def joint_speeds(self) -> np.ndarray:
        """(8,) rad/s, finger m/s."""
        return self._data.qvel[self._qvel[:-1]]

    @property
    def hand(self) -> np.ndarray:
        """(3,) position of the middle between the fingers, 5 cm above their tips, in m."""
        return self._data.site_xpos[self._hand].copy()

    @property
    def cube(self) -> np.ndarray:
        """(4,) position of the cube's centre in m and its yaw in rad."""
        x, y, z, qw, qx, qy, qz = self._data.qpos[self._cube_qpos:][:7]
        return np.array([x, y, z, math.atan2(2 * (qw * qz + qx * qy), 1 - 2 * (qy * qy + qz * qz))])

    @property
    def idle_command(self) -> np.ndarray:
        """(8,) where the joints stand if they brake now."""
        return np.clip(self._set_points.stopping_at(), self.command.low, self.command.high)

    @property
    def collisions(self) -> int:
        """How often the arm has begun to touch the table or itself; touching the cube is no collision."""
        return self._collisions

    @property
    def time_s(self) -> float:
        return self._steps * self.physics_step_s

    def reset(self, seed: int, values: Mapping[str, float]) -> dict[str, float]:
        """Start anew, at rest: named values are set, the others drawn with `seed`. Returns all of `value_names`.

        Giving joints does not change the drawn cube. Raises WorldError for an unknown name, a value that is not finite
        or out of range, or a start in contact; the world is then unchanged.
        """
        self._check(values)
        cube_rng, joint_rng = (np.random.default_rng([seed, stream]) for stream in range(2))
        drawn = dict(zip(CUBE_VALUES, cube_rng.uniform(CUBE_LOW, CUBE_HIGH).tolist()))
        cube = np.array([values.get(name, drawn[name]) for name in CUBE_VALUES])
        joints = self._start(joint_rng, cube, values)
        mujoco.mj_resetData(self._model, self._data)
        self._pose(self._data, joints, cube)
        mujoco.mj_forward(self._model, self._data)
        self._set_points.place(joints)
        self._steps = self._collisions = 0
        self._last_contact = -10**9  # in steps: long ago
        return dict(zip(self.value_names, (*joints.tolist(), *cube.tolist())))

    def step(self, command: np.ndarray, duration_s: float | None = None) -> None:
        """Move towards joint positions (8,), clipped to their ranges, for a multiple of 4 ms (default: one period).

        Raises WorldError for a command that is not eight finite numbers.
        """
        command = np.asarray(command, float)
        if command.shape != (len(JOINTS),) or not np.isfinite(command).all():
            raise WorldError(f'world arm: a command is {len(JOINTS)} finite joint positions ({", ".join(JOINTS)}), '
                             f'not {command.tolist()}')
        targets, data = np.clip(command, self.command.low, self.command.high), self._data
        for _ in range(round((self.control_period_s if duration_s is None else duration_s) / self.physics_step_s)):
            motors = self._set_points.advance(targets, self.joints)
            data.ctrl[:-1], data.ctrl[-1] = motors, motors[-1]
            mujoco.mj_step(self._model, data)
            self._steps += 1
            if self._touching(data, cube=False):
                if self._steps - self._last_contact > CONTACT_RELEASE_S / self.physics_step_s:
                    self._collisions += 1
                self._last_contact = self._steps

    def read(self, topic: str) -> Reading:
        readers: dict[str, Callable[[], Reading]] = {
            IMAGE: self.image, JOINT_STATES: self.joint_states, SCENE: self.scene}
        return readers[topic]()

    def image(self, size: int | None = None, joints: np.ndarray | None = None,
              cube: np.ndarray | None = None) -> np.ndarray:
        """What the camera sees, (size, size, 3) uint8 RGB; with `joints` (8,) or `cube` (x, y, yaw) as if they were so.

        The state is not touched.
        """
        probe = self._probe
        probe.qpos[:] = self._data.qpos
        if joints is not None or cube is not None:
            self._pose(probe, self.joints if joints is None else np.asarray(joints, float), cube)
        mujoco.mj_kinematics(self._model, probe)  # mj_step leaves the poses of one step ago
        return self._view.draw(probe, size or self._size)

    def joint_states(self) -> Joints:
        """Positions, velocities and the motors' efforts (with what holds the arm's weight), Nm, fingers N."""
        efforts = self._data.qfrc_actuator + self._data.qfrc_gravcomp
        return Joints(JOINTS, self.joints, self.joint_speeds, efforts[self._qvel[:-1]])

    def scene(self) -> Joints:
        """Where hand and cube are."""
        return Joints(SCENE_NAMES, np.concatenate([self.hand, self.cube]))

    def free(self, joints: np.ndarray) -> bool:
        """Whether the arm, with joints (8,), touches neither itself nor the table nor the cube where it now is."""
        self._probe.qpos[:] = self._data.qpos
        return self._free(np.asarray(joints, float), None)

    def sample_joints(self, rng: np.random.Generator) -> np.ndarray:
        """A free configuration (8,), uniform over those that resets draw; the cube stays where it is."""
        self._probe.qpos[:] = self._data.qpos
        while True:
            joints = rng.uniform(DRAWN_LOW, DRAWN_HIGH)
            if self._free(joints, None):
                return joints

    # --- reset

    def _check(self, values: Mapping[str, float]) -> None:
        x_min, y_min, x_max, y_max = TABLE_M
        reach = CUBE_REACH_M
        limits = dict(zip(self.value_names, (
            *zip(self.command.low, self.command.high), (x_min + reach, x_max - reach), (y_min + reach, y_max - reach),
            (-math.pi, math.pi))))
        for name, value in values.items():
            if name not in limits:
                raise WorldError(f"world arm: unknown value '{name}'; it has {', '.join(self.value_names)}")
            low, high = limits[name]
            if not low <= value <= high:  # NaN, too
                raise WorldError(f'world arm: {name} = {value:g} is out of range; it must be within '
                                 f'{low:.4g} … {high:.4g}')

    def _start(self, rng: np.random.Generator, cube: np.ndarray, values: Mapping[str, float]) -> np.ndarray:
        """Joints (8,) that are free, a third of them with the hand near the cube."""
        given = {index: values[name] for index, name in enumerate(JOINT_VALUES) if name in values}
        near_cube = rng.random() < NEAR_CUBE_SHARE
        centre = np.array([*cube[:2], CUBE_HALF_M])
        for attempt in range(DRAWS):
            joints = rng.uniform(DRAWN_LOW, DRAWN_HIGH)
            joints[list(given)] = list(given.values())
            if self._free(joints, cube):
                distance = np.linalg.norm(self._probe.site_xpos[self._hand] - centre)
                # given values may not go with the cube
                if len(given) == len(joints) or not near_cube or distance < NEAR_CUBE_M or attempt > DRAWS // 2:
                    return joints
            if len(given) == len(joints):
                break
        said = ', '.join(f'{name} = {value:g}' for name, value in values.items())
        raise WorldError(f'world arm: with {said} the arm would touch the table, the cube or itself; '
                         'choose a start that is free')

    def _pose(self, data: mujoco.MjData, joints: np.ndarray, cube: np.ndarray | None) -> None:
        data.qpos[self._qpos] = [*joints, joints[-1]]
        if cube is not None:
            x, y, yaw = cube
            data.qpos[self._cube_qpos:][:7] = x, y, CUBE_HALF_M, *arm_model.yaw_quaternion(yaw)

    def _free(self, joints: np.ndarray, cube: np.ndarray | None) -> bool:
        self._pose(self._probe, joints, cube)
        mujoco.mj_kinematics(self._model, self._probe)
        mujoco.mj_comPos(self._model, self._probe)
        mujoco.mj_collision(self._model, self._probe)
        return not self._touching(self._probe, cube=True)

    def _touching(self, data: mujoco.MjData, cube: bool) -> bool:
        """Whether the arm touches anything: itself, the table or, with `cube`, the cube."""
        pairs = data.contact.geom  # (contacts, 2)
        of_arm = self._robot[pairs].any(1)
        return bool((of_arm if cube else of_arm & (pairs != self._cube_geom).all(1)).any())
