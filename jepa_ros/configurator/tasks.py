"""Tasks: YAML files that say what the configurator asks of the other organs (LeCun §2, §6)."""
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from jepa_ros import paths
from jepa_ros.cost.intrinsic import Region
from jepa_ros.robot.yaml_errors import load_validated

DEFAULT_TASK = 'reach'


class Avoid(BaseModel):
    """A region that no plan may enter, in the units of the readouts that span it; see `Region`."""

    model_config = ConfigDict(extra='forbid', frozen=True, allow_inf_nan=False)

    centre: dict[str, float | str] = Field(min_length=1)
    radius: float = Field(gt=0)


class Task(BaseModel):
    """One file of `config/tasks/`."""

    model_config = ConfigDict(extra='forbid', frozen=True, allow_inf_nan=False)

    description: str = ''
    weights: dict[str, float] = Field(default_factory=dict)
    avoid: list[Avoid] = Field(default_factory=list)
    mode: Literal['auto', 'reactive', 'planned'] = 'auto'
    budget_ms: float = Field(50.0, gt=0, le=10_000)
    timeout_s: float = Field(60.0, gt=0)
    success: float = Field(1.0, gt=0, description='share of the goal tolerance')
    modulation: dict[str, float] = Field(default_factory=dict)

    @property
    def regions(self) -> tuple[Region, ...]:
        """What to keep out of, as the cost takes it."""
        return tuple(Region(each.centre, each.radius) for each in self.avoid)


def load_task(path: Path) -> Task:
    """Read one task; ConfigError names file and field."""
    return load_validated(path, Task)


def load_tasks() -> dict[str, Task]:
    """All shipped tasks by name."""
    return {name: load_task(paths.config_file('tasks', name)) for name in paths.known('tasks')}
