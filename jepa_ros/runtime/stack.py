"""What `jepa-ros up` runs: which processes, with which command lines. Refuses what cannot work (no ROS imports)."""
from dataclasses import dataclass, field
from pathlib import Path
import sys

from ..errors import ConfigError
from ..registry import nearest
from .names import AGENT, full_namespace, GATE, ORGANS, SIM
from .params_file import check_params_file

MODULES = {GATE: 'jepa_ros.robot.gate_node', SIM: 'jepa_ros.sim.node', AGENT: 'jepa_ros.runtime.composition',
           **{organ: f'jepa_ros.{organ}.node' for organ in ORGANS}}


LOG_LEVELS = ('debug', 'info', 'warn', 'error', 'fatal')


@dataclass(frozen=True)
class Stack:
    """What to run. `world` is empty for a real robot; `extra` are further parameters per process."""

    robot: str = 'two_rooms'
    model: str = 'two_rooms'
    planners: str = ''                 # a name or a file; empty: those of the model
    tasks: str = ''                    # the user's own: a file or a folder
    world: str = ''
    composition: bool = True
    learn: bool = False                # what can learn while the robot drives does so
    speed: float = 1.0                 # share of the range of each action that may be used
    namespace: str = ''
    params_file: str = ''
    log_level: str = 'info'
    real_time_factor: float = 1.0
    seed: int = 0
    use_sim_time: bool | None = None   # None: with a world
    extra: dict[str, dict[str, object]] = field(default_factory=dict)
    gate: bool = True                  # False: the agent watches and cannot command a robot
    remap: dict[str, str] = field(default_factory=dict)   # topic -> topic, for the agent

    def __post_init__(self):
        object.__setattr__(self, 'namespace', full_namespace(self.namespace))
        if self.log_level not in LOG_LEVELS:
            raise ConfigError(f'log_level {self.log_level!r} is unknown{nearest(self.log_level, LOG_LEVELS)}; '
                              f'choose {", ".join(LOG_LEVELS)}')

    @property
    def processes(self) -> tuple[str, ...]:
        """Names of the processes, in the order of their start."""
        return (*((SIM,) if self.world else ()), *((GATE,) if self.gate else ()),
                *((AGENT,) if self.composition else ORGANS))

    def command(self, name: str) -> list[str]:
        """Command line of one process."""
        parameters = {**self._parameters(name), **self.extra.get(name, {})}
        args = [sys.executable, '-m', MODULES[name], '--ros-args']
        for key, value in parameters.items():
            args += ['-p', f'{key}:={_yaml(value)}']
        if self.namespace:
            args += ['-r', f'__ns:={self.namespace}']
        for topic, other in self.remap.items() if name not in (SIM, GATE) else ():
            args += ['-r', f'{topic}:={other}']
        if self.params_file:
            args += ['--params-file', self.params_file]
        return args + (['--log-level', self.log_level] if self.log_level != 'info' else [])

    def _parameters(self, name: str) -> dict[str, object]:
        if name == SIM:
            return {'world': self.world, 'real_time_factor': float(self.real_time_factor), 'seed': self.seed}
        sim_time = bool(self.world) if self.use_sim_time is None else self.use_sim_time
        common = {'robot': self.robot, 'use_sim_time': sim_time, 'autostart': True}
        if name == GATE:  # in lockstep each command is one step of time: the gate must not repeat them
            return {**common, **({'repeat_rate_hz': 0.0} if self.world and self.real_time_factor == 0 else {})}
        own = {'planners': self.planners, 'tasks': self.tasks, 'learn': self.learn}
        if self.speed != 1:
            own['speed'] = float(self.speed)
        return {**common, 'model': self.model, **{key: value for key, value in own.items() if value}}

    def check(self) -> None:
        """Refuse what cannot work before anything is started. Raises a JepaRosError in one line."""
        from .. import checkpoint
        from ..robot.contract import RobotContract
        contract = RobotContract.load(self.robot)
        folder = checkpoint.find(self.model)
        checkpoint.verify(folder, contract)
        if self.planners:
            from ..actor.planner_file import load_planners
            load_planners(self.planners, len(checkpoint.read_card(folder).architecture['levels']))
        if self.tasks:
            from ..configurator.tasks import load_tasks
            load_tasks(self.tasks)
        if self.world:
            from ..sim.worlds import load_config
            load_config(self.world)
        if self.params_file:
            check_params_file(Path(self.params_file))
        if not 0.01 <= self.speed <= 1:     # as the nodes
            raise ConfigError(f'speed is {self.speed:g}; give a share of what the robot can do, from 0.01 to 1')
        if self.real_time_factor < 0:
            raise ConfigError(f'real_time_factor is {self.real_time_factor:g}; give 0 (lockstep) or more')


def _yaml(value: object) -> str:
    if isinstance(value, bool):
        return 'true' if value else 'false'
    return f"'{value}'" if isinstance(value, str) else repr(value)
