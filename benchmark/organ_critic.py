"""Does the critic help? A quarter of the horizon with critic beside the full horizon without (LeCun §3.3, Fig. 7).

    python benchmark/organ_critic.py [--seeds 3] [--episodes 20] [--taught 200]

The shipped agent in `two_rooms_random_door`. Mode-2 drives `taught` episodes; from what it lived through the
critic learns with the learner of the cost node, its unit first, then the rest. R² is on episodes that the learner
never saw. Then the same starts and goals are driven by Mode-2 without Mode-1, the level above looking a quarter as far.
`measure` is what organs.py calls.
"""
from collections.abc import Callable
from dataclasses import asdict, replace

import numpy as np
from organ_figures import parser, show
import torch

from jepa_ros.actor.planners import PlannerConfig
from jepa_ros.agent import Agent
from jepa_ros.cost.critic_learner import CriticLearner, LearnerSettings, Trajectory
from jepa_ros.energy.distance import squared
from jepa_ros.evaluation import closed_loop
from jepa_ros.evaluation.lived_drives import lived
from jepa_ros.sim.episodes import start_goal_pairs
from jepa_ros.sim.worlds import make_planar_world

WORLD = 'two_rooms_random_door'
DRIVEN = closed_loop.Settings(world=WORLD, mode='planned', max_time_s=30.0)
LIVED = replace(DRIVEN, max_time_s=12.0)
LEARNING = LearnerSettings(updates=50)
ROUNDS = 20
HORIZON = 0.25          # of the full one
TEST_SEED, UNSEEN_SEED = 10_000, 20_000


def trajectories(agent: Agent, episodes: int, seed: int,
                 settings: closed_loop.Settings) -> list[tuple[closed_loop.EpisodeResult, Trajectory]]:
    """(result, Trajectory) of Mode-2's drives; the energy is the distance to the goal, as the critic's unit has it."""
    world = make_planar_world(WORLD)
    return [(result, Trajectory(drive.states, squared(drive.states, drive.goal), drive.goal, finished=result.judged))
            for result, drive in lived(agent, world, start_goal_pairs(world, episodes, seed), settings)]


def taught(agent: Agent, episodes: int, seed: int, say: Callable[[str], None]) -> dict[str, float]:
    """Let the agent's critic learn from its own drives; figures of it."""
    learner = CriticLearner(agent.networks.critic, replace(LEARNING, seed=seed))
    unseen = [t for _, t in trajectories(agent, max(10, episodes // 4), UNSEEN_SEED + seed, LIVED)]
    before = learner.r2(unseen)
    for _, trajectory in trajectories(agent, episodes, 1000 * (seed + 1), LIVED):
        learner.add(trajectory)
    rescaled = learner.rescale()
    in_unit = learner.r2(unseen)
    for _ in range(ROUNDS):
        done = learner.learn()
    agent.networks.critic.load_state_dict(learner.weights())
    figures = {'critic_r2_before': before, 'critic_rescaled': float(rescaled), 'critic_r2_rescaled': in_unit,
               'critic_r2': learner.r2(unseen), 'critic_r2_held_out': done.r2,
               'rounds_undone': learner.rolled_back / ROUNDS}
    say(', '.join(f'{name} {value:.3g}' for name, value in figures.items()))
    return figures


def _planned(agent: Agent, share: float, weight: float) -> Agent:
    """The same weights; the top level looks `share` as far, the critic weighs `weight`."""
    planners = agent.card.planner_settings()
    planners[-1] = replace(planners[-1], horizon=max(1, round(share * planners[-1].horizon)))
    return _weighed(agent, planners, weight)


def _weighed(agent: Agent, planners: list[PlannerConfig], weight: float) -> Agent:
    made = Agent(agent.networks, agent.card.model_copy(update={'planners': [asdict(p) for p in planners]}),
                 agent.contract)
    # without Mode-1, which knows the way as far as the critic does, and would be asked in the place of the horizon
    made.actor = made.new_actor(mode1=False)
    task = made.configurator.tasks[DRIVEN.task]
    made.configurator.tasks[DRIVEN.task] = task.model_copy(update={'weights': {**task.weights, 'critic': weight}})
    return made


def measure(seed: int, episodes: int = 20, teaching: int = 200,
            say: Callable[[str], None] = lambda line: None) -> dict[str, float]:
    """All figures of one seed."""
    torch.set_num_threads(1)
    agent, _ = closed_loop.load(DRIVEN)
    figures = taught(agent, teaching, seed, say)
    for name, share, weight in (('full', 1.0, 0.0), ('short', HORIZON, 0.0), ('short_critic', HORIZON, 1.0)):
        drives = trajectories(_planned(agent, share, weight), episodes, TEST_SEED + seed, DRIVEN)
        energies = [float(t.energies.sum()) * agent.contract.control_period_s for _, t in drives]
        figures |= {f'{name}_success': float(np.mean([r.success for r, _ in drives])),
                    f'{name}_energy': float(np.mean(energies)),     # goal energy over the whole drive, times seconds
                    f'{name}_time_s': float(np.median([r.duration_s for r, _ in drives]))}
        say(f'{name}: ' + ', '.join(f'{k} {v:.3g}' for k, v in figures.items() if k.startswith(f'{name}_')))
    return figures | {
        'critic_short_horizon_success_gain': figures['short_critic_success'] - figures['short_success'],
        'critic_against_full_horizon': figures['short_critic_success'] - figures['full_success'],
        'critic_energy_ratio': figures['short_critic_energy'] / figures['full_energy']}


def main() -> None:
    asked = parser(__doc__, episodes=20)
    asked.add_argument('--taught', type=int, default=200, help='episodes that the critic learns from')
    options = asked.parse_args()
    found = [measure(seed, options.episodes, options.taught, lambda line: print(line, flush=True))
             for seed in range(options.seeds)]
    show(found, options.output)


if __name__ == '__main__':
    main()
