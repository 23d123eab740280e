"""What a drive in the simulator hands to those who learn from it."""
import importlib.util
from pathlib import Path

import torch

from jepa_ros.energy.distance import squared
from jepa_ros.evaluation import closed_loop
from jepa_ros.sim.episodes import start_goal_pairs

SPEC = importlib.util.spec_from_file_location(
    'lived_drives', Path(__file__).parents[2] / 'benchmark' / 'lived_drives.py')
lived_drives = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(lived_drives)
lived = lived_drives.lived
SETTINGS = closed_loop.Settings(mode='reactive', max_time_s=1.0)


def test_each_action_led_from_its_state_to_the_next():
    """The world model foresees the states with the actions that are said to lie between them, and worse with others."""
    agent, world = closed_loop.load(SETTINGS)
    (result, drive), = lived(agent, world, start_goal_pairs(world, 1, 3), SETTINGS)
    assert len(drive.states) == len(drive.actions) + 1 == result.ticks + 1 == 11
    assert drive.goal.shape == drive.states[0].shape and float(drive.actions.abs().max()) <= 1
    predict = agent.networks.world_model.levels[0].predict
    right, wrong = (float(squared(predict(drive.states[:-1], a), drive.states[1:]).mean())
                    for a in (drive.actions, -drive.actions))
    assert right < 0.5 * wrong


def test_the_agent_is_as_it_was_afterwards():
    agent, world = closed_loop.load(SETTINGS)
    tasks = start_goal_pairs(world, 1, 3)
    first, again = (lived(agent, world, tasks, SETTINGS)[0][1] for _ in range(2))
    assert torch.equal(first.states, again.states) and 'act' not in vars(agent.actor)
    assert 'observe' not in vars(agent.perception)
