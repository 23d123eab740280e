"""The energy plot: what the agent minimised in one episode, term by term, and how surprised it was. No ROS here."""
from pathlib import Path

import matplotlib
import numpy as np

from jepa_ros.evaluation.tape import Pursuit, Tape

matplotlib.use('Agg')   # no display

from matplotlib import pyplot as plt  # noqa: E402

COLOURS = {'goal': '#c44e00', 'readout_goal': '#008c5f', 'effort': '#1868d6', 'smoothness': '#8434c4',
           'limits': '#b3123f', 'critic': '#7a7d8c'}
MOST_NAMED = 5      # of terms that are zero: more would push the panels apart
OTHER = '#2c2e3a'
BESIDE = {'loc': 'center left', 'bbox_to_anchor': (1.0, 0.5)}    # curves may be anywhere inside


def plot_energy(file: Path, tape: Tape, episode: Pursuit, goal_tolerance: float | None = None) -> None:
    """Three panels over time: energy of percept and plan, and surprise. Terms that stay 0 are named or counted."""
    style = {'font.size': 11, 'axes.spines.top': False, 'axes.spines.right': False, 'axes.titlelocation': 'left',
             'axes.titlesize': 12, 'legend.frameon': False}
    with plt.rc_context(style):
        figure, axes = plt.subplots(3, 1, figsize=(9, 7.5), sharex=True, height_ratios=(3, 3, 2), layout='constrained')
        begin = min(tape.during(tape.poses, episode), default=episode.first_ns)
        _terms(axes[0], tape.energy, tape, episode, begin)
        axes[0].set_title('Energy of what is seen')
        if goal_tolerance is not None:
            axes[0].axhline(goal_tolerance, color='#7a7d8c', lw=1, ls='--', label='reached below this')
        _terms(axes[1], tape.plan_energy, tape, episode, begin)
        axes[1].set_title('Energy of the plan, summed over its steps')
        _surprise(axes[2], tape, episode, begin)
        for axis in axes:
            if axis.get_legend_handles_labels()[0]:
                axis.legend(**BESIDE)
        axes[2].set_xlabel('time since the goal was shown, s')
        figure.savefig(file, dpi=110)
        plt.close(figure)


def _terms(axis, track: dict[int, dict[str, float]], tape: Tape, episode: Pursuit, begin: int) -> None:
    stamps = tape.during(track, episode)
    times = (np.array(stamps, float) - begin) * 1e-9
    found = {name for s in stamps for name in track[s]}
    names = [*(n for n in COLOURS if n in found), *sorted(found - set(COLOURS))]
    zero = []
    for name in names:
        values = np.array([track[s].get(name, np.nan) for s in stamps])
        if np.nanmax(np.abs(values), initial=0) == 0:
            zero.append(name)
            continue
        # on a logarithmic axis a zero has no place
        axis.plot(times, np.where(values > 0, values, np.nan), color=COLOURS.get(name, OTHER), lw=2, label=name)
    if len(names) > len(zero):
        axis.set_yscale('log')
    if zero:
        few = len(zero) <= MOST_NAMED
        axis.plot([], [], ' ', label='zero:\n' + '\n'.join(zero) if few else f'{len(zero)} other terms: zero')
    axis.set_ylabel('weight · value')
    axis.grid(axis='y', color='#e4e4e0', lw=0.8)


def _surprise(axis, tape: Tape, episode: Pursuit, begin: int) -> None:
    stamps = tape.during(tape.surprise, episode)
    axis.plot((np.array(stamps, float) - begin) * 1e-9, [tape.surprise[s] for s in stamps], color=OTHER, lw=1.5)
    axis.axhline(1, color='#7a7d8c', lw=1, ls='--', label='usual in training')
    axis.set_ylim(bottom=0)
    axis.set_title('Surprise: prediction error over its mean in training')
    axis.set_ylabel('surprise')
    axis.grid(axis='y', color='#e4e4e0', lw=0.8)
