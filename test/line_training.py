"""A problem that trains in a moment, for tests of the engine.

As a script, `line_training.py FOLDER`, a run that a test kills.
"""
from pathlib import Path
import sys
import time

import torch
from torch import nn

from jepa_ros.training.config import Stage
from jepa_ros.training.engine import Engine, Settings
from jepa_ros.training.optimise import Optimisation

STAGE = Stage(updates=150, batch=4, window=2, lr=1e-2, warmup=10)
LONG = STAGE.model_copy(update={'updates': 300})


def stage(**changes) -> Stage:
    return STAGE.model_copy(update=changes)


class Line(nn.Module):
    """Learns y = 3x − 1 with a hidden layer; the sample is noise, so its order matters."""

    def __init__(self, width: int = 8):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, 1))

    def forward(self, x):
        loss = (self.net(x) - (3 * x - 1)).square().mean()
        return loss, {'error': loss.detach()}


def sample(generator):
    return (torch.randn(16, 1, generator=generator),)


def run(module, report=None, resume=None, stage=STAGE, draw=sample, settings=None, compiled=False, **options):
    engine = Engine(settings or Settings(precision='32'))
    return Optimisation('line', module, stage, 7, 'cpu', resume, engine=engine, **options).run(draw, report, compiled)


def train(folder: Path, pause_s: float = 0.0) -> None:
    """All of `LONG`, with its state and its log in `folder`."""
    def draw(generator):
        time.sleep(pause_s)
        return sample(generator)
    run(Line(), resume=folder / 'line.safetensors', stage=LONG, draw=draw, log_dir=folder,
        settings=Settings(precision='32', checkpoint_minutes=0.002))


if __name__ == '__main__':
    torch.set_num_threads(1)
    train(Path(sys.argv[1]), pause_s=0.008)
