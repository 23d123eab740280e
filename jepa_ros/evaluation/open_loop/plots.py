"""Pictures of open-loop figures: error against horizon, probes, surprise. No display is needed."""
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np

from jepa_ros.errors import ConfigError
from jepa_ros.evaluation.open_loop.evaluate import LevelFigures, LevelPictures, OpenLoop
from jepa_ros.evaluation.open_loop.statistics import receiver_operating_curve
from jepa_ros.evaluation.open_loop.surprise import Scores, Tampered

matplotlib.use('Agg')   # no display

from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator  # noqa: E402

MODEL, LINEAR, PERSISTENCE, GREY, GRID = '#c44e00', '#1868d6', '#7a7d8c', '#2c2e3a', '#e4e4e0'
KINDS = ('#c44e00', '#1868d6', '#008c5f', '#8434c4', '#b3123f', '#a67c00', '#3f8ea8', '#5b5b5b')
STYLE = {'font.size': 10, 'axes.spines.top': False, 'axes.spines.right': False, 'axes.titlelocation': 'left',
         'axes.titlesize': 11, 'legend.frameon': False}
MOST_POINTS = 1500      # of a scatter
DPI = 120


def plot_all(folder: Path, result: OpenLoop) -> list[Path]:
    """Write prediction.png, and probes_N.png and surprise_N.png of each level N that has them; ConfigError if not."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with plt.rc_context(STYLE):
            files = [_prediction(folder / 'prediction.png', result.levels)] \
                if any(level.horizons for level in result.levels) else []
            for level, picture in zip(result.levels, result.pictures):
                if picture.scatters:
                    files.append(_probes(folder / f'probes_{level.level}.png', level, picture))
                if picture.scores is not None:
                    files.append(_surprise(folder / f'surprise_{level.level}.png', level, picture.scores))
            return files
    except OSError as error:
        raise ConfigError(f'{folder}: plots cannot be written: {error.strerror or error}') from None


def _prediction(file: Path, levels: Sequence[LevelFigures]) -> Path:
    """One panel per level: error over seconds, both logarithmic, with 95 % bands."""
    shown = [level for level in levels if level.horizons]
    figure, axes = plt.subplots(1, len(shown), figsize=(1.2 + 4.2 * len(shown), 4), sharey=True, layout='constrained',
                                squeeze=False)
    for axis, level in zip(axes[0], shown):
        seconds = np.array([h.seconds for h in level.horizons])
        for name, colour in (('persistence', PERSISTENCE), ('linear', LINEAR), ('prediction', MODEL)):
            values = [getattr(h, name) for h in level.horizons]
            if any(v is not None and v.value is not None for v in values):
                _line(axis, seconds, values, colour, {'prediction': 'model'}.get(name, name))
        axis.axhline(1, color=GREY, lw=0.8, ls=':')
        axis.set(xscale='log', yscale='log', xlabel='time ahead, s', title=f'Level {level.level}: '
                 f'{level.period_s:.3g} s a period')
        axis.set_xticks(seconds, [f'{s:.3g}' for s in seconds])
        axis.xaxis.set_minor_locator(NullLocator())
        _plain_log(axis.yaxis)
        axis.grid(color=GRID, lw=0.8)
    axes[0, 0].set_ylabel('mean squared error / variance of s\nwithin episodes')
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc='outside upper right', ncols=3)
    axes[0, -1].annotate("episode's mean state", (1, 1), xycoords=('axes fraction', 'data'), ha='right', va='bottom',
                         fontsize=8, color=GREY)
    return _saved(figure, file)


def _line(axis, seconds, figures, colour: str, label: str) -> None:
    def numbers(which: str) -> np.ndarray:
        found = [None if f is None else getattr(f, which) for f in figures]
        return np.array([np.nan if v is None or v <= 0 else v for v in found])
    axis.plot(seconds, numbers('value'), color=colour, lw=2, marker='o', ms=4, label=label)
    axis.fill_between(seconds, numbers('low'), numbers('high'), color=colour, alpha=0.18, lw=0)


def _plain_log(axis) -> None:
    """0.05, 0.1, 0.2, 0.5, 1 instead of powers of ten."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:g}'))
    axis.set_minor_formatter(FuncFormatter(lambda value, _: f'{value:g}' if f'{value:e}'[0] in '25' else ''))


