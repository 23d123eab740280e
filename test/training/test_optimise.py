"""The optimisation loop: identical numbers, schedule, resume, refusals."""
import csv
import os
from pathlib import Path
import signal
import subprocess
import sys
import time

import line_training as line
from line_training import Line, run, sample, STAGE
import pytest
import torch
from torch import nn

from jepa_ros.errors import TrainingError
from jepa_ros.training import optimise
from jepa_ros.training.engine import Engine, Settings
from jepa_ros.training.monitor import Figures, Limits, Monitor
from jepa_ros.training.optimise import learning_rate, Optimisation

SAVING = Settings(precision='32', checkpoint_minutes=0)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


class Interrupted(Exception):
    pass


def interrupt_at(step):
    def report(name, done, total, parts):
        if done == step:
            raise Interrupted
    return report


def refusal(*arguments, **named) -> str:
    with pytest.raises(TrainingError) as refused:
        run(*arguments, **named)
    assert '\n' not in str(refused.value)
    return str(refused.value)


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(other.state_dict()[name], t) for name, t in one.state_dict().items())


def test_learning_rate_warms_up_linearly_and_falls_to_one_percent():
    rates = [learning_rate(STAGE, step) for step in range(STAGE.updates + 1)]
    assert rates[0] == pytest.approx(1e-3) and rates[9] == pytest.approx(1e-2) == max(rates)
    assert rates[:10] == sorted(rates[:10]) and rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(1e-4)


def plain_training(module, mixed: bool) -> list[float]:
    """What the engine must compute, written down without it."""
    optimiser = torch.optim.AdamW(module.parameters(), lr=STAGE.lr, weight_decay=STAGE.weight_decay, fused=True)
    generator, losses = torch.Generator().manual_seed(7), []
    for step in range(STAGE.updates):
        optimiser.param_groups[0]['lr'] = learning_rate(STAGE, step)
        with torch.autocast('cpu', torch.bfloat16, enabled=mixed):
            loss, _ = module(*sample(generator))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimiser.step()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize('precision', ['32', 'bf16'])
def test_losses_and_weights_are_bit_for_bit_those_of_a_plain_loop(monkeypatch, precision):
    monkeypatch.setattr(optimise, 'AVERAGED', 1)
    monkeypatch.setattr(optimise, 'REPORT_EVERY', 1)
    plain, ours, losses = Line(), Line(), []
    wanted = plain_training(plain, precision == 'bf16')
    run(ours, lambda *report: losses.append(report[3]['loss']), settings=Settings(precision=precision))
    assert losses == wanted and same_weights(plain, ours)


def test_targets_are_not_rounded_to_bfloat16():
    seen = []

    class Watching(Line):
        def forward(self, x):
            seen.append(x.dtype)
            return super().forward(x)
    run(Watching(), stage=line.stage(updates=1), settings=Settings(precision='bf16'))
    assert seen == [torch.float32]


def test_learns_and_reports_the_mean_of_the_last_updates():
    reports = []
    final = run(Line(), lambda *report: reports.append(report))
    assert [(name, done, total) for name, done, total, _ in reports] == [('line', n, 150) for n in (50, 100, 150)]
    assert reports[-1][3] == final
    assert final['error'] < 0.3 * reports[0][3]['error']


def test_a_batch_in_parts_has_the_gradient_of_the_whole():
    """The error is a mean over samples, so its parts add up; 16 samples in 3 parts are 6, 5 and 5."""
    whole, parts = Line(), Line()
    a = run(whole, stage=line.stage(updates=20))
    b = run(parts, stage=line.stage(updates=20), settings=Settings(precision='32', accumulate=3))
    assert b == pytest.approx(a, rel=1e-4)
    torch.testing.assert_close(dict(parts.named_parameters()), dict(whole.named_parameters()), rtol=1e-3, atol=1e-5)


def test_data_are_fetched_for_one_part_at_a_time():
    sizes = []

    def fetch(x):
        sizes.append(len(x))
        return (x,)
    Optimisation('line', Line(), line.stage(updates=2), 7, 'cpu',
                 engine=Engine(Settings(accumulate=4))).run(sample, fetch=fetch)
    assert sizes == [4] * 8


def test_a_batch_that_has_fewer_samples_than_parts_is_refused():
    assert 'batch of 16 cannot be shared' in refusal(Line(), settings=Settings(accumulate=17))


def test_an_interrupted_run_ends_bit_for_bit_like_one_that_was_not(tmp_path):
    whole, file = Line(), tmp_path / 'line.safetensors'
    figures = run(whole)
    with pytest.raises(Interrupted):
        run(Line(), interrupt_at(100), file, settings=SAVING)            # state of update 99 is on disk
    resumed, seen = Line(), []
    assert run(resumed, lambda name, done, *_: seen.append(done), file) == figures
    assert seen == [100, 150] and same_weights(whole, resumed)


