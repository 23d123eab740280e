"""Trains an H-JEPA: level by level, each on the frozen ones below, or all levels at once (LeCun §4.6)."""
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn, Tensor

from jepa_ros.errors import TrainingError
from jepa_ros.perception.statistics import measure
from jepa_ros.robot.contract import RobotContract
from jepa_ros.training import evaluate
from jepa_ros.training.config import Stage, TrainingConfig
from jepa_ros.training.data import EpisodeSet
from jepa_ros.training.ego import EgoTraining
from jepa_ros.training.engine import Engine, Settings
from jepa_ros.training.failures import named_memory
from jepa_ros.training.imagined import past_of
from jepa_ros.training.joint import Joint, upper_losses
from jepa_ros.training.level0 import Level0, losses_of
from jepa_ros.training.losses import Losses
from jepa_ros.training.monitor import Monitor
from jepa_ros.training.optimise import Fetch, Optimisation, Report, Sample
from jepa_ros.training.probe import monitor
from jepa_ros.training.states import encode_all, level_states
from jepa_ros.training.upper import Upper
from jepa_ros.world_model.hjepa import HJEPA

MEASURED = 2000     # percepts that mean and deviation of a sensor are taken from
PAIRS = 4096        # steps whose latents are inferred at once


def build(config: TrainingConfig, data: EpisodeSet, contract: RobotContract) -> HJEPA:
    """A network with fresh weights and the data's normalisation."""
    torch.manual_seed(config.seed)
    model = HJEPA(config.model_config_for(data.actions.shape[1], data.readouts.shape[1]), contract.observations)
    some = data.take(torch.arange(0, data.steps, max(1, data.steps // MEASURED), device=data.device))
    model.encoder.set_statistics({key: measure(values.cpu(), some.valid[key].cpu() if key in some.valid else None)
                                  for key, values in some.percepts.items()})
    if model.ego is not None:
        model.ego.fit_statistics(*_steps(data, config.ego.observation)[::2])
    if data.readouts.shape[1]:      # PyTorch warns of the deviation of nothing
        model.readout_mean.copy_(data.readouts.mean(0))
        model.readout_std.copy_(data.readouts.std(0).clamp_min(1e-6))
    return model.to(data.device)


def _steps(data: EpisodeSet, key: str) -> tuple[Tensor, Tensor, Tensor]:
    """Vectors of one observation, actions, and the vectors one step later, of all steps."""
    index = data.all_windows(2, 1)
    x = data.take(index).percepts[key]
    return x[:, 0], data.actions[index[:, 0]], x[:, 1]


@contextmanager
def training_only(model: HJEPA, *parts: nn.Module) -> Iterator[None]:
    """Nothing of the model but `parts` is trained inside."""
    before = {parameter: parameter.requires_grad for parameter in model.parameters()}
    chosen = {parameter for part in parts for parameter in part.parameters()}
    for parameter in model.parameters():
        parameter.requires_grad_(parameter in chosen and before[parameter])
    try:
        yield
    finally:
        for parameter, required in before.items():
            parameter.requires_grad_(required)


class Trainer:
    """One run: what the stages share.

    In each stage `sample` draws the whole batch, alike on every rank, and `fetch` reads the rows of this one.
    """

    def __init__(self, model: HJEPA, data: EpisodeSet, config: TrainingConfig, report: Report | None = None,
                 work_dir: Path | None = None, compiled: bool = False, engine: Engine | None = None):
        self.model, self.data, self.config = model, data, config
        self._report, self._work_dir, self._compiled = report, work_dir, compiled
        self.engine = engine or Engine(Settings(device=data.device.type))

    def level0(self) -> dict[str, float]:
        """Encoder and level 0."""
        stage, jepa = self.config.level0, self.model.levels[0]
        module = Level0(self.model, losses_of(self.config.losses, jepa), stage.horizon, stage.stride)

        def sample(generator: torch.Generator) -> tuple[Tensor]:
            return (self.data.windows(self.engine.rows(stage.batch), stage.window + past_of(jepa), generator),)
        watch = monitor(self.model, self.data, self.config, trains_inverse(module.losses))
        with training_only(self.model, self.model.encoder, jepa):
            return self._run('level 0', module, stage, 0, sample, self._taken, self._compiled, watch)

    def _taken(self, index: Tensor, *more):
        taken = self.data.take(index)
        return taken.percepts, taken.valid, taken.actions, taken.readouts, *more

    def upper(self, level: int, below: Tensor) -> dict[str, float]:
        """One level above, on the states (N, D) of all steps at the level below it, which is frozen."""
        stage, jepa = self.config.upper, self.model.levels[level]
        module = Upper(jepa, losses_of(upper_losses(self.config, level), jepa), self.config.macro)

        before = (self.model.windows[level] - 1) * self.model.levels[level - 1].period
        periods = stage.window - 1 + past_of(jepa)
        length = before + periods * jepa.period + 1

        def sample(generator: torch.Generator) -> tuple[Tensor, Tensor]:
            rows = self.engine.rows(stage.batch)
            index = self.data.windows(rows, length, generator)
            shape = (rows, periods, jepa.action_encoder.dim)
            return index, torch.randn(shape, generator=generator, device=below.device)

        def fetch(index: Tensor, noise: Tensor) -> tuple[Tensor, ...]:
            return self._periods(level, below, index, before, noise)
        with training_only(self.model, jepa):
            return self._run(f'level {level}', module, stage, level, sample, fetch)

    def _periods(self, level: int, below: Tensor, index: Tensor, before: int, noise: Tensor) -> tuple[Tensor, ...]:
        """What `Upper.forward` takes, of stretches of rows `index` (B, T) whose first `before` only come before."""
        jepa, n, spacing = self.model.levels[level], self.model.windows[level], self.model.levels[level - 1].period
        ends = index[:, before::jepa.period]                                        # (B, H+1)
        rows = ends[..., None] - spacing * torch.arange(n - 1, -1, -1, device=ends.device)
        chunks = self.data.actions[index[:, before:-1]].unflatten(1, (-1, jepa.period))
        readouts = (self.data.readouts[ends] - self.model.readout_mean) / self.model.readout_std
        return below[rows], chunks, noise, readouts

    def joint(self) -> dict[str, float]:
        """Encoder and all levels at once: what the levels above find hard to predict shapes the states below."""
        stage = self.config.level0
        module = Joint(self.model, self.config)
        window = max(stage.window, module.window)

        def sample(generator: torch.Generator) -> tuple[Tensor, ...]:
            rows = self.engine.rows(stage.batch)
            noise = [torch.randn(rows, module.periods(level), jepa.action_encoder.dim, generator=generator,
                                 device=self.data.device) for level, jepa in enumerate(self.model.levels) if level]
            return self.data.windows(rows, window, generator), *noise
        watch = monitor(self.model, self.data, self.config, trains_inverse(module.level0.losses))
        with training_only(self.model, self.model.encoder, self.model.levels):
            return self._run('all levels', module, stage, 0, sample, self._taken, self._compiled, watch)

    def ego(self) -> dict[str, float]:
        """The ego model, which shares nothing with the levels."""
        assert self.config.ego is not None and self.model.ego is not None
        stage, key = self.config.ego_stage, self.config.ego.observation

        def sample(generator: torch.Generator) -> tuple[Tensor]:
            return (self.data.windows(self.engine.rows(stage.batch), stage.window, generator),)

        def fetch(index: Tensor) -> tuple[Tensor, ...]:
            taken = self.data.take(index)
            return taken.percepts[key], taken.actions[:, :-1]
        with training_only(self.model, self.model.ego):
            parts = self._run('ego', EgoTraining(self.model.ego), stage, len(self.model.levels), sample, fetch)
        self.model.ego.fit_typical_error(*_steps(self.data, key))
        return parts

    @torch.no_grad()
    def settle(self, level: int, s: Tensor) -> None:
        """Measure on the training data what planning and surprise need to know of a level; s (N, D_l) of all steps.

        Bounds and prior of macro-actions, prior of the latent, the typical energy of a step (LeCun §8.2.2).
        """
        jepa = self.model.levels[level]
        past = past_of(jepa) * jepa.period
        index = self.data.all_windows(past + jepa.period + 1, max(1, jepa.period // 2))
        written, index = s[index[:, :past:jepa.period]], index[:, past:]
        omega = jepa.action_encoder(self.data.actions[index[:, :-1]])
        if level:
            jepa.action_encoder.fit_prior(omega)
        before, after = s[index[:, 0]], s[index[:, -1]]
        if jepa.latent is not None:
            some = torch.randperm(len(before), generator=torch.Generator().manual_seed(self.config.seed))[:PAIRS]
            some = some.to(before.device)
            jepa.latent.fit(jepa.predict, before[some], omega[some], after[some])
        energies = [jepa.energy(*rows, jepa.recollect(seen, seen))
                    for *rows, seen in zip(*(x.split(PAIRS) for x in (before, omega, after, written)))]
        jepa.typical_error.copy_(torch.cat(energies).mean())

    def _run(self, name: str, module: nn.Module, stage: Stage, number: int, sample: Sample, fetch: Fetch,
             compiled: bool = False, watch: Monitor | None = None) -> dict[str, float]:
        resume = self._work_dir / f'{name.replace(" ", "")}.safetensors' if self._work_dir else None
        identity = {key: self.config.model_dump(mode='json')[key]
                    for key in ('perception', 'levels', 'losses', 'upper_losses', 'macro')} | {'data': self.data.bags}
        run = Optimisation(name, module, stage, self.config.seed + number, self.engine.device.type, resume,
                           engine=self.engine, log_dir=self._work_dir, identity=identity, monitor=watch)
        return run.run(sample, self._report, compiled, fetch=fetch)


def trains_inverse(losses: Losses) -> bool:
    """The inverse-dynamics head is trained."""
    return losses.coefficients().get('inverse', 0) > 0


def refuse_short(training: EpisodeSet, held_out: EpisodeSet, config: TrainingConfig, model: HJEPA) -> None:
    """Windows that training and evaluation will need: missed now, not after hours of training."""
    pasts = [past_of(jepa) for jepa in model.levels]
    levelwise = config.schedule == 'levelwise'
    wanted = [config.level0.window + pasts[0] if levelwise else Joint(model, config).window]
    for level, jepa in list(enumerate(model.levels))[1:]:
        before = (model.windows[level] - 1) * model.levels[level - 1].period
        wanted.append(before + (config.upper.window - 1 + pasts[level]) * jepa.period + 1 if levelwise else 0)
    judged = [pasts[0] + evaluate.HORIZON + 1] + [
        (past + evaluate.PERIODS) * level.period + 1 for level, past in zip(config.levels[1:], pasts[1:])]
    for what, part, needed in (('training', training, max(wanted)), ('held-out', held_out, max(judged))):
        longest = int(part.lengths.max())
        if longest < needed:
            raise TrainingError(f'the longest {what} episode has {longest} steps, {needed} are needed: record longer '
                                'episodes (--steps), or lower the windows or periods in the configuration')


def train(data: EpisodeSet, contract: RobotContract, config: TrainingConfig, report: Report | None = None,
          work_dir: Path | None = None, compiled: bool = False, engine: Engine | None = None,
          parts: tuple[EpisodeSet, EpisodeSet] | None = None) -> tuple[HJEPA, dict[str, float]]:
    """All levels; returns the model and its figures on held-out episodes. TrainingError when it has collapsed.

    `parts` are the training and the held-out episodes of `data`; by default the last ones are held out.
    """
    engine = engine or Engine(Settings(device=data.device.type))

    def prepare() -> tuple[EpisodeSet, EpisodeSet, HJEPA]:
        training, held_out = parts or data.split()
        with named_memory(lambda: 'out of memory for the network: lower dim, width or depth in perception and levels'):
            model = build(config, training, contract)
        refuse_short(training, held_out, config, model)
        return training, held_out, model
    training, held_out, model = engine.alike(prepare)
    trainer = Trainer(model, training, config, report, work_dir, compiled, engine)
    if config.schedule == 'joint':
        trainer.joint()
    else:
        trainer.level0()
    model.eval()
    s = encode_all(model, data)
    inverse = trains_inverse(losses_of(config.losses, model.levels[0]))
    figures = evaluate.representation(model, held_out, s, trained_inverse=inverse)
    trainer.engine.first(lambda: evaluate.refuse_collapse(figures, config.collapse))
    trainer.settle(0, s)
    for level in range(1, len(model.levels)):
        if config.schedule == 'levelwise':
            model.train()
            trainer.upper(level, level_states(model, data, s, level - 1))
            model.eval()
        states = level_states(model, data, s, level)
        trainer.settle(level, states)
        figures |= evaluate.upper(model, level, held_out, states)
    if model.ego is not None:
        trainer.ego()
        figures |= evaluate.ego(model, held_out)
    return model, figures
