"""`goal_driver` as a process: one goal after another for whoever serves `pursue_goal`."""
from rclpy.action import ActionServer

from jepa_ros.action import PursueGoal
from jepa_ros.msg import State
from jepa_ros.runtime.qos import STREAM

from .conftest import process


class Agent:
    """Says where it is and ends goals with the given codes, the last one for ever."""

    def __init__(self, peer, codes):
        self.goals: list[dict[str, float]] = []
        self._codes = list(codes)
        self._state = peer.node.create_publisher(State, 'state', STREAM)
        self._server = ActionServer(peer.node, PursueGoal, 'pursue_goal', self._pursue)

    def perceive(self) -> None:
        self._state.publish(State(model_id='m', readout_names=['x_m', 'y_m'], readout_values=[0.5, 0.25]))

    def _pursue(self, handle) -> PursueGoal.Result:
        goal = handle.request
        assert (goal.kind, goal.timeout) == (PursueGoal.Goal.READOUT, 30.0)
        self.goals.append(dict(zip(goal.names, goal.values)))
        code = self._codes.pop(0) if len(self._codes) > 1 else self._codes[0]
        handle.succeed() if code == PursueGoal.Result.NONE else handle.abort()
        return PursueGoal.Result(error_code=code, message='why')

    def close(self) -> None:
        self._server.destroy()


def drive(tmp_path, peer, codes, *args):
    """(agent, exit code, output) of a goal driver with this agent."""
    agent = Agent(peer, codes)
    with process('jepa_ros.robot.goal_driver_node', tmp_path / 'log', '-p', 'autostart:=true', '-p', "wait_for:=''",
                 '-p', 'episodes:=3', *args) as child:
        peer.wait(lambda: child.poll() is not None, 'the end of the goal driver', 60, meanwhile=agent.perceive)
    agent.close()
    return agent, child.returncode, (tmp_path / 'log').read_text()


def test_goals_are_given_until_all_episodes_are_done(tmp_path, peer):
    codes = [PursueGoal.Result.NONE, PursueGoal.Result.NO_PERCEPT, PursueGoal.Result.TIMEOUT, PursueGoal.Result.NONE]
    agent, code, said = drive(tmp_path, peer, codes)
    assert code == 0 and '2 of 3 goals reached' in said     # a goal that was refused is no episode
    assert len(agent.goals) == 4 and all(set(goal) == {'x_m', 'y_m'} for goal in agent.goals)


def test_a_model_that_is_not_there_is_one_line_and_exit_code_2(tmp_path, peer):
    _, code, said = drive(tmp_path, peer, [0], '-p', 'model:=no_such_model')
    assert code == 2 and 'no_such_model' in said and 'Traceback' not in said
