"""`jepa-ros sim`: a simulated robot alone, to drive by hand or to run the agent against from another terminal."""
import typer


def sim(
    world: str = typer.Option('two_rooms', help='Name of a file in config/worlds, or the path of a YAML file.'),
    real_time_factor: float = typer.Option(
        1.0, min=0.0, max=50.0, help='Simulated seconds per second; 0: lockstep, one command after each percept.'),
    seed: int = typer.Option(0, min=0, max=2**31 - 1, help='Seed of the first state.'),
    clock_rate_hz: int = typer.Option(50, min=10, max=200, help='Clock messages per simulated second.'),
    namespace: str = typer.Option('', help='ROS namespace of the robot.'),
) -> int:
    """Run a simulated robot until Ctrl-C.

    Example: jepa-ros sim world=two_rooms_random_door seed=3
    """
    from jepa_ros.runtime.names import full_namespace
    from jepa_ros.sim.node import main

    name = full_namespace(namespace)
    args = ['--ros-args', '-r', f'__ns:={name}'] if name else []
    return main(args, {'world': world, 'real_time_factor': real_time_factor, 'seed': seed,
                       'clock_rate_hz': clock_rate_hz})
