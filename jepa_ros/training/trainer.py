"""From bags to a checkpoint: gather, train level by level, distil, calibrate, evaluate, write the model card."""
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, ExitStack
import fcntl
from pathlib import Path
import shlex
import sys

import torch

from jepa_ros import paths
from jepa_ros.agent import Agent
from jepa_ros.errors import TrainingError
from jepa_ros.robot.contract import RobotContract
from jepa_ros.training import calibrate, distill, world_model
from jepa_ros.training.config import TrainingConfig
from jepa_ros.training.data import EpisodeSet
from jepa_ros.training.engine import Engine, Settings
from jepa_ros.training.failures import named_memory
from jepa_ros.training.gather import gather
from jepa_ros.training.optimise import Report
from jepa_ros.training.states import encode_all

LOCK = 'training.lock'      # in the work folder, while a training runs


def train(sources: Sequence[str | Path], contract: RobotContract, config: TrainingConfig, output: Path, work_dir: Path,
          device: str = 'cpu', name: str = '', commands: list[str] | None = None, report: Report | None = None,
          compiled: bool = False, engine: Engine | None = None) -> Agent | None:
    """Train and write `output`; returns the agent, on ranks beyond the first None.

    `engine` says where and on how many processes. TrainingError when the data or the result will not do.
    """
    engine = engine or Engine(Settings(device=device))
    report = report if engine.is_first else None
    with ExitStack() as held:
        with engine.first_then_others():
            if engine.is_first:
                held.enter_context(paths.tidied(work_dir))      # of a training that is refused nothing stays
                held.enter_context(_alone_in(work_dir))
            data = gather(sources, contract, work_dir, report, (engine.rank, engine.world) if engine.settings.sharded
                          else (0, 1))
        return _made(data.to(engine.device), contract, config, output, work_dir, name or output.name, commands, report,
                     compiled, engine)


def _made(data: EpisodeSet, contract: RobotContract, config: TrainingConfig, output: Path, work_dir: Path, name: str,
          commands: list[str] | None, report: Report | None, compiled: bool, engine: Engine) -> Agent | None:
    """What `train` returns, of data that is there."""
    model, metrics = world_model.train(data, contract, config, report, work_dir, compiled, engine)
    if not engine.is_first:
        return None
    agent = _assemble(model, contract, config, name, str(engine.device))
    s = encode_all(agent.networks.world_model, data)
    training, held_out = data.split()
    planners = agent.card.planner_settings()
    with named_memory(lambda: 'plans for the policy: out of memory: lower samples or horizon of the planners'):
        taught = distill.lessons(model, agent.cost, planners, training, s, config.distillation.problems, config.seed,
                                 report)
    for part in (agent.networks.policy, agent.networks.critic):
        part.requires_grad_(True)
    metrics |= distill.distill(agent.networks.policy, agent.networks.critic, taught, config.distillation, config.seed,
                               report)
    agent.networks.requires_grad_(False)
    agent.card = agent.card.model_copy(update={
        'goal_tolerance': calibrate.goal_tolerance(training, s, config.goal_radius),
        'bags': data.bags, 'metrics': {k: round(v, 5) for k, v in metrics.items()},
        'commands': commands or [' '.join(['jepa-ros', *map(shlex.quote, sys.argv[1:])])],
        'training': config.model_dump(mode='json') | {'episodes': len(data.starts), 'steps': data.steps},
    })
    agent.save(output)
    for leftover in work_dir.glob('*.safetensors'):
        leftover.unlink()     # done: nothing to resume
    return agent


@contextmanager
def _alone_in(work_dir: Path) -> Iterator[None]:
    """TrainingError where another training is at work in the folder: each would go on from the other's state."""
    work_dir.mkdir(parents=True, exist_ok=True)
    path = work_dir / LOCK
    with path.open('w') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TrainingError(f'{work_dir}: another training is at work here: wait for its end or give another '
                                '--work-dir') from None
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _assemble(model, contract: RobotContract, config: TrainingConfig, name: str, device: str) -> Agent:
    """An agent around the trained world model, policy and critic still fresh."""
    planners = config.planners
    agent = Agent.create(contract, config.seed, name, model.config, planners)
    encoders = {key: model.encoder.encoder(key) for key in model.encoder.specs}
    card = agent.card.model_copy(update={
        'normalisation': {f'{key}_{what}': getattr(encoder, what).flatten().tolist()
                          for key, encoder in encoders.items() for what in ('mean', 'std')} | {
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

