"""Reflex from deliberation: what Mode-1 and mode auto reach, and what they cost, beside Mode-2 (LeCun §3.1.3).

    python benchmark/organ_reflex.py [--seeds 3] [--episodes 20] [--rounds 20]

The shipped world model in `two_rooms_random_door`. Episodes of random exploration and drives of Mode-2 are made in the
simulator; from their states a Mode-1 that knows nothing is distilled in imagination, then it learns from what was lived
through and from what it drives itself between the rounds (`jepa-ros distill --world` does it with recorded bags).
Then the same starts and goals, in opposite rooms and behind unseen doors, are driven by Mode-2 (the shipped agent),
Mode-1 alone and auto. Compute is counted in predictor steps and in milliseconds: of auto per goal, of Mode-1 per
control tick. organs.py calls `measure`.
"""
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
import tempfile

import numpy as np
from organ_figures import parser, show
import torch

from jepa_ros.agent import Agent
from jepa_ros.evaluation import closed_loop
from jepa_ros.evaluation.lived_drives import WorldDrives
from jepa_ros.robot.episode import Episode
from jepa_ros.robot.explore import Exploration
from jepa_ros.sim.episodes import start_goal_pairs
from jepa_ros.training.dagger import DaggerSettings, redistilled
from jepa_ros.training.data import EpisodeSet, from_episodes

WORLD = 'two_rooms_random_door'
DRIVEN = closed_loop.Settings(world=WORLD, max_time_s=30.0)
EXPLORED, STEPS = 300, 150      # episodes, steps of each
PRACTICE = DaggerSettings(rounds=6, lived_rounds=24, world=WORLD, afresh=True)     # as the shipped one
TEST_SEED = 10_000              # of starts and goals: none of them is explored or learned from


def explored(agent: Agent, episodes: int, steps: int, seed: int) -> EpisodeSet:
    """Episodes of correlated random exploration, each in a world of its own."""
    _, world = closed_loop.load(DRIVEN)
    contract = agent.contract
    behaviour = Exploration(contract.action_low, contract.action_high, contract.control_period_s, seed)
    made = []
    for index in range(episodes):
        world.reset(int(np.random.SeedSequence([seed, index]).generate_state(1)[0]), {})
        behaviour.start(index)
        images, actions, poses = [], [], []
        for _ in range(steps):
            images.append(closed_loop.percept(agent, world.image()))
            actions.append(behaviour.next())
            poses.append(world.pose[:2])
            world.step(actions[-1], contract.control_period_s)
        stamps = (np.arange(steps) * contract.control_period_s * 1e9).astype(np.int64) + 1
        percepts = {key: np.stack([image[key] for image in images]) for key in images[0]}
        made.append(Episode(f'{index}', 'explored', stamps, percepts, np.array(actions, np.float32),
                            np.array(poses, np.float32)))
    return from_episodes(made, contract, {'explored': f'seed {seed}'})


class Steps:
    """Counts what the predictors of an agent compute: one step of one candidate is one."""

    def __init__(self, agent: Agent):
        self.count = 0
        for jepa in agent.networks.world_model.levels:
            jepa.predictor.register_forward_hook(self._add)

    def _add(self, module, inputs, output: torch.Tensor) -> None:
        self.count += output[..., 0].numel()


def driven(agent: Agent, mode: str, episodes: int, seed: int, say: Callable[[str], None]) -> dict[str, float]:
    """Success and compute of one mode."""
    _, world = closed_loop.load(DRIVEN)
    tasks = start_goal_pairs(world, episodes, TEST_SEED + seed)
    steps, results = Steps(agent), []
    for index, task in enumerate(tasks):
        results.append(closed_loop.drive(agent, world, task, replace(DRIVEN, mode=mode), index))
    ticks = sum(result.ticks for result in results)
    latencies = [ms for result in results for ms in result.latencies_ms]
    figures = {'success': float(np.mean([result.success for result in results])),
               'steps_per_goal': steps.count / episodes, 'ms_per_goal': sum(latencies) / episodes,
               'steps_per_tick': steps.count / ticks, 'ms_per_tick': sum(latencies) / ticks,
               'reactive': sum(result.reactive for result in results) / ticks,
               'time_s': float(np.median([result.duration_s for result in results]))}
    say(f'{mode}: ' + ', '.join(f'{name} {value:.3g}' for name, value in figures.items()))
    return figures