def test_random_numbers_drawn_by_the_module_continue_too(tmp_path):
    class Noisy(Line):
        def forward(self, x):
            return super().forward(x + 0.1 * torch.randn_like(x))
    whole, resumed, file = Noisy(), Noisy(), tmp_path / 'line.safetensors'
    run(whole)
    with pytest.raises(Interrupted):
        run(Noisy(), interrupt_at(100), file, settings=SAVING)
    torch.manual_seed(99)
    run(resumed, resume=file)
    assert same_weights(whole, resumed)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_end_after_the_update_and_lose_none(tmp_path, number):
    def press(name, done, total, parts):
        if done == 100:
            os.kill(os.getpid(), number)
    before = signal.getsignal(number)     # a background shell leaves it ignored
    whole, resumed, file = Line(), Line(), tmp_path / 'line.safetensors'
    run(whole)
    with pytest.raises(KeyboardInterrupt):
        run(Line(), press, file)
    seen = []
    run(resumed, lambda name, done, *_: seen.append(done), file)
    assert seen == [150] and signal.getsignal(number) is before and same_weights(whole, resumed)


def test_a_finished_stage_is_not_run_again(tmp_path):
    module, file = Line(), tmp_path / 'line.safetensors'
    figures = run(module, resume=file)
    again = Line()
    assert run(again, lambda *_: pytest.fail('it trained'), file) == figures and same_weights(module, again)


def curve(folder: Path) -> list[tuple]:
    with (folder / 'line.csv').open() as file:
        return [tuple(row[k] for k in ('update', 'lr', 'grad_norm', 'loss', 'error')) for row in csv.DictReader(file)]


def test_a_run_that_was_killed_goes_on_with_the_same_curve(tmp_path):
    """kill -9 of a real process, in the middle of an update."""
    command = [sys.executable, line.__file__, str(tmp_path / 'killed')]
    process = subprocess.Popen(command, env=os.environ | {'OMP_NUM_THREADS': '1'})
    try:
        file, deadline = tmp_path / 'killed' / 'line.csv', time.monotonic() + 60
        while not (file.is_file() and len(curve(file.parent)) >= 2):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == -signal.SIGKILL and 2 <= len(curve(file.parent)) < line.LONG.updates // 50
    broken = curve(file.parent)
    line.train(tmp_path / 'killed')
    line.train(tmp_path / 'whole')
    assert curve(tmp_path / 'killed') == curve(tmp_path / 'whole') and curve(tmp_path / 'whole')[:2] == broken[:2]


def test_without_a_resume_file_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(Line(), settings=SAVING)
    assert list(tmp_path.iterdir()) == []


def test_the_state_of_another_run_is_refused_and_the_difference_named(tmp_path):
    file = tmp_path / 'line.safetensors'
    with pytest.raises(Interrupted):
        run(Line(), interrupt_at(100), file, settings=SAVING)
    start = f'{file}: left by a run with another configuration: '
    assert refusal(Line(), resume=file, stage=line.stage(updates=400)) == \
        f'{start}stage.updates was 150, is 400; delete it or choose another --work-dir'
    assert f'{start}weights of net.0.weight was [8, 1], is [9, 1] (and 2 more)' in refusal(Line(width=9), resume=file)
    assert f'{start}accumulate was 1, is 2' in refusal(Line(), resume=file, settings=Settings(
        precision='32', accumulate=2))
    assert f'{start}losses.variance was missing, is 16' in refusal(Line(), resume=file,
                                                                 identity={'losses': {'variance': 16}})


@pytest.mark.parametrize('bad', [float('nan'), float('inf')])
def test_a_loss_that_is_not_finite_stops_the_run_in_one_line_and_spares_the_last_good_state(tmp_path, bad):
    file, drawn = tmp_path / 'line.safetensors', []

    def draw(generator):
        drawn.append(1)
        x, = sample(generator)
        return (x * bad if len(drawn) > 70 else x,)
    assert refusal(Line(), resume=file, draw=draw, settings=SAVING) == \
        f'line: error is not finite at update 71: lower lr; the last good state, of update 70, is in {file}'
    resumed = Line()
    run(resumed, resume=file)
    assert all(bool(torch.isfinite(p).all()) for p in resumed.parameters())


def test_a_gradient_that_is_not_finite_is_named(tmp_path):
    class Root(Line):
        def forward(self, x):
            loss, parts = super().forward(x)
            return loss + (0 * self.net[0].bias).sqrt().sum(), parts       # 0 forwards, 0/0 backwards
    assert refusal(Root(), resume=tmp_path / 'line.safetensors') == \
        'line: the gradient is not finite at update 1: lower lr'


