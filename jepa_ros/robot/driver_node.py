"""`driver`: drives a robot at random for recording. One action per percept, a new world state per episode.

Like the actor it only proposes actions; the command gate commands the robot. Ends by itself after the last episode.
"""
from enum import Enum
import math
import sys
import time
from typing import Protocol

from diagnostic_msgs.msg import DiagnosticStatus
import numpy as np
from rclpy.duration import Duration

from jepa_ros.msg import Action, EpisodeEvent
from jepa_ros.srv import ResetWorld

from ..errors import JepaRosError
from ..runtime.diagnostics import heartbeat_phase, WARN
from ..runtime.node import ManagedNode
from ..runtime.parameters import Param
from ..runtime.percept_ticks import PerceptTicks, stamped
from ..runtime.process import Finished, run
from ..runtime.qos import EVENTS, HEARTBEATS
from .contract import RobotContract
from .cutter import MAX_STEP
from .explore import Exploration

STALL_S = 0.45           # wall time; a lockstep simulation moves on without a command after 0.5 s
ATTEMPTS = 20            # at one episode
PATIENCE_S = 10.0        # wall time without percept or answer after which recording makes no sense
ALIVE_S = 1.0            # age of the newest heartbeat of a node that is waited for


class Phase(Enum):
    """Where the driver is in the life of an episode."""

    WAITING = 'waiting for the other nodes'
    RESETTING = 'resetting the world'
    SETTLING = 'standing still for one step'   # the first percept after a reset may still show the old world
    DRIVING = 'driving'
    DONE = 'done'


class Policy(Protocol):
    """Chooses actions (A,) in SI units."""

    def start(self, episode: int) -> None:
        """Begin an episode."""

    def still(self) -> np.ndarray:
        """The action that stands still."""

    def next(self) -> np.ndarray:
        """The action of this step."""


