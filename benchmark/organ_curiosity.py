"""Does curiosity pay? Coverage and world-model error after equally many steps, against correlated random exploration.

    python benchmark/organ_curiosity.py [--seeds 3] [--steps 2400] [--model two_rooms]

Both drivers are those of `jepa-ros record`. From what each has driven a predictor of the model's own form is trained
from nothing, over the model's frozen encoder, and judged on steps from anywhere in the world: its error of one
step over that of expecting no change. Coverage: the share of free cells of 0.25 m that were entered.
"""
import argparse

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
import torch
from torch import Tensor

from jepa_ros.actor.curiosity import Curiosity
from jepa_ros.agent import Agent
from jepa_ros.energy.distance import squared
from jepa_ros.evaluation import closed_loop
from jepa_ros.robot.explore import Exploration
from jepa_ros.sim.worlds import PlanarWorld
from jepa_ros.world_model.jepa import JEPA

WORLD = 'two_rooms'
CELL_M = 0.25
UPDATES, BATCH, RATE = 1000, 128, 1e-3
JUDGED = 1500               # steps from anywhere
Steps = tuple[Tensor, Tensor, Tensor]       # states (N, D), actions (N, A) in −1…1, next states (N, D)


class Recording:
    """What a driver saw."""

    def __init__(self, agent: Agent, world: PlanarWorld):
        self.agent, self.world = agent, world
        self._rows: list[tuple[Tensor, Tensor, Tensor]] = []
        self.cells: set[tuple[int, int]] = set()

    def state(self):
        return self.agent.perception.encode(closed_loop.percept(self.agent, self.world.image()))

    def step(self, before: Tensor, action: np.ndarray):
        """Drive one control period; returns the next state."""
        self.world.step(action, self.agent.contract.control_period_s)
        self.cells.add(tuple(np.floor(np.array(self.world.pose) / CELL_M).astype(int).tolist()))
        after = self.state()
        self._rows.append((before, self.agent.world_model.scale_actions(action), after.levels[0]))
        return after

    def steps(self) -> Steps:
        s, a, after = (torch.stack(column) for column in zip(*self._rows))
        return s, a, after


def driven(agent: Agent, world: PlanarWorld, driver: str, steps: int, seed: int) -> Recording:
    world.reset(seed, {})
    recording, contract = Recording(agent, world), agent.contract
    random = Exploration(contract.action_low, contract.action_high, contract.control_period_s, seed)
    curious = Curiosity(agent.world_model, random.still(), seed)
    state = recording.state()
    for number in range(steps):
        if driver == 'curious':
            curious.see(number, state)
        state = recording.step(state.levels[0], curious.next() if driver == 'curious' else random.next())
    return recording


def anywhere(agent: Agent, world: PlanarWorld, seed: int) -> Steps:
    """Single steps with random actions from places drawn uniformly."""
    rng, recording = np.random.default_rng(seed), Recording(agent, world)
    for _ in range(JUDGED):
        x, y = world.sample_pose(rng)
        world.reset(seed, {'start_x_m': x, 'start_y_m': y})
        recording.step(recording.state().levels[0], rng.uniform(agent.contract.action_low, agent.contract.action_high))
    return recording.steps()


def error(agent: Agent, taught: Steps, judged: Steps, seed: int) -> float:
    """Of a predictor trained on `taught`, over that of expecting no change."""
    torch.manual_seed(seed)
    model = agent.networks.world_model
    jepa = JEPA(model.config.levels[0], model.config.dim, model.config.action_dim)
    optimiser = torch.optim.AdamW(jepa.predictor.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, UPDATES)
    s, a, after = taught
    for _ in range(UPDATES):
        rows = torch.randint(len(s), (BATCH,))
        loss = squared(jepa.predict(s[rows], a[rows]), after[rows]).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    s, a, after = judged
    with torch.no_grad():
        return float(squared(jepa.predict(s, a), after).mean() / squared(s, after).mean())


def measure(seed: int, steps: int = 2400, model: str = 'two_rooms') -> dict[str, float]:
    """Coverage (share of cells) and prediction error of both drivers."""
    agent, world = closed_loop.load(closed_loop.Settings(model, WORLD))
    judged, found = anywhere(agent, world, 5000 + seed), {}
    rng = np.random.default_rng(0)
    free = {tuple(np.floor(np.array(world.sample_pose(rng)) / CELL_M).astype(int).tolist()) for _ in range(20_000)}
    for driver in ('curious', 'random'):
        recording = driven(agent, world, driver, steps, seed)
        found[f'{driver}_coverage'] = len(recording.cells & free) / len(free)
        found[f'{driver}_error'] = error(agent, recording.steps(), judged, seed)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--steps', type=int, default=2400)
    parser.add_argument('--model', default='two_rooms')
    options = parser.parse_args()
    console, table = Console(), Table('seed', 'driver', 'coverage', 'error of one step')
    for seed in track(range(options.seeds), 'driving', console=console):
        found = measure(seed, options.steps, options.model)
        for driver in ('curious', 'random'):
            table.add_row(str(seed), driver, f'{found[f"{driver}_coverage"]:.0%}', f'{found[f"{driver}_error"]:.3f}')
    console.print(table)


if __name__ == '__main__':
    main()
