"""Two real processes started by torchrun: the curve of one, states for any number of processes, no endless waiting."""
import os
from pathlib import Path
import subprocess
import sys

from line_training import Line
import pytest
from safetensors import safe_open
import torch
from torch.testing import assert_close
import training_ranks

from jepa_ros.training import optimise
from jepa_ros.training.engine import Engine, Settings


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """All cases in one start of two processes: loading PyTorch is most of it."""
    folder = tmp_path_factory.mktemp('ranks')
    done = subprocess.run(
        [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2',
         training_ranks.__file__, str(folder)], env=os.environ | {'OMP_NUM_THREADS': '1'}, capture_output=True,
        text=True, timeout=100)
    assert (folder / '1.pt').is_file(), done.stderr[-3000:]
    return folder


@pytest.fixture(scope='module')
def ranks(folder):
    return [torch.load(folder / f'{rank}.pt', weights_only=False) for rank in range(2)]


@pytest.fixture(scope='module')
def alone():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optimise, 'REPORT_EVERY', 1)
        patch.setattr(optimise, 'AVERAGED', 1)
        return training_ranks.train()


@pytest.mark.parametrize('strategy', ['ddp', 'fsdp'])
def test_two_processes_with_half_the_batch_each_follow_the_curve_of_one(ranks, alone, strategy):
    assert_close(ranks[0][strategy]['losses'], alone['losses'], rtol=1e-5, atol=0)
    for rank in ranks:
        assert_close(rank[strategy]['weights'], alone['weights'], rtol=1e-3, atol=1e-5)
    assert alone['losses'][-1] < 0.7 * alone['losses'][0]


@pytest.mark.parametrize('strategy', ['ddp', 'fsdp'])
def test_processes_and_batches_in_parts_go_together(ranks, strategy):
    """Of a mean over samples the parts add up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optimise, 'REPORT_EVERY', 1)
        patch.setattr(optimise, 'AVERAGED', 1)
        whole = training_ranks.train(module=Line())
    assert_close(ranks[0][f'{strategy} in parts']['losses'], whole['losses'], rtol=1e-4, atol=0)


def test_only_the_first_process_reports_and_writes(ranks, folder):
    assert len(ranks[0]['ddp']['losses']) == 30 and ranks[1]['ddp']['losses'] == []
    assert sorted(p.name for p in (folder / 'fsdp').iterdir()) == ['interrupted', 'spread.csv', 'spread.safetensors']


@pytest.mark.parametrize('strategy', ['ddp', 'fsdp'])
def test_a_signal_to_one_process_stops_all_and_the_next_run_goes_on_bit_for_bit(ranks, strategy):
    for rank in ranks:
        resumed = rank[f'{strategy} resumed']
        assert resumed['stopped'] == 12
        assert all(torch.equal(resumed['weights'][k], v) for k, v in rank[strategy]['weights'].items())
    assert ranks[0][f'{strategy} resumed']['losses'] == ranks[0][strategy]['losses'][12:]


@pytest.mark.parametrize('strategy', ['ddp', 'fsdp'])
def test_one_process_goes_on_from_the_state_that_two_have_left(folder, alone, strategy):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optimise, 'REPORT_EVERY', 1)
        patch.setattr(optimise, 'AVERAGED', 1)
        state = folder / strategy / 'interrupted'
        with safe_open(state / 'spread.safetensors', 'pt') as file:
            assert file.get_slice('model.net.0.weight').get_shape() == [8, 1]      # whole, not a share of it
        rest = training_ranks.train(state, Engine(Settings(precision='32')))
    assert_close(rest['losses'], alone['losses'][12:], rtol=1e-4, atol=0)
    assert_close(rest['weights'], alone['weights'], rtol=1e-3, atol=1e-5)


def test_what_is_not_finite_on_one_process_ends_all_and_is_said_once(ranks):
    assert ranks[0]['not finite'] == 'TrainingError: spread: error is not finite at update 1: lower lr'
    assert ranks[1]['not finite'].startswith('SaidByFirst')


def test_a_collapse_is_found_on_the_first_process_and_ends_all(ranks):
    line, calls = ranks[0]['collapsed']
    assert 'the representation has collapsed, training stopped at update 10' in line and calls == 2
    assert ranks[1]['collapsed'][0].startswith('SaidByFirst') and ranks[1]['collapsed'][1] == 0


def test_numbers_drawn_by_a_module_differ_between_processes_only_inside_the_stage(ranks):
    inside = [rank['drawn']['inside'] for rank in ranks]
    assert not set(inside[0]) & set(inside[1])
    assert ranks[0]['drawn']['after'] == ranks[1]['drawn']['after']


def test_processes_with_episodes_of_their_own_draw_their_own_part_of_the_batch(ranks):
    (rows_0, first_0), (rows_1, first_1) = (rank['own episodes'] for rank in ranks)
    assert rows_0 + rows_1 == 15 and first_0 != first_1


def test_a_stage_may_train_parts_that_the_one_before_has_trained(ranks):
    assert all(rank['two stages'] for rank in ranks)


def test_a_process_that_falls_silent_does_not_leave_the_other_waiting_for_ever(folder):
    line = Path(folder / 'lost').read_text()
    assert line.startswith('TrainingError: rank 0: spread, update 5: lost another process: ') and '\n' not in line
