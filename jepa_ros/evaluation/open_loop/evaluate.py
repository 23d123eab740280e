"""All open-loop figures of a model over episodes: `judge`. Called by `jepa-ros eval open` and by benchmarks."""
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
import math
from typing import Any

import torch
from torch import Tensor

from jepa_ros.errors import ConfigError
from jepa_ros.evaluation.open_loop.episodes import choose, powers, refuse_short
from jepa_ros.evaluation.open_loop.latent import Latent, latent
from jepa_ros.evaluation.open_loop.level import Level
from jepa_ros.evaluation.open_loop.linear import folds, Trial
from jepa_ros.evaluation.open_loop.prediction import foresee, Horizon, horizons, Scale
from jepa_ros.evaluation.open_loop.probe import Probe, probes, Scatter
from jepa_ros.evaluation.open_loop.statistics import Bootstrap
from jepa_ros.evaluation.open_loop.surprise import Scores, surprise, Tampered
from jepa_ros.training.data import EpisodeSet
from jepa_ros.training.losses.regularisers import effective_rank
from jepa_ros.training.states import level_states
from jepa_ros.world_model.hjepa import HJEPA

NEAR = 0.25     # a whole number of periods stands for a moment that it misses by no more than this share


@dataclass(frozen=True)
class LevelFigures:
    """One level. `None` is what cannot be told from this data; a note says why."""

    level: int
    period: int                     # control steps
    period_s: float
    dim: int
    std: float                      # of s, mean over its dimensions, all judged steps
    std_within: float               # within episodes
    effective_rank: float           # of s over the judged steps: 1 is collapsed, `dim` is isotropic
    effective_rank_within: float    # of s less the episode's mean
    horizons: tuple[Horizon, ...]
    probes: tuple[Probe, ...]
    latent: Latent | None
    surprise: tuple[Tampered, ...]


@dataclass(frozen=True)
class LevelPictures:
    """What plots of one level are made of."""

    level: int
    scatters: tuple[Scatter, ...]
    scores: Scores | None


@dataclass(frozen=True)
class OpenLoop:
    """Figures of all levels, and what plots are made of."""

    episodes: int                   # judged
    steps: int
    fitted_on: int                  # episodes of the data that are not judged, which baselines are fitted on too
    notes: tuple[str, ...]
    levels: tuple[LevelFigures, ...]
    pictures: tuple[LevelPictures, ...]

    def figures(self) -> dict[str, Any]:
        """Everything but the pictures, ready for a JSON file: no NaN, no infinity."""
        return _plain({name: value for name, value in asdict(self).items() if name != 'pictures'})


def judge(model: HJEPA, data: EpisodeSet, s0: Tensor, control_period_s: float = 1.0, *, horizon: int = 0,
          seconds: Sequence[float] = (), trained_on: Mapping[str, str] | None = None, angles: Collection[str] = (),
          seed: int = 0) -> OpenLoop:
    """Figures of every level from states s0 (N, D_0) of level 0 (`training.states.encode_all`).

    horizon: most periods to look ahead, 0 chooses; seconds: moments ahead instead, for the levels that have them;
    trained_on: bags of the model card, which are not judged; angles: names of readouts in rad that jump at ±π.
    ConfigError for episodes that are too short, and for a model whose states or energies are not finite.
    """
    chosen = choose(data, trained_on or {})
    _refuse_not_finite(chosen.data, s0)
    trial = Trial(chosen.judged, folds(chosen.judged, chosen.others), Bootstrap(len(chosen.judged), seed))
    notes = [*data.notes, *chosen.notes]
    if not trial.folds:
        notes.append('there is only one episode: no linear model, no probes and no intervals')
    stack = [Level(model, index, chosen.data, s0 if index == 0 else level_states(model, chosen.data, s0, index),
                   control_period_s) for index in range(len(model.levels))]
    periods = [_moments(level, seconds, notes) if seconds else powers(level, chosen.judged, horizon) for level in stack]
    refuse_short(stack, periods, chosen, horizon, seconds)
    levels, pictures = [], []
    for level, ahead in zip(stack, periods):
        figures, picture = _level(level, s0, trial, ahead, angles, seed, notes)
        levels.append(figures)
        pictures.append(picture)
    return OpenLoop(len(chosen.judged), int(chosen.data.lengths[chosen.judged].sum()), len(chosen.others),
                    tuple(dict.fromkeys(notes)), tuple(levels), tuple(pictures))


