"""Tasks: YAML files that say what the configurator asks of the other organs (LeCun §2, §6)."""
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
import yaml

from jepa_ros import paths
from jepa_ros.errors import ConfigError
from jepa_ros.robot.yaml_errors import first_error, load_yaml, unreadable

DEFAULT_TASK = 'reach'


class Task(BaseModel):
    """One file of `config/tasks/`."""

    model_config = ConfigDict(extra='forbid', frozen=True, allow_inf_nan=False)

    description: str = ''
    weights: dict[str, float] = Field(default_factory=dict)
    mode: Literal['auto', 'reactive', 'planned'] = 'auto'
    budget_ms: float = Field(50.0, gt=0, le=10_000)
    timeout_s: float = Field(60.0, gt=0)
    success: float = Field(1.0, gt=0, description='share of the goal tolerance')
    modulation: dict[str, float] = Field(default_factory=dict)


def load_task(path: Path) -> Task:
    """Read one task; ConfigError names file and field."""
    try:
        text = path.read_text(encoding='utf-8')
        return Task.model_validate(load_yaml(text) or {})
    except ValidationError as error:
        raise ConfigError(first_error(error, text, str(path), Task)) from None
    except (OSError, ValueError, yaml.YAMLError) as error:      # ValueError: not UTF-8, or a date that is none
        raise ConfigError(unreadable(error, str(path))) from None


def load_tasks() -> dict[str, Task]:
    """All shipped tasks by name."""
    return {name: load_task(paths.config_file('tasks', name)) for name in paths.known('tasks')}
