"""`cost`: the energy of each percept and of each plan, term by term; service `evaluate_energy` (LeCun §3.2).

What a term measures is hard-wired; only weights and goal come from the configurator.
"""
from collections import OrderedDict
import sys

from jepa_ros.msg import Configuration, Energy, Plan, State
from jepa_ros.srv import EvaluateEnergy

from ..robot.ros_types import stamp_ns
from ..runtime.messages import (
    configured_goal,
    configured_regions,
    configured_weights,
    encoded_state,
    energy_message,
    tensor_array,
    torch_tensor,
)
from ..runtime.organ_node import OrganNode
from ..runtime.process import run
from ..runtime.qos import LATCHED

REMEMBERED_STATES = 20  # two seconds at 10 Hz: longer than any plan takes


class CostNode(OrganNode):
    """Evaluates what is and what is intended under the current configuration."""

    ORGAN = 'cost'

    def connect(self) -> None:
        """Subscribe to states, plans and the configuration."""
        self._states: OrderedDict[int, object] = OrderedDict()  # stamp in ns -> EncodedState
        self._energy = self.publish(Energy, 'energy')
        self.subscribe(Configuration, 'configuration', self._on_configuration, LATCHED, always=True)
        self.subscribe(State, 'state', self._on_state)
        self.subscribe(Plan, 'plan', self._on_plan)
        self.serve(EvaluateEnergy, 'evaluate_energy', self._on_evaluate)

    def _on_configuration(self, message: Configuration) -> None:
        self.agent.cost.configure(goal=configured_goal(message, self.agent.device), weights=configured_weights(message),
                                  regions=configured_regions(message))
        self.health.figures['task'] = message.task

    def _on_state(self, message: State) -> None:
        state = encoded_state(message, self.agent.model_id, self.agent.device)
        self._states[stamp_ns(message.header.stamp)] = state
        while len(self._states) > REMEMBERED_STATES:
            self._states.popitem(last=False)
        report = self.agent.cost.evaluate(state.levels[0][None], None)
        self._energy.publish(energy_message(report, message.header, Energy.PERCEPT))

    def _on_plan(self, message: Plan) -> None:
        state = self._states.get(stamp_ns(message.state_stamp))
        if state is None or not message.actions.shape or not message.actions.shape[0]:
            return
        actions = tensor_array(message.actions, 'plan.actions', (None, len(self.contract.action_names)))
        imagined = self.agent.world_model.imagine(0, state.levels[0], actions)
        header = message.header
        header.stamp = message.state_stamp
        self._energy.publish(energy_message(
            self._evaluate(imagined.states, actions), header, Energy.PLAN, message.plan_id))

    def _on_evaluate(self, request: EvaluateEnergy.Request, response: EvaluateEnergy.Response) -> None:
        states = torch_tensor(request.states, 'states', (None, None), self.agent.device)
        actions = None
        if list(request.actions.shape) not in ([], [0]):
            actions = tensor_array(request.actions, 'actions', (len(states), len(self.contract.action_names)))
        header = State().header
        header.stamp = self.get_clock().now().to_msg()
        response.energy = energy_message(self._evaluate(states, actions), header, Energy.PLAN)

    def _evaluate(self, states, actions):
        """Energy of states (T, D) with SI actions (T, A) or None."""
        scaled = None if actions is None else self.agent.world_model.scale_actions(actions)
        return self.agent.cost.evaluate(states, scaled)


def main(args: list[str] | None = None) -> int:
    """Entry point of the executable."""
    return run(lambda: [CostNode()], args)


if __name__ == '__main__':
    sys.exit(main())
