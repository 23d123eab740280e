"""The MuJoCo model of the arm world: Franka's meshes out of an installed package, a table, a cube.

The chain (joints, masses, meshes) comes from gymnasium-robotics' kitchen, whose wheel carries the files; nothing of
that package is imported. Motors, limits, table and cube are ours. Frame `base`: on the table under the arm, x away from
it, y to its left, z up (REP-103).
"""
import importlib.util
import math
from pathlib import Path
from xml.sax.saxutils import quoteattr

import mujoco
import numpy as np

from jepa_ros.errors import WorldError

PACKAGE = 'gymnasium_robotics'
ASSETS = 'envs/assets/kitchen_franka/franka_assets'
INSTALL = "pip install 'jepa_ros[arm]'"

PHYSICS_STEP_S = 0.004
JOINTS = (*(f'panda_joint{i}' for i in range(1, 8)), 'panda_finger_joint1')  # the second finger mirrors the first
# the package's zeros of joints 6 and 7 are turned by -90° and 45° against Franka's data sheet
SPEED_LIMITS = np.array([2.175] * 4 + [2.61] * 3 + [0.1])            # data sheet; rad/s, finger m/s
ACCELERATIONS = np.array([7.5, 3.75, 5.0, 6.25, 7.5, 10.0, 10.0, 1.0])  # half the data sheet's; rad/s², finger m/s²
STIFFNESS = np.array([1200.0, 1200.0, 800.0, 800.0, 400.0, 400.0, 200.0, 2000.0])  # Nm/rad, finger N/m
DAMPING = np.array([100.0, 100.0, 60.0, 60.0, 25.0, 20.0, 10.0, 60.0])             # Nm s/rad, finger N s/m
FORCE_LIMITS = np.array([87.0] * 4 + [12.0] * 3 + [20.0])            # data sheet; Nm, finger N
ARMATURE = np.array([0.3] * 4 + [0.1] * 3 + [0.3])                   # of rotors behind gears; kg m², finger kg

TABLE_M = (-0.3, -0.6, 0.9, 0.6)     # x_min, y_min, x_max, y_max of its top, which is z = 0
TABLE_THICKNESS_M = 0.05
RIM_HEIGHT_M = 0.03                  # keeps the cube on the table
RIM_WIDTH_M = 0.02
FLOOR_Z_M = -0.75
CUBE_HALF_M = 0.035                  # fits between the fingers, which open to 0.08 m
CUBE_MASS_KG = 0.3

Colour = tuple[int, int, int]        # RGB
LINK_COLOURS: tuple[Colour, ...] = ((222, 226, 230), (120, 150, 190))  # in turn, so that one ends where the next begins
HAND_COLOUR: Colour = (62, 70, 86)
FINGER_COLOUR: Colour = (40, 170, 110)
CUBE_COLOUR: Colour = (235, 88, 24)
TABLE_COLOUR: Colour = (206, 194, 172)
RIM_COLOUR: Colour = (142, 112, 84)
FLOOR_COLOUR: Colour = (98, 104, 116)


