"""From bags to a checkpoint: gather, train level by level, distil, calibrate, evaluate, write the model card."""
import csv
from pathlib import Path
import shlex
import sys
import time

import torch

from jepa_ros.actor.planners import PlannerConfig
from jepa_ros.agent import Agent
from jepa_ros.errors import TrainingError
from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.dataset.store import is_store
from jepa_ros.training import calibrate, distill, evaluate, world_model
from jepa_ros.training import data as training_data
from jepa_ros.training.config import TrainingConfig
from jepa_ros.training.data import EpisodeSet
from jepa_ros.training.optimise import Report

# One cache per contract: its limits scale the actions, its image size is that of the images.
CACHE = 'episodes-{}.npz'


def gather(sources: list[Path], contract: RobotContract, work_dir: Path, report: Report | None = None) -> EpisodeSet:
    """Episodes of all bags and training stores, from the cache in `work_dir` when it was made from the same bags.

    The one source may also be such a cache file (`*.npz`), for a machine that has no bags.
    """
    if len(sources) == 1 and sources[0].suffix == '.npz':
        return training_data.load(sources[0])
    from jepa_ros.robot import bags  # here: a machine with a cache needs no bag reader
    stores = {source: training_data.open_store(source, contract) for source in sources if is_store(source)}
    parts = [stores[source].hashes if source in stores else {source.name: bags.bag_sha256(source)}
             for source in sources]
    hashes = {name: sha256 for part in parts for name, sha256 in part.items()}
    if len(hashes) < sum(map(len, parts)):
        raise TrainingError('two bags have the same name: rename one, the model card lists them by name')
    cache = work_dir / CACHE.format(contract.sha256()[:12])
    if cache.is_file() and len(stores) < len(sources):
        cached = training_data.load(cache)
        if cached.bags == hashes:
            return cached
    episodes = []
    for number, source in enumerate(sources):
        def progress(share: float, source: Path = source, number: int = number) -> None:
            if report:
                report(f'reading {source.name}', int(1000 * (number + share)), 1000 * len(sources), {})
        episodes += training_data.stored_episodes(stores[source], contract, progress) if source in stores \
            else bags.read_episodes(source, contract, progress)
    gathered = training_data.from_episodes(episodes, contract, hashes)
    if len(stores) < len(sources):      # a store is as quick to read as the cache
        training_data.save(gathered, cache)
    return gathered


class Log:
    """Forwards reports and keeps them in `<work_dir>/log.csv`: stage, update, seconds, value by name."""

    def __init__(self, path: Path, forward: Report | None):
        self._path, self._forward, self._began = path, forward, time.monotonic()
        path.parent.mkdir(parents=True, exist_ok=True)

    def __call__(self, stage: str, step: int, total: int, parts: dict[str, float]) -> None:
        if parts:
            with self._path.open('a', newline='') as file:
                row = [stage, step, f'{time.monotonic() - self._began:.1f}']
                csv.writer(file).writerow(row + [f'{k}={v:.6g}' for k, v in parts.items()])
        if self._forward:
            self._forward(stage, step, total, parts)


def train(sources: list[Path], contract: RobotContract, config: TrainingConfig, output: Path, work_dir: Path,
          device: str = 'cpu', name: str = '', commands: list[str] | None = None, report: Report | None = None,
          compiled: bool = False) -> Agent:
    """Train and write `output`; returns the agent. TrainingError when the data or the result will not do."""
    data = gather(sources, contract, work_dir, report)
    _check_fit(data, contract)
    log = Log(work_dir / 'log.csv', report)
    data = data.to(device)
    model, metrics = world_model.train(data, config, log, work_dir, compiled)
    agent = _assemble(model, contract, config, name or output.name, device)
    s = evaluate.encode_all(agent.networks.world_model, data.images)
    training, held_out = data.split()
    planners = agent.card.planner_settings()
    taught = distill.lessons(model, agent.cost, planners, training, s, config.distillation.problems, config.seed, log)
    for part in (agent.networks.policy, agent.networks.critic):
        part.requires_grad_(True)
    metrics |= distill.distill(agent.networks.policy, agent.networks.critic, taught, config.distillation, config.seed,
                               log)
    agent.networks.requires_grad_(False)
    agent.card = agent.card.model_copy(update={
        'goal_tolerance': calibrate.goal_tolerance(training, s, config.goal_radius),
        'bags': data.bags, 'metrics': {k: round(v, 5) for k, v in metrics.items()},
        'commands': commands or [' '.join(['jepa-ros', *map(shlex.quote, sys.argv[1:])])],
        'training': config.model_dump(mode='json') | {'episodes': len(data.starts), 'steps': len(data.images)},
    })
    agent.save(output)
    for leftover in work_dir.glob('*.safetensors'):
        leftover.unlink()     # done: nothing to resume
    return agent


def _check_fit(data: EpisodeSet, contract: RobotContract) -> None:
    o = contract.observations[0]
    have = (tuple(data.images.shape[1:]), data.actions.shape[1], data.readout_names)
    want = ((o.height, o.width, 3), len(contract.action_names), tuple(contract.readout_names))
    if have != want:
        raise TrainingError(f'the data has images {have[0]}, {have[1]} actions, readouts {have[2]}; robot '
                            f'{contract.name!r} has {want[0]}, {want[1]}, {want[2]}: gather it again from the bags')


def _assemble(model, contract: RobotContract, config: TrainingConfig, name: str, device: str) -> Agent:
    """An agent around the trained world model, policy and critic still fresh."""
    planners = [PlannerConfig(**p.model_dump()) for p in config.planners]
    agent = Agent.create(contract, config.seed, name, model.config, planners)
    encoder = model.encoder
    card = agent.card.model_copy(update={
        'normalisation': {'image_mean': encoder.mean.flatten().tolist(), 'image_std': encoder.std.flatten().tolist(),
                          'action_low': [float(v) for v in contract.action_low],
                          'action_high': [float(v) for v in contract.action_high],
                          'readout_mean': model.readout_mean.tolist(), 'readout_std': model.readout_std.tolist()}})
    agent.networks.world_model = model
    return Agent(agent.networks, card, contract, device)


def choose_device(wanted: str) -> str:
    """'auto' takes a GPU when there is one. TrainingError when a GPU is asked for and there is none."""
    if wanted not in ('auto', 'cpu', 'cuda'):
        raise TrainingError(f'device {wanted!r} is unknown: choose auto, cpu or cuda')
    if wanted == 'cuda' and not torch.cuda.is_available():
        raise TrainingError('no GPU is available to PyTorch here: choose --device cpu')
    if wanted == 'auto':
        return 'cuda' if torch.cuda.is_available() else 'cpu'
    return wanted

