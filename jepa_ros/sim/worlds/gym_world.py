"""Any Gymnasium environment as a robot: its observations are sensors, its actions a command.

Selected by name, `gym:CartPole-v1` or, for environments of another package, `gym:package:Env-v0`; or in a YAML file,
`world: gym` with options. Time passes in whole steps of the environment. When an episode ends the world stands still
until it is reset.
"""
from collections.abc import Mapping
import math
import os
from typing import Any
import warnings

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from jepa_ros.errors import WorldError
from jepa_ros.sim.worlds.base import CommandPort, Ending, Frame, Joints, Reading, Sensor

RENDERED = 'camera/image_raw'
CAMERA_FRAME = 'camera'
DEFAULT_TICK_S = 0.05
TICK_LIMITS_S = (0.001, 10.0)   # what a robot contract allows as control period
SEEDS = 2**31                   # some environments keep their seed in 32 bits
CLOSE = 3                       # names offered for one that is unknown


class GymWorld:
    """See `base.World` and `base.Episodic`."""

    value_names: tuple[str, ...] = ()
    rooms: tuple[str, ...] = ()
    frames: tuple[Frame, ...] = ()
    collisions = 0

    class Options(BaseModel):
        """What `config/worlds/*.yaml` may set for this world."""

        model_config = ConfigDict(extra='forbid')
        id: str = Field(description='id of an environment, CartPole-v1 or package:Env-v0')
        render: bool = Field(False, description='a camera topic with what the environment draws')
        render_side: int = Field(256, ge=16, le=4096, description='larger pictures are scaled down to this, pixels')
        arguments: dict[str, Any] = Field(default_factory=dict, description='keyword arguments of the environment')

    def __init__(self, id: str, render: bool = False, arguments: Mapping[str, Any] | None = None, seed: int = 0,
                 render_side: int = 256):
        """Make the environment and reset it. WorldError in one line for one that is unknown or does not work."""
        from jepa_ros.sim.gym_spaces import Actions, leaves, MOST_NAMED  # loads gymnasium, which takes a while

        self.name = f'gym:{id}'
        self.id = id
        self._side = render_side
        self._env = _make(id, render, dict(arguments or {}))
        self.control_period_s = self.physics_step_s = _tick_s(self._env)
        self._actions = Actions(self._env.action_space, self.name)
        self.actions = self._actions.fields
        self.leaves = leaves(self._env.observation_space, self.name)
        self._leaf_of = {_topic(leaf, len(self.leaves)): leaf for leaf in self.leaves}
        self.sensors = tuple(Sensor(topic, 'image' if leaf.image else 'joints' if leaf.size <= MOST_NAMED else 'array',
                                    CAMERA_FRAME if leaf.image else '') for topic, leaf in self._leaf_of.items())
        if render:
            self.sensors += (Sensor(RENDERED, 'image', CAMERA_FRAME),)
        self.command = CommandPort(
            'command', 'std_msgs/msg/Float64MultiArray', tuple(f'data[{i}]' for i in range(len(self.actions))),
            tuple(field.low for field in self.actions), tuple(field.high for field in self.actions))
        self.reset(seed, {})
        if render:
            self._picture()   # says now that nothing can be drawn, not in the middle of an episode

    @property
    def idle_command(self) -> np.ndarray:
        return np.zeros(len(self.actions))

    @property
    def time_s(self) -> float:
        return self._steps * self.control_period_s

    @property
    def ending(self) -> Ending | None:
        return self._ending

    @property
    def reward(self) -> float:
        return self._reward

    @property
    def info(self) -> Mapping[str, Any]:
        """What the environment said beside the newest observation; some say there whether the task is done."""
        return self._info

    @property
    def step_limit(self) -> int | None:
        """Steps after which the environment ends an episode by itself; None for never."""
        return getattr(self._env.spec, 'max_episode_steps', None)

    @property
    def observation(self) -> Any:
        """The newest observation as the environment gave it; `leaves` are its parts."""
        return self._observation

    def reset(self, seed: int, values: Mapping[str, float], options: dict[str, Any] | None = None) -> dict[str, float]:
        """Begin an episode drawn with the seed. WorldError for a named value: environments draw all of their state.

        `options` are the environment's own, for those that can be put into a state.
        """
        if values:
            raise WorldError(f"world {self.name}: unknown value '{next(iter(values))}'; it has none, only a seed")
        self._observation, self._info = self._call('reset', seed=seed % SEEDS, options=options)
        self._steps, self._reward = 0, 0.0
        self._ending: Ending | None = None
        return {}

    def step(self, command: np.ndarray, duration_s: float | None = None) -> None:
        """Step the environment with a command (A,), clipped to its space, for a whole number of its steps.

        After the end of an episode nothing happens. WorldError for a command that is not A finite numbers.
        """
        command = np.asarray(command, float)
        if command.shape != (len(self.actions),) or not np.isfinite(command).all():
            raise WorldError(f'world {self.name}: a command is {len(self.actions)} finite numbers, '
                             f'not {command.tolist()}')
        action = self._actions.decode(command)
        for _ in range(1 if duration_s is None else round(duration_s / self.control_period_s)):
            if self._ending is None:
                self._step(action)

    def read(self, topic: str) -> Reading:
        if topic == RENDERED:
            return self._picture()
        leaf = self._leaf_of[topic]
        if leaf.image:
            return leaf.picture(self._observation)
        vector = leaf.vector(self._observation)
        return vector if self._kind(topic) == 'array' else Joints(leaf.names, vector)

    def close(self) -> None:
        """Free what the environment holds; windows and graphics contexts."""
        self._env.close()

    def _kind(self, topic: str) -> str:
        return next(sensor.kind for sensor in self.sensors if sensor.topic == topic)

    def _step(self, action) -> None:
        self._observation, reward, terminated, truncated, info = self._call('step', action)
        self._info = info
        self._steps += 1
        self._reward = float(reward)
        if terminated or truncated:
            success = info.get('is_success', info.get('success'))
            reason = 'terminated' if terminated else 'truncated'
            self._ending = Ending('stop' if success is None else 'success' if success else 'failure', reason)

    def _picture(self) -> np.ndarray:
        picture = self._call('render')
        if not isinstance(picture, np.ndarray) or picture.ndim != 3 or picture.shape[2] != 3:
            raise WorldError(f'world {self.name}: render() gives {type(picture).__name__}, not an RGB picture')
        picture = np.ascontiguousarray(picture, np.uint8)
        scale = self._side / max(picture.shape[:2])
        if scale >= 1:
            return picture
        height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
        return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)

    def _call(self, method: str, *args, **kwargs):
        """Call the environment, other people's code: whatever it raises becomes one line that says so."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')
                return getattr(self._env, method)(*args, **kwargs)
        except Exception as error:
            raise WorldError(f'world {self.name}: {method}() failed: {_one_line(error)}') from error


def check_id(id: str) -> None:
    """WorldError with the nearest names where no environment has this id; imports the package it names."""
    import importlib

    import gymnasium
    from gymnasium.envs import registration
    package, _, name = id.rpartition(':')
    try:
        if package:
            importlib.import_module(package)
        namespace, short, version = registration.parse_env_id(name)
    except ImportError as error:
        raise WorldError(f'world gym:{id}: package {package!r} cannot be imported: {_one_line(error)}') from error
    except gymnasium.error.Error:
        raise WorldError(f'world gym:{id}: not an id, which is Name-v0, namespace/Name-v0 or '
                         'package:Name-v0') from None
    unversioned = version is None and registration.find_highest_version(namespace, short) is not None
    if name not in gymnasium.registry and not unversioned:
        raise WorldError(f"world gym:{id}: unknown environment '{name}'{_nearest(name)}; one of another package is "
                         'gym:package:Name-v0')


def _make(id: str, render: bool, arguments: dict[str, Any]):
    check_id(id)
    env = _made(id, arguments)
    if not render:
        return env
    modes = env.metadata.get('render_modes', ())
    env.close()
    if 'rgb_array' not in modes:
        raise WorldError(f"world gym:{id}: it has no render mode rgb_array ({', '.join(modes) or 'none at all'}): "
                         'run it without --render')
    os.environ.setdefault('PYGAME_HIDE_SUPPORT_PROMPT', '1')
    if not os.environ.get('DISPLAY'):   # the libraries' own choice is a window
        os.environ.setdefault('MUJOCO_GL', 'egl')
        os.environ.setdefault('SDL_VIDEODRIVER', 'dummy')
    return _made(id, {'render_mode': 'rgb_array', **arguments})


def _made(id: str, arguments: dict[str, Any]):
    import gymnasium
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')   # newer versions and such: several lines each
            return gymnasium.make(id, disable_env_checker=True, **arguments)
    except Exception as error:   # other people's code
        raise WorldError(f'world gym:{id}: cannot be made: {_one_line(error)}') from error


def _tick_s(env) -> float:
    """Seconds of one step: what the environment says, rounded to nanoseconds."""
    fps = env.metadata.get('render_fps')
    for said in (getattr(env.unwrapped, 'dt', None), getattr(env.unwrapped, 'tau', None), fps and 1 / fps):
        if isinstance(said, (int, float)) and math.isfinite(said) and TICK_LIMITS_S[0] <= said <= TICK_LIMITS_S[1]:
            return round(float(said), 9)
    return DEFAULT_TICK_S


def _topic(leaf, count: int) -> str:
    base = 'observation' if count == 1 else f'observation/{leaf.key}'
    return f'{base}/image_raw' if leaf.image else base


def _nearest(name: str) -> str:
    import difflib

    import gymnasium
    by_letters = {known.lower(): known for known in gymnasium.registry}
    close = difflib.get_close_matches(name.lower(), by_letters, n=CLOSE, cutoff=0.6)
    return f' (did you mean {" or ".join(by_letters[c] for c in close)}?)' if close else ''


def _one_line(error: Exception) -> str:
    text = ' '.join(str(error).split())
    return f'{type(error).__name__}: {text}' if text else type(error).__name__
