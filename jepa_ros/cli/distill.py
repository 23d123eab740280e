"""`jepa-ros distill`: a new Mode-1 and critic for an existing checkpoint, from Mode-2 and from what was lived."""
from pathlib import Path
import shlex

import typer


def distill(
    model: str = typer.Argument(..., help='Checkpoint whose world model is to be driven: a folder or a shipped name.'),
    data: list[str] = typer.Option(..., '--data', help='Bags, training stores or caches of the same robot, whose '
                                   'states are where practice begins, and whose drives are learned from. May be '
                                   'repeated.'),
    output: Path = typer.Option(..., '--output', '-o', help='Folder of the checkpoint to write.'),
    rounds: int = typer.Option(12, min=1, max=10_000, help='Rounds of driving, relabelling and learning.'),
    labels: int = typer.Option(256, min=0, max=1_000_000, help='States of a round that Mode-2 relabels.'),
    lived_rounds: int = typer.Option(8, min=0, max=10_000, help='Then, rounds of learning from what really happened in '
                                     'the episodes, for goals that they came to.'),
    world: str = typer.Option('', '--world', help='Simulated world of the robot: Mode-2 shows how it drives there, '
                              'and Mode-1 drives there itself between those rounds.'),
    drives: int = typer.Option(60, min=5, max=100_000, help='Drives in that world before each round.'),
    afresh: bool = typer.Option(False, '--afresh', help='Begin with a policy and a critic that know nothing; else '
                                'those of the checkpoint go on learning.'),
    rate: float = typer.Option(5e-4, min=1e-7, max=1.0, help='Step size of the policy (Adam).'),
    seed: int = typer.Option(0, min=0, max=2**31 - 1, help='Seed.'),
    work_dir: Path = typer.Option(None, help='Cache of the data and the state of an interrupted run, which the same '
                                  'command continues; empty: build/distill/<name of the output>.'),
    device: str = typer.Option('auto', help='auto, cpu or cuda.'),
    publish: bool = typer.Option(False, '--publish', help='Then send critic and policy to the running agent, see '
                                 'jepa-ros model publish.'),
    threads: int = typer.Option(0, min=0, max=256, help='CPU threads; 0: as many as PyTorch chooses.'),
) -> int:
    """Teach Mode-1 what Mode-2 finds by planning; the world model stays as it is.

    The new policy knows how sure it is: with it, mode auto plans only where that is needed. A checkpoint that has such
    a policy goes on learning: add bags of what it drove itself.

    Example: jepa-ros distill two_rooms --data bags/two_rooms_1 --data bags/two_rooms_2 --output models/quick

    Where the robot can be simulated: jepa-ros distill two_rooms --data bags/two_rooms_1 --world two_rooms_random_door
    --rounds 6 --lived-rounds 14 --output models/quick
    """
    import torch

    from jepa_ros import checkpoint
    from jepa_ros.agent import Agent
    from jepa_ros.cli.train import _Progress, _refuse_missing, resumable
    from jepa_ros.training.dagger import DaggerSettings, LIVED_STATE, redistilled, STATE
    from jepa_ros.training.gather import gather
    from jepa_ros.training.trainer import choose_device
    settings = DaggerSettings(rounds=rounds, labels=labels, lived_rounds=lived_rounds, world=world, drives=drives,
                              afresh=afresh, rate=rate, seed=seed)
    _refuse_missing(data)
    checkpoint.check_writable(output)
    agent = Agent.load(model, device=choose_device(device))
    progress = _Progress()
    driving = _drives(agent, settings, progress) if world else None
    if threads:
        torch.set_num_threads(threads)
    folder = work_dir or Path('build/distill') / output.name
    with resumable(folder), progress:
        episodes = gather(data, agent.contract, folder, progress).to(agent.device)
        shown = driving.shown(agent) if driving else []
        made = redistilled(agent, episodes, settings, folder, progress, shown, driving)
        command = ' '.join(map(shlex.quote, [
            'jepa-ros', 'distill', model, *(part for each in data for part in ('--data', each)),
            *(['--world', world, '--drives', str(drives)] if world else []), *(['--afresh'] if afresh else []),
            '--rounds', str(rounds),
            '--labels', str(labels), '--lived-rounds', str(lived_rounds), '--rate', str(rate), '--seed', str(seed),
            '--output', str(output)]))
        made.card = made.card.model_copy(update={'name': output.name, 'commands': [*made.card.commands, command]})
        made.save(output)
    for state in (STATE, LIVED_STATE):
        (folder / state).unlink(missing_ok=True)
    _print(made, output, world)
    if publish:
        from jepa_ros.cli.model import send
        return send(output, ('critic', 'policy'))      # mode auto asks both
    return 0


def _drives(agent, settings, progress):
    """Mode-1's and Mode-2's drives in the world of the settings; refused where it does not simulate the robot."""
    from jepa_ros.evaluation.closed_loop import check_drives
    from jepa_ros.evaluation.lived_drives import WorldDrives
    check_drives(agent.contract, agent.card.name)
    return WorldDrives(settings.world, settings.drives, settings.seed, progress)


def _print(agent, output: Path, world: str) -> None:
    figures = agent.card.metrics
    typer.echo(f'{output}  ({agent.model_id})')
    what = f'reaches {{:.0%}} of its goals in {world}' if world else 'solves {:.0%} of held-out problems in imagination'
    typer.echo(f'Mode-1 alone {what.format(figures["policy_solved"])}')
    if agent.card.policy_threshold:
        typer.echo(f'mode auto lets it act alone below an uncertainty of {agent.card.policy_threshold:.3g}: '
                   f'in {figures["policy_alone"]:.0%} of the states it comes to')
    else:
        typer.echo('its uncertainty does not tell where it fails: mode auto always plans; try more --rounds')
