"""`goal_driver`: gives a running agent one random goal after another, in place of a person, so that it can be recorded.

The agent drives: its configurator begins and ends the episodes, its actor proposes the actions. Ends by itself after
the last episode.
"""
import sys
import time

from rclpy.action import ActionClient

from jepa_ros.action import PursueGoal
from jepa_ros.msg import State

from ..errors import JepaRosError
from ..runtime.diagnostics import WARN
from ..runtime.messages import named
from ..runtime.node import ManagedNode
from ..runtime.parameters import Param
from ..runtime.process import Finished, run
from .random_goals import RandomGoals

WAIT_S = 60.0       # for the agent to answer, once it is there
PAUSE_S = 0.5       # after a goal that the agent refused
REFUSALS = 20       # in a row, after which recording makes no sense


class GoalDriver(ManagedNode):
    """Draws goals among readouts and has the agent pursue them."""

    PARAMETERS = (
        Param('model', 'two_rooms', 'checkpoint of the agent: a folder, or the name of a shipped model'),
        Param('episodes', 10, 'number of goals', 1, 10_000_000),
        Param('seed', 0, 'seed of the goals', 0, 2**62),
        Param('timeout_s', 30.0, 'ROS time for one goal; 0 takes that of the task', 0.0, 3600.0),
        Param('wait_for', 'recorder', 'the node that must be well before the first goal'),
    )

    def __init__(self, **node_options):
        super().__init__('goal_driver', **node_options)

    def setup(self) -> None:
        """Learn from the checkpoint where the robot was in training, and connect."""
        from .. import checkpoint
        card, tensors = checkpoint.read(checkpoint.find(self.params.model))
        names = [readout['name'] for readout in card.contract['readouts']]
        if not names:
            raise JepaRosError(f'goal_driver: model {self.params.model} has no readouts to draw goals among')
        mean, std = (tensors[f'world_model.readout_{part}'].double().numpy() for part in ('mean', 'std'))
        self._goals = RandomGoals(names, mean, std, self.params.seed)
        self._client = ActionClient(self, PursueGoal, 'pursue_goal')
        self._entities.append(self._client.destroy)
        self.subscribe(State, 'state', self._on_state)
        self._asked_s: float | None = None      # wall time at which the running goal was sent
        self._again_s = 0.0
        self._done = self._reached = self._refused = 0
        self._states = 0

    def check(self) -> None:
        """Send the next goal once the last one is over."""
        self.health.figures.update({
            'episode': f'{self._done}/{self.params.episodes}', 'steps': str(self._states),
            'reached': str(self._reached), 'ready': str(self._states > 0).lower()})
        now_s = time.monotonic()
        if self._asked_s is not None or now_s < self._again_s:
            return
        if self._done >= self.params.episodes:
            self.get_logger().info(f'finished: {self._reached} of {self._done} goals reached')
            raise Finished
        waiting = self._missing()
        if waiting:
            self.health.report('waiting', WARN, f'waiting for {waiting}')
            return
        self.health.clear('waiting', 'all are there: driving')
        goal = self._goals.draw()
        message = PursueGoal.Goal(kind=PursueGoal.Goal.READOUT, names=list(goal), values=list(goal.values()),
                                  timeout=self.params.timeout_s)
        self._asked_s = now_s
        self._client.send_goal_async(message).add_done_callback(self._on_accepted)

    def _missing(self) -> str:
        if not self._client.server_is_ready():
            return 'an agent that serves pursue_goal'
        if not self._states:
            return 'states of the perception node'
        names = {name for name, _ in self.get_node_names_and_namespaces()}
        return self.params.wait_for if self.params.wait_for and self.params.wait_for not in names else ''

    def _on_state(self, message: State) -> None:
        self._states += 1
        self._goals.seen(named(message.readout_names, message.readout_values, 'state.readouts'))

    def _on_accepted(self, future) -> None:
        future.result().get_result_async().add_done_callback(self._on_result)

    def _on_result(self, future) -> None:
        result = future.result().result
        self._asked_s = None
        if result.error_code in (PursueGoal.Result.NONE, PursueGoal.Result.TIMEOUT):
            self._done += 1
            self._refused = 0
            self._reached += result.error_code == PursueGoal.Result.NONE
            return
        self._refused += 1
        self._again_s = time.monotonic() + PAUSE_S
        if self._refused > REFUSALS:
            raise JepaRosError(f'goal_driver: the agent ended {self._refused} goals in a row: {result.message}')


def main(args: list[str] | None = None) -> int:
    """Run until the last goal is over."""
    return run(lambda: [GoalDriver()], args)


if __name__ == '__main__':
    sys.exit(main())
