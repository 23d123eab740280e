"""The agreement plot of shadow mode: recorded and proposed actions over time and against each other. No ROS here."""
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np

from jepa_ros.errors import ConfigError
from jepa_ros.evaluation.shadow import aligned, Heard, Part
from jepa_ros.robot.contract import RobotContract

matplotlib.use('Agg')   # no display

from matplotlib import pyplot as plt  # noqa: E402

RECORDED, AGENT, GREY = '#2c2e3a', '#c44e00', '#e4e4e0'
STYLE = {'font.size': 10, 'axes.spines.top': False, 'axes.spines.right': False, 'axes.titlelocation': 'left',
         'legend.frameon': False}


def plot(file: Path, parts: Sequence[Part], heard: Heard, contract: RobotContract) -> None:
    """One line of panels per action field (time, scatter) and one of surprise. ConfigError names an unwritable file."""
    names, period_ns = contract.action_names, round(contract.control_period_s * 1e9)
    times, recorded, agent, surprise = _series(parts[:heard.begun], heard, len(names), period_ns)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(len(names) + 1, 2, figsize=(11, 2.4 * (len(names) + 1)), width_ratios=(4, 1),
                                    layout='constrained', squeeze=False)
        for i, name in enumerate(names):
            _over_time(axes[i, 0], times, recorded[:, i], agent[:, i], name)
            _scatter(axes[i, 1], recorded[:, i], agent[:, i])
        axes[0, 0].legend(loc='upper right', ncols=2)
        axes[-1, 0].plot(times, surprise, color=RECORDED, lw=1)
        axes[-1, 0].axhline(1, color='#7a7d8c', lw=1, ls='--')
        axes[-1, 0].set(title='surprise (1: usual in training)', xlabel='recorded time, s')
        axes[-1, 0].set_ylim(bottom=0)
        axes[-1, 1].set_axis_off()
        try:
            figure.savefig(file, dpi=110)
        except OSError as error:
            raise ConfigError(f'{file}: cannot be written: {error.strerror or error}') from None
        finally:
            plt.close(figure)


def _series(parts: Sequence[Part], heard: Heard, width: int, period_ns: int):
    """times (N,) s, recorded (N, A), agent (N, A), surprise (N,); a NaN row between parts breaks the lines."""
    start = parts[0].stamps_ns[0]
    times, recorded, agent, surprise = [], [], [], []
    for part in parts:
        times += [*((part.stamps_ns - start) * 1e-9).tolist(), np.nan]
        recorded += [*part.actions, np.full(width, np.nan)]
        agent += [*(np.full(width, np.nan) if a is None else a for a in aligned(part, heard.actions, period_ns)),
                  np.full(width, np.nan)]
        surprise += [*(np.nan if s is None else s for s in aligned(part, heard.surprise, period_ns)), np.nan]
    return np.array(times, float), np.array(recorded, float), np.array(agent, float), np.array(surprise, float)


def _over_time(axis, times, recorded, agent, name: str) -> None:
    axis.plot(times, recorded, color=RECORDED, lw=1.2, label='recorded')
    axis.plot(times, agent, color=AGENT, lw=1.0, marker='.', ms=2, label='agent')
    axis.set_title(name)
    axis.grid(axis='y', color=GREY, lw=0.8)


def _scatter(axis, recorded, agent) -> None:
    axis.scatter(recorded, agent, s=5, color=AGENT, alpha=0.4, linewidths=0)
    known = np.concatenate([recorded[np.isfinite(recorded)], agent[np.isfinite(agent)]])
    if len(known):
        low, high = float(known.min()), float(known.max())
        axis.plot([low, high], [low, high], color=RECORDED, lw=0.8)
    axis.set(xlabel='recorded', ylabel='agent')
    axis.grid(color=GREY, lw=0.6)
