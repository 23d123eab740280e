"""`cost`: the energy of each percept and of each plan, term by term; service `evaluate_energy` (LeCun §3.2).

What a term measures is hard-wired; only weights and goal come from the configurator.
"""
from collections import OrderedDict
import sys

from jepa_ros.msg import Configuration, Energy, ModelUpdate, Plan, State
from jepa_ros.srv import EvaluateEnergy

from ..robot.ros_types import stamp_ns
from ..runtime.messages import (
    configured_cost,
    configured_goal,
    encoded_state,
    energy_message,
    intrinsic_energy,
    tensor_array,
    torch_tensor,
)
from ..runtime.model_update import apply, pack, TOPIC
from ..runtime.organ_node import OrganNode
from ..runtime.parameters import Param
from ..runtime.process import run
from ..runtime.qos import EVENTS, LATCHED

REMEMBERED_STATES = 20  # two seconds at 10 Hz: longer than any plan takes


class CostNode(OrganNode):
    """Evaluates what is and what is intended under the current configuration."""

    ORGAN = 'cost'
    LEARNED = ('critic', 'world_model')
    OWN_PARAMETERS = (
        Param('learn_critic', False, 'let the critic learn from what the robot lives through, while it drives'),
        Param('learn_every_s', 10.0, 'seconds between two rounds of learning', low=0.1, high=3600.0),
        Param('learn_rate', 3e-4, 'step size of the critic (Adam)', low=1e-6, high=1e-2),
    )

    def connect(self) -> None:
        """Subscribe to states, plans and the configuration."""
        self._states: OrderedDict[int, object] = OrderedDict()  # stamp in ns -> EncodedState
        self._energy = self.publish(Energy, 'energy')
        self.subscribe(Configuration, 'configuration', self._on_configuration, LATCHED, always=True)
        self.subscribe(State, 'state', self._on_state)
        self.subscribe(Plan, 'plan', self._on_plan)
        self.serve(EvaluateEnergy, 'evaluate_energy', self._on_evaluate)
        self._heard_version = 0     # of the critic, by the actor's plans
        self._learning = self._experience = None
        if self.params.learn_critic or self.params.learn:
            self._learn()

    def _learn(self) -> None:
        """Begin to learn; what is learned waits in `_round` for the executor's thread."""
        from .critic_learner import CriticLearner, LearnerSettings
        from .experience import Experience
        from .learning_thread import LearningThread
        learner = CriticLearner(self.agent.networks.critic, LearnerSettings(rate=self.params.learn_rate))
        self._round = None          # (round, weights) that are not yet in force
        self._updates = self.publish(ModelUpdate, TOPIC, EVENTS)
        self._experience = Experience(self.contract.control_period_s, self.agent.card.goal_tolerance)

        def learned(done) -> None:
            self._round = (done, learner.weights() if done.kept else None)
        self.get_logger().info(f'the critic learns, a round every {self.params.learn_every_s:g} s')
        self._learning = LearningThread(
            learner, self.params.learn_every_s, learned,
            lambda line: self.health.count('critic', line))

    def check(self) -> None:
        """Put in force what the critic has learned, and tell the others."""
        if self._learning is None or self._round is None:
            return
        done, weights = self._round
        errors = f'error {done.before:.4g} to {done.after:.4g} on {done.held_out} of {done.episodes} episodes, held out'
        ended = 'kept' if done.kept else 'undone'
        self.health.figures['critic'] = f'round {done.number} {ended}: {errors}, R² {done.r2:.2f}'
        if not done.kept:
            self._seen(done)
            self.health.figures['critic_undone'] = str(int(self.health.figures.get('critic_undone', '0')) + 1)
            return
        message = pack(self.agent, 'critic', weights, errors, self._heard_version)
        message.header.stamp = self.get_clock().now().to_msg()
        if apply(self.agent, message):      # else a plan is under way: at the next beat
            self._seen(done)
            self._updates.publish(message)

    def _seen(self, done) -> None:
        if self._round[0] is done:      # else the thread has brought a newer one meanwhile
            self._round = None

    def teardown(self) -> None:
        """End the learning."""
        if self.agent is not None and getattr(self, '_learning', None) is not None:
            self._learning.stop()
        super().teardown()

    def _teach(self, trajectory) -> None:
        if trajectory is not None:
            self._learning.add(trajectory)

    def _on_configuration(self, message: Configuration) -> None:
        said = configured_cost(message, self.agent.device)
        self.agent.cost.configure(**said)
        self.agent.world_model.modulate(said.get('modulation', {}))
        self.health.figures['task'] = message.task
        if self._experience is not None:
            self._teach(self._experience.pursue(self._pursued(message) if message.active else None))

    def _pursued(self, message: Configuration):
        """The goal as the critic learns it: a state; or what is asked of readouts, until the state is known."""
        settings, goal = self.agent.cost.settings, configured_goal(message)
        if settings.goal_state is not None or goal is None:
            return settings.goal_state
        from ..configurator.task_parts import READOUT_TOLERANCE
        from .experience import Asked
        return Asked(goal.readouts, READOUT_TOLERANCE, self.agent.cost, settings, self.agent.device)

    def _on_state(self, message: State) -> None:
        state = encoded_state(message, self.agent.model_id, self.agent.device)
        self._states[stamp_ns(message.header.stamp)] = state
        while len(self._states) > REMEMBERED_STATES:
            self._states.popitem(last=False)
        self.agent.world_model.glimpse(state.levels[0])
        report = self.agent.cost.evaluate(state.levels[0][None], None)
        energy = energy_message(report, message.header, Energy.PERCEPT)
        self._energy.publish(energy)
        if self._experience is not None:
            stamp = stamp_ns(message.header.stamp)
            self._teach(self._experience.step(stamp, state.levels[0], intrinsic_energy(energy), state.readouts))

    def _on_plan(self, message: Plan) -> None:
        self._heard_version = max(self._heard_version, message.critic_version)
        state = self._states.get(stamp_ns(message.state_stamp))
        if state is None or not message.actions.shape or not message.actions.shape[0]:
            return
        actions = tensor_array(message.actions, 'plan.actions', (None, len(self.contract.action_names)))
        imagined = self.agent.world_model.imagine(0, state.levels[0], actions)
        header = message.header
        header.stamp = message.state_stamp
        self._energy.publish(energy_message(
            self._evaluate(imagined.states, actions, state.levels[0]), header, Energy.PLAN, message.plan_id))

    def _on_evaluate(self, request: EvaluateEnergy.Request, response: EvaluateEnergy.Response) -> None:
        states = torch_tensor(request.states, 'states', (None, None), self.agent.device)
        actions = None
        if list(request.actions.shape) not in ([], [0]):
            actions = tensor_array(request.actions, 'actions', (len(states), len(self.contract.action_names)))
        header = State().header
        header.stamp = self.get_clock().now().to_msg()
        response.energy = energy_message(self._evaluate(states, actions), header, Energy.PLAN)

    def _evaluate(self, states, actions, start=None):
        """Energy of states (T, D) with SI actions (T, A) or None, from the state `start` (D,) where it is known."""
        scaled = None if actions is None else self.agent.world_model.scale_actions(actions)
        return self.agent.cost.evaluate(states, scaled, start)


def main(args: list[str] | None = None) -> int:
    """Entry point of the executable."""
    return run(lambda: [CostNode()], args)


if __name__ == '__main__':
    sys.exit(main())
