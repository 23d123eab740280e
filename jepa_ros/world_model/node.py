"""`world_model`: one-step `prediction` with surprise, `imagination` of the actor's plan, service `rollout`.

LeCun §2: "estimate missing information about the state of the world" and "predict plausible future states".
"""
from collections import OrderedDict
from functools import partial
import math
import sys

import numpy as np

from jepa_ros.msg import Configuration, ModelUpdate, Plan, Prediction, State
from jepa_ros.srv import Rollout

from ..errors import ContractError
from ..robot.adapters import to_array
from ..robot.ros_types import message_class, stamp_ns
from ..runtime.messages import configured_modulation, encoded_state, prediction_message, tensor_array, torch_tensor
from ..runtime.model_update import apply, pack, TOPIC
from ..runtime.organ_node import OrganNode
from ..runtime.parameters import Param
from ..runtime.process import run
from ..runtime.qos import EVENTS, LATCHED

REMEMBERED_STATES = 20    # two seconds at 10 Hz: longer than any plan takes
MAX_GAP_PERIODS = 1.5     # states further apart are not one step: no surprise can be told


class WorldModelNode(OrganNode):
    """Foresees the next state from what the robot is really commanded (behind the gate), not from what was proposed."""

    ORGAN = 'world_model'
    OWN_PARAMETERS = (
        Param('adapt', False, 'let the dynamics adapt while the robot drives, where predictions go on being wrong'),
        Param('adapt_trigger', 3.0, 'surprise that counts as wrong, in errors of training', low=1.1, high=1000.0),
    )
    _adapting = _version = None

    def connect(self) -> None:
        """Subscribe to states, applied commands and plans."""
        self._states: OrderedDict[int, object] = OrderedDict()  # stamp in ns -> EncodedState
        self._applied = [np.zeros(len(stream.fields)) for stream in self.contract.actions]
        self._foreseen = None     # (stamp in ns, predicted next state, what was recalled then)
        if self.params.adapt or self.params.learn:
            self._adapt()
        self._prediction = self.publish(Prediction, 'prediction')
        self._imagination = self.publish(Prediction, 'imagination')
        self.subscribe(State, 'state', self._on_state)
        self.subscribe(Plan, 'plan', self._on_plan)
        if self.agent.world_model.model.config.perception.token_names:
            self.subscribe(Configuration, 'configuration', self._on_configuration, LATCHED, always=True)
        for index, stream in enumerate(self.contract.actions):
            self.subscribe(message_class(stream.type, stream.topic), stream.topic, partial(self._on_command, index))
        self.serve(Rollout, 'rollout', self._on_rollout)

    def _adapt(self) -> None:
        """Begin to watch for dynamics that have changed; a version that is found waits for the executor's thread."""
        from ..training.adaptation import Adaptation, AdaptationSettings
        from ..training.adapting_thread import AdaptingThread
        adaptation = Adaptation(self.agent.networks.world_model,
                                AdaptationSettings(trigger=self.params.adapt_trigger))
        self._updates = self.publish(ModelUpdate, TOPIC, EVENTS)

        def found(version) -> None:
            self._version = version
        self.get_logger().info(f'the dynamics adapt from a surprise of {self.params.adapt_trigger:g} on')
        self._adapting = AdaptingThread(adaptation, found, lambda line: self.health.count('adaptation', line))

    def check(self) -> None:
        """Put in force what adaptation has found, and tell the others."""
        if self._adapting is None or (version := self._version) is None:
            return
        message = pack(self.agent, 'world_model', version.tensors, f'dynamics {version.number}: {version.reason}')
        message.header.stamp = self.get_clock().now().to_msg()
        if not apply(self.agent, message):
            return      # a plan is under way: at the next beat
        if self._version is version:
            self._version = None
        self._updates.publish(message)
        self.health.figures['dynamics'] = f'{version.number}: {version.reason}'
        self.get_logger().info(f'world model version {message.version}: {message.note}')

    def teardown(self) -> None:
        """End the adaptation."""
        if self._adapting is not None:
            self._adapting.stop()
            self._adapting = self._version = None
        super().teardown()

    def _on_command(self, index: int, message) -> None:
        self._applied[index] = to_array(self.contract.actions[index], message)

    def _on_configuration(self, message: Configuration) -> None:
        self.agent.world_model.modulate(configured_modulation(message))

    def _on_state(self, message: State) -> None:
        state = encoded_state(message, self.agent.model_id, self.agent.device)
        stamp = stamp_ns(message.header.stamp)
        self._states[stamp] = state
        while len(self._states) > REMEMBERED_STATES:
            self._states.popitem(last=False)
        surprise = self._surprise(stamp, state)
        self.agent.world_model.glimpse(state.levels[0])
        imagination = self.agent.world_model.imagine(0, state.levels[0], np.concatenate(self._applied)[None])
        self._foreseen = (stamp, imagination.states[0], self.agent.world_model.recalled()[0])
        self._prediction.publish(prediction_message(
            imagination, message.header, self.agent.model_id, 0, self.agent.world_model.step_period_s(0), surprise))
        self.health.figures['surprise'] = f'{surprise:.2f}'

    def _surprise(self, stamp: int, state) -> float:
        """Error of the prediction made one step ago, with the command in force since; NaN without one."""
        previous = self._foreseen[0] if self._foreseen else stamp
        gap_s = (stamp - previous) * 1e-9
        if not 0 < gap_s <= MAX_GAP_PERIODS * self.contract.control_period_s or previous not in self._states:
            return math.nan
        before = self._states[previous].levels[0]
        if self._adapting is not None:
            action = self.agent.world_model.scale_actions(np.concatenate(self._applied))
            self._adapting.see(before, action, state.levels[0])
        return self.agent.world_model.surprise(before, np.concatenate(self._applied), state.levels[0],
                                               self._foreseen[2])

    def _on_plan(self, message: Plan) -> None:
        state = self._states.get(stamp_ns(message.state_stamp))
        if state is None or not message.actions.shape or not message.actions.shape[0]:
            return
        actions = tensor_array(message.actions, 'plan.actions', (None, len(self.contract.action_names)))
        model, header = self.agent.world_model, message.header
        header.stamp = message.state_stamp
        imagined = model.imagine(0, state.levels[0], actions)
        self._imagination.publish(prediction_message(imagined, header, self.agent.model_id, 0, model.step_period_s(0)))
        for level, subgoals in enumerate(message.subgoals, start=1):
            states = torch_tensor(subgoals, f'plan.subgoals[{level - 1}]', (None, None), self.agent.device)
            self._imagination.publish(prediction_message(
                model.describe(states, level), header, self.agent.model_id, level, model.step_period_s(level)))

    def _on_rollout(self, request: Rollout.Request, response: Rollout.Response) -> None:
        model = self.agent.world_model
        if request.level >= model.levels:
            raise ContractError(f'level {request.level} does not exist: the model has levels 0 to {model.levels - 1}')
        state = torch_tensor(request.state, 'state', (None,), self.agent.device)
        actions = tensor_array(request.actions, 'actions', (None, None))
        imagined = model.imagine(request.level, state, actions)
        header = State().header
        header.stamp = self.get_clock().now().to_msg()
        response.prediction = prediction_message(
            imagined, header, self.agent.model_id, request.level, model.step_period_s(request.level))


def main(args: list[str] | None = None) -> int:
    """Entry point of the executable."""
    return run(lambda: [WorldModelNode()], args)


if __name__ == '__main__':
    sys.exit(main())