def test_with_rare_checks_the_update_at_which_it_happened_is_named_all_the_same(monkeypatch):
    """As on a GPU, where each look costs a wait."""
    drawn = []

    def draw(generator):
        drawn.append(1)
        return (torch.full((4, 1), torch.nan if len(drawn) == 23 else 1.0),)
    optimisation = Optimisation('line', Line(), STAGE, 7, 'cpu', engine=Engine(Settings(precision='32')))
    optimisation._check_every = 10
    with pytest.raises(TrainingError, match='error is not finite at update 23'):
        optimisation.run(draw)
    assert len(drawn) == 30


def test_gradients_are_clipped_so_that_one_outlier_does_not_end_the_run():
    def draw(generator):
        return (1e6 * torch.randn(16, 1, generator=generator),)
    module = Line()
    run(module, draw=draw)
    assert all(bool(torch.isfinite(p).all()) for p in module.parameters())


def test_the_norm_that_gradients_are_clipped_to_can_be_set():
    def moved(clip: float) -> float:
        module = Line()
        before = nn.utils.parameters_to_vector(module.parameters()).detach().clone()
        # AdamW follows the sign of a gradient, whatever its length, until it is as small as its epsilon, 1e-8
        run(module, stage=line.stage(updates=1), settings=Settings(precision='32', clip=clip))
        return float((nn.utils.parameters_to_vector(module.parameters()).detach() - before).norm())
    assert moved(1e-9) < 0.2 * moved(1.0) and moved(0) == pytest.approx(moved(1.0), rel=1e-3)


def test_too_little_memory_is_one_line_that_says_what_to_lower():
    def draw(generator):
        return (torch.empty(1 << 60),)
    assert refusal(Line(), draw=draw) == (
        'line: out of memory at update 1: lower batch (now 4) or window (now 2), or compute a batch in more parts '
        '(--accumulate, now 1)')


def test_another_runtime_error_is_not_taken_for_one_of_memory():
    with pytest.raises(RuntimeError, match='mat1 and mat2'):
        run(Line(), draw=lambda generator: (torch.ones(4, 3),))


def test_a_monitor_warns_once_and_then_stops_the_run(tmp_path, capsys):
    monitor = Monitor(lambda: Figures(1.5, 1.0, 1.0, 0.0), Limits(min_effective_rank=4), every=10, grace=30, patience=3)
    optimisation = Optimisation('line', Line(), STAGE, 7, 'cpu', log_dir=tmp_path, monitor=monitor)
    with pytest.raises(TrainingError) as refused:
        optimisation.run(sample)
    assert str(refused.value).startswith(
        'line: the representation has collapsed, training stopped at update 50: effective rank of s is 1.50, under 4: '
        'raise the weight of')
    assert capsys.readouterr().err.count('line, update 30: effective rank of s is 1.50') == 1
    with (tmp_path / 'line_monitor.csv').open() as file:
        assert [row['update'] for row in csv.DictReader(file)] == ['10', '20', '30', '40', '50']


def test_the_count_of_bad_checks_survives_an_interruption(tmp_path):
    def monitor():
        return Monitor(lambda: Figures(1.5, 1.0, 1.0, 0.0), every=30, grace=30, patience=4)
    file = tmp_path / 'line.safetensors'
    with pytest.raises(Interrupted):
        run(Line(), interrupt_at(100), file, settings=SAVING, monitor=monitor())
    assert 'stopped at update 120' in refusal(Line(), resume=file, monitor=monitor())


def test_speed_waiting_and_memory_are_measured_and_told():
    lines = []
    engine = Engine(Settings(precision='32'), note=lines.append)

    def slow(generator):
        time.sleep(0.002)
        return sample(generator)
    optimisation = Optimisation('line', Line(), line.stage(updates=20), 7, 'cpu', engine=engine)
    optimisation.run(slow)
    figures = optimisation.throughput
    assert 0 < figures['samples_per_s'] < 16 / 0.002 and 0 < figures['data_wait'] < 1 and figures['memory_gib'] > 0.05
    assert len(lines) == 1 and lines[0].startswith('line: 20 updates, ') and 'samples/s' in lines[0]


def test_compiled_modules_compute_the_same(monkeypatch):
    """The stand-in for the compiler is the module itself: what is tested is that what it returns is called."""
    asked = []
    monkeypatch.setattr(torch, 'compile', lambda module, **_: asked.append(module) or module)
    plain, compiled = Line(), Line()
    run(plain, stage=line.stage(updates=5))
    run(compiled, stage=line.stage(updates=5), compiled=True)
    assert asked == [compiled] and same_weights(plain, compiled)
