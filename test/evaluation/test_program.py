"""The `program` drive in the simulator: a demonstrated way is followed (LeCun §3.2, "fulfilling a particular program").

The way bends far into the room; its ends lie one above the other: whoever only wants to get there goes straight.
"""
import math

from made_bags import message, WALL_NS, write_bag
import numpy as np
import pytest
import torch

from jepa_ros.agent import Agent
from jepa_ros.evaluation.closed_loop import percept
from jepa_ros.sim.worlds import make_planar_world

STEPS, FOLLOWED = 60, 72        # of the demonstration; of whoever follows, at 10 Hz
START, END, BULGE_M = (-1.15, -0.8), (-1.15, 0.8), 0.75
GOAL = 'goal: {bag: {file: demo, time_s: %.1f}}\n' % (STEPS / 10 - 0.1)
TASKS = {
    'straight': GOAL + 'success: never\n',
    'follow': GOAL + 'success: never\nprogram: {bag: demo, to_s: 60}\nweights: {goal: 0.02}\n',
}


def at(t: int) -> tuple[float, float]:
    angle = math.pi * t / (STEPS - 1)
    return START[0] + BULGE_M * math.sin(angle), START[1] + (END[1] - START[1]) * (1 - math.cos(angle)) / 2


@pytest.fixture(scope='module')
def demonstrated(tmp_path_factory):
    """A folder with a recording of somebody who drives along the bend, and the tasks; and the poses (STEPS, 2)."""
    folder, world = tmp_path_factory.mktemp('program'), make_planar_world('two_rooms')
    world.reset(0, {'start_x_m': START[0], 'start_y_m': START[1]})
    images, path = [], []
    for t in range(STEPS):
        pixels, stamp = world.image(), WALL_NS + t * 100_000_000
        path.append(world.pose)
        images.append((stamp, message('sensor_msgs/msg/Image', stamp, 'camera', height=pixels.shape[0],
                                      width=pixels.shape[1], encoding='rgb8', step=3 * pixels.shape[1],
                                      data=pixels.reshape(-1))))
        world.step(np.clip(np.subtract(at(min(t + 1, STEPS - 1)), world.pose) / 0.1, -0.8, 0.8), 0.1)
    assert world.collisions == 0 and math.dist(path[-1], END) < 0.1
    stamps = [stamp for stamp, _ in images]
    odometry = [(t, message('nav_msgs/msg/Odometry', t, 'odom', pose__pose__position__x=float(x),
                            pose__pose__position__y=float(y))) for t, (x, y) in zip(stamps, path)]
    write_bag(folder / 'demo', {'camera/image_raw': images, 'odom': odometry,
                                'cmd_vel': [(t, message('geometry_msgs/msg/Twist')) for t in stamps]})
    for name, text in TASKS.items():
        (folder / f'{name}.yaml').write_text(text)
    return folder, np.array(path)


def driven(folder, task: str) -> np.ndarray:
    """Poses (FOLLOWED + 1, 2) of the shipped agent under a task, from where the demonstration began."""
    torch.set_num_threads(1)        # quickest for models this small
    agent, world = Agent.load('two_rooms', device='cpu', tasks=str(folder)), make_planar_world('two_rooms')
    world.reset(0, {'start_x_m': START[0], 'start_y_m': START[1]})
    agent.configurator.start(None, task)
    agent.actor.configure(mode='planned', budget_ms=60_000, **agent.configurator.settings.cost_arguments)
    poses, action = [world.pose], None
    for _ in range(FOLLOWED):
        state = agent.perception.observe(percept(agent, world.image()))
        action = agent.actor.act(state, previous_action=action).action
        world.step(action, 0.1)
        poses.append(world.pose)
    return np.array(poses)


def test_a_demonstrated_way_is_followed_and_without_its_drive_it_is_not(demonstrated):
    folder, path = demonstrated
    deviation_m = {}
    for task in TASKS:
        poses = driven(folder, task)
        apart = np.linalg.norm(path[:, None] - poses[None], axis=-1)       # (STEPS, FOLLOWED + 1)
        deviation_m[task] = float(apart.min(1).mean())      # of each place of the way from who drove
        assert math.dist(poses[-1], END) < 0.25             # both get there
    assert deviation_m['follow'] < 0.1
    assert deviation_m['follow'] < 0.25 * deviation_m['straight']
