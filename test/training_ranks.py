"""What each process does in test_several_processes.py; torchrun starts them: `training_ranks.py FOLDER`."""
import copy
from datetime import timedelta
import os
from pathlib import Path
import signal
import sys
import time

from line_training import Line, sample, stage
import torch
from torch import distributed, nn

from jepa_ros.errors import TrainingError
from jepa_ros.training import optimise
from jepa_ros.training.engine import Engine, Settings
from jepa_ros.training.losses.parallel import variance_over_ranks
from jepa_ros.training.monitor import Figures, Monitor
from jepa_ros.training.optimise import Optimisation

STAGE = stage(updates=30)


class Spread(Line):
    """Also wants the outputs of the whole batch to vary: a loss that is not a mean over samples; a part is unused."""

    def __init__(self):
        super().__init__()
        self.unused, self.frozen = nn.Linear(2, 2), nn.Linear(2, 2).requires_grad_(False)
        self.register_buffer('calls', torch.zeros((), dtype=torch.long))

    def forward(self, x):
        self.calls += 1
        loss, parts = super().forward(x)
        variance = (2 - variance_over_ranks(self.net(x)).mean()).square()
        return loss + 0.1 * variance, parts | {'variance': variance.detach()}


def train(folder: Path | None = None, engine: Engine | None = None, draw=sample, seed: int = 7, module=None,
          **options):
    """Curve (loss of each update) and final weights."""
    module, losses = module or Spread(), []
    run = Optimisation('spread', module, STAGE, seed, 'cpu', folder / 'spread.safetensors' if folder else None,
                       engine=engine or Engine(Settings(precision='32')), log_dir=folder, **options)
    run.run(draw, lambda *report: losses.append(report[3]['loss']))
    return {'losses': losses, 'weights': copy.deepcopy(module.state_dict())}


def engine(strategy: str = 'ddp', **options) -> Engine:
    return Engine(Settings(strategy=strategy, precision='32', timeout_s=60, **options))


def interrupted_and_resumed(folder: Path, strategy: str) -> dict:
    """Only rank 1 hears SIGTERM, at its 12th update; all stop there, and go on in a second run."""
    drawn = []

    def draw(generator):
        drawn.append(1)
        if len(drawn) == 12 and distributed.get_rank() == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return sample(generator)
    try:
        train(folder, engine(strategy), draw)
        raise AssertionError('not interrupted')
    except KeyboardInterrupt:
        pass
    (folder / 'interrupted').mkdir(exist_ok=True)
    if distributed.get_rank() == 0:
        (folder / 'interrupted' / 'spread.safetensors').write_bytes((folder / 'spread.safetensors').read_bytes())
    return train(folder, engine(strategy)) | {'stopped': len(drawn)}


def refused(**options) -> str:
    try:
        train(engine=engine(), **options)
    except TrainingError as error:
        return f'{type(error).__name__}: {error}'
    raise AssertionError('not refused')


def bad_on_rank_1() -> str:
    def draw(generator):
        x = torch.ones(16, 1)
        x[9] = torch.nan if generator.initial_seed() == 8 else 1        # a row of the second rank
        return (x,)
    return refused(draw=draw, seed=8, module=Line())


def collapsed() -> tuple[str, int]:
    """The probe is called on rank 0 only."""
    calls = []

    def probe():
        calls.append(1)
        return Figures(1.0, 1.0, 1.0, 0.0)
    return refused(monitor=Monitor(probe, every=5, grace=5, patience=2)), len(calls)


class Noisy(Line):
    """Draws in its forward."""

    def forward(self, x):
        loss, parts = super().forward(x)
        noise = torch.rand(())
        self.drawn = [*getattr(self, 'drawn', []), float(noise)]
        return loss + 0 * noise, parts


def drawn_in_forward() -> dict:
    module = Noisy()
    train(engine=engine(), module=module)
    return {'inside': module.drawn[:3], 'after': float(torch.rand(()))}


def own_episodes() -> list:
    """Each rank draws its part of the batch from a generator of its own."""
    where, seen = engine(sharded=True), []

    def draw(generator):
        seen.append(torch.randn(where.rows(15), 1, generator=generator))
        return (seen[-1],)
    train(engine=where, draw=draw)
    return [len(seen[0]), seen[0][0].item()]


def two_stages() -> bool:
    """The second stage trains a part of what the first did."""
    whole = Spread()
    train(engine=engine(), module=whole)

    class Part(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = whole.net

        forward = Line.forward
    before = copy.deepcopy(whole.net.state_dict())
    train(engine=engine(), module=Part())
    return all(not torch.equal(before[k], v) for k, v in whole.net.state_dict().items())


def silence(folder: Path) -> None:
    """Rank 1 stops answering, then dies; rank 0 has said so by then."""
    distributed.distributed_c10d._set_pg_timeout(timedelta(seconds=4))
    drawn = []

    def draw(generator):
        drawn.append(1)
        if len(drawn) == 5 and distributed.get_rank() == 1:
            while not (folder / 'lost').is_file():
                time.sleep(0.05)
            os.kill(os.getpid(), signal.SIGKILL)
        return sample(generator)
    line = refused(draw=draw)
    (folder / 'partial').write_text(line)
    (folder / 'partial').rename(folder / 'lost')


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    optimise.REPORT_EVERY = optimise.AVERAGED = 1
    rank = int(os.environ['RANK'])
    (folder / 'fsdp').mkdir(exist_ok=True)
    (folder / 'ddp').mkdir(exist_ok=True)
    results = {strategy: train(engine=engine(strategy)) for strategy in ('ddp', 'fsdp')}
    results |= {f'{strategy} in parts': train(engine=engine(strategy, accumulate=2), module=Line())
                for strategy in ('ddp', 'fsdp')}
    results |= {f'{strategy} resumed': interrupted_and_resumed(folder / strategy, strategy)
                for strategy in ('ddp', 'fsdp')}
    results |= {'not finite': bad_on_rank_1(), 'collapsed': collapsed(), 'drawn': drawn_in_forward(),
                'own episodes': own_episodes(), 'two stages': two_stages()}
    torch.save(results, folder / f'{rank}.pt')
    silence(folder)


if __name__ == '__main__':
    main(Path(sys.argv[1]))
