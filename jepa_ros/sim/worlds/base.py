"""What a simulated world offers to the simulator node, to evaluation and to tests. No ROS here.

A world says which topics it has (`sensors`, `command`) and answers with plain readings; the `sim` node makes messages
of them. `World` is all that the node needs, of a robot of any kind; `PlanarWorld` adds what evaluation asks of a base
that drives through rooms; `Episodic` is for worlds that end by themselves, as Gymnasium's environments do.
"""
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np

Kind = Literal['image', 'odometry', 'scan', 'joints', 'array']


@dataclass(frozen=True)
class Sensor:
    """One topic that the world publishes; `World.read(topic)` gives its reading.

    kind image -> uint8 (H, W, 3) RGB, as sensor_msgs/Image; odometry -> Odometry2D, as nav_msgs/Odometry; scan -> Scan,
    as sensor_msgs/LaserScan; joints -> Joints, as sensor_msgs/JointState; array -> float64 (n,), as
    std_msgs/Float64MultiArray (which has no stamp: prefer joints, whose names also say what the numbers are).
    """

    topic: str           # relative: scan
    kind: Kind
    frame: str = ''      # header.frame_id
    every: int = 1       # published at each, every second, … control period


def sending_order(sensors: tuple[Sensor, ...]) -> list[Sensor]:
    """Pictures last: they often set an agent's pace, and what it perceives then must have been sent before."""
    return sorted(sensors, key=lambda sensor: sensor.kind == 'image')


@dataclass(frozen=True)
class CommandPort:
    """The topic that moves the robot: which fields of which message become the command (A,), in which limits."""

    topic: str
    type: str                  # geometry_msgs/msg/Twist
    fields: tuple[str, ...]    # (A) paths as in a robot contract: linear.x, position[elbow], data[0]
    low: tuple[float, ...]     # (A) limits in the field's unit; the world clips commands to them
    high: tuple[float, ...]


@dataclass(frozen=True)
class Odometry2D:
    """Where a base is: x, y in m and yaw in rad in frame `odom`; vx, vy in m/s and wz in rad/s in the base's frame."""

    x: float
    y: float
    yaw: float = 0.0
    vx: float = 0.0
    vy: float = 0.0
    wz: float = 0.0


@dataclass(frozen=True)
class Scan:
    """One turn of a planar lidar (REP-117: −inf nearer than `range_min_m`, +inf where nothing is hit).

    Real drivers differ from the REP: a world that imitates one says so.
    """

    ranges_m: np.ndarray       # (beams,) float32
    angle_min_rad: float
    angle_increment_rad: float
    range_min_m: float
    range_max_m: float


@dataclass(frozen=True)
class Joints:
    """State of n joints: rad or m, per second, Nm or N. `velocities` and `efforts` may be empty."""

    names: tuple[str, ...]
    positions: np.ndarray                  # (n,) float64
    velocities: np.ndarray | tuple = ()    # (n,) float64
    efforts: np.ndarray | tuple = ()       # (n,) float64


@dataclass(frozen=True)
class Frame:
    """A frame fixed in another, for /tf_static: metres, and a quaternion w, x, y, z."""

    parent: str
    child: str
    position_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rotation: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)


Reading = np.ndarray | Odometry2D | Scan | Joints


class World(Protocol):
    """A world that the `sim` node can run. SI units, frame `map` with x to the right and y up (REP-103)."""

    name: str
    value_names: tuple[str, ...]   # what `reset` takes and returns
    rooms: tuple[str, ...]         # names that `PlanarWorld.sample_pose` takes; empty for a world without rooms
    control_period_s: float        # sensors are read at its multiples
    physics_step_s: float          # `step` goes on for whole numbers of these; divides control_period_s
    sensors: tuple[Sensor, ...]
    command: CommandPort
    frames: tuple[Frame, ...]

    @property
    def idle_command(self) -> np.ndarray:
        """(A,) what holds now when no command is in force, so that the robot stops.

        Zeros for speeds; the positions where its joints are to stay for an arm.
        """

    @property
    def collisions(self) -> int:
        """How often the robot has begun to touch something since the last reset."""

    @property
    def time_s(self) -> float:
        """Simulated time since the last reset."""

    def reset(self, seed: int, values: Mapping[str, float]) -> dict[str, float]:
        """Set the named values, draw the others with the seed; returns all of them. WorldError if impossible."""

    def step(self, command: np.ndarray, duration_s: float) -> None:
        """Move on for a while under a command (A,), clipped to its limits. WorldError if it is not A finite numbers."""

    def read(self, topic: str) -> Reading:
        """What the sensor of that topic measures now; the state is not touched. Called only when it is published."""


class PlanarWorld(World, Protocol):
    """A world whose robot is a base on the floor: what evaluation, films and goals by picture need."""

    @property
    def pose(self) -> tuple[float, float]:
        """Position (x, y) of the robot's centre in m."""

    @property
    def velocity(self) -> tuple[float, float]:
        """Velocity (vx, vy) in m/s in frame `map`."""

    def image(self, size: int = 128, pose: tuple[float, float] | None = None) -> np.ndarray:
        """What the overhead camera sees, (size, size, 3) uint8 RGB; with `pose` as if the robot were there."""

    def scan(self) -> Scan:
        """What the lidar on the robot measures."""

    def free(self, x_m: float, y_m: float) -> bool:
        """Whether the robot can stand there without touching anything."""

    def sample_pose(self, rng: np.random.Generator, room: str | None = None) -> tuple[float, float]:
        """A free pose, uniform over the named room or over all of the world."""


@dataclass(frozen=True)
class Ending:
    """How an episode of a world ended by itself."""

    outcome: Literal['success', 'failure', 'stop']   # stop: neither is known
    reason: str


@runtime_checkable
class Episodic(Protocol):
    """A world whose episodes end by themselves. After the end it stands still until it is reset."""

    @property
    def ending(self) -> Ending | None:
        """How the episode ended; None while it goes on."""

    @property
    def reward(self) -> float:
        """Reward of the last step, for evaluation; 0 after a reset."""
