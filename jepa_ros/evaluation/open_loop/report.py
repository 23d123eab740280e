"""Open-loop figures as tables on the terminal."""
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from jepa_ros.evaluation.open_loop.evaluate import LevelFigures, OpenLoop
from jepa_ros.evaluation.open_loop.latent import Latent
from jepa_ros.evaluation.open_loop.statistics import FALSE_ALARMS, Figure

NONE = '–'


def print_report(title: str, result: OpenLoop, console: Console | None = None) -> None:
    """Everything that was judged, then what could not be."""
    console = console or Console()
    console.print(f'[bold]{title}[/bold]\n{result.steps} steps in {result.episodes} episode(s) judged; brackets: 95 % '
                  'over episodes', highlight=False)
    for level in result.levels:
        for table in level_tables(level):
            console.print(table)
    for note in result.notes:
        console.print(f'note: {note}', highlight=False, markup=False, soft_wrap=True)


def level_tables(level: LevelFigures) -> list[Table]:
    """The tables of one level that have rows."""
    found = [_horizons(level), _probes(level), _surprise(level), _latent(level.latent)]
    return [table for table in found if table is not None and table.row_count]


def level_title(level: LevelFigures) -> str:
    """'level 1: 8 steps (0.8 s) a period, …'"""
    return (f'level {level.level}: {level.period} step(s), {level.period_s:.3g} s a period; s has {level.dim} '
            f'dimensions, effective rank {level.effective_rank:.1f} ({level.effective_rank_within:.1f} within '
            f'episodes), std {level.std:.2g}')


def _horizons(level: LevelFigures) -> Table:
    table = _table(level_title(level), ('ahead', 'prediction error', 'persistence', 'linear', 'skill over persistence',
                                        'over linear'))
    for h in level.horizons:
        table.add_row(f'{h.periods} ({h.seconds:.3g} s)', *(
            interval(f) for f in (h.prediction, h.persistence, h.linear, h.skill_persistence, h.skill_linear)))
    table.caption = 'errors as a share of the variance of s within episodes'
    return table


def _probes(level: LevelFigures) -> Table | None:
    if not level.probes:
        return None
    ahead = level.probes[0].ahead
    shown = ahead if len(ahead) <= 3 else (ahead[0], ahead[len(ahead) // 2], ahead[-1])
    table = _table(f'level {level.level}: linear probes', ('readout', 'R² now', 'rmse', *(
        f'R² {a.seconds:.3g} s ahead' for a in shown)))
    for probe in level.probes:
        later = {a.periods: a.r2 for a in probe.ahead}
        table.add_row(probe.readout, interval(probe.r2), plain(probe.rmse),
                      *(interval(later[a.periods]) for a in shown))
    return table


def _surprise(level: LevelFigures) -> Table:
    table = _table(f'level {level.level}: surprise', ('tampered', 'AUROC', f'found at {FALSE_ALARMS:.0%} false alarms',
                                                      'AUROC, steps at rest too', 'steps'))
    for one in level.surprise:
        table.add_row(one.kind, interval(one.auroc), interval(one.detected),
                      interval(one.auroc_all) if one.in_motion else NONE, str(one.steps))
    return table


def _latent(latent: Latent | None) -> Table | None:
    if latent is None:
        return None
    table = _table(f'latent: {latent.kind}', ('figure', 'value'))
    share = '' if latent.share is None else f' of {latent.capacity_bits:.2f}, {latent.share:.0%}'
    for name, value in (('bits', f'{latent.bits:.2f}{share}'), ('saved by knowing z', f'{latent.gain:.1%}'),
                        ('spread of drawn futures', f'{latent.spread:.3f} of the variance of s'),
                        ('contrast', f'{latent.contrast:.2f} (0: flat energy)'),
                        ('error, most probable z', interval(latent.most_probable)),
                        ('error, mean of draws', interval(latent.mean_of_samples)),
                        *((f'error, best of {b.samples}', interval(b.energy)) for b in latent.best_of),
                        *(('collapse', line) for line in latent.verdict)):
        table.add_row(name, value)
    return table


def interval(figure: Figure | None) -> str:
    """'0.21 [0.19, 0.24]'."""
    if figure is None or figure.value is None:
        return NONE
    bounds = '' if figure.low is None or figure.high is None else f' [{_number(figure.low)}, {_number(figure.high)}]'
    return _number(figure.value) + bounds


def plain(figure: Figure) -> str:
    """The value alone."""
    return NONE if figure.value is None else _number(figure.value)


def _number(value: float) -> str:
    return f'{value:.3f}' if abs(value) < 10 else f'{value:.3g}'


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify='left', caption_justify='left')
    for index, column in enumerate(columns):
        table.add_column(column, justify='left' if index == 0 else 'right')
    return table
