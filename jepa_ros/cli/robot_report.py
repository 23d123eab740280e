"""Tables of `jepa-ros robot check` and `jepa-ros robot list`."""
import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

from jepa_ros.errors import JepaRosError
from jepa_ros.paths import known
from jepa_ros.robot.check import Report
from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.findings import ERROR, NOTE, WARNING

STYLES = {ERROR: 'bold red', WARNING: 'yellow', NOTE: 'dim', 'ok': 'green'}
UNUSED_SHOWN = 12
WIDE = 180              # columns
OTHER_CLOCK_S = 3600.0  # a longer age is none


def show(report: Report) -> None:
    """Print a report: the streams, what was found, what would fit, and the verdict."""
    console = _console()
    console.print(_streams(report))
    for level in (ERROR, WARNING, NOTE):
        for finding in report.findings:
            if finding.level == level:
                console.print(Text.assemble((f'{level:<8}', STYLES[level]), f'{finding.where}: {finding.text}'))
    if report.suggestions:
        console.print(_suggestions(report))
    if report.unused:
        more = f' and {len(report.unused) - UNUSED_SHOWN} more' if len(report.unused) > UNUSED_SHOWN else ''
        console.print(Text(f'not read: {", ".join(report.unused[:UNUSED_SHOWN])}{more}', style='dim'))
    errors = sum(f.level == ERROR for f in report.findings)
    warnings = sum(f.level == WARNING for f in report.findings)
    verdict = 'usable' if report.usable else 'NOT usable'
    learned = f'; {report.steps} steps in {report.episodes} episodes to learn from' if report.episodes else ''
    console.print(Text(f'{report.robot} with {report.source}: {verdict}, {report.percepts} percepts in '
                       f'{report.span_s:.1f} s, {errors} errors, {warnings} warnings{learned}',
                       style='bold green' if report.usable else 'bold red'))


def _streams(report: Report) -> Table:
    table = Table(title=f'{report.robot}: {report.source}')
    for name, how in (('', 'left'), ('stream', 'left'), ('topic', 'left'), ('messages', 'right'), ('Hz', 'right'),
                      ('gap s', 'right'), ('age s', 'right'), ('what came', 'left')):
        table.add_column(name, justify=how, overflow='fold')  # type: ignore[arg-type]
    for row in report.rows:
        there = bool(row.found and row.messages)
        table.add_row(
            Text('ok' if row.state == 'ok' else row.state, style=STYLES[row.state]), f'{row.kind} {row.key}',
            row.found or f'{row.topic} is missing', str(row.messages), f'{row.rate_hz:.2f}' if there else '',
            f'{row.gap_s:.3g}' if there else '', _age(row.delay_s) if there else '', row.content)
    return table


def _age(delay_s: float) -> str:
    return f'{delay_s:.3f}' if abs(delay_s) < OTHER_CLOCK_S else 'other clock'


def _suggestions(report: Report) -> Table:
    table = Table(title='values that would fit')
    for name in ('field', 'now', 'suggested', 'because'):
        table.add_column(name)
    for s in report.suggestions:
        table.add_row(s.path, str(s.now), str(s.value), s.why)
    return table


def show_robots() -> None:
    """Print one row for each shipped contract."""
    table = Table(title='robots')
    for name in ('name', 'description', 'period s', 'observations', 'actions'):
        table.add_column(name)
    for name in known('robots'):
        try:
            robot = RobotContract.load(name)
        except JepaRosError as error:
            table.add_row(name, Text(str(error), style=STYLES[ERROR]), '', '', '')
            continue
        table.add_row(robot.name, robot.description, f'{robot.control_period_s:g}',
                      ', '.join(o.key for o in robot.observations), ', '.join(robot.action_names))
    _console().print(table)


def _console() -> Console:
    """Standard output; wide where it is no terminal, so that a file or a pipe gets one line for each stream."""
    return Console(width=None if sys.stdout.isatty() else WIDE)
