"""`actor`: `state` and `configuration` in, `action` and `plan` out (LeCun §2, actor; §3.1 Mode-1 and Mode-2)."""
import sys
import threading
import time

import numpy as np
from std_msgs.msg import Header

from jepa_ros.msg import Action, Configuration, Plan, Prediction, State

from ..robot.ros_types import stamp_ns
from ..runtime.diagnostics import ERROR, WARN
from ..runtime.messages import (
    action_message,
    configured_cost,
    encoded_state,
    plan_message,
    time_message,
)
from ..runtime.organ_node import OrganNode
from ..runtime.parameters import Param
from ..runtime.process import run
from ..runtime.qos import LATCHED
from .planning_thread import Job, PlanningThread, react, Settings

MODES = {Configuration.AUTO: 'auto', Configuration.REACTIVE: 'reactive', Configuration.PLANNED: 'planned'}
DELAY_MEMORY = 0.8     # share of the old value in the running mean of the delay: settles within a second
DEGRADED_FOR_S = 2.0   # how long a fallback stays visible in the diagnostics


class ActorNode(OrganNode):
    """Proposes one action for each state while a configuration is active; then one zero action, then silence."""

    ORGAN = 'actor'
    LEARNED = ('critic', 'policy', 'world_model')
    OWN_PARAMETERS = (
        Param('max_budget_ms', 80.0, 'most milliseconds a plan may take, whatever the configuration asks',
              low=1.0, high=10000.0),
        Param('late_s', 0.15, 'wall seconds after which Mode-1 acts in place of a plan that does not end',
              low=0.02, high=60.0),
    )

    def connect(self) -> None:
        """Start the planner's thread and subscribe."""
        self._lock = threading.Lock()  # around "is it still wanted?" and sending
        self._settings: Settings | None = None
        self._newest: tuple[object, int] | None = None  # newest state and its stamp in ns
        self._last_action: np.ndarray | None = None
        self._delay_s = 0.0
        self._plan_id = 0
        self._answered_ns = 0     # stamp of the newest state that has its action
        self._degraded_s = 0.0
        self._action = self.publish(Action, 'action')
        self._plan = self.publish(Plan, 'plan')
        self._planner = PlanningThread(self.agent.actor, self._deliver, self._no_action, self.agent.weights_lock,
                                       self.lose_device)
        self._reflex = self.agent.new_actor()  # acts while the planner's thread is late
        if self.params.speed < 1:
            self.get_logger().info(f'drives with at most {self.params.speed:.0%} of the range of each action')
        self.subscribe(Configuration, 'configuration', self._on_configuration, LATCHED, always=True)
        self.subscribe(State, 'state', self._on_state, with_info=True)
        self.subscribe(Prediction, 'prediction', self._on_prediction)

    def stopped(self) -> None:
        """Stop the robot."""
        self._rest()

    def teardown(self) -> None:
        """End the planner's thread."""
        if self.agent is not None and hasattr(self, '_planner'):
            self._planner.stop()
        super().teardown()

    def check(self) -> None:
        """Let a fallback be seen for a while."""
        if time.monotonic() - self._degraded_s > DEGRADED_FOR_S:
            self.health.clear('degraded', 'plans are whole again')

    def _on_configuration(self, message: Configuration) -> None:
        if not message.active:
            self._rest()
            return
        said = configured_cost(message, self.agent.device)
        said['speed'] = min(said.get('speed', 1.0), self.params.speed)
        settings = Settings(
            version=message.version, goal=said.pop('goal'), weights=said.pop('weights'), regions=said.pop('regions'),
            more=said, mode=MODES.get(message.mode, 'auto'),
            budget_ms=min(message.budget_ms or self.params.max_budget_ms, self.params.max_budget_ms))
        with self._lock:
            self._settings = settings
        self._planner.configure(settings)
        self.health.figures['task'] = message.task
        if self._newest is not None and self.active:
            self._submit(*self._newest, time.time())

    def _on_state(self, message: State, info: dict) -> None:
        state = encoded_state(message, self.agent.model_id, self.agent.device)
        self._newest = (state, stamp_ns(message.header.stamp))
        if self._settings is not None:
            self._submit(*self._newest, info['source_timestamp'] * 1e-9)

    def _on_prediction(self, message: Prediction) -> None:
        if message.level == 0:
            self.agent.actor.notice(message.surprise)

    def _submit(self, state, stamp: int, sent_s: float) -> None:
        job = Job(state, stamp, sent_s, self._last_action, self._delay_s)
        self._planner.submit(job)
        busy_s, settings = self._planner.busy_s(), self._settings
        if busy_s > self.params.late_s:
            decision = react(self._reflex, settings, job, f'no plan for {busy_s:.2f} s')
            if decision is not None:
                self._deliver(settings, job, decision)

    def _deliver(self, settings: Settings, job: Job, decision) -> None:
        """Send action and plan; called by the planner's thread."""
        now_ns = self.get_clock().now().nanoseconds
        names, header = self.contract.action_names, Header(stamp=time_message(now_ns))
        stamp = time_message(job.stamp_ns)
        latency_ms = (time.time() - job.sent_s) * 1e3
        versions = self.agent.versions      # no update comes in between: whoever delivers holds the weights
        with self._lock:
            if self._settings is not settings or not self.active or job.stamp_ns < self._answered_ns:
                return  # no longer wanted
            self._answered_ns = job.stamp_ns
            self._plan_id += 1
            self._action.publish(action_message(
                decision.action, names, header, stamp, self._plan_id, int(decision.mode), versions))
            self._last_action = decision.action
        self._plan.publish(plan_message(
            decision, names, header, stamp, self._plan_id, latency_ms, settings.budget_ms, versions))
        delay_s = min(max((now_ns - job.stamp_ns) * 1e-9, 0.0), self.contract.control_period_s)
        self._delay_s = DELAY_MEMORY * self._delay_s + (1 - DELAY_MEMORY) * delay_s
        self.health.figures['plan_ms'] = f'{latency_ms:.1f}'
        if decision.why:
            self.health.figures['mode'] = decision.why
        self.health.clear('no action', 'actions come again')
        if self.agent.actor.goal_warning:
            self.health.report('goal', WARN, self.agent.actor.goal_warning)
        else:
            self.health.clear('goal', 'the goal is one that the model knows')
        if decision.degradation:
            self._degraded_s = time.monotonic()
            self.health.report('degraded', WARN, f'plan degraded: {decision.degradation}')
        if ' ms late' in decision.degradation:
            self.health.count('late plans', f'plan late: {decision.degradation}')

    def _no_action(self, reason: str) -> None:
        self.health.report('no action', ERROR, reason)

    def _rest(self) -> None:
        """Forget the goal and send one zero action; later plans of the old goal are dropped."""
        self._planner.configure(None)
        with self._lock:
            self._settings = None
            self._last_action = None
            now = self.get_clock().now().nanoseconds
            stamp = self._newest[1] if self._newest else now
            zeros = np.zeros(len(self.contract.action_names))
            self._action.publish(action_message(
                zeros, self.contract.action_names, Header(stamp=time_message(now)), time_message(stamp), 0,
                Action.REACTIVE, self.agent.versions))


def main(args: list[str] | None = None) -> int:
    """Entry point of the executable."""
    return run(lambda: [ActorNode()], args)


if __name__ == '__main__':
    sys.exit(main())
