"""Training configuration (`config/agents/*.yaml`), validated with one line per mistake."""
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    model_validator,
    WrapValidator,
)

from jepa_ros import paths
from jepa_ros.actor.planners import PlannerConfig
from jepa_ros.errors import ConfigError
from jepa_ros.perception.config import PerceptionConfig
from jepa_ros.registry import nearest
from jepa_ros.robot.yaml_errors import load_validated
from jepa_ros.training import losses
from jepa_ros.world_model.config import EgoConfig, LevelConfig, Levels, located, ModelConfig

DEFAULT_LOSSES: dict[str, Any] = {
    'prediction': {}, 'vicreg': {'variance': 16, 'covariance': 8, 'within': 8}, 'smoothness': {}, 'inverse': {},
    'readouts': {}}
DEFAULT_UPPER_LOSSES: dict[str, Any] = {
    'prediction': {}, 'vicreg': {'variance': 16, 'covariance': 8, 'within': 0}, 'smoothness': {}, 'readouts': {}}


def _known_losses(value: dict[str, Any]) -> dict[str, Any]:
    try:
        losses.parse(value)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return value


Terms = Annotated[dict[str, Any], AfterValidator(_known_losses)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra='forbid', allow_inf_nan=False)


class Stage(_Strict):
    """One optimisation run."""

    updates: int = Field(gt=0)
    batch: int = Field(gt=1)
    window: int = Field(gt=1, description='steps (level 0) or periods (above) per sample')
    horizon: int = Field(0, ge=0, description='steps imagined from a start; 0: the whole window from its first state')
    stride: int = Field(1, gt=0, description='steps between starts; matters with a horizon')
    lr: float = Field(gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    warmup: int = Field(500, ge=0)

    @model_validator(mode='after')
    def _reach(self) -> 'Stage':
        if self.horizon >= self.window:
            raise ValueError(f'horizon {self.horizon} does not fit window {self.window}: the window is longer')
        return self


class MacroActions(_Strict):
    """How the macro-actions ω of the levels above are kept plannable."""

    whitening: float = Field(0.1, ge=0, description='weight of zero mean and unit covariance')
    noise: float = Field(0.1, ge=0, description='standard deviation added to ω in training')


class Distillation(_Strict):
    """Mode-1 and critic, distilled from Mode-2 plans in imagination (LeCun §3.1.3, Fig. 5)."""

    problems: int = Field(20_000, gt=0, description='start/goal pairs planned')
    updates: int = Field(4000, gt=0)
    batch: int = Field(512, gt=1)
    lr: float = Field(1e-3, gt=0)


class Collapse(_Strict):
    """A run below these is refused: its representation carries too little."""

    refuse: bool = Field(True, description='false: write the checkpoint all the same, to study what collapsed')
    min_effective_rank: float = Field(4.0, gt=0)
    min_std: float = Field(0.2, gt=0, description='mean standard deviation of the dimensions of s')
    max_inverse_error: float = Field(0.5, gt=0, description='share of the action variance inverse dynamics misses')
    every: int = Field(500, gt=0, description='updates between two checks while level 0 is trained')
    grace: int = Field(2000, ge=0, description='updates before a check may warn')
    patience: int = Field(4, gt=0, description='bad checks in a row after which the training stops')


class TrainingConfig(_Strict):
    perception: PerceptionConfig = PerceptionConfig()
    levels: Levels = Field((LevelConfig(), LevelConfig(period=8, macro_dim=8)), min_length=1)
    ego: EgoConfig | None = Field(None, description='an ego model beside the levels')
    losses: Terms = Field(DEFAULT_LOSSES, description='of level 0; see training/losses')
    upper_losses: Terms = Field(DEFAULT_UPPER_LOSSES, description='of levels with a state space of their own')
    schedule: Literal['levelwise', 'joint'] = Field(
        'levelwise', description='levelwise: each level on the frozen ones below; joint: all at once')
    level0: Stage
    upper: Stage
    ego_stage: Stage = Stage(updates=3000, batch=256, window=9, lr=1e-3)
    macro: MacroActions = MacroActions()
    distillation: Distillation = Distillation()
    collapse: Collapse = Collapse()
    planners: list[Annotated[PlannerConfig, WrapValidator(located)]] = Field(
        min_length=1, description='Mode-2, level 0 first; see actor/planners/config.py')
    goal_radius: float = Field(0.1, gt=0, description="a goal this near counts as reached, in the readouts' unit")
    seed: int = Field(0, ge=0, lt=2**31)

    @model_validator(mode='after')
    def _planned(self) -> 'TrainingConfig':
        if len(self.planners) > len(self.levels):
            raise ValueError(f'planners: {len(self.planners)} for {len(self.levels)} level(s): one for each, level 0 '
                             'first; leave the others out')
        return self

    def model_config_for(self, action_dim: int, readouts: int) -> ModelConfig:
        """Network for a robot with so many action values and readouts."""
        return ModelConfig(perception=self.perception, action_dim=action_dim, readouts=readouts, levels=self.levels,
                           ego=self.ego)


def config_for(robot: str) -> str:
    """Name of the configuration for a robot: the one named like it, or `default`."""
    return robot if robot in paths.known('agents') else 'default'


def load_config(name: str) -> TrainingConfig:
    """`config/agents/<name>.yaml` or a path."""
    path: Path = paths.config_file('agents', name)
    if not path.is_file():
        known = paths.known('agents')
        raise ConfigError(f'unknown agent configuration {name!r}{nearest(name, known)}; '
                          f'known: {", ".join(known)}, or the path of a YAML file')
    return load_validated(path, TrainingConfig)