def measure(seed: int, episodes: int = 20, practice: DaggerSettings = PRACTICE,
            say: Callable[[str], None] = lambda line: None, work: Path | None = None) -> dict[str, float]:
    """All figures of one seed. `work`: folder that keeps the new checkpoint, and the state of an interrupted run."""
    torch.set_num_threads(1)
    teacher, _ = closed_loop.load(DRIVEN)
    data = explored(teacher, EXPLORED, STEPS, seed)
    say(f'{data.steps} steps explored')

    def rounds(stage: str, done: int, total: int, figures: dict[str, float]) -> None:
        if not stage.startswith('Mode-') or done == total:      # of single drives the last one has the whole share
            say(f'{stage} {done}/{total} ' + ', '.join(f'{k} {v:.3g}' for k, v in figures.items()))
    drives = WorldDrives(WORLD, practice.drives, seed, rounds)
    with tempfile.TemporaryDirectory() as folder:
        kept = (work or Path(folder)) / f'reflex_{seed}'
        made = redistilled(teacher, data, replace(practice, seed=seed), kept, rounds,
                           drives.shown(teacher), drives)
        made.save(kept)     # as a user would get it
        pupil = Agent.load(kept, device='cpu')
    pupil.warm_up()
    modes = {mode: driven(agent, mode, episodes, seed, say)
             for mode, agent in (('planned', teacher), ('reactive', pupil), ('auto', pupil))}
    mode2, mode1, auto = modes['planned'], modes['reactive'], modes['auto']
    return {
        'mode2_success': mode2['success'], 'mode1_success': mode1['success'], 'auto_success': auto['success'],
        'mode1_success_ratio': mode1['success'] / max(mode2['success'], 1e-9),
        'auto_success_ratio': auto['success'] / max(mode2['success'], 1e-9),
        'mode1_compute_ratio': mode2['ms_per_tick'] / mode1['ms_per_tick'],
        'auto_compute_share': auto['steps_per_goal'] / mode2['steps_per_goal'],
        'auto_compute_share_ms': auto['ms_per_goal'] / mode2['ms_per_goal'],
        'auto_compute_share_per_tick': auto['steps_per_tick'] / mode2['steps_per_tick'],
        'mode2_steps_per_tick': mode2['steps_per_tick'], 'mode1_steps_per_tick': mode1['steps_per_tick'],
        'mode2_ms': mode2['ms_per_tick'], 'mode1_ms': mode1['ms_per_tick'], 'auto_ms': auto['ms_per_tick'],
        'auto_reactive': auto['reactive'], 'uncertainty_auroc': pupil.card.metrics.get('policy_auroc', float('nan')),
        'mode1_solved_in_training': pupil.card.metrics['policy_solved'],
        'threshold': pupil.card.policy_threshold}


def main() -> None:
    asked = parser(__doc__, episodes=20)
    asked.add_argument('--first-seed', type=int, default=0)
    asked.add_argument('--rounds', type=int, default=PRACTICE.rounds, help='of practice')
    asked.add_argument('--work', type=Path, default=None, help='folder that keeps the checkpoints')
    options = asked.parse_args()
    practice = replace(PRACTICE, rounds=options.rounds)
    found = [measure(seed, options.episodes, practice, lambda line: print(line, flush=True), options.work)
             for seed in range(options.first_seed, options.first_seed + options.seeds)]
    show(found, options.output)


if __name__ == '__main__':
    main()
