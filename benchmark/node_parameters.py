"""Parameters of every node, from the nodes themselves: rows of the table in docs/parameters.md."""


def parameters() -> list[list[str]]:
    """node, parameter, default, meaning"""
    from jepa_ros.robot.curiosity_node import CuriosityDriver
    from jepa_ros.robot.driver_node import Driver
    from jepa_ros.robot.gate_node import CommandGate
    from jepa_ros.robot.goal_driver_node import GoalDriver
    from jepa_ros.robot.recorder_node import Recorder
    from jepa_ros.robot.replay_node import PARAMETERS as REPLAY_PARAMETERS
    from jepa_ros.robot.teleop_node import Teleop
    from jepa_ros.runtime.composition import NODES
    from jepa_ros.runtime.node import BASE_PARAMETERS
    from jepa_ros.runtime.organ_node import ORGAN_PARAMETERS
    from jepa_ros.sim.node import PARAMETERS as SIM_PARAMETERS
    groups = [('all but sim', BASE_PARAMETERS), ('organs', ORGAN_PARAMETERS),
              *((node.ORGAN, node.OWN_PARAMETERS) for node in NODES), ('command_gate', CommandGate.PARAMETERS),
              ('sim', SIM_PARAMETERS), ('recorder', Recorder.PARAMETERS), ('driver', Driver.PARAMETERS),
              ('curiosity', tuple(p for p in CuriosityDriver.PARAMETERS if p not in Driver.PARAMETERS)),
              ('goal_driver', GoalDriver.PARAMETERS), ('teleop', Teleop.PARAMETERS), ('replay', REPLAY_PARAMETERS)]
    return [
        [group, f'`{p.name}`', f'`{_default(p.default)}`', _meaning(p)] for group, params in groups for p in params]


def _default(value) -> str:
    return str(value).lower() if isinstance(value, bool) else "''" if value == '' else str(value)


def _meaning(param) -> str:
    if param.choices:
        return f'{param.description} ({", ".join(map(str, param.choices))})'
    bounded = param.low is not None and param.high is not None
    return f'{param.description} ({param.low:g} … {param.high:g})' if bounded else param.description
