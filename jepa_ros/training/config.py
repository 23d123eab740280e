"""Training configuration (`config/agents/*.yaml`), validated with one line per mistake."""
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, PositiveInt, ValidationError
import yaml

from jepa_ros import paths
from jepa_ros.actor.planners import PLANNERS
from jepa_ros.errors import ConfigError
from jepa_ros.perception.encoders import ENCODERS
from jepa_ros.registry import nearest, Registry
from jepa_ros.robot.yaml_errors import first_error, unreadable
from jepa_ros.world_model.hjepa import LevelConfig, ModelConfig
from jepa_ros.world_model.predictors import PREDICTORS


def _registered(registry: Registry) -> AfterValidator:
    """Refuses an unknown name now, not after hours of training."""
    def check(name: str) -> str:
        try:
            registry.get(name)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return name
    return AfterValidator(check)


class _Strict(BaseModel):
    model_config = ConfigDict(extra='forbid', allow_inf_nan=False)


class Coefficients(_Strict):
    """Weights of the level-0 losses (LeCun Fig. 13–14)."""

    prediction: float = Field(1.0, ge=0)
    variance: float = Field(16.0, ge=0)
    covariance: float = Field(8.0, ge=0)
    smoothness: float = Field(1.0, ge=0)
    inverse: float = Field(5.0, ge=0)
    within: float = Field(8.0, ge=0)
    within_floor: float = Field(0.4, ge=0, description='standard deviation within an episode')


class Stage(_Strict):
    """One optimisation run."""

    updates: int = Field(gt=0)
    batch: int = Field(gt=1)
    window: int = Field(gt=1, description='steps (level 0) or periods (above) per sample')
    lr: float = Field(gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    warmup: int = Field(500, ge=0)


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


class Planner(_Strict):
    """Mode-2 settings of one level; see actor/planners/base.py."""

    method: Annotated[str, _registered(PLANNERS)] = 'mppi'
    samples: int = Field(gt=1)
    iterations: int = Field(gt=0)
    horizon: int = Field(gt=0, description='periods of that level')
    elites: int = Field(gt=0)
    correlation: float = Field(0.7, ge=0, lt=1)
    temperature: float = Field(0.5, gt=0)
    min_std: float = Field(0.1, ge=0)


class Collapse(_Strict):
    """A run below these is refused: its representation carries too little."""

    min_effective_rank: float = Field(4.0, gt=0)
    min_std: float = Field(0.2, gt=0, description='mean standard deviation of the dimensions of s')
    max_inverse_error: float = Field(0.5, gt=0, description='share of the action variance inverse dynamics misses')


class Architecture(_Strict):
    encoder: Annotated[str, _registered(ENCODERS)] = 'conv'
    channels: tuple[PositiveInt, ...] = (32, 64, 96, 96)
    dim: int = Field(64, gt=1)
    predictor: Annotated[str, _registered(PREDICTORS)] = 'residual_mlp'
    width: int = Field(256, gt=0)
    depth: int = Field(2, gt=0)
    upper_width: int = Field(256, gt=0)
    macro_dim: int = Field(8, gt=0)
    periods: tuple[int, ...] = (1, 8)

    @field_validator('periods')
    @classmethod
    def _slower_towards_the_top(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if value[:1] != (1,) or list(value) != sorted(set(value)):
            raise ValueError(f'{list(value)}: must begin with 1, the control step, and grow from level to level')
        return value


class TrainingConfig(_Strict):
    architecture: Architecture = Architecture()
    coefficients: Coefficients = Coefficients()
    level0: Stage
    upper: Stage
    macro: MacroActions = MacroActions()
    distillation: Distillation = Distillation()
    collapse: Collapse = Collapse()
    planners: list[Planner] = Field(min_length=1, description='level 0 first')
    goal_radius: float = Field(0.1, gt=0, description="a goal this near counts as reached, in the readouts' unit")
    seed: int = 0

    def model_config_for(self, image_shape: tuple[int, int, int], action_dim: int, readouts: int) -> ModelConfig:
        """Network for a robot with these tensors."""
        a = self.architecture
        levels = tuple(LevelConfig(period=p, macro_dim=None if i == 0 else a.macro_dim, predictor=a.predictor,
                                   width=a.width if i == 0 else a.upper_width, depth=a.depth)
                       for i, p in enumerate(a.periods))
        return ModelConfig(image_shape=image_shape, action_dim=action_dim, dim=a.dim, encoder=a.encoder,
                           channels=a.channels, readouts=readouts, levels=levels)


def load_config(name: str) -> TrainingConfig:
    """`config/agents/<name>.yaml` or a path."""
    path: Path = paths.config_file('agents', name)
    if not path.is_file():
        known = paths.known('agents')
        raise ConfigError(f'unknown agent configuration {name!r}{nearest(name, known)}; '
                          f'known: {", ".join(known)}, or the path of a YAML file')
    try:
        text = path.read_text(encoding='utf-8')
        data = yaml.safe_load(text) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:      # ValueError: not UTF-8, or a date that is none
        raise ConfigError(unreadable(error, str(path))) from None
    try:
        return TrainingConfig.model_validate(data)
    except ValidationError as error:
        raise ConfigError(first_error(error, text, str(path), TrainingConfig)) from None
