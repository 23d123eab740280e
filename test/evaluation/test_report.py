"""Summary of a closed loop, and files that cannot be written."""
import json
import resource

import pytest

from jepa_ros.errors import ConfigError
from jepa_ros.evaluation import report
from jepa_ros.evaluation.closed_loop import EpisodeResult


def result(**changes) -> EpisodeResult:
    values = {'index': 0, 'success': True, 'judged': True, 'time_s': 4.0, 'duration_s': 4.5, 'distance_m': 0.1,
              'collisions': 2, 'path_m': 3.0, 'shortest_m': 2.0, 'latencies_ms': (10.0, 20.0), 'ticks': 2,
              'reactive': 1, 'escaping': 0}
    return EpisodeResult(**(values | changes))


def test_a_summary_counts_what_was_reached_and_what_was_misjudged():
    lost = result(success=False, judged=True, time_s=None, distance_m=0.9)
    figures = report.summary([result(), lost])
    assert (figures['episodes'], figures['successes'], figures['success_rate']) == (2, 1, 0.5)
    assert (figures['judged_reached'], figures['judged_wrongly']) == (2, 1)
    assert figures['time_to_goal_s'] == {'p50': 4, 'p95': 4}
    assert figures['path_over_shortest']['p50'] == 1.5
    assert (figures['collisions'], figures['reactive_share']) == (4, 0.5)


def test_a_summary_without_success_is_json_and_a_table(capsys):
    figures = report.summary([result(success=False, judged=False, time_s=None)])
    json.dumps([figures, report.rows([result()])], allow_nan=False)
    report.print_table('title', report.closed_loop_lines(figures))
    assert '0 of 1' in capsys.readouterr().out


def test_a_file_in_no_folder_is_refused_before_the_work(tmp_path):
    with pytest.raises(ConfigError, match='folder .*nowhere does not exist'):
        report.check_writable(tmp_path / 'nowhere' / 'x.json')
    with pytest.raises(ConfigError, match='is a folder'):
        report.check_writable(tmp_path)


def test_a_full_or_forbidden_disk_is_one_line(tmp_path):
    (tmp_path / 'x.json').mkdir()
    with pytest.raises(ConfigError, match='x.json: cannot be written'):
        report.write_json(tmp_path / 'x.json', {})


def test_a_disk_that_fills_up_leaves_no_half_file(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))     # no file can grow beyond 100 bytes
    try:
        with pytest.raises(ConfigError, match=r'y\.json: cannot be written: File too large'):
            report.write_json(tmp_path / 'y.json', {'rows': list(range(100))})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())
