"""`jepa-ros train`: a checkpoint from bags, on a CPU or a GPU. Needs no ROS."""
from contextlib import contextmanager
from pathlib import Path
import shlex

import typer


def train(
    bags: list[Path] = typer.Argument(..., help='Bags, training stores, or one cache (episodes-….npz) made from '
                                      'bags.'),
    robot: str = typer.Option('', help='Robot contract: a name in config/robots, or the path of a YAML file; empty: '
                              'the one inside the bags.'),
    config: str = typer.Option('two_rooms', help='Training configuration: a name in config/agents, or a YAML file.'),
    output: Path = typer.Option(..., '--output', '-o', help='Folder of the checkpoint to write.'),
    work_dir: Path = typer.Option(None, help='Cache, log.csv and the state of an interrupted run, which the same '
                                  'command continues; empty: build/train/<name of the output>.'),
    device: str = typer.Option('auto', help='auto, cpu or cuda.'),
    threads: int = typer.Option(0, min=0, max=256, help='CPU threads; 0: as many as PyTorch chooses.'),
    seed: int = typer.Option(-1, min=-1, max=2**31 - 1, help="Seed; −1: the configuration's."),
    compiled: bool = typer.Option(False, help='Compile level 0 with torch.compile: quicker on a GPU.'),
    made_by: list[str] = typer.Option([], help='A command to list in the model card before this one, such as the one '
                                      'that recorded the bags. May be repeated.'),
) -> int:
    """Train perception, world model, policy and critic.

    Example: jepa-ros train bags/two_rooms --output models/mine
    """
    import torch

    from jepa_ros import checkpoint
    from jepa_ros.robot.sources import contract_of
    from jepa_ros.training import trainer
    from jepa_ros.training.config import load_config

    settings = load_config(config)
    if seed >= 0:
        settings = settings.model_copy(update={'seed': seed})
    chosen = trainer.choose_device(device)
    if threads:
        torch.set_num_threads(threads)
    work_dir = work_dir or Path('build/train') / output.name
    _refuse_missing(bags)
    contract = contract_of(bags, robot)
    checkpoint.check_writable(output)
    again = ['jepa-ros', 'train', *map(str, bags), *(['--robot', robot] if robot else []), '--config', config,
             '--output', str(output), *(['--seed', str(seed)] if seed >= 0 else [])]
    commands = [*made_by, ' '.join(map(shlex.quote, again)), f'jepa-ros eval --model {shlex.quote(str(output))}']
    with _ends_named(work_dir), _Progress() as report:
        agent = trainer.train(bags, contract, settings, output, work_dir, chosen, commands=commands, report=report,
                              compiled=compiled)
    _print_card(agent, output)
    return 0


def _refuse_missing(bags: list[Path]) -> None:
    from jepa_ros.errors import BagError
    for bag in bags:
        if not bag.exists():
            raise BagError(f'{bag}: no such bag or store; record a bag with: '
                           f'jepa-ros record world=two_rooms --output {bag}')


@contextmanager
def _ends_named(work_dir: Path):
    """One line for Ctrl-C and for what the disk refuses: the state of the run is kept, or an older one is."""
    from safetensors import SafetensorError

    from jepa_ros.errors import TrainingError
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f'jepa-ros: interrupted; the same command goes on from what is in {work_dir}', err=True)
        raise
    except (OSError, SafetensorError) as error:
        reason = getattr(error, 'strerror', None) or str(error).splitlines()[0]
        raise TrainingError(f'{getattr(error, "filename", None) or work_dir}: cannot be written ({reason}): free space '
                            'or give another --work-dir; the same command goes on where it was') from None


class _Progress:
    """One rich progress bar per stage, with the newest loss."""

    def __enter__(self):
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        self._bars: dict = {}
        self._progress = Progress(TextColumn('{task.description:<22}'), BarColumn(), MofNCompleteColumn(),
                                  TimeElapsedColumn(), TimeRemainingColumn(), TextColumn('{task.fields[figures]}'))
        self._progress.start()
        return self

    def __call__(self, stage: str, done: int, total: int, parts: dict[str, float]) -> None:
        if stage not in self._bars:
            self._bars[stage] = self._progress.add_task(stage, total=total, figures='')
        figures = '  '.join(f'{name} {value:.3g}' for name, value in list(parts.items())[:4])
        self._progress.update(self._bars[stage], completed=done, total=total, figures=figures)

    def __exit__(self, *_) -> None:
        self._progress.stop()


def _print_card(agent, output: Path) -> None:
    from rich.console import Console
    from rich.table import Table
    table = Table(title=f'{output}  ({agent.model_id})')
    table.add_column('figure')
    table.add_column('value', justify='right')
    for name, value in agent.card.metrics.items():
        table.add_row(name, f'{value:.4g}')
    table.add_row('goal_tolerance', f'{agent.card.goal_tolerance:.4g}')
    Console().print(table)
