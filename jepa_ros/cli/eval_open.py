"""`jepa-ros eval open`: how well a model foresees recordings, and whether it notices tampered ones. Needs no ROS."""
import math
from pathlib import Path

import typer

_ANGLES = ('yaw', 'roll', 'pitch')      # what adapters derive from a quaternion, in rad


def eval_open(
    model: str = typer.Argument(..., help='Checkpoint: the name of a shipped model, or the path of a folder.'),
    data: list[str] = typer.Option(..., help='Bag, training store or cache. May be repeated.'),
    horizon: int = typer.Option(0, min=0, max=10_000, help='Most periods to look ahead: 1, 2, 4, … up to this; 0: as '
                                'the episodes allow, at most 16.'),
    seconds: str = typer.Option('', help="Moments ahead instead, as '0.5,1,2'; each level is judged at those that it "
                                'has.'),
    seed: int = typer.Option(0, min=0, max=2**31 - 1, help='Seed of resampling, tampering and latents.'),
    json: Path = typer.Option(None, help='Write all figures to this file.'),
    plots: Path = typer.Option(None, help='Draw prediction.png, probes_N.png and surprise_N.png into this folder.'),
    work_dir: Path = typer.Option(Path('build/eval'), help='Where gathered episodes are kept for the next time.'),
    device: str = typer.Option('auto', help='auto, cpu or cuda.'),
) -> int:
    """Prediction error per level against persistence and a linear model, probes, latents, and surprise.

    Examples: jepa-ros eval open two_rooms data=bags/two_rooms plots=plots json=open_loop.json

    jepa-ros eval open models/neato data=stores/neato seconds=0.5,1,2
    """
    from jepa_ros.agent import Agent
    from jepa_ros.evaluation import report
    from jepa_ros.evaluation.open_loop.evaluate import judge
    from jepa_ros.evaluation.open_loop.report import print_report
    from jepa_ros.training.failures import named_disk
    from jepa_ros.training.gather import gather
    from jepa_ros.training.states import encode_all

    report.check_writable(json)
    moments = _moments(seconds, horizon)
    agent = Agent.load(model, device=device)
    network, contract = agent.networks.world_model, agent.contract
    with named_disk(work_dir):
        episodes = gather(data, contract, work_dir).to(agent.device)
    angles = [r.name for r in contract.readouts if r.field.rpartition('.')[2] in _ANGLES]
    result = judge(network, episodes, encode_all(network, episodes), contract.control_period_s, horizon=horizon,
                   seconds=moments, trained_on=agent.card.bags, angles=angles, seed=seed)
    print_report(f'{agent.card.name} {agent.card.sha256[:12]} on {", ".join(data)}', result)
    if json is not None:
        report.write_json(json, {
            'model': agent.card.name, 'model_sha256': agent.card.sha256, 'contract': contract.name, 'data': data,
            'bags': episodes.bags, 'seed': seed, **result.figures()})
    if plots is not None:
        from jepa_ros.evaluation.open_loop.plots import plot_all
        for file in plot_all(plots, result):
            typer.echo(f'wrote {file}')
    return 0


def _moments(text: str, horizon: int) -> list[float]:
    """'0.5,1,2' as numbers; ConfigError where they are none."""
    from jepa_ros.errors import ConfigError
    if not text:
        return []
    if horizon:
        raise ConfigError('--seconds and --horizon both say how far to look ahead: give one of them')
    try:
        found = [float(part) for part in text.split(',')]
    except ValueError:
        found = []
    if not found or not all(math.isfinite(v) and v > 0 for v in found):
        raise ConfigError(f'--seconds {text}: must be positive numbers of seconds, as 0.5,1,2')
    return found
