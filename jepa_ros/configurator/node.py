"""`configurator`: serves `pursue_goal`, tells the other organs what to do, and says how it ended (LeCun §2, §6).

One goal at a time; a new one preempts the old. However a goal ends, the configuration becomes inactive, and with it
the robot stops. States drive the pursuit, from part to part of a sequence and from subgoal to subgoal; the heartbeat's
timer notices what does not come. What may take long (bags, text) is read in a thread of its own.
"""
import sys
import time
import traceback

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.action import ActionServer, CancelResponse
from rclpy.task import Future

from jepa_ros.action import PursueGoal
from jepa_ros.msg import EpisodeEvent, Plan, State
from jepa_ros.srv import Configure

from ..errors import BagError, ConfigError, JepaRosError
from ..robot.liveness import Organs
from ..robot.ros_types import stamp_ns
from ..runtime.announcing import Announcer, MODES
from ..runtime.diagnostics import heartbeat_phase
from ..runtime.goal_reading import GoalReader
from ..runtime.messages import encoded_state, named
from ..runtime.names import ORGANS
from ..runtime.organ_node import OrganNode
from ..runtime.parameters import Param
from ..runtime.process import run
from ..runtime.qos import HEARTBEATS
from ..runtime.remote_memory import Recollection
from .pursuit import Pursuit, Refused, unknown_task

CODES = PursueGoal.Result
KEEP_MODE = 255
IMAGINED = 1        # landmarks whose surroundings are imagined per check: some 10 ms
RESUME_WAIT_S = 20.0        # how long the organs have to come back on the CPU
FIRST_PERCEPT_WAIT_S = 2.0  # a goal given right after the start waits this long for the first state


