"""A picture of the maze with the way that each method drove."""
from collections.abc import Mapping
from pathlib import Path

from maze_drive import Drive, Task
from maze_world import MazeWorld

COLOURS = ('#ffd21f', '#ff7f0e', '#e377c2', '#2ca02c')
DPI = 110


def picture(world: MazeWorld, task: Task, driven: Mapping[str, Drive], file: Path) -> None:
    """One panel per method: the maze from above, start (circle), goal (star), driven way."""
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot
    world.place(task.start)
    left, right, low, high = world.extent
    figure, panels = pyplot.subplots(1, len(driven), figsize=(4 * len(driven), 4.4), squeeze=False)
    for panel, (name, drive), colour in zip(panels[0], driven.items(), COLOURS):
        panel.imshow(world.image(2 * 64), extent=(left, right, low, high))
        panel.plot(*drive.path.T, color=colour, linewidth=2)
        panel.plot(*task.start, 'o', color='white', markersize=8)
        panel.plot(*task.goal, '*', color='red', markersize=14)
        outcome = f'reached in {len(drive.path) - 1} steps' if drive.success else 'not reached'
        panel.set_title(f'{name}: {outcome}')
        panel.set_axis_off()
    figure.tight_layout()
    figure.savefig(file, dpi=DPI)
    pyplot.close(figure)
