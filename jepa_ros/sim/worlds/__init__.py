"""The simulated worlds by name. A third party adds one with an entry point in group `jepa_ros.worlds`.

A world is one class (see `base.World`) with a nested pydantic model `Options`; `config/worlds/<name>.yaml` selects a
class and sets its options. The names that users see are those of the YAML files.
"""
from typing import Any

from pydantic import BaseModel, ConfigDict, create_model, Field, ValidationError

from jepa_ros.errors import ConfigError, ContractError, WorldError
from jepa_ros.paths import config_file, known
from jepa_ros.registry import nearest, Registry
from jepa_ros.robot.yaml_errors import first_error, read_yaml
from jepa_ros.sim.worlds.base import Scan, World
from jepa_ros.sim.worlds.two_rooms import TwoRooms

__all__ = ['WORLDS', 'Scan', 'TwoRooms', 'World', 'WorldConfig', 'load_config', 'make_world']

WORLDS: Registry[type[Any]] = Registry('world')
WORLDS.register('two_rooms')(TwoRooms)


class WorldConfig(BaseModel):
    """One file of `config/worlds/`; `options` is checked by the class that `world` names."""

    model_config = ConfigDict(extra='forbid')
    world: str = Field(description='name of a world class')
    description: str = ''
    options: Any = Field(default_factory=dict, description="the class's own options")


def load_config(name: str) -> WorldConfig:
    """Read `config/worlds/<name>.yaml`, or the YAML file `name`. Raises WorldError or ConfigError in one line."""
    path = config_file('worlds', name)
    if not path.is_file():
        names = known('worlds')
        raise WorldError(f"unknown world '{name}'{nearest(name, names)}; known: {', '.join(names)}, "
                         'or give the path of a YAML file')
    text = path.read_text()
    model = WorldConfig
    try:
        data = read_yaml(text, str(path))
        world_class = WORLDS.get(WorldConfig.model_validate(data).world)
        options = (world_class.Options, Field(default_factory=world_class.Options))
        model = create_model('WorldConfig', __base__=WorldConfig, options=options)
        return model.model_validate(data)
    except ContractError as error:
        raise ConfigError(str(error)) from error
    except ValidationError as error:
        raise ConfigError(first_error(error, text, str(path), model)) from error


def make_world(name: str = 'two_rooms', seed: int = 0) -> World:
    """The world of `config/worlds/<name>.yaml`, reset with `seed`. Raises WorldError or ConfigError in one line."""
    config = load_config(name)
    return WORLDS.get(config.world)(**config.options.model_dump(), seed=seed)