class ConfiguratorNode(OrganNode):
    """Turns goals into configurations of the other organs."""

    ORGAN = 'configurator'
    OWN_PARAMETERS = (
        Param('default_task', 'reach', 'task of a goal that names none'),
        Param('percept_timeout_s', 1.0, 'wall seconds without a state after which a goal ends', low=0.1, high=60.0),
        Param('organ_timeout_s', 0.5, 'wall seconds without a heartbeat after which an organ is lost',
              low=0.2, high=60.0),
    )

    def connect(self) -> None:
        """Serve the action and the service, and listen to the other organs."""
        self._pursuit: Pursuit | None = None
        self._resuming: Pursuit | None = None   # one that begins anew on another device
        self._waiting: list[Future] = []  # goals that wait for the first state
        self._state = None                # newest EncodedState
        self._state_stamp_s = 0.0         # its ROS time
        self._state_wall_s = -1e9         # wall time it came
        self._checked_s = time.monotonic()
        self._led = any(task.landmarks for task in self.agent.configurator.tasks.values())
        self._organs = Organs(tuple(o for o in ORGANS if o != self.ORGAN), self.params.organ_timeout_s)
        self._say = Announcer(self)
        self._reader = GoalReader(self)
        self._recollection = Recollection(self._reader.remote, self.health)
        self.subscribe(State, 'state', self._on_state)
        self.subscribe(Plan, 'plan', self._on_plan)
        self.subscribe(DiagnosticStatus, 'heartbeat', self._on_heartbeat, HEARTBEATS, always=True)
        self.serve(Configure, 'configure', self._on_configure_service)
        server = ActionServer(self, PursueGoal, 'pursue_goal', self._execute, cancel_callback=self._on_cancel)
        self._entities.append(server.destroy)
        if self.params.default_task not in self.agent.configurator.tasks:
            raise ConfigError(unknown_task(self.params.default_task, self.agent.configurator.tasks))

    def started(self) -> None:
        """Say that there is no goal: an older configurator may have left one."""
        self._recollection.begin(self._led)
        self._recollection.go_on(self.agent)
        self._say.configuration(None)

    def stopped(self) -> None:
        """End the goal."""
        self._end(CODES.NOT_ACTIVE, 'the configurator was deactivated')
        self._resume_waiting()

    # ---- a goal's life -------------------------------------------------------------------------------------------
    async def _execute(self, handle):
        request = handle.request
        try:
            task = request.task or self.params.default_task
            if task not in self.agent.configurator.tasks:
                raise Refused(CODES.UNKNOWN_TASK, unknown_task(task, self.agent.configurator.tasks))
            prepared = await self._prepared(request, task)
            await self._ready()
            return await self._begin(handle, prepared).finished
        except Refused as error:
            return self._refuse(handle, error.code, str(error))
        except BagError as error:
            return self._refuse(handle, CODES.BAG_ERROR, str(error))
        except JepaRosError as error:
            return self._refuse(handle, CODES.BAD_GOAL, str(error))
        except Exception as error:  # a bug: the client is told, and rclpy would lose the place
            if self.lose_device(error):
                return self._refuse(handle, CODES.INTERNAL, f'{self._source.lost}: give the goal again')
            self.get_logger().error(traceback.format_exc())
            return self._refuse(handle, CODES.INTERNAL, f'{type(error).__name__}: {error}')

    async def _prepared(self, request: PursueGoal.Goal, task: str):
        """What is asked for, read and checked."""
        goal, task = await self._reader.read(request, task)
        prepare = self.agent.configurator.prepare
        return await self._reader.off_thread(lambda: prepare(goal, task, request.timeout))

    def move(self) -> None:
        """Keep the goal, though what was made of it is gone with the device: it is read anew, and begun anew."""
        self.take_agent()
        self._state = None
        self._recollection.begin(self._led)
        self._say.configuration(None)
        if self._pursuit is not None:
            self._resuming = self._pursuit
            self.executor.create_task(self._resume(self._pursuit))

    async def _resume(self, pursuit: Pursuit) -> None:
        request, code, line = pursuit.handle.request, CODES.INTERNAL, ''
        try:
            prepared = await self._prepared(request, request.task or self.params.default_task)
            await self._ready(RESUME_WAIT_S)
            if self._pursuit is pursuit:
                pursuit.settings = self.agent.configurator.start(
                    None, now_s=self._state_stamp_s, goal_id=pursuit.goal_id, state=self._state, prepared=prepared)
                self._say.configuration(pursuit.settings, pursuit.goal_id)
        except Refused as error:
            code, line = error.code, str(error)
        except JepaRosError as error:
            line = str(error)
        self._resuming = None
        if line and self._pursuit is pursuit:
            self._end(code, f'{self._source.lost}, and on the CPU: {line}')

    async def _ready(self, wait_s: float = FIRST_PERCEPT_WAIT_S) -> None:
        """Wait a little for a first state. Raises Refused without one, or when an organ is missing."""
        until = time.monotonic() + wait_s
        while (refusal := self._not_ready()) is not None:
            if time.monotonic() > until or not self.active:
                raise refusal
            self._waiting.append(next_check := Future(executor=self.executor))
            await next_check

    def _not_ready(self) -> Refused | None:
        faults = self._organs.faults(time.monotonic())
        if not self.active:
            return Refused(CODES.NOT_ACTIVE, f'configurator is {self.health.phase}: activate it first')
        if faults:
            return Refused(CODES.ORGAN_LOST, '; '.join(faults.values()))
        if self._silence_s() > self.params.percept_timeout_s:
            return Refused(CODES.NO_PERCEPT, self._no_percept())
        return None

    def _begin(self, handle, prepared) -> Pursuit:
        goal_id, task = bytes(handle.goal_id.uuid).hex()[:12], prepared.name
        settings = self.agent.configurator.start(None, now_s=self._state_stamp_s, goal_id=goal_id, state=self._state,
                                                 prepared=prepared)
        self._end(CODES.PREEMPTED, 'a new goal came', stop=False)
        self._pursuit = Pursuit(handle, Future(executor=self.executor), goal_id, settings, self._state_stamp_s)
        self._event(EpisodeEvent.START, task)
        self._event(EpisodeEvent.GOAL, f'{task}: {settings.part}' if settings.part else task)
        self._say.configuration(settings, goal_id)
        self.get_logger().info(f'goal {goal_id}: task {task}')
        return self._pursuit

    def _on_cancel(self, handle) -> CancelResponse:
        if self._pursuit is not None and handle == self._pursuit.handle:
            self._say.configuration(None)  # the robot stops now, the result follows with the next check
        return CancelResponse.ACCEPT

    def _end(self, code: int, line: str, stop: bool = True) -> None:
        """End the goal being pursued, if any: stop the robot, answer, and mark the episode's end.

        stop: the configurator too; not where it has begun something else.
        """
        pursuit, self._pursuit = self._pursuit, None
        if pursuit is None:
            return
        if stop:
            self.agent.configurator.stop()
        self._say.configuration(None)
        success, stopped = code == CODES.NONE, code in (CODES.CANCELED, CODES.PREEMPTED, CODES.NOT_ACTIVE)
        event = EpisodeEvent.SUCCESS if success else EpisodeEvent.STOP if stopped else EpisodeEvent.FAILURE
        self._say.event(event, line, pursuit.goal_id)
        if success:
            pursuit.handle.succeed()
        elif code == CODES.CANCELED:
            pursuit.handle.canceled()
        else:
            pursuit.handle.abort()
        result = self._result(code, line)
        if pursuit.progress is not None:
            result.energy, result.elapsed = float(pursuit.progress.energy), float(pursuit.progress.elapsed_s)
            result.part = pursuit.progress.part
        self.get_logger().info(f'goal {pursuit.goal_id}: {line}')
        pursuit.finished.set_result(result)

    def _refuse(self, handle, code: int, line: str) -> PursueGoal.Result:
        if handle.is_cancel_requested:
            handle.canceled()
        else:
            handle.abort()
        self.get_logger().warning(f'goal refused: {line}')
        return self._result(code, line)

    @staticmethod
    def _result(code: int, line: str) -> PursueGoal.Result:
        return PursueGoal.Result(error_code=code, message=line, energy=float('nan'))

    # ---- what drives it ------------------------------------------------------------------------------------------
    def _on_state(self, message: State) -> None:
        self._state = encoded_state(message, self.agent.model_id, self.agent.device)
        self._state_stamp_s = stamp_ns(message.header.stamp) * 1e-9
        self._state_wall_s = time.monotonic()
        configurator, pursuit = self.agent.configurator, self._pursuit
        if self._led:
            configurator.guide.see(self._state.levels[0], self._state_stamp_s)
        if pursuit is None or pursuit is self._resuming or pursuit.handle.is_cancel_requested:
            return
        pursuit.progress = progress = configurator.observe(self._state, self._state_stamp_s)
        pursuit.handle.publish_feedback(PursueGoal.Feedback(
            energy=float(progress.energy), progress=float(progress.progress), elapsed=float(progress.elapsed_s),
            plan_latency_ms=pursuit.plan_latency_ms, mode=pursuit.mode, part=progress.part,
            landmarks=progress.landmarks))
        if progress.ended is not None:
            self._say_ended(progress.ended)
        if progress.outcome == 'success':
            self._end(CODES.NONE, f'{progress.done} in {progress.elapsed_s:.1f} s')
        elif progress.outcome == 'timeout':
            self._end(CODES.TIMEOUT, progress.why)
        elif configurator.settings is not pursuit.settings:
            self._go_on(pursuit, configurator.settings)

    def _say_ended(self, ended) -> None:
        event = EpisodeEvent.PART_SUCCESS if ended.success else EpisodeEvent.PART_FAILURE
        self._event(event, f'{ended.part}: {ended.reason}' if ended.reason else ended.part)

    def _go_on(self, pursuit: Pursuit, settings) -> None:
        """Publish the settings of the next part or subgoal."""
        if settings.part != pursuit.settings.part:
            self._event(EpisodeEvent.GOAL, f'{settings.task}: {settings.part}')
        pursuit.settings = settings
        self._say.configuration(settings, pursuit.goal_id)

    def _on_plan(self, message: Plan) -> None:
        if self._pursuit is not None:
            self._pursuit.plan_latency_ms, self._pursuit.mode = message.latency_ms, message.mode

    def _on_heartbeat(self, message: DiagnosticStatus) -> None:
        self._organs.heard(message.name, int.from_bytes(message.level, 'little'), time.monotonic(),
                           heartbeat_phase(message), message.message)

    def check(self) -> None:
        """End the goal when it was cancelled, an organ is lost or no state comes."""
        now_s, last_s = time.monotonic(), self._checked_s
        self._checked_s = now_s
        if now_s - last_s > self.params.organ_timeout_s / 2:
            return  # this node itself slept: it reads the waiting messages before it judges others
        self._resume_waiting()
        self._recollection.go_on(self.agent)
        if self._led and (self._pursuit is None or self.agent.configurator.led):     # not while others plan
            self.agent.configurator.guide.work(IMAGINED)
            self.health.figures['landmarks'] = str(len(self.agent.configurator.guide.graph))
        if self._pursuit is None:
            return
        faults = self._organs.faults(now_s)
        if self._pursuit.handle.is_cancel_requested:
            self._end(CODES.CANCELED, 'canceled')
        elif self._pursuit is self._resuming:
            pass        # `_resume` waits for them
        elif faults:
            self._end(CODES.ORGAN_LOST, '; '.join(faults.values()))
        elif self._silence_s() > self.params.percept_timeout_s:
            self._end(CODES.NO_PERCEPT, self._no_percept())

    def _resume_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            future.set_result(None)

    # ---- settings ------------------------------------------------------------------------------------------------
    def _on_configure_service(self, request: Configure.Request, response: Configure.Response) -> None:
        if self._pursuit is None or self._pursuit is self._resuming:
            raise ConfigError('no goal is pursued: there is nothing to configure')
        modes = {number: name for name, number in MODES.items()}
        if request.mode != KEEP_MODE and request.mode not in modes:
            raise ConfigError(f'mode {request.mode} is unknown; use 0 auto, 1 reactive, 2 planned, 255 as it is')
        if not 0 <= request.budget_ms < 1e5:
            raise ConfigError(f'budget_ms is {request.budget_ms}; give 0 to leave it, or 1 to 10000')
        self._pursuit.settings = self.agent.configurator.reconfigure(
            weights=named(request.weight_names, request.weights, 'weights'),
            mode=modes.get(request.mode), budget_ms=request.budget_ms or None)
        response.configuration = self._say.configuration(self._pursuit.settings, self._pursuit.goal_id)

    def _event(self, event: int, reason: str) -> None:
        self._say.event(event, reason, self._pursuit.goal_id)

    def _silence_s(self) -> float:
        return time.monotonic() - self._state_wall_s

    def _no_percept(self) -> str:
        topics = ', '.join(o.topic for o in self.contract.observations)
        return f'no state for {self.params.percept_timeout_s:g} s: is the robot publishing {topics}?'


def main(args: list[str] | None = None) -> int:
    """Entry point of the executable."""
    return run(lambda: [ConfiguratorNode()], args)


if __name__ == '__main__':
    sys.exit(main())
