"""What a drive in the simulator hands to those who learn from it."""
import pytest
import torch

from jepa_ros.energy.distance import squared
from jepa_ros.errors import WorldError
from jepa_ros.evaluation import closed_loop
from jepa_ros.evaluation.lived_drives import lived, WorldDrives
from jepa_ros.sim.episodes import start_goal_pairs

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


def test_the_same_drive_is_lived_twice():
    agent, world = closed_loop.load(SETTINGS)
    tasks = start_goal_pairs(world, 1, 3)
    first, again = (lived(agent, world, tasks, SETTINGS)[0][1] for _ in range(2))
    assert torch.equal(first.states, again.states)


def test_rounds_have_goals_of_their_own_and_say_how_many_were_reached(monkeypatch):
    monkeypatch.setattr('jepa_ros.evaluation.lived_drives.PRACTISED_S', 0.3)
    monkeypatch.setattr('jepa_ros.evaluation.lived_drives.SHOWN_S', 0.3)
    agent, _ = closed_loop.load(SETTINGS)
    told = []
    drives = WorldDrives('two_rooms', 2, report=lambda stage, done, total, figures: told.append((stage, done, figures)))
    shown, first, second = drives.shown(agent), drives(agent, 0), drives(agent, 1)
    goals = torch.stack([drive.goal for drive in (*shown, *first, *second)])
    assert len(torch.unique(goals, dim=0)) == 6
    assert all(len(drive.actions) == 3 for drive in (*shown, *first, *second))
    assert [stage for stage, *_ in told] == ['Mode-2 shows'] * 2 + ['Mode-1 drives'] * 4
    assert told[-1] == ('Mode-1 drives', 2, {'round': 2, 'reached': 0.0})


def test_an_unknown_world_is_refused():
    with pytest.raises(WorldError, match='two_rom'):
        WorldDrives('two_rom')
