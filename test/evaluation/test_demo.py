"""The demo as a user runs it: real processes, DDS, MuJoCo, the shipped model, a bag."""
import json
from pathlib import Path
import subprocess
import sys

import imageio.v2 as imageio
import pytest

from jepa_ros.evaluation import live
from jepa_ros.robot.bags import read_episodes
from jepa_ros.robot.contract import RobotContract


@pytest.mark.parametrize('composition', ['true', 'false'])
def test_demo_drives_to_a_goal_and_leaves_report_pictures_and_bag(composition, tmp_path, ros_domain):
    out = tmp_path / 'demo'
    done = subprocess.run(
        [sys.executable, '-m', 'jepa_ros.cli.main', 'demo', '--episodes', '1', '--composition', composition,
         '--output', str(out)], env=ros_domain, capture_output=True, text=True, timeout=110)
    assert done.returncode in (0, 1), done.stderr
    report = json.loads((out / 'report.json').read_text())
    assert report['composition'] is (composition == 'true')
    assert report['rows'][0]['error'] in ('NONE', 'TIMEOUT')
    assert report['control_hz'] == pytest.approx(10, abs=1.5)
    assert report['percept_to_action_ms']['p50'] < 100
    assert done.returncode == (0 if report['successes'] == 1 else 1)
    assert imageio.imread(out / 'energy.png').ndim == 3
    assert (out / 'episode.mp4').stat().st_size > 10_000
    episodes = read_episodes(out / 'bag', RobotContract.load('two_rooms'))
    assert len(episodes) == 1 and len(episodes[0].stamps_ns) > 5
    assert not _left(out)


def _left(folder: Path) -> list[str]:
    """Command lines of processes that name the demo's folder."""
    lines = [p.read_bytes().replace(b'\0', b' ').decode() for p in Path('/proc').glob('[0-9]*/cmdline')]
    return [line for line in lines if str(folder) in line]


def test_a_domain_in_use_is_not_chosen(monkeypatch):
    import socket
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        for domain in live.DOMAINS:
            try:
                taken.bind(('', 7410 + 250 * domain))
                break
            except OSError:
                continue
        assert not live._unused(domain)


def test_a_chosen_domain_is_kept(monkeypatch):
    monkeypatch.setenv('ROS_DOMAIN_ID', '7')
    assert live.isolate() == 7
