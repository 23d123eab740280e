"""`jepa-ros train`: a checkpoint from bags, on one CPU or GPU or on many. Needs no ROS."""
from contextlib import contextmanager, nullcontext
from pathlib import Path
import shlex
from typing import Any

import typer

from jepa_ros.errors import ConfigError

EXIT_ERROR = 2      # as jepa_ros.cli.main has it


def train(
    ctx: typer.Context,
    bags: list[str] = typer.Argument(..., help='Bags, training stores, URLs of such stores (s3://…, gs://…, http://…), '
                                     'caches made from them (episodes-…).'),
    robot: str = typer.Option('', help='Robot contract: a name in config/robots, or the path of a YAML file; empty: '
                              'the one inside the bags.'),
    config: str = typer.Option('', help='Training configuration: a name in config/agents, or a YAML file; empty: the '
                               'one named like the robot, else default, which fits any.'),
    output: Path = typer.Option(..., '--output', '-o', help='Folder of the checkpoint to write.'),
    work_dir: Path = typer.Option(None, help='Cache, logs (<stage>.csv, tensorboard) and the state of an interrupted '
                                  'run, which the same command continues; empty: build/train/<name of the output>.'),
    device: str = typer.Option('auto', help='auto, cpu or cuda.'),
    devices: int = typer.Option(1, min=1, max=1024, help='Processes on this machine that share each batch, one per '
                                'GPU; for several machines use torchrun instead.'),
    strategy: str = typer.Option('auto', help='How processes share the work: ddp (each has all weights; auto) or fsdp '
                                 '(weights, gradients and optimiser state are split).'),
    precision: str = typer.Option('auto', help='32, bf16 (mixed), or auto: bf16 where the hardware has it.'),
    accumulate: int = typer.Option(1, min=1, help='Compute each batch in so many parts, one after the other: less '
                                   'memory; losses over a batch (variance, covariance) are then over a part.'),
    checkpoint_minutes: float = typer.Option(2.0, min=0, help='Minutes between two saved states.'),
    tensorboard: bool = typer.Option(None, '--tensorboard/--no-tensorboard', help='Log to <work dir>/tensorboard too; '
                                     'by default where TensorBoard is installed.', show_default=False),
    sharded: bool = typer.Option(False, help='Each process reads and keeps only its part of the episodes.'),
    timeout_s: float = typer.Option(1800, min=1, help='A process that is silent for so many seconds is '
                                    'lost; the first one is silent while it reads bags.'),
    threads: int = typer.Option(0, min=0, max=256, help='CPU threads; 0: as many as PyTorch chooses.'),
    seed: int = typer.Option(-1, min=-1, max=2**31 - 1, help="Seed; −1: the configuration's."),
    compiled: bool = typer.Option(False, help='Compile level 0 with torch.compile: quicker on a GPU.'),
    made_by: list[str] = typer.Option([], help='A command to list in the model card before this one, such as the one '
                                      'that recorded the bags. May be repeated.'),
) -> int:
    """Train perception, world model, policy and critic.

    Example: jepa-ros train bags/two_rooms --output models/mine

    Four GPUs here: jepa-ros train bags/two_rooms --output models/mine --devices 4

    Two machines with eight GPUs each, on each of them: torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d
    --rdzv-endpoint HOST:29400 -m jepa_ros.training bags/two_rooms --output models/mine
    """
    from jepa_ros.training import trainer
    from jepa_ros.training.engine import Engine, processes, SaidByFirst, Settings
    from jepa_ros.training.launch import launch

    wanted = Settings(device=trainer.choose_device(device), strategy=strategy, precision=precision,
                      accumulate=accumulate, checkpoint_minutes=checkpoint_minutes,
                      tensorboard=_has_tensorboard(tensorboard), sharded=sharded, timeout_s=timeout_s)
    started = processes()[0]
    if devices not in (1, started):
        if started == 1:
            _refuse_missing(bags)
            return launch(_again(ctx), devices)
        raise ConfigError(f'torchrun has started {started} processes on this machine: leave --devices {devices} out')
    progress = _Progress()
    try:
        engine = Engine(wanted, progress.note)
        _train(engine, progress, bags, robot, config, output, work_dir or Path('build/train') / output.name, threads,
               seed, compiled, made_by)
    except SaidByFirst as error:
        raise typer.Exit(EXIT_ERROR) from error
    return 0


