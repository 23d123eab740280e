"""What the configurator node keeps of the goal it pursues, and how a goal is refused. No ROS imports."""
from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import JepaRosError
from ..registry import nearest


@dataclass
class Pursuit:
    """The goal being pursued."""

    handle: object         # ServerGoalHandle
    finished: object       # rclpy Future of PursueGoal.Result
    goal_id: str
    settings: object       # of the configurator organ
    begun_s: float         # ROS time
    progress: object = None
    plan_latency_ms: float = 0.0
    mode: int = 0
    part: str = ''         # of a sequence, the one that runs


class Refused(JepaRosError):
    """A goal that ends with an error code."""

    def __init__(self, code: int, line: str):
        super().__init__(line)
        self.code = code


def unknown_task(task: str, known: Iterable[str]) -> str:
    """Say which tasks there are."""
    known = list(known)
    return f"unknown task '{task}'{nearest(task, known)}; known: {', '.join(known)}"
