"""Architecture of an H-JEPA as YAML and model cards say it: `ModelConfig`, with one `LevelConfig` per level."""
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    model_validator,
    PositiveInt,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from jepa_ros.errors import ConfigError
from jepa_ros.perception.config import PerceptionConfig
from jepa_ros.registry import Registry
from jepa_ros.world_model.latent_model import LatentConfig
from jepa_ros.world_model.pooling import POOLINGS
from jepa_ros.world_model.predictors import PREDICTORS
from jepa_ros.world_model.recall import RecallConfig


def registered(registry: Registry) -> AfterValidator:
    """Refuses an unknown name now, not after hours of training."""
    def check(name: str) -> str:
        try:
            registry.get(name)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return name
    return AfterValidator(check)


def located(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """What a part says of itself is a ValueError here, which the message on a file gives line and field."""
    try:
        return check(value)
    except ConfigError as error:
        raise ValueError(str(error)) from None


class _Strict(BaseModel):
    model_config = ConfigDict(extra='forbid', allow_inf_nan=False, frozen=True)


class LevelConfig(_Strict):
    """One level. The first acts with the robot's actions, those above with macro-actions."""

    period: PositiveInt = Field(1, description='control steps that one prediction spans')
    encoder: Annotated[str, registered(POOLINGS)] = Field(
        'identity', description='how states of the level below over one period become one state here (Enc_{l+1})')
    encoder_options: dict[str, Any] = Field({}, description="the encoder's own options: width, heads, …")
    dim: PositiveInt | None = Field(None, description='size of a state; default: that of the level below')
    macro_dim: PositiveInt | None = Field(None, description='numbers in a macro-action; level 0 has none')
    predictor: Annotated[str, registered(PREDICTORS)] = 'residual_mlp'
    width: PositiveInt = 256
    depth: PositiveInt = 2
    options: dict[str, Any] = Field({}, description="the predictor's own options: window, heads, tokens, …")
    latent: Annotated[LatentConfig, WrapValidator(located)] = Field(
        LatentConfig(), description='what the next state depends on and nothing here tells')
    ensemble: PositiveInt = Field(1, description='predictors that are trained side by side')
    task: bool = Field(False, description="the task token modulates the predictor; its size is perception's task_dim")
    recall: RecallConfig | None = Field(None, description='the predictor reads what was seen earlier from memory')

    @model_validator(mode='after')
    def _latent_or_recall(self) -> 'LevelConfig':
        if self.recall is not None and self.latent.kind != 'none':
            raise ValueError('recall: it does not go with a latent: leave one of them out')
        if self.recall is not None and self.pooled:
            raise ValueError('recall: what is remembered are states of level 0, which this level does not share: leave '
                             'recall or encoder out')
        return self

    @property
    def recalled(self) -> int:
        """Numbers that memory says to whoever asks at this level; 0 where it does not recall."""
        return 0 if self.recall is None else self.recall.width

    @property
    def pooled(self) -> bool:
        """The level has a state space of its own."""
        return self.encoder != 'identity'


def _hierarchy(levels: tuple[LevelConfig, ...]) -> tuple[LevelConfig, ...]:
    """The same; ValueError for levels that do not make a hierarchy."""
    periods = [level.period for level in levels]
    if periods[:1] != [1] or periods != sorted(set(periods)):
        raise ValueError(f'periods {periods}: must begin with 1, the control step, and grow from level to level')
    if levels[0].pooled or levels[0].encoder_options or levels[0].macro_dim or levels[0].dim:
        raise ValueError("0: level 0 has the state of perception and the robot's own actions: leave encoder, dim and "
                         'macro_dim out')
    for index, level in enumerate(levels[1:], 1):
        if level.macro_dim is None:
            raise ValueError(f'{index}: macro_dim is missing: how many numbers make a macro-action')
        if level.pooled and level.period % periods[index - 1]:
            raise ValueError(f'{index}: period {level.period} is no multiple of {periods[index - 1]}, the period of '
                             'the level below, whose states its encoder takes')
    return levels


Levels = Annotated[tuple[LevelConfig, ...], AfterValidator(_hierarchy)]


class EgoConfig(_Strict):
    """The ego model: the robot's own vector, foreseen without the world (LeCun §4.8.1)."""

    observation: str = Field(description='key of the observation that says how the robot itself is: joints, speeds, …')
    width: PositiveInt = 128
    depth: PositiveInt = 2


class ModelConfig(_Strict):
    """Everything needed, beside the contract's observations, to build the network again."""

    perception: PerceptionConfig = PerceptionConfig()
    action_dim: PositiveInt = 2
    readouts: int = Field(2, ge=0)
    levels: Levels = Field((LevelConfig(), LevelConfig(period=8, macro_dim=8)), min_length=1)
    ego: EgoConfig | None = None

    @property
    def dim(self) -> int:
        """Size of a state of level 0."""
        return self.perception.dim

    @property
    def dims(self) -> tuple[int, ...]:
        """Size of a state of each level."""
        found = [self.dim]
        for level in self.levels[1:]:
            found.append(level.dim or found[-1])
        return tuple(found)

    def windows(self) -> tuple[int, ...]:
        """States of the level below that make one state of each level: 1 for level 0 and where states are shared."""
        return tuple(level.period // self.levels[index - 1].period if level.pooled else 1
                     for index, level in enumerate(self.levels))

    @model_validator(mode='after')
    def _sizes(self) -> 'ModelConfig':
        for index, (level, dim) in enumerate(zip(self.levels, self.dims)):
            if not level.pooled and dim != self.dim and dim != self.dims[index - 1]:
                raise ValueError(f'levels.{index}.dim: with encoder identity a state keeps the size of the one below')
            if level.task and not self.perception.task_dim:
                raise ValueError(f'levels.{index}.task: there is no task token: give perception.task_dim, its size')
        return self
