"""CSV and TensorBoard: one header, no row twice after a resume."""
import csv
import sys

import line_training as line
import pytest

from jepa_ros.errors import TrainingError
from jepa_ros.training.engine import Settings
from jepa_ros.training.logs import check_tensorboard, StageLog


def rows(path) -> list[dict]:
    with path.open(newline='') as file:
        return list(csv.DictReader(file))


def write(folder, first: int, last: int, kept: int = 0, **more) -> None:
    log = StageLog(folder, 'level 0', kept, tensorboard=False)
    for update in range(first, last + 1, 50):
        log.losses(update, update / 10, {'loss': 1 / update, **more})
    log.close()


def test_a_stage_has_a_file_of_its_own_with_a_header(tmp_path):
    line.run(line.Line(), log_dir=tmp_path)
    table = rows(tmp_path / 'line.csv')
    assert [row['update'] for row in table] == ['50', '100', '150']
    assert list(table[0]) == ['update', 'seconds', 'lr', 'grad_norm', 'samples_per_s', 'data_wait', 'memory_gib',
                              'error', 'loss']
    assert float(table[2]['loss']) < float(table[0]['loss']) and float(table[2]['samples_per_s']) > 0
    assert [p.name for p in tmp_path.iterdir()] == ['line.csv']


def test_a_resumed_stage_has_each_row_once_and_its_clock_goes_on(tmp_path):
    write(tmp_path, 50, 300)
    write(tmp_path, 250, 350, kept=200)
    table = rows(tmp_path / 'level_0.csv')
    assert [int(row['update']) for row in table] == [50, 100, 150, 200, 250, 300, 350]
    assert [float(row['seconds']) for row in table[3:5]] == [20.0, 45.0]


def test_a_stage_that_begins_anew_begins_its_file_anew(tmp_path):
    write(tmp_path, 50, 300)
    write(tmp_path, 50, 100)
    assert len(rows(tmp_path / 'level_0.csv')) == 2


def test_half_a_row_of_a_killed_run_is_dropped(tmp_path):
    write(tmp_path, 50, 100)
    path = tmp_path / 'level_0.csv'
    path.write_text(path.read_text() + '150,1')
    write(tmp_path, 200, 200, kept=150)
    assert [row['update'] for row in rows(path)] == ['50', '100', '200']


def test_a_figure_that_comes_later_gets_a_column(tmp_path):
    write(tmp_path, 50, 100)
    write(tmp_path, 150, 150, kept=100, readouts=2.0)
    assert [row['readouts'] for row in rows(tmp_path / 'level_0.csv')] == ['', '', '2']


def test_tensorboard_has_the_same_figures(tmp_path):
    accumulator = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
    line.run(line.Line(), log_dir=tmp_path, settings=Settings(precision='32', tensorboard=True))
    events = accumulator.EventAccumulator(str(tmp_path / 'tensorboard' / 'line'))
    events.Reload()
    losses = events.Scalars('train/loss')
    assert [e.step for e in losses] == [50, 100, 150]
    assert [e.value for e in losses] == pytest.approx([float(row['loss']) for row in rows(tmp_path / 'line.csv')])
    assert {'train/lr', 'train/grad_norm', 'train/samples_per_s', 'train/error'} <= set(events.Tags()['scalars'])


def test_tensorboard_that_is_missing_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, 'torch.utils.tensorboard', None)
    with pytest.raises(TrainingError, match=r"not installed: pip install 'jepa_ros\[tensorboard\]'.*--no-tensorboard"):
        check_tensorboard()
