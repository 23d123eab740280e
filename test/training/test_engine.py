"""Settings of a run, and what one process makes of the calls that several share."""
import pytest
import torch

from jepa_ros.errors import BagError, TrainingError
from jepa_ros.training import engine
from jepa_ros.training.engine import Engine, SaidByFirst, Settings


@pytest.mark.parametrize('change, words', [
    ({'strategy': 'dp'}, "strategy 'dp' is unknown: choose auto, ddp or fsdp"),
    ({'precision': 'fp8'}, "precision 'fp8' is unknown: choose auto, 32 or bf16"),
    ({'accumulate': 0}, 'accumulate is 0: a batch has at least one part'),
    ({'clip': -1.0}, 'clip is -1.0: give a norm, or 0 for none'),
    ({'clip': float('nan')}, 'clip is nan'),
])
def test_settings_that_make_no_sense_are_refused_in_one_line(change, words):
    with pytest.raises(TrainingError) as refused:
        Settings(**change)
    assert str(refused.value).startswith(words) and '\n' not in str(refused.value)


@pytest.mark.parametrize('supported, precision', [(True, 'bf16-mixed'), (False, '32-true')])
def test_bfloat16_is_used_where_the_processor_has_it(monkeypatch, supported, precision):
    monkeypatch.setattr(torch.cpu, '_is_avx512_bf16_supported', lambda: supported)
    assert Settings().fabric_precision() == precision
    assert Settings(precision='32').fabric_precision() == '32-true'
    assert Settings(device='cuda').fabric_precision() == 'bf16-mixed'


def test_one_process_is_alone_and_first():
    alone = Engine(Settings(precision='32'))
    assert (alone.rank, alone.world, alone.is_first, alone.device) == (0, 1, True, torch.device('cpu'))
    batch = (torch.arange(6), torch.ones(6, 2))
    assert alone.share(batch) is batch and alone.rows(6) == 6
    assert alone.agree(True, False) == (True, False) and alone.gather('a') == ['a']
    assert alone.mean({'a': 2.0}) == {'a': 2.0}


def test_what_the_first_process_refuses_is_raised_as_it_is():
    def work():
        raise BagError('no such bag')
    with pytest.raises(BagError, match='no such bag'):
        Engine(Settings()).first(work)


def test_what_all_processes_refuse_is_said_by_the_first_alone(three):
    def work():
        raise BagError('no such bag')
    three.is_first = False
    with pytest.raises(SaidByFirst):
        three.alike(work)
    three.is_first = True
    with pytest.raises(BagError, match='no such bag'):
        three.alike(work)
    assert three.alike(lambda: 3) == 3


@pytest.fixture
def three():
    """The third of three processes, as far as arithmetic goes."""
    alone = Engine(Settings(precision='32'))
    alone.world, alone.rank = 3, 2
    return alone


def test_the_rows_of_a_batch_are_shared_without_a_rest(three):
    parts = []
    for three.rank in range(3):
        parts.append(three.share((torch.arange(11),))[0])
    assert torch.equal(torch.cat(parts), torch.arange(11)) and {len(p) for p in parts} == {3, 4}


def test_a_batch_smaller_than_the_number_of_processes_is_refused(three):
    three.is_first = True
    with pytest.raises(TrainingError, match='a batch of 2 cannot be shared by 3 processes'):
        three.share((torch.arange(2),))
    three.is_first = False
    with pytest.raises(SaidByFirst):
        three.share((torch.arange(2),))


def test_a_machine_with_too_few_gpus_is_refused(monkeypatch):
    monkeypatch.setattr(engine, 'processes', lambda: (8, 1))
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 4)
    with pytest.raises(TrainingError, match='8 processes were started on a machine with 4 GPUs'):
        Engine(Settings(device='cuda'))


def test_notes_go_to_the_listener_and_only_warnings_to_stderr_without_one(capsys):
    lines = []
    Engine(Settings(), note=lines.append).note('level 0: 10 samples/s')
    Engine(Settings()).note('level 0: 10 samples/s')
    Engine(Settings()).note('s has collapsed', warning=True)
    assert lines == ['level 0: 10 samples/s'] and capsys.readouterr().err == 's has collapsed\n'
