"""`jepa-ros bag`: what is in a recording, which weights acted in it, and making a damaged one readable. No ROS."""
import json
from pathlib import Path
import sys
from typing import Any

import typer

EXIT_UNREPAIRED = 2
WIDE = 400      # columns where a program reads: names are whole

bag = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help="""Recordings: what is in one, and repairs.

Example: jepa-ros bag info bags/two_rooms, or after a power cut: jepa-ros bag repair bags/two_rooms""")


@bag.command()
def info(
    recording: Path = typer.Argument(..., metavar='BAG', help='Bag folder, or a single .mcap or .db3 file.'),
    as_json: bool = typer.Option(False, '--json', help='Print it as JSON.'),
) -> int:
    """Show topics, rates, span, episodes with their audits, and what the bag says about itself.

    Example: jepa-ros bag info bags/two_rooms
    """
    from dataclasses import asdict

    from jepa_ros.robot.bag_info import bag_info
    found = bag_info(recording)
    if as_json:
        print(json.dumps(asdict(found), default=str, indent=1, ensure_ascii=False))
    else:
        _show(found)
    return 0


@bag.command()
def versions(
    recording: Path = typer.Argument(..., metavar='BAG', help='Bag folder, or a single .mcap or .db3 file.'),
    as_json: bool = typer.Option(False, '--json', help='Print it as JSON.'),
) -> int:
    """Show which learned weights acted when: each update, who took it, and what was in force for actions and plans.

    Example: jepa-ros bag versions bags/learning
    """
    from dataclasses import asdict

    from jepa_ros.robot.bag_versions import bag_versions
    found = bag_versions(recording)
    if as_json:
        print(json.dumps(asdict(found), indent=1, ensure_ascii=False))
    else:
        show_versions(found)
    return 0


def show_versions(found) -> None:
    """Print what `bag_versions` found: a table of updates and one of what was in force."""
    from rich.console import Console
    from rich.table import Table
    console = Console(width=None if sys.stdout.isatty() else WIDE)
    updates = Table('update, s', 'organ', 'version', 'in force in (after, s)', 'first action, s', 'note')
    nobody = 'nobody' if found.heard else 'not known: /diagnostics was not recorded'
    for u in found.updates:
        taken = ', '.join(f'{node} ({max(0.0, s - u.time_s):.1f})' for node, s in u.taken.items())
        updates.add_row(f'{u.time_s:.1f}', u.organ, str(u.version), taken or nobody,
                        '' if u.acted_s is None else f'{u.acted_s:.1f}', u.note)
    console.print(updates if found.updates else 'no model update')
    for s, node, line in found.refused:
        console.print(f'{s:.1f} s: {node} refused {line}', soft_wrap=True, highlight=False, markup=False)
    spans = Table('from, s', 'to, s', *(found.spans[0].versions if found.spans else ()), 'actions', 'plans')
    for span in found.spans:
        spans.add_row(f'{span.begin_s:.1f}', f'{span.end_s:.1f}', *map(str, span.versions.values()),
                      str(span.actions), str(span.plans))
    console.print(spans)


@bag.command()
def repair(
    recordings: list[Path] = typer.Argument(..., metavar='BAG…', help='Bag folders, or single .mcap or .db3 files.'),
) -> int:
    """Make bags readable whose writing was cut off, or whose metadata.yaml is lost. A whole bag is left as it is.

    Works on bags of any recorder, and reads all of them. An MCAP file whose end is missing is finished in place; of one
    damaged elsewhere, and of .db3 files, what can be read is copied. What is cut, or the old file, is kept beside as
    <name>.damaged. Exit code 2 if one could not be repaired: nothing in it can be read, and it is left as it is.

    Example: jepa-ros bag repair bags/two_rooms bags/drive_*
    """
    from rich.console import Console

    from jepa_ros.errors import BagError
    from jepa_ros.robot.bag_repair import repaired
    failed = False
    for path in recordings:
        try:
            with Console(stderr=True).status(f'reading {path}'):
                done = repaired(path)
        except BagError as error:
            print(f'jepa-ros: {error}', file=sys.stderr)
            failed = True
            continue
        print(f'{path}: {_outcome(done)}')
    return EXIT_UNREPAIRED if failed else 0


def _outcome(done) -> str:
    if done.was_whole:
        return f'whole already, {done.messages} messages'
    parts = [f'readable, {done.messages} messages']
    parts += [f'repaired {", ".join(done.files)}'] if done.files else ['metadata.yaml written anew']
    if done.cut_bytes:
        saved = f', {done.salvaged} messages were saved out of them' if done.salvaged else ''
        if done.doubtful:
            saved += f'; up to {done.doubtful} may hold wrong bytes, the checksum of their chunk does not fit'
        parts.append(f'{done.cut_bytes / 1e6:.3f} MB were damaged{saved}')
    if done.lost:
        parts.append(f'{done.lost} messages are lost')
    if done.kept:
        parts.append(f'the old bytes are in {", ".join(done.kept)}')
    if done.dropped:
        parts.append(f'nothing in {", ".join(done.dropped)}')
    return '; '.join(parts)


def _show(found) -> None:
    from datetime import datetime, timezone

    from rich.console import Console
    from rich.table import Table
    console = Console(width=None if sys.stdout.isatty() else WIDE)

    def line(name: str, value: Any) -> None:
        console.print(f'{name + ":":14} {value}', soft_wrap=True, highlight=False, markup=False)
    began = datetime.fromtimestamp(found.start_ns * 1e-9, timezone.utc)
    size = sum(file.stat().st_size for file in found.files)
    line('bag', found.path)
    line('files', f'{len(found.files)}, {size / 1e6:.1f} MB')
    line('span', f'{found.duration_s:.1f} s from {began:%Y-%m-%d %H:%M:%S} UTC')
    line('messages', found.messages)
    line('contract', found.contract or 'none inside')
    for key, value in found.custom.items():
        line(key, value)
    table = Table('topic', 'type', 'messages', 'Hz')
    for topic in found.topics:
        table.add_row(topic.name, topic.type, str(topic.messages), f'{topic.rate_hz:.2f}' if topic.rate_hz else '')
    console.print(table)
    if not found.episodes:
        return
    episodes = Table('episode', 'from, s', 'length, s', 'end', 'audit')
    for e in found.episodes:
        audit = '' if e.problems is None else '; '.join(e.problems) or 'passed'
        length = '' if e.duration_s is None else f'{e.duration_s:.1f}'
        episodes.add_row(e.name, f'{e.start_s:.1f}', length, e.end or 'cut off', audit)
    console.print(episodes)


if __name__ == '__main__':
    from jepa_ros.cli.main import main
    sys.exit(main(['bag', *sys.argv[1:]]))