class Driver(ManagedNode):
    """Episodes of correlated random exploration through the topics of the robot contract."""

    PARAMETERS = (
        Param('robot', 'two_rooms', 'robot contract: a name or a YAML file'),
        Param('episodes', 10, 'number of episodes', 1, 10_000_000),
        Param('steps', 100, 'actions per episode', 1, 1_000_000),
        Param('first_episode', 0, 'number of the first episode, to continue an earlier recording', 0, 10_000_000),
        Param('seed', 0, 'seed of actions and worlds: world state = seed + episode', 0, 2**62),
        Param('reset_world', True, 'reset a simulated world before each episode'),
        Param('lockstep', False, 'the simulator waits for each action: begin an episode anew when it could not'),
        Param('wait_for', 'command_gate', 'names, separated by commas, of nodes that must be well before driving'),
    )

    def __init__(self, **node_options):
        self.contract: RobotContract | None = None
        self.phase = Phase.WAITING
        super().__init__('driver', **node_options)

    def setup(self) -> None:
        """Connect to percepts, the gate and the simulator."""
        self.contract = RobotContract.load(self.params.robot)
        self._policy = self._make_policy()
        self._action = self.publish(Action, 'action')
        self._event = self.publish(EpisodeEvent, 'episode', EVENTS)
        self._percepts = self._watch_percepts()
        self._longest_step_ns = MAX_STEP * self.contract.control_period_s * 1e9 if stamped(self.contract) else math.inf
        self._reset = self.create_client(ResetWorld, 'sim/reset')
        self._entities.append(lambda: self.destroy_client(self._reset))
        self._waited_for = {name.strip(): 0.0 for name in self.params.wait_for.split(',') if name.strip()}
        self.subscribe(DiagnosticStatus, 'heartbeat', self._on_heartbeat, HEARTBEATS)
        self.subscribe(EpisodeEvent, 'episode', self._on_episode, EVENTS)
        self._done, self._steps_done, self._stalls, self._attempt = 0, 0, 0, 0
        self._plan_id, self._step, self._episode_id = 0, 0, ''
        self._stamp_ns, self._percept_s = 0, time.monotonic()

    def started(self) -> None:
        """Wait for the others; `check` sets out."""
        self._enter(Phase.WAITING)

    def stopped(self) -> None:
        """End the running episode, so that its percepts so far are an episode of the bag."""
        if self.phase is Phase.DRIVING:
            self._announce(EpisodeEvent.STOP, 'recording ended')

    def check(self) -> None:
        """Show progress; set out once the others are well; give up when nothing comes any more."""
        self.health.figures.update({
            'episode': f'{self._done}/{self.params.episodes}', 'steps': str(self._steps_done),
            'stalls': str(self._stalls)})
        if self.phase is Phase.WAITING:
            self._set_out()
        waited = time.monotonic() - self._percept_s
        if waited > PATIENCE_S and self.phase is not Phase.WAITING:
            wanted = f'publishing {self._percepts}' + (' and serving sim/reset' if self.params.reset_world else '')
            raise JepaRosError(f'driver: nothing came for {waited:.0f} s while {self.phase.value}: is it {wanted}?')

    @property
    def hardware_id(self) -> str:
        """Name of the robot."""
        return self.contract.name if self.contract else ''

    # ---- what a subclass chooses

    def _make_policy(self) -> Policy:
        """What chooses the actions."""
        contract = self.contract
        return Exploration(contract.action_low, contract.action_high, contract.control_period_s, self.params.seed,
                           [stream.safe == 'hold' for stream in contract.actions for _ in stream.fields])

    def _watch_percepts(self) -> str:
        """Have `_on_percept` called with the stamp of each percept; returns the topic they come from."""
        return PerceptTicks(self, self.contract, self._on_percept).topic

    # ---- the life of an episode

    def _set_out(self) -> None:
        now = time.monotonic()
        missing = [name for name, heard in self._waited_for.items() if now - heard > ALIVE_S]
        if self._action.get_subscription_count() == 0:
            missing.append('a subscriber to action')
        if self.params.reset_world and not self._reset.service_is_ready():
            missing.append('service sim/reset')
        if missing:
            self.health.report('waiting', WARN, f'waiting for {", ".join(missing)}')
            return
        self.health.clear('waiting', 'all are there: driving')
        self._next_episode()

    def _next_episode(self) -> None:
        if self._done == self.params.episodes:
            self._enter(Phase.DONE)
            self._event.wait_for_all_acked(Duration(seconds=2))
            self.get_logger().info(f'finished: {self._done} episodes, {self._steps_done} steps, {self._stalls} stalls')
            raise Finished
        number = self.params.first_episode + self._done
        self._policy.start(number)
        self._seed = self.params.seed + number
        attempt = f'~{self._attempt}' if self._attempt else ''
        self._episode_id, self._step = f'{self.params.seed}-{number:06d}{attempt}', 0
        if not self.params.reset_world:
            self._world = ''
            self._enter(Phase.SETTLING)
            return
        self._enter(Phase.RESETTING)
        self._reset.call_async(ResetWorld.Request(seed=self._seed)).add_done_callback(self._on_reset)

    def _on_reset(self, future) -> None:
        if not self.active or self.phase is not Phase.RESETTING:
            return
        answer = future.result()
        if not answer.success:
            raise JepaRosError(f'driver: the simulator refused the reset: {answer.message}')
        self._world = ' '.join(f'{n}={v:.4f}' for n, v in zip(answer.names, answer.values))
        self._enter(Phase.SETTLING)
        if self._stamp_ns > self._stamp_at_entry:
            self._settle()

    def _on_percept(self, stamp_ns: int) -> None:
        if not self.active:
            return
        now_s = time.monotonic()
        if stamp_ns < self._stamp_ns:
            raise JepaRosError(
                f'driver: percepts on {self._percepts} go back in time, from '
                f'{self._stamp_ns * 1e-9:.1f} s to {stamp_ns * 1e-9:.1f} s: a second simulator is in ROS domain '
                f'{self.context.get_domain_id()}; end it or set ROS_DOMAIN_ID')
        # The simulator went on: this percept was long in coming, or one in between did not come at all, as when an
        # answer is too late for its own percept: it is taken for the next one, which then nobody has time to see.
        stalled = self.params.lockstep and (now_s - self._percept_s > STALL_S
                                            or stamp_ns - self._stamp_ns > self._longest_step_ns)
        self._stamp_ns, self._percept_s = stamp_ns, now_s
        if self.phase is Phase.SETTLING:
            self._settle()
        elif self.phase is Phase.DRIVING:
            self._drive(stalled)

    def _settle(self) -> None:
        """Stand still for one step: commands of the last episode and percepts of its world are over then."""
        self._propose(self._policy.still().tolist())
        self._enter(Phase.DRIVING)

    def _drive(self, stalled: bool) -> None:
        if self._step == 0:
            self._announce(EpisodeEvent.START, f'exploration seed={self._seed} {self._world}'.strip())
        elif stalled:
            self._announce(EpisodeEvent.FAILURE, 'the simulator had to go on without a command', self._last_ns)
            self._again()
            return
        elif self._step == self.params.steps:
            self._announce(EpisodeEvent.STOP, 'all steps done')
            self._end_episode()
            return
        self._propose(self._policy.next().tolist())
        self._step += 1
        self._steps_done += 1
        self._last_ns = self._stamp_ns

    def _end_episode(self) -> None:
        self._done += 1
        self._attempt = 0
        self._next_episode()

    def _again(self) -> None:
        """Drive an episode anew whose time was disturbed; what there is of it stays in the bag as a shorter one."""
        self._stalls += 1
        self._attempt += 1
        if self._attempt > ATTEMPTS:
            raise JepaRosError(f'driver: the simulator had to go on without a command in {self._attempt} attempts at '
                               'one episode: the machine is too busy, record again with fewer programs running')
        self._next_episode()

    def _enter(self, phase: Phase) -> None:
        self.phase, self._percept_s = phase, time.monotonic()
        self._stamp_at_entry = self._stamp_ns

    # ---- messages

    def _propose(self, values: list[float]) -> None:
        self._plan_id += 1
        message = Action(plan_id=self._plan_id, mode=Action.REACTIVE, names=self.contract.action_names, values=values)
        message.header.stamp = self.get_clock().now().to_msg()
        message.state_stamp.sec, message.state_stamp.nanosec = divmod(self._stamp_ns, 1_000_000_000)
        self._action.publish(message)

    def _announce(self, event: int, reason: str, stamp_ns: int | None = None) -> None:
        message = EpisodeEvent(event=event, episode_id=self._episode_id, reason=reason)
        stamp = self._stamp_ns if stamp_ns is None else stamp_ns
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 1_000_000_000)
        self._event.publish(message)

    def _on_episode(self, message: EpisodeEvent) -> None:
        """A world may end an episode by itself: go on with the next one."""
        ended = message.event in (EpisodeEvent.SUCCESS, EpisodeEvent.FAILURE, EpisodeEvent.STOP)
        if ended and message.episode_id == self._episode_id and self.phase is Phase.DRIVING:
            self._end_episode()

    def _on_heartbeat(self, message: DiagnosticStatus) -> None:
        name = message.name.rsplit('/', 1)[-1]
        # Warnings do not count: a gate that waits for this very driver warns.
        ready = all(pair.value == 'true' for pair in message.values if pair.key == 'ready')
        well = message.level < DiagnosticStatus.ERROR and heartbeat_phase(message) in ('', 'active')
        if name in self._waited_for and ready and well:
            self._waited_for[name] = time.monotonic()


def main(args: list[str] | None = None) -> int:
    """Run the driver until its last episode is done."""
    return run(lambda: [Driver()], args)


if __name__ == '__main__':
    sys.exit(main())