def _train(engine, progress: '_Progress', bags: list[str], robot: str, config: str, output: Path, work_dir: Path,
           threads: int, seed: int, compiled: bool, made_by: list[str]) -> None:
    import torch

    from jepa_ros import checkpoint
    from jepa_ros.robot.sources import contract_of
    from jepa_ros.training import trainer
    from jepa_ros.training.config import config_for, load_config
    from jepa_ros.training.failures import named_loss

    def prepare():
        if config:
            load_config(config)             # its mistakes come before those of the data
        _refuse_missing(bags)
        contract = contract_of(bags, robot)     # bags stay text: a Path would take one of the slashes of a URL
        chosen = config or config_for(contract.name)
        settings = load_config(chosen)
        checkpoint.check_writable(output)
        return chosen, settings if seed < 0 else settings.model_copy(update={'seed': seed}), contract
    chosen, settings, contract = engine.first(prepare)
    if threads:
        torch.set_num_threads(threads)
    how = engine.settings
    again = ['jepa-ros', 'train', *bags, *(['--robot', robot] if robot else []), '--config', chosen,
             '--output', str(output), *(['--seed', str(seed)] if seed >= 0 else []),
             *(['--precision', how.precision] if how.precision != 'auto' else []),
             *(['--accumulate', str(how.accumulate)] if how.accumulate > 1 else [])]
    commands = [*made_by, ' '.join(map(shlex.quote, again)), f'jepa-ros eval --model {shlex.quote(str(output))}']
    with _ends_named(work_dir, chosen), progress if engine.is_first else nullcontext(), \
            named_loss(engine, lambda: 'training'):
        agent = trainer.train(bags, contract, settings, output, work_dir, how.device, commands=commands,
                              report=progress, compiled=compiled, engine=engine)
    if engine.is_first:
        _print_card(agent, output)


def _has_tensorboard(wanted: bool | None) -> bool:
    """What was asked for, else whether it is there. TrainingError when it is asked for and missing."""
    from importlib.util import find_spec

    from jepa_ros.training.logs import check_tensorboard
    if wanted:
        check_tensorboard()
    return find_spec('tensorboard') is not None if wanted is None else wanted


def _again(ctx: typer.Context) -> list[str]:
    """The arguments of this command, but --devices, for the processes that do the work."""
    arguments: list[str] = []
    positional: list[str] = []
    for parameter in ctx.command.params:
        value = ctx.params.get(parameter.name)
        if value is None or parameter.name == 'devices':
            continue
        if parameter.param_type_name == 'argument':
            positional += map(str, value)
        elif isinstance(value, bool):
            arguments.append((parameter.opts if value else parameter.secondary_opts)[0])
        else:
            for each in value if isinstance(value, list | tuple) else [value]:
                arguments += [parameter.opts[0], str(each)]
    return [*arguments, '--', *positional]


def _refuse_missing(bags: list[str]) -> None:
    from jepa_ros.errors import BagError
    from jepa_ros.robot.dataset.remote import url_of
    for bag in bags:
        if url_of(bag) is None and not Path(bag).exists():
            raise BagError(f'{bag}: no such bag or store; record a bag with: '
                           f'jepa-ros record world=two_rooms --output {bag}')


@contextmanager
def resumable(work_dir: Path):
    """One line for Ctrl-C and for what the disk refuses: the state of the run is kept, or an older one is."""
    from jepa_ros.training.failures import named_disk
    try:
        with named_disk(work_dir):
            yield
    except KeyboardInterrupt:
        if not work_dir.is_dir():
            raise
        raise KeyboardInterrupt(f'the same command goes on from what is in {work_dir}') from None


@contextmanager
def _ends_named(work_dir: Path, config: str):
    """As `resumable`; what does not fit the robot is known only here: the line names the configuration."""
    try:
        with resumable(work_dir):
            yield
    except ConfigError as error:
        raise ConfigError(f'configuration {config}: {error}') from None


class _Progress:
    """One rich progress bar per stage, with the newest loss."""

    _progress: Any = None

    def note(self, line: str) -> None:
        """A line above the bars."""
        if self._progress:
            self._progress.console.print(line, highlight=False, markup=False)
        else:
            typer.echo(line, err=True)

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
