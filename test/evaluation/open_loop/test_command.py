"""`jepa-ros eval open`: figures of a model on recordings, and bad input in one line."""
import json

import pytest
import tiny

from jepa_ros.cli.main import main
from jepa_ros.training.data import save


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp('tiny')
    tiny.agent().save(folder)
    return folder


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
    path = tmp_path_factory.mktemp('data') / 'cache'
    save(tiny.episodes([40] * 4), path, tiny.contract())
    return path


def test_figures_are_printed_and_written_with_what_they_are_of(model, cache, tmp_path, capsys):
    file = tmp_path / 'open.json'
    assert main(['eval', 'open', str(model), f'data={cache}', f'json={file}', f'work_dir={tmp_path}',
                 'horizon=6']) == 0
    out = capsys.readouterr().out
    assert '160 steps in 4 episode(s) judged' in out and 'level 1' in out and 'blocked wheels' in out
    data = json.loads(file.read_text())
    assert (data['model'], data['contract'], data['data'], data['bags']) == ('tiny', 'tiny', [str(cache)], {'a': '00'})
    assert [h['periods'] for h in data['levels'][0]['horizons']] == [1, 2, 4, 6]
    assert data['levels'][1]['horizons'][0]['seconds'] == pytest.approx(0.4)
    assert len(data['model_sha256']) == 64


def test_moments_and_pictures_are_asked_for_by_name(model, cache, tmp_path, capsys, monkeypatch):
    drawn = []
    monkeypatch.setattr('jepa_ros.evaluation.open_loop.plots.plot_all', lambda folder, result: drawn.append(
        (folder, [[h.periods for h in level.horizons] for level in result.levels])) or [folder / 'prediction.png'])
    assert main(['eval', 'open', str(model), '--data', str(cache), '--seconds', '0.4,0.8', f'plots={tmp_path / "p"}',
                 f'work_dir={tmp_path}']) == 0
    assert drawn == [(tmp_path / 'p', [[4, 8], [1, 2]])]
    assert f'wrote {tmp_path / "p" / "prediction.png"}' in capsys.readouterr().out.replace('\n', '')


def test_a_cache_of_another_contract_is_refused(model, tmp_path, capsys):
    other = tiny.contract(tiny.CONTRACT.replace('max: 1.0', 'max: 0.5'))
    save(tiny.episodes([40] * 2), tmp_path / 'other', other)
    assert main(['eval', 'open', str(model), f'data={tmp_path / "other"}', f'work_dir={tmp_path}']) == 2
    error = capsys.readouterr().err
    assert 'gathered with another contract' in error and error.count('\n') == 1


@pytest.mark.parametrize('args, line', [
    (['nope', 'data=x'], "model 'nope' not found"),
    (['MODEL'], "Missing option '--data'"),
    (['MODEL', 'data=nowhere'], 'nowhere: there is no such'),
    (['MODEL', 'data=CACHE', 'horizon=64'], 'the longest of the 4 episode(s) has 40 steps, 257 are needed'),
    (['MODEL', 'data=CACHE', 'seconds=soon'], '--seconds soon: must be positive numbers of seconds, as 0.5,1,2'),
    (['MODEL', 'data=CACHE', 'seconds=1,-2'], '--seconds 1,-2: must be positive'),
    (['MODEL', 'data=CACHE', 'seconds=1', 'horizon=4'], '--seconds and --horizon both say how far'),
    (['MODEL', 'data=CACHE', 'json=nowhere/e.json'], 'folder nowhere does not exist'),
    (['MODEL', 'daat=CACHE'], "unknown argument 'daat=' (did you mean data?)"),
    (['MODEL', 'data=CACHE', 'device=gpu'], "device 'gpu'")])
def test_bad_input_is_one_line_and_code_2(args, line, model, cache, tmp_path, capsys):
    named = [arg.replace('MODEL', str(model)).replace('CACHE', str(cache)) for arg in args]
    assert main(['eval', 'open', *named, f'work_dir={tmp_path}']) == 2
    error = capsys.readouterr().err
    assert line in error and error.count('\n') == 1


def test_an_unknown_way_of_evaluating_names_the_nearest(capsys):
    assert main(['eval', 'opne']) == 2
    assert "No such command 'opne'. Did you mean 'open'?" in capsys.readouterr().err
