"""Trains an H-JEPA level by level: first level 0 with its encoder, then each level above on frozen states."""
from pathlib import Path

import torch
from torch import Tensor

from jepa_ros.errors import TrainingError
from jepa_ros.training import evaluate
from jepa_ros.training.config import TrainingConfig
from jepa_ros.training.data import EpisodeSet
from jepa_ros.training.level0 import Level0
from jepa_ros.training.optimise import Optimisation, Report
from jepa_ros.training.upper import Upper
from jepa_ros.world_model.hjepa import HJEPA


def build(config: TrainingConfig, data: EpisodeSet) -> HJEPA:
    """A network with fresh weights and the data's normalisation."""
    torch.manual_seed(config.seed)
    model = HJEPA(config.model_config_for(tuple(data.images.shape[1:]), data.actions.shape[1],
                                          data.readouts.shape[1]))
    some = data.images[:: max(1, len(data.images) // 2000)].float() / 255
    model.encoder.set_statistics(some.mean((0, 1, 2)).cpu(), some.std((0, 1, 2)).cpu())
    model.readout_mean.copy_(data.readouts.mean(0))
    model.readout_std.copy_(data.readouts.std(0).clamp_min(1e-6))
    return model.to(data.images.device)


def train_level0(model: HJEPA, data: EpisodeSet, config: TrainingConfig, report: Report | None,
                 resume: Path | None = None, compiled: bool = False) -> dict[str, float]:
    stage = config.level0

    def sample(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        index = data.windows(stage.batch, stage.window, generator)
        return data.images[index], data.actions[index], data.readouts[index]

    run = Optimisation('level 0', Level0(model, config.coefficients), stage, config.seed, data.images.device.type,
                       resume)
    return run.run(sample, report, compiled)


def train_upper(model: HJEPA, level: int, data: EpisodeSet, s: Tensor, config: TrainingConfig,
                report: Report | None, resume: Path | None = None) -> dict[str, float]:
    """s (N, D): states of all steps, from the frozen levels below."""
    stage, jepa = config.upper, model.levels[level]

    def sample(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        index = data.windows(stage.batch, (stage.window - 1) * jepa.period + 1, generator)
        chunks = data.actions[index[:, :-1]].unflatten(1, (stage.window - 1, jepa.period))
        noise = torch.randn(stage.batch, stage.window - 1, jepa.action_encoder.dim, generator=generator,
                            device=s.device)
        return s[index[:, ::jepa.period]], chunks, noise

    run = Optimisation(f'level {level}', Upper(jepa, config.macro), stage, config.seed + level,
                       data.images.device.type, resume)
    parts = run.run(sample, report)
    with torch.no_grad():
        index = data.all_windows(jepa.period + 1, jepa.period)
        jepa.action_encoder.fit_prior(jepa.action_encoder(data.actions[index[:, :-1]]))
    return parts


@torch.no_grad()
def calibrate(model: HJEPA, data: EpisodeSet, s: Tensor) -> None:
    """Measure the typical one-step error of each level, the unit of surprise (LeCun §8.2.2)."""
    for jepa in model.levels:
        index = data.all_windows(jepa.period + 1, max(1, jepa.period // 2))
        action = jepa.action_encoder(data.actions[index[:, :-1]])
        error = (jepa.predict(s[index[:, 0]], action) - s[index[:, -1]]).square().mean()
        jepa.typical_error.copy_(error)


def _refuse_short(training: EpisodeSet, held_out: EpisodeSet, config: TrainingConfig) -> None:
    """Windows that training and evaluation will need: missed now, not after hours of training."""
    above = config.architecture.periods[1:]
    for what, part, needed in (
            ('training', training, [config.level0.window] + [(config.upper.window - 1) * p + 1 for p in above]),
            ('held-out', held_out, [evaluate.HORIZON + 1] + [evaluate.PERIODS * p + 1 for p in above])):
        longest = int(part.lengths.max())
        if longest < max(needed):
            raise TrainingError(f'the longest {what} episode has {longest} steps, {max(needed)} are needed: '
                                f'record longer episodes (--steps)')


def train(data: EpisodeSet, config: TrainingConfig, report: Report | None = None, work_dir: Path | None = None,
          compiled: bool = False) -> tuple[HJEPA, dict[str, float]]:
    """All levels; returns the model and its figures on held-out episodes. TrainingError when it has collapsed."""
    training, held_out = data.split()
    _refuse_short(training, held_out, config)
    model = build(config, training)

    def resume(name: str) -> Path | None:
        return work_dir / f'{name}.safetensors' if work_dir else None

    train_level0(model, training, config, report, resume('level0'), compiled)
    model.eval()
    s = evaluate.encode_all(model, data.images)
    figures = evaluate.representation(model, held_out, s)
    evaluate.refuse_collapse(figures, config.collapse)
    for level in range(1, len(model.levels)):
        train_upper(model, level, training, s, config, report, resume(f'level{level}'))
        figures |= evaluate.upper(model, level, held_out, s)
    calibrate(model, training, s)
    return model, figures