def _level(level: Level, s0: Tensor, trial: Trial, periods: list[int], angles: Collection[str], seed: int,
           notes: list[str]) -> tuple[LevelFigures, LevelPictures]:
    if Scale(level, trial).collapsed:
        notes.append(f'level {level.index}: s does not change within episodes: the representation has collapsed and '
                     'errors have no scale')
    ahead: list[Horizon] = []
    read: list[Probe] = []
    scatters: list[Scatter] = []
    if periods:
        foreseen = foresee(level, trial.judged, max(periods))
        ahead = horizons(level, trial, foreseen, periods)
        _note_horizons(level, ahead, trial, notes)
        if level.data.readout_names and trial.folds:
            read, scatters, more = probes(level, trial, foreseen, periods, angles)
            notes += more
        elif level.index == 0 and trial.folds:
            notes.append('the robot has no readouts: nothing is probed')
    tampered, scores, more = surprise(level, trial, s0, seed)
    notes += more
    s, within = _judged_states(level, trial.judged)
    figures = LevelFigures(
        level.index, level.period, level.step_s, s.shape[1], float(s.std(0).mean()), float(within.std(0).mean()),
        effective_rank(s), effective_rank(within), tuple(ahead), tuple(read), latent(level, trial, seed),
        tuple(tampered))
    return figures, LevelPictures(level.index, tuple(scatters), scores)


def _moments(level: Level, seconds: Sequence[float], notes: list[str]) -> list[int]:
    """Periods nearest to the moments ahead; a note for each that is not quite there, or that this level has not."""
    found = []
    for moment in sorted(set(seconds)):
        k = max(1, round(moment / level.step_s))
        off = abs(k * level.step_s - moment) / moment
        if off > NEAR:
            notes.append(f'level {level.index}: its periods of {level.step_s:g} s do not lead near {moment:g} s')
            continue
        found.append(k)
        if off > 1e-3:
            notes.append(f'level {level.index}: {k * level.step_s:.3g} s stands for {moment:g} s: its periods are of '
                         f'{level.step_s:g} s')
    return sorted(set(found))


def _note_horizons(level: Level, ahead: Sequence[Horizon], trial: Trial, notes: list[str]) -> None:
    if trial.folds and any(h.linear is None for h in ahead):
        notes.append(f'level {level.index}: no linear model: too few of the other episodes are long enough to fit it')
    diverged = [h.periods for h in ahead if h.prediction.value is None and h.persistence.value is not None]
    if diverged:
        notes.append(f'level {level.index}: predictions {diverged[0]} period(s) ahead are not finite: the rollout '
                     'diverges')


def _judged_states(level: Level, judged: Tensor) -> tuple[Tensor, Tensor]:
    """States of all judged steps, and the same less the mean of their episode."""
    parts = [level.s[int(level.data.starts[e]):int(level.data.starts[e] + level.data.lengths[e])]
             for e in judged.tolist()]
    return torch.cat(parts), torch.cat([part - part.mean(0) for part in parts])


def _refuse_not_finite(data: EpisodeSet, s0: Tensor) -> None:
    finite = torch.isfinite(s0).all(-1)
    if not bool(finite.all()):
        row = int((~finite).nonzero()[0])
        raise ConfigError(f'{data.where(row)}: the state is not finite: the model is damaged or the percept is bad')


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
