"""The simulated worlds by name. A third party adds one with an entry point in group `jepa_ros.worlds`.

A world is one class (see `base.World`) with a nested pydantic model `Options`; `config/worlds/<name>.yaml` selects a
class and sets its options. The names that users see are those of the YAML files, and `gym:<id>` for any environment of
Gymnasium.
"""
from typing import Any

from pydantic import BaseModel, ConfigDict, create_model, Field, ValidationError

from jepa_ros.errors import ConfigError, ContractError, WorldError
from jepa_ros.paths import config_file, known
from jepa_ros.registry import nearest, Registry
from jepa_ros.robot.yaml_errors import first_error, read_yaml
from jepa_ros.sim.worlds.arm import Arm
from jepa_ros.sim.worlds.base import PlanarWorld, Scan, World
from jepa_ros.sim.worlds.diff_drive import DiffDrive
from jepa_ros.sim.worlds.gym_world import check_id, GymWorld
from jepa_ros.sim.worlds.two_rooms import TwoRooms
from jepa_ros.sim.worlds.walled import Walled

__all__ = ['WORLDS', 'PlanarWorld', 'Scan', 'TwoRooms', 'World', 'WorldConfig', 'load_config', 'make_planar_world',
           'make_world']

WORLDS: Registry[type[Any]] = Registry('world')
WORLDS.register('two_rooms')(TwoRooms)
WORLDS.register('walled')(Walled)
WORLDS.register('diff_drive')(DiffDrive)
WORLDS.register('arm')(Arm)
WORLDS.register('gym')(GymWorld)
GYM = 'gym:'


class WorldConfig(BaseModel):
    """One file of `config/worlds/`; `options` is checked by the class that `world` names."""

    model_config = ConfigDict(extra='forbid')
    world: str = Field(description='name of a world class')
    description: str = ''
    options: Any = Field(default_factory=dict, description="the class's own options")


def load_config(name: str) -> WorldConfig:
    """Read `config/worlds/<name>.yaml`, or the YAML file `name`; `gym:<id>` is an environment of Gymnasium.

    Raises WorldError or ConfigError in one line.
    """
    if name.startswith(GYM):
        id = name.removeprefix(GYM)
        check_id(id)
        return WorldConfig(world='gym', description=f'environment {id} of Gymnasium', options=GymWorld.Options(id=id))
    path = config_file('worlds', name)
    if not path.is_file():
        names = known('worlds')
        raise WorldError(f"unknown world '{name}'{nearest(name, names)}; known: {', '.join(names)}, "
                         'or give the path of a YAML file, or gym:<id> for an environment of Gymnasium')
    text = path.read_text()
    model = WorldConfig
    try:
        data = read_yaml(text, str(path))
        world_class = WORLDS.get(WorldConfig.model_validate(data).world)
        # a world with an option that has no default needs the key `options`
        needed = any(field.is_required() for field in world_class.Options.model_fields.values())
        options = (world_class.Options, ... if needed else Field(default_factory=world_class.Options))
        model = create_model('WorldConfig', __base__=WorldConfig, options=options)
        return model.model_validate(data)
    except ContractError as error:
        raise ConfigError(str(error)) from error
    except ValidationError as error:
        raise ConfigError(first_error(error, text, str(path), model)) from error


def make_world(name: str = 'two_rooms', seed: int = 0, **options) -> World:
    """The world of that name (see `load_config`), reset with `seed`; `options` replace those of its file.

    Raises WorldError or ConfigError in one line.
    """
    config = load_config(name)
    chosen = config.options
    for option, value in options.items():
        if option not in type(chosen).model_fields:
            raise ConfigError(f"world {name} has no option '{option}'"
                              f'{nearest(option, type(chosen).model_fields)}')
        chosen = chosen.model_copy(update={option: value})
    return WORLDS.get(config.world)(**chosen.model_dump(), seed=seed)


def make_planar_world(name: str = 'two_rooms', seed: int = 0) -> PlanarWorld:
    """The same for what needs a base that drives through rooms. WorldError for another kind of world."""
    world: Any = make_world(name, seed)
    if not world.rooms:
        raise WorldError(f'world {name} has no rooms to drive through: choose one that has, such as two_rooms')
    return world
