"""`jepa-ros sim`: a simulated robot alone, to drive by hand or to run the agent against from another terminal."""
import typer


def sim(
    place: str = typer.Argument('', metavar='[WORLD]', help='As --world.', show_default=False),
    world: str = typer.Option('', help='Name of a file in config/worlds, the path of a YAML file, or gym:<id> for an '
                              'environment of Gymnasium; empty: two_rooms.'),
    real_time_factor: float = typer.Option(
        1.0, min=0.0, max=50.0, help='Simulated seconds per second; 0: lockstep, one command after each percept.'),
    seed: int = typer.Option(0, min=0, max=2**31 - 1, help='Seed of the first state.'),
    clock_rate_hz: int = typer.Option(0, min=0, max=1000, help='Clock messages per simulated second; 0: about 50.'),
    namespace: str = typer.Option('', help='ROS namespace of the robot.'),
    render: bool = typer.Option(False, help='gym:<id>: also publish what the environment draws, camera/image_raw.'),
    auto_reset: bool = typer.Option(False, help='Begin anew when the world ends an episode by itself (gym:<id>).'),
) -> int:
    """Run a simulated robot until Ctrl-C.

    Example: jepa-ros sim world=two_rooms_random_door seed=3, or: jepa-ros sim gym:CartPole-v1 --render
    """
    from jepa_ros.errors import ConfigError
    from jepa_ros.runtime.names import full_namespace
    from jepa_ros.sim.node import main

    if place and world and place != world:
        raise ConfigError(f'two worlds, {place} and {world}: give one')
    name = full_namespace(namespace)
    args = ['--ros-args', '-r', f'__ns:={name}'] if name else []
    return main(args, {'world': world or place or 'two_rooms', 'real_time_factor': real_time_factor, 'seed': seed,
                       'clock_rate_hz': clock_rate_hz, 'render': render, 'auto_reset': auto_reset})
