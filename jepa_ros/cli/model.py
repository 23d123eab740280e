"""`jepa-ros model`: checkpoints from and for other software, what is in one, and one's organ for a running agent.

Only `publish` needs ROS.
"""
from collections.abc import Sequence
from pathlib import Path
import shlex
import sys

import typer

EXIT_REFUSED = 1

model = typer.Typer(
    name='model', no_args_is_help=True,
    help='Models: import one of other software, export one for other software, list what is in one, send an organ '
         'of one to the running agent.\n\n'
         'Example: jepa-ros model export two_rooms -o exported')


@model.command('import')
def import_(
    file: Path = typer.Argument(..., help='LeWM checkpoint: its state dict, from torch.save or as safetensors.'),
    output: Path = typer.Option(..., '--output', '-o', help='Folder of the checkpoint to write.'),
    robot: str = typer.Option(..., help='Robot contract with one camera: a name in config/robots, or the path of a '
                              'YAML file. One control period is one step of the model.'),
    action_mean: str = typer.Option('', help="Mean of the actions it was trained on, in the contract's units: numbers "
                                    'with commas, or one for all.'),
    action_std: str = typer.Option('', help='Their standard deviation.'),
    actions: Path = typer.Option(None, help='Instead: a .npy file of those actions, or the HDF5 dataset.'),
    encoder_heads: int = typer.Option(0, min=0, help='Attention heads; 0: from config.json, or as published.'),
    predictor_heads: int = typer.Option(0, min=0, help='Attention heads; 0: from config.json, or as published.'),
    data: list[str] = typer.Option([], help='A bag or training store of the robot: how near a goal must be and how '
                                   'large an error is usual are measured on it. May be repeated.'),
    goal_radius: float = typer.Option(0.1, min=1e-9, help="With --data: a goal this near counts as reached, in the "
                                      "readouts' unit."),
) -> int:
    """Import a LeWM (ViT and AdaLN predictor; PLDM of stable-worldmodel too) as a model with one level.

    Example: jepa-ros model import lewm/weights.pt --robot my_robot.yaml --actions lewm/tworoom.h5 -o models/lewm
    """
    from jepa_ros import checkpoint
    from jepa_ros.errors import ConfigError
    from jepa_ros.interop import lewm, lewm_agent
    from jepa_ros.robot.contract import RobotContract

    # what is read comes first: with the wrong file neither the options nor the output matter
    found = lewm.read(file, encoder_heads or None, predictor_heads or None)
    if (actions is None) == (not action_mean or not action_std):
        raise ConfigError('a LeWM checkpoint does not hold the mean and standard deviation of its training actions: '
                          'give --action-mean and --action-std, or --actions FILE with the actions themselves')
    contract = RobotContract.load(robot)
    _refuse_missing(data)
    count = len(contract.action_names)
    statistics = lewm_agent.ActionStatistics.measured(actions, count) if actions is not None else \
        lewm_agent.ActionStatistics.of(_numbers('--action-mean', action_mean), _numbers('--action-std', action_std),
                                       count)
    agent = lewm_agent.make_agent(found, contract, statistics, output.name)
    checkpoint.check_writable(output)
    if data:
        _calibrate(agent, data, goal_radius)
    else:
        typer.echo(f'jepa-ros: without --data the goal tolerance {agent.card.goal_tolerance:g} is a guess, and '
                   'surprise has no unit', err=True)
    lewm_agent.save_imported(agent, output, file, shlex.join(['jepa-ros', *sys.argv[1:]]))
    repeat = found.action_inputs // count
    for line in _lewm_lines(found):
        typer.echo(line)
    if repeat > 1:
        typer.echo(f'jepa-ros: it was trained on {repeat} actions a step: here one is held, so control_period_s '
                   f'({contract.control_period_s:g}) must be {repeat} of its time steps', err=True)
    typer.echo(f'{output}: written, one level, no readouts; policy and critic are untrained, so plan (mode planned)')
    return 0


@model.command('export')
def export(
    name: str = typer.Argument(..., metavar='MODEL', help='Name of a shipped model, or folder of a checkpoint.'),
    output: Path = typer.Option(..., '--output', '-o', help='Folder to write.'),
    onnx: bool = typer.Option(False, '--onnx', help="Also as ONNX. Needs: pip install 'jepa_ros[onnx]'"),
) -> int:
    """Export encoder and predictors with torch.export, to run with PyTorch alone: no ROS, no jepa_ros.

    Example: jepa-ros model export two_rooms -o exported
    """
    from rich.console import Console

    from jepa_ros.agent import Agent
    from jepa_ros.interop.export import export_model

    agent = Agent.load(name, device='cpu')
    with Console(stderr=True).status('exporting') as status:
        manifest = export_model(agent, output, onnx, lambda part: status.update(f'exporting {part}'))
    parts = manifest['programs']
    worst = max(part['largest_difference'] for part in parts.values())
    typer.echo(f'{output}: {", ".join(parts)}; largest difference from the model {worst:.1g}')
    typer.echo(f'run them with: from exported import ExportedModel (in {output})')
    return 0


