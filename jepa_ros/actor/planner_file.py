"""Planner settings in a file of their own (`config/planners/`): another method or effort for a model that is there."""
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, WrapValidator

from jepa_ros import paths
from jepa_ros.actor.planners import PlannerConfig
from jepa_ros.errors import ConfigError
from jepa_ros.registry import nearest
from jepa_ros.robot.yaml_errors import load_validated
from jepa_ros.world_model.config import located


class PlannerFile(BaseModel):
    """One file of `config/planners/`."""

    model_config = ConfigDict(extra='forbid', frozen=True)

    description: str = ''
    planners: list[Annotated[PlannerConfig, WrapValidator(located)]] = Field(
        min_length=1, description='level 0 first; fewer than the model has levels plan with the lowest ones')


def load_planners(name: str, levels: int) -> list[PlannerConfig]:
    """Settings of a name in config/planners, or of a YAML file. ConfigError in one line, also for too many levels."""
    path = paths.config_file('planners', name)
    if not path.is_file():
        known = paths.known('planners')
        raise ConfigError(f'planners {name!r} not found{nearest(name, known)}: known are {", ".join(known)}; or give '
                          'the path of a YAML file')
    planners = load_validated(path, PlannerFile).planners
    if len(planners) > levels:
        raise ConfigError(f'{path}: planners for {len(planners)} levels, the model has {levels}: leave the upper ones '
                          'out')
    return planners
