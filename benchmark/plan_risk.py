"""Does it pay to plan for more than the most probable future? A robot crosses the way of an obstacle that wanders.

    python benchmark/plan_risk.py [--seeds 3] [--episodes 100] [--updates 1200]

The world model sees images alone; its Gaussian latent says how the obstacle may move. All plans avoid the obstacle's
surroundings (guardrail `avoid`); they differ by the futures they look at: the most probable one (risk-neutral), or
drawn scenarios judged by their mean, mean + std, or conditional value at risk. A model is trained per seed (minutes).
Writes results/planning.json: collisions per 100 episodes, steps to the goal, goals reached. Lengths are in pixels.
"""
import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from rows import merge, RESULTS, row
import stochastic_runs as runs
from stochastic_worlds import KEEP, MARGIN_PX, MIDDLE_PX, moved, obstacle_images, SIGMA_PX, SIZE, wandered
import torch

from jepa_ros.actor.hierarchy import Hierarchy
from jepa_ros.actor.planners import PlannerConfig
from jepa_ros.cost.cost import Cost, Goal, Region
from jepa_ros.world_model.hjepa import HJEPA

TOUCHING_PX = 5.0       # radii of robot and obstacle
KEPT_PX = 6.0           # what plans keep away from it
GOAL_PX = (SIZE - MARGIN_PX, MIDDLE_PX)
REACHED_PX, MOST_STEPS = 2.0, 60
BASE = PlannerConfig(method='cem', samples=48, iterations=2, horizon=8, elites=6, correlation=0.8)
METHODS = {
    'neutral': BASE,
    'mean': replace(BASE, scenarios=8, risk='mean', chance=0.5),
    'mean_std': replace(BASE, scenarios=8, risk='mean_std', risk_weight=1.0, chance=0.1),
    'cvar': replace(BASE, scenarios=8, risk='cvar', risk_share=0.2, chance=0.1),
}


@dataclass(frozen=True)
class Outcome:
    """Of N episodes."""

    collided: np.ndarray    # (N,) bool
    steps: np.ndarray       # (N,) until the goal, NaN where it was not reached

    def figures(self) -> dict[str, float]:
        return {'collisions_per_100': 100 * float(self.collided.mean()),
                'steps_to_goal': float(np.nanmean(self.steps)) if np.isfinite(self.steps).any() else float('nan'),
                'goals_reached': float(np.isfinite(self.steps).mean())}


def cross(model: HJEPA, config: PlannerConfig, episodes: int, seed: int) -> Outcome:
    """All episodes side by side, the same starts and obstacles for every configuration of a seed."""
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    names = runs.readout_names('crossing')
    cost = Cost(model, list(names))
    planner = Hierarchy(model, cost, [config])
    settings = cost.make_settings(Goal(readouts=dict(zip(names, GOAL_PX))), {'avoid': 10.0},
                                  [Region(dict(zip(names[:2], names[2:])), KEPT_PX)])
    robot = np.stack([np.full(episodes, MARGIN_PX), rng.uniform(MARGIN_PX, SIZE - MARGIN_PX, episodes)], 1)
    away = rng.normal(0, SIGMA_PX / np.sqrt(1 - KEEP ** 2), (episodes, 2))
    collided, steps, warm = np.zeros(episodes, bool), np.full(episodes, np.nan), None
    for step in range(MOST_STEPS):
        with torch.inference_mode():
            images = torch.from_numpy(obstacle_images(robot, MIDDLE_PX + away))
            plan = planner.plan((model.encode({'overhead': images}),), settings, warm_starts=warm, generator=generator)
            search = plan.searches[0]
            action = torch.where(search.sound[:, None], search.actions[:, 0], 0.0).numpy()
            warm = (torch.cat([search.actions[:, 1:], search.actions[:, -1:]], 1),)
        robot, away = moved(robot, action), wandered(away, rng)
        driving = np.isnan(steps)
        collided |= driving & (np.hypot(*(robot - MIDDLE_PX - away).T) < TOUCHING_PX)
        steps[driving & (np.hypot(*(robot - GOAL_PX).T) < REACHED_PX)] = step + 1
        if not np.isnan(steps).any():
            break
    return Outcome(collided, steps)


def trained(seed: int, updates: int, console: Console) -> HJEPA:
    """Encoder with its readouts, then predictor and latent on it."""
    setting, effort = runs.Setting('crossing', seed), runs.Effort(updates=updates)
    with console.status(f'seed {seed}: training the encoder'):
        known = runs.encoder(setting, effort)
    with console.status(f'seed {seed}: training predictor and latent'):
        return runs.frozen(setting, runs.KINDS['gaussian'], effort, known).requires_grad_(False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--episodes', type=int, default=100, help='of each seed and method')
    parser.add_argument('--updates', type=int, default=1200)
    parser.add_argument('--output', type=Path, default=RESULTS / 'planning.json')
    options = parser.parse_args()
    torch.set_num_threads(1)
    console, found = Console(), {name: [] for name in METHODS}
    for seed in range(options.seeds):
        model = trained(seed, options.updates, console)
        for name, config in METHODS.items():
            figures = cross(model, config, options.episodes, 100 + seed).figures()
            found[name].append(figures)
            console.print(f'seed {seed}, {name}: ' + ', '.join(f'{k} {v:.2f}' for k, v in figures.items()))
    table = Table('plan', 'collisions per 100', 'steps to goal', 'goals reached')
    rows = []
    for name, seeds in found.items():
        table.add_row(name, *(f'{np.mean([s[k] for s in seeds]):.2f} ± {np.std([s[k] for s in seeds]):.2f}'
                              for k in seeds[0]))
        rows += [row(f'risk_{name}_{k}', round(float(np.mean([s[k] for s in seeds])), 3), unit)
                 for k, unit in zip(seeds[0], ('episodes', 'steps', 'share'))]
    console.print(table)
    merge(options.output, rows)


if __name__ == '__main__':
    main()