def _probes(file: Path, level: LevelFigures, picture: LevelPictures) -> Path:
    """One column per readout: read off perceived states above, off foreseen ones below, against the truth."""
    count = len(picture.scatters)
    figure, axes = plt.subplots(2, count, figsize=(1 + 3.2 * count, 6.6), layout='constrained', squeeze=False)
    for column, (probe, scatter) in enumerate(zip(level.probes, picture.scatters)):
        ahead = probe.ahead[-1]
        _scatter(axes[0, column], scatter.truth, scatter.perceived, f'{probe.readout}, now: R² {_r2(probe.r2)}')
        _scatter(axes[1, column], scatter.foreseen_truth, scatter.foreseen,
                 f'{ahead.seconds:.3g} s ahead: R² {_r2(ahead.r2)}')
        axes[1, column].set_xlabel(f'recorded {probe.readout}')
    for axis, of in zip(axes[:, 0], ('perceived', 'foreseen')):
        axis.set_ylabel(f'read off {of} states')
    figure.suptitle(f'Level {level.level}: linear probes, each point by a probe that never saw its episode',
                    x=0.01, ha='left', fontsize=11)
    return _saved(figure, file)


def _r2(figure) -> str:
    return '–' if figure.value is None else f'{figure.value:.2f}'


def _scatter(axis, truth: np.ndarray, estimate: np.ndarray, title: str) -> None:
    chosen = np.linspace(0, len(truth) - 1, min(MOST_POINTS, len(truth))).astype(int)
    truth, estimate = truth[chosen], estimate[chosen]
    known = np.isfinite(truth) & np.isfinite(estimate)
    axis.scatter(truth[known], estimate[known], s=5, color=MODEL, alpha=0.35, linewidths=0, rasterized=True)
    if known.any():
        low, high = float(truth[known].min()), float(truth[known].max())
        axis.plot([low, high], [low, high], color=GREY, lw=1)
        margin = 0.25 * max(high - low, 1e-9)     # what is far off does not squeeze the rest
        axis.set(xlim=(low - margin / 4, high + margin / 4), ylim=(low - margin, high + margin))
    axis.set_title(title)
    axis.grid(color=GRID, lw=0.6)


def _surprise(file: Path, level: LevelFigures, scores: Scores) -> Path:
    """Distributions of the energy above, detections over false alarms beside."""
    rows = len(level.surprise)
    figure = plt.figure(figsize=(11, 1.2 + 0.75 * max(rows + 1, 5)), layout='constrained')
    left, right = figure.subfigures(1, 2, width_ratios=(3, 2))
    _distributions(left, level.surprise, scores)
    axis = right.subplots()
    for one, colour in zip(level.surprise, KINDS):
        false_alarms, found = receiver_operating_curve(scores.tampered[one.kind], _untouched(scores, one))
        axis.plot(false_alarms, found, color=colour, lw=1.8,
                  label=f'{one.kind}{", in motion" if one.in_motion else ""}: {_r2(one.auroc)}')
    axis.plot([0, 1], [0, 1], color=PERSISTENCE, lw=0.8, ls=':')
    axis.set(xlabel='false alarms, share of untouched steps', ylabel='share of tampered steps found',
             title='Detection (area under the curve)', xlim=(-0.01, 1), ylim=(0, 1.01))
    axis.legend(loc='lower right', fontsize=9)
    axis.grid(color=GRID, lw=0.8)
    return _saved(figure, file)


def _untouched(scores: Scores, one: Tampered) -> np.ndarray:
    return scores.untouched_moving if one.in_motion else scores.untouched


def _distributions(figure, tampered: Sequence[Tampered], scores: Scores) -> None:
    """One row for the untouched steps and for each kind, over a common logarithmic axis."""
    rows = [('untouched', PERSISTENCE, scores.untouched)] + [
        (one.kind, colour, scores.tampered[one.kind]) for one, colour in zip(tampered, KINDS)]
    everything = np.concatenate([values for *_, values in rows])
    positive = everything[everything > 0]
    low, high = (np.quantile(positive, q) for q in (0.002, 1.0)) if len(positive) else (0.1, 10.0)
    bins = np.geomspace(low, max(high, low * 1.01), 60)
    axes = figure.subplots(len(rows), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (name, colour, values) in zip(axes, rows):
        shares = np.histogram(np.clip(values, bins[0], bins[-1]), bins)[0] / max(len(values), 1)
        axis.stairs(shares, bins, fill=True, color=colour, alpha=0.8)
        axis.set(xscale='log', yticks=[])
        axis.spines['left'].set_visible(False)
        axis.axvline(1, color=GREY, lw=0.8, ls=':')
        axis.set_ylabel(name, rotation=0, ha='right', va='center', color=GREY)
    axes[0].set_title('Energy of a step')
    axes[-1].set_xlabel('energy over its mean on untouched steps')
    axes[-1].xaxis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:g}'))
    axes[-1].xaxis.set_minor_formatter(NullFormatter())


def _saved(figure, file: Path) -> Path:
    try:
        figure.savefig(file, dpi=DPI)
    finally:
        plt.close(figure)
    return file