def assets() -> Path:
    """Folder of the arm's XML and mesh files. Raises WorldError naming the extra where the package is missing."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise WorldError(f"world arm: the arm's meshes come with the package gymnasium-robotics, which is not "
                         f'installed; install it with: {INSTALL}')
    folder = Path(next(iter(found.submodule_search_locations))) / ASSETS
    missing = [name for name in ('assets.xml', 'chain.xml', 'meshes/collision/link1.stl')
               if not (folder / name).is_file()]
    if missing:
        raise WorldError(f'world arm: {folder / missing[0]} does not exist, the installed gymnasium-robotics is of '
                         f'another kind; install the right one with: {INSTALL}')
    return folder


def build(visual: bool = False) -> mujoco.MjModel:
    """The compiled model, with the finer meshes that only OpenGL can draw where `visual`. Raises WorldError."""
    folder = assets()
    try:
        spec = mujoco.MjSpec.from_string(_scene(folder))
        _prepare_arm(spec, visual)
        _add_motors(spec)
        return spec.compile()
    except (ValueError, KeyError) as error:  # what MuJoCo raises for XML, meshes and names it cannot use
        line = ' '.join(str(error).split())
        raise WorldError(f'world arm: cannot load {folder}: {line}; install it anew with: {INSTALL}') from error


def _scene(folder: Path) -> str:
    x_min, y_min, x_max, y_max = TABLE_M
    centre, half = ((x_min + x_max) / 2, (y_min + y_max) / 2), ((x_max - x_min) / 2, (y_max - y_min) / 2)
    rim_z, rim = RIM_HEIGHT_M / 2, RIM_WIDTH_M / 2
    rims = ''.join(
        f'<geom name="rim{i}" type="box" pos="{x} {y} {rim_z}" size="{sx} {sy} {rim_z}" rgba="{_rgba(RIM_COLOUR)}"/>'
        for i, (x, y, sx, sy) in enumerate((
            (x_min - rim, centre[1], rim, half[1] + 2 * rim), (x_max + rim, centre[1], rim, half[1] + 2 * rim),
            (centre[0], y_min - rim, half[0], rim), (centre[0], y_max + rim, half[0], rim))))
    # the later compiler line wins: the package's own folder is relative to a file that we do not load
    return f"""<mujoco model="arm">
      <include file={quoteattr(str(folder / 'assets.xml'))}/>
      <compiler angle="radian" meshdir={quoteattr(str(folder / 'meshes'))} autolimits="true"/>
      <option timestep="{PHYSICS_STEP_S}" integrator="implicitfast" cone="elliptic" impratio="5"/>
      <visual><quality shadowsize="0" offsamples="0"/>
        <headlight ambient="0.4 0.4 0.4" diffuse="0.2 0.2 0.2" specular="0 0 0"/></visual>
      <worldbody>
        <light directional="true" pos="0.35 -0.25 2" dir="-0.35 0.25 -1" diffuse="0.6 0.6 0.6" specular="0 0 0"
          castshadow="false"/>
        <geom name="floor" type="plane" pos="0 0 {FLOOR_Z_M}" size="50 50 1" rgba="{_rgba(FLOOR_COLOUR)}"/>
        <geom name="table" type="box" pos="{centre[0]} {centre[1]} {-TABLE_THICKNESS_M / 2}"
          size="{half[0]} {half[1]} {TABLE_THICKNESS_M / 2}" rgba="{_rgba(TABLE_COLOUR)}"/>
        {rims}
        <include file={quoteattr(str(folder / 'chain.xml'))}/>
        <body name="cube"><freejoint name="cube"/>
          <geom name="cube" type="box" size="{CUBE_HALF_M} {CUBE_HALF_M} {CUBE_HALF_M}" mass="{CUBE_MASS_KG}"
            rgba="{_rgba(CUBE_COLOUR)}" friction="0.6 0.005 0.0001" condim="4"/>
        </body>
      </worldbody>
    </mujoco>"""


def _prepare_arm(spec: mujoco.MjSpec, visual: bool) -> None:
    """Names and colours of the links, joints without the kitchen's heavy damping, gravity taken off as Franka does."""
    links = [body for body in spec.bodies if body.name.startswith('panda0_')]
    for number, body in enumerate(links):
        body.gravcomp = 1.0
        for geom in list(body.geoms):
            # the fingers' own contact shapes are capsules, which the drawn view does not show
            if geom.classname.name == 'panda_viz' and not visual and geom.meshname != 'finger_viz':
                spec.delete(geom)
            else:
                geom.rgba = [*np.array(_link_colour(number, body.name, geom.meshname)) / 255, 1.0]
    if not visual:
        for mesh in list(spec.meshes):
            if mesh.name.endswith('_viz') and mesh.name != 'finger_viz':
                spec.delete(mesh)
    for joint in spec.joints:
        if joint.name.startswith('robot:panda0_'):
            joint.name = joint.name.replace('robot:panda0_', 'panda_')
            index = JOINTS.index(joint.name.replace('joint2', 'joint1') if 'finger' in joint.name else joint.name)
            joint.damping, joint.armature = 0.0, ARMATURE[index]


def _link_colour(number: int, body: str, mesh: str) -> Colour:
    if mesh.startswith('hand'):
        return HAND_COLOUR
    return FINGER_COLOUR if body.endswith('finger') else LINK_COLOURS[number % 2]


def _add_motors(spec: mujoco.MjSpec) -> None:
    """Position motors in the order of JOINTS, then the second finger's, whose target is the first finger's."""
    for joint, index in (*((name, i) for i, name in enumerate(JOINTS)), ('panda_finger_joint2', len(JOINTS) - 1)):
        motor = spec.add_actuator(name=joint, target=joint, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        motor.set_to_position(kp=STIFFNESS[index], kv=DAMPING[index])
        motor.forcerange = [-FORCE_LIMITS[index], FORCE_LIMITS[index]]


def _rgba(colour: Colour) -> str:
    return ' '.join(f'{value / 255:g}' for value in (*colour, 255))


def yaw_quaternion(yaw_rad: float) -> tuple[float, float, float, float]:
    """(w, x, y, z) of a turn about z."""
    return math.cos(yaw_rad / 2), 0.0, 0.0, math.sin(yaw_rad / 2)
