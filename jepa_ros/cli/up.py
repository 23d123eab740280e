"""`jepa-ros up`: runs the agent, with world=… also a simulated robot, until Ctrl-C."""
import signal
import threading

import typer


def up(
    robot: str = typer.Option('two_rooms', help='Robot contract: a name in config/robots, or the path of a YAML file.'),
    model: str = typer.Option('two_rooms', help='Checkpoint: the name of a shipped model, or the path of a folder.'),
    planners: str = typer.Option('', help='Planner settings: a name in config/planners, or a YAML file; empty: those '
                                          'of the model.'),
    tasks: str = typer.Option('', help='Tasks of your own: a YAML file, or a folder of them; shipped ones stay known.'),
    world: str = typer.Option('', help='Simulated world to start too: a name in config/worlds; empty: real robot.'),
    composition: bool = typer.Option(True, help='The six organs in one process, or in six.'),
    learn: bool = typer.Option(False, help='Let critic and dynamics learn from what the robot lives through.'),
    speed: float = typer.Option(1.0, min=0.01, max=1.0, help='Share of the range of each action that the agent may '
                                                            'use: 0.3 for a first try on hardware.'),
    namespace: str = typer.Option('', help='ROS namespace of all nodes and relative topics.'),
    params_file: str = typer.Option('', help='YAML file with parameters of the nodes.'),
    log_level: str = typer.Option('info', help='debug, info, warn, error or fatal.'),
    real_time_factor: float = typer.Option(
        1.0, min=0.0, max=50.0, help='Simulated seconds per second; 0: as fast as the agent acts.'),
    use_sim_time: bool = typer.Option(False, help='Take the time from /clock; always so with a world.'),
    seed: int = typer.Option(0, min=0, max=2**31 - 1, help="Seed of the world's first state."),
) -> int:
    """Run the agent until Ctrl-C.

    Example: jepa-ros up world=two_rooms, then in another terminal: jepa-ros goal --readout x_m=1 --readout y_m=0.5
    """
    ending = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):  # before ROS is loaded, which takes a second
        signal.signal(number, lambda *_: ending.set())
    from jepa_ros.runtime.stack import Stack
    from jepa_ros.runtime.supervisor import Supervisor

    stack = Stack(robot=robot, model=model, planners=planners, tasks=tasks, world=world, composition=composition,
                  learn=learn, speed=speed, namespace=namespace, params_file=params_file, log_level=log_level,
                  real_time_factor=real_time_factor, seed=seed, use_sim_time=use_sim_time or bool(world))
    if ending.is_set():
        return 0
    supervisor = Supervisor(stack, say=lambda line: print(f'jepa-ros: {line}', flush=True))
    try:
        supervisor.start()
        print(f'jepa-ros: starting {", ".join(stack.processes)} for robot {robot} with model {model}', flush=True)
        supervisor.wait(lambda: ending.is_set() or supervisor.ready)
        if not ending.is_set():
            times = ', '.join(f'{name} {seconds:.1f} s' for name, seconds in supervisor.wait_ready().items())
            print(f'jepa-ros: all active ({times}). Give it a goal: jepa-ros goal --image goal.png. End it: Ctrl-C',
                  flush=True)
        supervisor.wait(ending.is_set)
    finally:
        supervisor.stop()
    return 0
