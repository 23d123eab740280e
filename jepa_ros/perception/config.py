"""How a robot's sensors are encoded, as YAML says it: `PerceptionConfig`, a part of an agent's configuration."""
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator, PositiveInt

from jepa_ros.errors import ConfigError
from jepa_ros.perception.encoders import ENCODERS
from jepa_ros.perception.fusion import FUSIONS


class _Strict(BaseModel):
    model_config = ConfigDict(extra='forbid', allow_inf_nan=False, frozen=True)


class SensorConfig(_Strict):
    """Encoder of one observation."""

    encoder: str = Field('', description="name of the encoder; empty: the default for the observation's tensor")
    dim: PositiveInt | None = Field(None, description='size of its embedding; default: that of the state')
    options: dict[str, Any] = Field({}, description="the encoder's own options: channels, patch, …")

    @field_validator('encoder')
    @classmethod
    def _registered(cls, name: str) -> str:
        return _known(ENCODERS, name) if name else name


class PerceptionConfig(_Strict):
    """Encoders of all observations of a contract and their fusion to one state."""

    dim: PositiveInt = Field(64, description='size of the state')
    sensors: dict[str, SensorConfig] = Field({}, description='by observation key; the others get their defaults')
    fusion: str = Field('mlp', description='how several sensors become one state: mlp, attention')
    fusion_width: PositiveInt = 128
    sensor_dropout: float = Field(0.0, ge=0, lt=1, description='share of training samples in which a sensor is dropped')
    task_dim: int = Field(0, ge=0, description='size of the task token; 0: perception is not modulated')
    task_names: list[str] = Field([], description='names of the numbers of the token in task files')

    @field_validator('fusion')
    @classmethod
    def _registered(cls, name: str) -> str:
        return _known(FUSIONS, name)


    @model_validator(mode='after')
    def _named(self):
        if self.task_names and len(set(self.task_names)) != self.task_dim:
            names = len(set(self.task_names))
            raise ValueError(f'task_names has {names} different names, task_dim is {self.task_dim}: '
                             'give one for each number, or none')
        return self

    @property
    def token_names(self) -> tuple[str, ...]:
        """Names of the numbers of the task token; none where perception takes no token."""
        return tuple(self.task_names) or tuple(f'token_{n}' for n in range(self.task_dim))


def _known(registry, name: str) -> str:
    try:
        registry.get(name)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return name