@model.command('info')
def info(
    name: str = typer.Argument(..., metavar='MODEL', help='Name of a shipped model, folder of a checkpoint, or a '
                               'LeWM checkpoint that is not imported yet.'),
) -> int:
    """List what is in a model: robot, sensors, levels, sizes, what it was trained on.

    Example: jepa-ros model info two_rooms
    """
    if Path(name).is_file():
        from jepa_ros.interop import lewm
        lines = _lewm_lines(lewm.read(name))
    else:
        from jepa_ros import checkpoint
        from jepa_ros.agent import Agent
        folder = checkpoint.find(name)
        checkpoint.verify(folder)
        lines = _agent_lines(Agent.load(folder, device='cpu'))
    for line in lines:
        typer.echo(line)
    return 0


@model.command('publish')
def publish(
    checkpoint: str = typer.Argument(..., metavar='MODEL', help='Checkpoint that holds the organs: a folder or name.'),
    organ: list[str] = typer.Option(['policy'], help='policy, critic or world_model. May be repeated.'),
    running: str = typer.Option('', '--model', help='Checkpoint with which the agent was started; empty: it is asked.'),
    namespace: str = typer.Option('', help='ROS namespace of the agent.'),
) -> int:
    """Bring organs of a checkpoint into force in the running agent; exit code 1 when one of its nodes refuses.

    It holds until the agent ends, or until it learns another. Its version stands in each Action and Plan.

    Example: jepa-ros distill two_rooms --data bags/mine -o models/quick, then: jepa-ros model publish models/quick
    --organ critic --organ policy
    """
    return send(checkpoint, organ, running, namespace)


def send(checkpoint: str | Path, organs: Sequence[str], running: str = '', namespace: str = '') -> int:
    """Send the organs, one after the other, and say who took them; returns the exit code."""
    from jepa_ros.errors import ConfigError
    from jepa_ros.robot.learned import ORGANS
    from jepa_ros.runtime.names import full_namespace
    for organ in organs:
        if organ not in ORGANS:
            raise ConfigError(f'--organ {organ}: no such organ learns; known are {", ".join(ORGANS)}')
    from jepa_ros.runtime.publish_update import publish
    code = 0
    for organ in organs:
        sent = publish(checkpoint, organ, running, full_namespace(namespace))
        if sent.taken:
            typer.echo(f'{organ} version {sent.version} in force in {", ".join(sent.taken)}: {sent.note}')
        for line in sent.refused.values():
            typer.echo(f'jepa-ros: {line}', err=True)
        code = code if sent.in_force else EXIT_REFUSED
    return code


def _refuse_missing(sources: list[str]) -> None:
    from jepa_ros.errors import BagError
    from jepa_ros.robot.dataset.remote import url_of
    for source in sources:
        if url_of(source) is None and not Path(source).exists():
            raise BagError(f'{source}: there is no such bag or store')


def _calibrate(agent, sources: list[str], radius: float) -> None:
    import tempfile

    from rich.console import Console

    from jepa_ros.interop.lewm_agent import calibrate
    from jepa_ros.training.gather import gather
    with tempfile.TemporaryDirectory() as work_dir, Console(stderr=True).status('reading') as status:
        data = gather(sources, agent.contract, Path(work_dir))
        status.update(f'encoding {data.steps} percepts')
        calibrate(agent, data, radius)


def _numbers(option: str, text: str) -> list[float]:
    from jepa_ros.errors import ConfigError
    try:
        return [float(part) for part in text.split(',')]
    except ValueError:
        raise ConfigError(f'{option} {text!r}: give numbers with commas between them, as in 0.1,-0.2') from None


def _lewm_lines(found) -> list[str]:
    e, p = found.encoder, found.predictor
    lines = [f'encoder: ViT, {e["size"]} pixels in patches of {e["patch"]}, width {e["width"]}, depth {e["depth"]}, '
             f'{e["heads"]} heads; state of {found.dim} numbers',
             f'predictor: AdaLN transformer, looks back on {p["context"]} states, width {p["width"]}, depth '
             f'{p["depth"]}, {p["heads"]} heads; actions of {found.action_inputs} numbers a step']
    if found.left_out:
        lines.append(f'left out, only for training: {len(found.left_out)} tensor(s), as {found.left_out[0]}')
    return lines


def _agent_lines(agent) -> list[str]:
    card, network, contract = agent.card, agent.networks.world_model, agent.contract
    lines = [f'{card.name} {card.sha256[:12]}, format {card.format}',
             f'robot: {contract.name}, {contract.control_period_s:g} s a step, actions '
             f'{", ".join(contract.action_names)}']
    for key, spec in network.encoder.specs.items():
        encoder = network.encoder.encoder(key)
        lines.append(f'sensor {key}: {tuple(spec.shape)}, {type(encoder).__name__}, '
                     f'{sum(p.numel() for p in encoder.parameters()):,} parameters')
    for index, (jepa, settings) in enumerate(zip(network.levels, network.config.levels)):
        latent = '' if jepa.latent is None else f', latent {settings.latent.kind}'
        lines.append(f'level {index}: {jepa.period} step(s), state of {jepa.dim} numbers, predictor '
                     f'{settings.predictor}{latent}, {sum(p.numel() for p in jepa.parameters()):,} parameters')
    trained = card.training.get('imported_from') or f'{len(card.bags)} bag(s)'
    return [*lines, f'from: {trained}', *(f'{name}: {value:.4g}' for name, value in card.metrics.items())]
