"""The optimisation loop: schedule, resume, refusal of what is not finite."""
import os
import signal

import pytest
import tiny  # noqa: F401
import torch
from torch import nn

from jepa_ros.errors import TrainingError
from jepa_ros.training import optimise
from jepa_ros.training.config import Stage
from jepa_ros.training.optimise import learning_rate, Optimisation

STAGE = Stage(updates=150, batch=4, window=2, lr=1e-2, warmup=10)


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


def run(module, report=None, resume=None, stage=STAGE, draw=sample):
    return Optimisation('line', module, stage, 7, 'cpu', resume).run(draw, report)


class Interrupted(Exception):
    pass


def interrupt_at(step):
    def report(name, done, total, parts):
        if done == step:
            raise Interrupted
    return report


def test_learning_rate_warms_up_linearly_and_falls_to_one_percent():
    rates = [learning_rate(STAGE, step) for step in range(STAGE.updates + 1)]
    assert rates[0] == pytest.approx(1e-3) and rates[9] == pytest.approx(1e-2) == max(rates)
    assert rates[:10] == sorted(rates[:10]) and rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(1e-4)


def test_learns_and_reports_the_mean_of_the_last_updates():
    reports = []
    final = run(Line(), lambda *report: reports.append(report))
    assert [(name, done, total) for name, done, total, _ in reports] == [('line', n, 150) for n in (50, 100, 150)]
    assert reports[-1][3] == final
    assert final['error'] < 0.3 * reports[0][3]['error']


def test_an_interrupted_run_ends_bit_for_bit_like_one_that_was_not(tmp_path, monkeypatch):
    monkeypatch.setattr(optimise, 'SAVE_EVERY_S', -1)
    whole, broken, file = Line(), Line(), tmp_path / 'line.safetensors'
    run(whole)
    with pytest.raises(Interrupted):
        run(broken, interrupt_at(100), file)            # state of update 50 is on disk
    resumed, seen = Line(), []
    run(resumed, lambda name, done, *_: seen.append(done), file)
    assert seen == [100, 150]
    for name, tensor in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], tensor)


def test_ctrl_c_ends_after_the_update_and_loses_none(tmp_path):
    def press(name, done, total, parts):
        if done == 100:
            os.kill(os.getpid(), signal.SIGINT)
    before = signal.getsignal(signal.SIGINT)     # a background shell leaves it ignored
    whole, resumed, file = Line(), Line(), tmp_path / 'line.safetensors'
    run(whole)
    with pytest.raises(KeyboardInterrupt):
        run(Line(), press, file)
    seen = []
    run(resumed, lambda name, done, *_: seen.append(done), file)
    assert seen == [150] and signal.getsignal(signal.SIGINT) is before
    for name, tensor in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], tensor)


def test_without_a_resume_file_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(optimise, 'SAVE_EVERY_S', -1)
    monkeypatch.chdir(tmp_path)
    run(Line())
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def left_over(tmp_path, monkeypatch):
    monkeypatch.setattr(optimise, 'SAVE_EVERY_S', -1)
    file = tmp_path / 'line.safetensors'
    with pytest.raises(Interrupted):
        run(Line(), interrupt_at(100), file)
    return file


def refusal(*arguments, **named) -> str:
    with pytest.raises(TrainingError) as refused:
        run(*arguments, **named)
    assert '\n' not in str(refused.value)
    return str(refused.value)


def test_the_state_of_another_network_is_refused(left_over):
    assert refusal(Line(width=9), resume=left_over).startswith(
        f'{left_over}: left by a run with another configuration; delete it')


def test_the_state_of_another_schedule_is_refused(left_over):
    other = STAGE.model_copy(update={'updates': 400})
    assert refusal(Line(), resume=left_over, stage=other).startswith(f'{left_over}: left by a run with another')


@pytest.mark.parametrize('keep', [0, 5, 200, -8])
def test_a_damaged_state_is_refused(left_over, keep):
    left_over.write_bytes(left_over.read_bytes()[:keep])
    assert refusal(Line(), resume=left_over).startswith(f'{left_over}: ')


@pytest.mark.parametrize('bad', [float('nan'), float('inf')])
def test_a_loss_that_is_not_finite_stops_the_run_in_one_line_and_spares_the_last_good_state(
        tmp_path, monkeypatch, bad):
    monkeypatch.setattr(optimise, 'SAVE_EVERY_S', -1)
    file, drawn = tmp_path / 'line.safetensors', []

    def draw(generator):
        drawn.append(1)
        x, = sample(generator)
        return (x * bad if len(drawn) > 70 else x,)
    line = refusal(Line(), resume=file, draw=draw)
    assert line == f'line: loss is not finite at update 100: lower lr; the last good state is in {file}'
    resumed = Line()
    run(resumed, resume=file)
    assert all(bool(torch.isfinite(p).all()) for p in resumed.parameters())


def test_a_stop_before_the_first_save_promises_no_state(tmp_path):
    def draw(generator):
        return (torch.full((4, 1), torch.nan),)
    assert refusal(Line(), resume=tmp_path / 'line.safetensors', draw=draw) == \
        'line: loss is not finite at update 50: lower lr'


def test_gradients_are_clipped_so_that_one_outlier_does_not_end_the_run():
    def draw(generator):
        return (1e6 * torch.randn(16, 1, generator=generator),)
    module = Line()
    run(module, draw=draw)
    assert all(bool(torch.isfinite(p).all()) for p in module.parameters())
