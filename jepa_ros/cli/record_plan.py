"""What `jepa-ros record` runs: which processes for which driver, with which parameters. Imports no ROS."""
from dataclasses import dataclass, field
import json
from pathlib import Path

from ..errors import ConfigError
from ..registry import nearest
from ..runtime.names import GATE

DRIVERS = {
    'none': 'somebody else drives, the topics are recorded',
    'random': 'correlated random exploration',
    'teleop': 'a person, with the keys of this terminal or a joystick',
    'policy': 'the agent of a model, with random goals',
    'curiosity': 'a model looks for states that are new to it',
}
KEYS_TOPIC = 'record/keys'      # the keys of the terminal, as a joystick
LOCKSTEP_GATE = {'repeat_rate_hz': 0.0, 'organ_timeout_s': 5.0, 'action_timeout_s': 0.0, 'silence_timeout_s': 0.0,
                 'sensor_timeout_s': 60.0}
EXECUTABLES = {'sim': 'jepa_ros.sim.node', 'nodes': 'jepa_ros.cli.record_nodes', GATE: 'jepa_ros.robot.gate_node',
               'perception': 'jepa_ros.perception.node', 'recorder': 'jepa_ros.robot.recorder_node',
               'random': 'jepa_ros.robot.driver_node', 'teleop': 'jepa_ros.robot.teleop_node',
               'curiosity': 'jepa_ros.robot.curiosity_node', 'policy': 'jepa_ros.robot.goal_driver_node'}


@dataclass(frozen=True)
class Plan:
    """What to record. `world` is empty for a live robot; ConfigError for what cannot go together."""

    robot: str
    output: Path
    world: str = ''
    driver: str = ''            # a key of DRIVERS; empty: random in a world, none on a robot
    model: str = ''             # checkpoint of the drivers policy and curiosity
    model_sha256: str = ''
    episodes: int = 1
    steps: int = 100
    seed: int = 0
    first_episode: int = 0
    namespace: str = ''         # full, as /robot_1
    topics: str = ''
    use_sim_time: bool = False
    joy: str = ''               # topic of a joystick
    axes: str = '1,0'
    stampless: bool = False     # percepts have no stamps of their own: the driver goes by the clock
    recorder: dict = field(default_factory=dict)    # further parameters of the recorder

    def __post_init__(self):
        if not self.driver:
            object.__setattr__(self, 'driver', 'random' if self.world else 'none')
        if self.driver not in DRIVERS:
            raise ConfigError(f'--driver {self.driver!r} is unknown{nearest(self.driver, DRIVERS)}; '
                              f'choose {", ".join(DRIVERS)}')
        if self.world and self.driver == 'none':
            raise ConfigError('--driver none with a world: nobody would drive it; give another driver, or start it '
                              'with jepa-ros sim and record it without --world, with --use-sim-time')

    @property
    def lockstep(self) -> bool:
        """True when the simulator waits for each action: an exact recording, as fast as the machine can."""
        return bool(self.world) and self.driver in ('random', 'curiosity')

    @property
    def counts_episodes(self) -> bool:
        """True when the driver ends the recording after `episodes`; otherwise a person or a duration does."""
        return self.driver in ('random', 'curiosity', 'policy')

    @property
    def needs_model(self) -> bool:
        return self.driver in ('policy', 'curiosity')

    @property
    def sim_time(self) -> bool:
        return bool(self.world) or self.use_sim_time

    @property
    def processes(self) -> tuple[str, ...]:
        """Keys of EXECUTABLES in the order of their start. The agent of the driver `policy` comes besides."""
        if self.world and self.driver == 'random':
            return ('sim', 'nodes')     # one process for all nodes saves two switches per step
        if self.driver == 'none':
            return ('recorder',)
        if self.driver == 'policy':
            return ('recorder', 'policy')
        return (*(('sim',) if self.world else ()), GATE, *(('perception',) if self.driver == 'curiosity' else ()),
                'recorder', self.driver)

    @property
    def leader(self) -> str:
        """The process with whose end the recording is done."""
        return self.processes[-1]

    def parameters(self) -> dict:
        """Parameters of all nodes of this recording, as a ROS parameter file has them."""
        common: dict[str, object] = {'autostart': True, 'robot': self.robot}
        moved = {**common, 'use_sim_time': self.sim_time}
        nodes = {
            'recorder': {**(moved if self.driver == 'teleop' or self.use_sim_time else common), **self._recorder()},
            'command_gate': {**moved, **self._gate()},
            'driver': {**common, **self._driver()},
            'perception': {**moved, 'model': self.model},
            'goal_driver': {'autostart': True, 'model': self.model, 'episodes': self.episodes, 'seed': self.seed},
            'sim': {'world': self.world or 'two_rooms', 'real_time_factor': 0.0 if self.lockstep else 1.0,
                    'seed': self.seed}}
        return {f'/**/{name}': {'ros__parameters': own} for name, own in nodes.items()}

    def _recorder(self) -> dict:
        made_with = {'world': self.world, 'driver': self.driver, 'seed': self.seed, 'episodes': self.episodes,
                     'steps': self.steps, 'first_episode': self.first_episode, 'robot': self.robot, 'model': self.model}
        out = {'output': str(self.output), 'parameters': json.dumps(made_with), 'model_sha256': self.model_sha256,
               'clock': 'lockstep' if self.lockstep else 'sim' if self.sim_time else 'system', **self.recorder}
        if self.joy:
            out['joy_topic'] = self.joy
        if self.topics:
            out['topics'] = self.topics
        return out

    def _gate(self) -> dict:
        # In lockstep an unanswered percept means standing still, so the gate needs no timeouts on time that jumps.
        organs = 'driver,perception' if self.driver == 'curiosity' else 'driver'
        return {'required_organs': organs, **(LOCKSTEP_GATE if self.lockstep else {})}

    def _driver(self) -> dict:
        if self.driver == 'teleop':
            return {'joy_topic': self.joy or KEYS_TOPIC, 'axes': self.axes, 'use_sim_time': self.sim_time}
        others = 'command_gate,recorder' + (',perception' if self.driver == 'curiosity' else '')
        own: dict[str, object] = {
            'episodes': self.episodes, 'steps': self.steps, 'seed': self.seed, 'lockstep': self.lockstep,
            'first_episode': self.first_episode, 'wait_for': others}
        if self.stampless and self.sim_time or self.use_sim_time:
            own['use_sim_time'] = True
        if not self.world:
            own['reset_world'] = False
        return {**own, **({'model': self.model} if self.driver == 'curiosity' else {})}
