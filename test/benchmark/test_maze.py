"""The maze benchmark: its map, expert, tasks and figures, in a maze without physics; OGBench's where installed."""
from pathlib import Path
import sys

import numpy as np
import pytest

BENCHMARK = Path(__file__).parents[2] / 'benchmark'


@pytest.fixture(scope='module', autouse=True)
def _importable():
    """Benchmarks import each other by bare name."""
    sys.path.insert(0, str(BENCHMARK))
    yield
    sys.path.remove(str(BENCHMARK))


class Corridor:
    """A U of seven cells, four units each; a step that would end in a wall does not happen."""

    walls = np.array([[1, 1, 1, 1, 1], [1, 0, 1, 0, 1], [1, 0, 1, 0, 1], [1, 0, 0, 0, 1], [1, 1, 1, 1, 1]]) == 1
    tolerance = 1.0

    def __init__(self):
        self.cells = [(int(i), int(j)) for i, j in np.argwhere(~self.walls)]
        self.place(self.centre((1, 1)))

    def place(self, position):
        self.position = np.array(position, float)

    def step(self, action):
        there = self.position + 0.4 * np.asarray(action)
        if not self.walls[self.cell(there)]:
            self.position = there

    def image(self):
        return np.zeros((2, 2, 3), np.uint8)

    def centre(self, cell):
        return np.array([4.0 * cell[1] + 2, 4.0 * cell[0] + 2])

    def cell(self, position):
        return int(position[1] // 4), int(position[0] // 4)

    def distances(self, goal):
        from maze_world import wavefront
        return wavefront(self.walls, goal)


def test_the_wavefront_goes_around_walls():
    from maze_world import wavefront
    moves = wavefront(Corridor.walls, (1, 1))
    assert moves[1, 3] == 6 and moves[3, 1] == 2 and len(moves) == 7


def test_the_expert_goes_all_the_way_and_stays_off_the_walls():
    from maze_data import Expert
    world = Corridor()
    expert, seen = Expert(world, np.random.default_rng(0)), set()
    for _ in range(600):
        before, action = world.position, expert.action()
        assert np.abs(action).max() <= 1
        world.step(action)
        assert not np.array_equal(before, world.position)
        seen.add(world.cell(world.position))
    assert seen == set(world.cells)


def test_the_explorer_turns_away_from_a_wall_it_ran_into():
    from maze_data import Explorer
    world = Corridor()
    explorer, positions = Explorer(world, np.random.default_rng(0)), []
    for _ in range(400):
        world.step(explorer.action())
        positions.append(world.position)
    blocked = np.linalg.norm(np.diff(positions, axis=0), axis=1) == 0
    assert blocked.any() and not blocked[-300:].all() and len({world.cell(p) for p in positions}) > 2


def test_a_recording_holds_equal_episodes_with_actions_in_range():
    from maze_data import EPISODE, record
    data = record(Corridor(), episodes=3, seed=0)
    assert data.images.shape == (3 * EPISODE, 2, 2, 3) and data.positions.shape == (3 * EPISODE, 2)
    assert np.abs(data.actions).max() <= 1 and data.starts.tolist() == [0, EPISODE, 2 * EPISODE]


@pytest.mark.parametrize('bin', [(1, 2), (3, 4), (5, 6)])
def test_tasks_are_as_far_apart_as_asked_and_the_same_for_a_seed(bin):
    from maze_drive import tasks
    world = Corridor()
    drawn, again = (tasks(world, *bin, 30, seed=3) for _ in range(2))
    for task, same in zip(drawn, again):
        moves = world.distances(world.cell(task.goal))[world.cell(task.start)]
        assert bin[0] <= moves <= bin[1]
        assert np.array_equal(task.start, same.start) and np.array_equal(task.goal, same.goal)


def test_figures_give_the_spread_over_models_and_the_median_plan():
    from maze_drive import Drive, figures

    def drives(*successes):
        return [Drive(s, np.zeros((2, 2)), np.array([1.0, 3.0])) for s in successes]
    row = figures([drives(True, True), drives(True, False)])
    assert row == {'success_mean': 0.75, 'success_std': 0.25, 'seeds': 2, 'episodes': 4, 'plan_ms_p50': 2.0}


def test_ogbench_gives_the_maze_as_the_benchmark_expects_it():
    pytest.importorskip('ogbench', reason='pip install --no-deps ogbench==1.2.2')
    from maze_world import MazeWorld, REACH
    world = MazeWorld()
    world.place(world.centre((1, 1)))
    before = world.position.copy()
    image = world.image()
    world.step(np.array([1.0, 0.0]))
    assert world.position == pytest.approx(before + [REACH, 0], abs=0.01)
    assert image.shape == (64, 64, 3) and (world.image() != image).any()
    assert world.tolerance == 1.0 and max(world.distances((1, 1)).values()) >= 9
    world.close()
