"""Does memory help? Two rooms whose door was seen once and is then hidden (issue "organs", LeCun §2, §4.9).

    python benchmark/organ_memory.py [--seeds 0 1 2] [--episodes 20] [--limit 12] [--workers 2]

The door stands in another place in each episode. The robot sees the whole scene for one percept; from then on a beam,
which looks like the wall, hangs between the camera and the whole dividing wall, in the goal image too. Which pixels the
beam covers is known; where the door is, is not. With memory, perception fills these pixels in with what was last seen
there (`memory/completion.py`: patches are entities); without, the agent acts on the image as it is, or with the beam
painted grey, whichever is better. World and model are the shipped ones; nothing is trained. In every variant the same
tasks, those whose straight way to the goal meets the wall at least 0.7 m from the door: on others a robot that knows
nothing finds it by bumping along. And the same planner, the shipped one with more samples and a longer look ahead on
its upper level. Beam, distance, planner and limit were chosen on tasks of seeds 1, 2 and 11: seed 11 is not among the
default seeds, seeds 1 and 2 were looked at with the shipped planner only.
"""
import argparse
from dataclasses import replace
import multiprocessing
from pathlib import Path
import sys

import numpy as np
from rich.console import Console
from rich.table import Table

from jepa_ros.agent import Agent
from jepa_ros.evaluation import closed_loop
from jepa_ros.evaluation.closed_loop import EpisodeResult, Settings
from jepa_ros.memory.completion import Scene, Scenes
from jepa_ros.sim.episodes import start_goal_pairs, StartGoal
from jepa_ros.sim.worlds.base import PlanarWorld
from jepa_ros.sim.worlds.rooms_world import VIEW_M, WALL

LIMIT_S = 12.0      # of simulated time: about twice the median of a robot that sees the door (seed 11)
UPPER = {'samples': 256, 'iterations': 4, 'horizon': 10, 'elites': 16}     # of the planner on level 1
BEAM_HALF_M = 0.1   # twice as wide as the wall below it
ASIDE_M = 0.7       # of the door from the straight way
DRAWN = 6           # tasks drawn for each that is kept
GREY = (128, 128, 128)
SEEN, WITH, BEAM, PAINTED = 'seen', 'with', 'beam', 'painted'
VARIANTS = (SEEN, WITH, BEAM, PAINTED)


class HiddenDoor:
    """A world over whose dividing wall a beam hangs after the first look. All else is the world's own."""

    def __init__(self, world: PlanarWorld, colour: tuple[int, int, int] | None, agent: Agent, scenes: Scenes | None):
        """`colour` of the beam, None for no beam; `scenes` remember what is seen, None for no memory."""
        self._world, self._colour, self._agent, self._scenes = world, colour, agent, scenes
        self._covered = False

    def __getattr__(self, name: str):
        return getattr(self._world, name)

    def reset(self, seed: int, values: dict) -> dict:
        """A new episode: one look at the whole scene, then the beam is there."""
        out = self._world.reset(seed, values)
        self._covered = False
        if self._scenes is not None:
            self._scenes.hidden = {}
        self._agent.perception.observe(closed_loop.percept(self._agent, self.image()))
        if self._scenes is not None:
            self._scenes.hidden = {key: beam(scene.shape[1])[None].repeat(scene.shape[0], 0)
                                   for key, scene in self._scenes.scenes.items()}
        self._covered = self._colour is not None
        return out

    def image(self, *args) -> np.ndarray:
        """Camera image (H, W, 3) uint8, the beam in front of everything."""
        image = self._world.image(*args)
        if self._covered:
            image = image.copy()
            image[:, beam(image.shape[1])] = self._colour
        return image


def beam(width: int) -> np.ndarray:
    """Columns (width,) bool of an image that the beam covers: above the dividing wall."""
    x_m = (np.arange(width) + 0.5) * VIEW_M / width - VIEW_M / 2
    return np.abs(x_m) < BEAM_HALF_M


def aside_m(task: StartGoal) -> float:
    """How far the door is from where the straight way from start to goal meets the dividing wall, at x = 0."""
    (x, y), (goal_x, goal_y) = (task.values['start_x_m'], task.values['start_y_m']), task.goal
    return abs(y - x * (goal_y - y) / (goal_x - x) - task.values['door_y_m'])


def drive(variant: str, seed: int, episodes: int, limit_s: float = LIMIT_S) -> list[EpisodeResult]:
    """The episodes of a seed, the same starts, goals and doors in every variant."""
    settings = Settings(world='two_rooms_random_door', max_time_s=limit_s)
    lower, upper = Agent.load(settings.model, device='cpu').card.planner_settings()
    settings = replace(settings, planners=(lower, replace(upper, **UPPER)))
    agent, world = closed_loop.load(settings)
    tasks = [task for task in start_goal_pairs(world, DRAWN * episodes, seed) if aside_m(task) >= ASIDE_M][:episodes]
    scenes = None
    if variant == WITH:
        specs = agent.perception.specs
        scenes = Scenes({key: Scene(spec.shape) for key, spec in specs.items()})
        agent.perception.completion = scenes
    colour = {SEEN: None, PAINTED: GREY}.get(variant, WALL)
    hidden = HiddenDoor(world, colour, agent, scenes)
    return [closed_loop.drive(agent, hidden, task, settings, index) for index, task in enumerate(tasks)]


def measure(seed: int, episodes: int, limit_s: float = LIMIT_S, workers: int = 1) -> dict[str, float]:
    """Success with and without memory, and with nothing hidden; seconds until reached, the limit where it was not."""
    runs = [(variant, seed, episodes, limit_s) for variant in VARIANTS]
    if workers == 1:
        driven = [drive(*run) for run in runs]
    else:
        with multiprocessing.get_context('spawn').Pool(workers) as pool:    # a forked torch can hang
            driven = pool.starmap(drive, runs, chunksize=1)
    results = dict(zip(VARIANTS, driven))
    success = {variant: float(np.mean([r.success for r in results[variant]])) for variant in VARIANTS}
    seconds = {variant: float(np.mean([limit_s if r.time_s is None else r.time_s for r in results[variant]]))
               for variant in VARIANTS}
    without = max((BEAM, PAINTED), key=lambda variant: (success[variant], -seconds[variant]))
    return {'success_with': success[WITH], 'success_without': success[without], 'success_seen': success[SEEN],
            'success_gain': success[WITH] - success[without],
            'success_beam': success[BEAM], 'success_painted': success[PAINTED],
            'time_with_s': seconds[WITH], 'time_without_s': seconds[without], 'time_seen_s': seconds[SEEN]}


def main() -> int:
    """Print a table over seeds; rows for a result file come from `measure`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--episodes', type=int, default=20)
    parser.add_argument('--limit', type=float, default=LIMIT_S,
                        help='seconds of simulated time an episode may take')
    parser.add_argument('--workers', type=int, default=1, help='processes that drive side by side')
    options = parser.parse_args()
    rows = []
    for seed in options.seeds:
        rows.append(measure(seed, options.episodes, options.limit, options.workers))
        print(f'seed {seed}: ' + ', '.join(f'{name} {value:.3f}' for name, value in rows[-1].items()), flush=True)
    table = Table('', 'mean', 'std', title=f'{Path(__file__).stem}: {len(rows)} seed(s) of {options.episodes} episodes')
    for name in rows[0]:
        values = [row[name] for row in rows]
        table.add_row(name, f'{np.mean(values):.3f}', f'{np.std(values):.3f}')
    Console().print(table)
    return 0


if __name__ == '__main__':
    sys.exit(main())
