"""`make` says in one line what a machine lacks."""
import importlib.util
import os
from pathlib import Path
import subprocess
import sys

import pytest

SCRIPT = Path(__file__).parents[2] / '.ci' / 'preflight.py'


@pytest.fixture
def preflight():
    spec = importlib.util.spec_from_file_location('preflight', SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_machine_that_has_everything_is_told_nothing(preflight):
    assert preflight.missing() is None


def test_a_missing_compiler_ends_in_one_line():
    done = subprocess.run([sys.executable, SCRIPT], env={**os.environ, 'CXX': 'no-such-compiler'},
                          capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == 'jepa_ros: no C++ compiler (no-such-compiler): `apt install g++`, or name one with CXX=\n'


@pytest.mark.parametrize(('oldest', 'newest'), [((3, 99), (4, 0)), ((3, 0), (3, 1))])
def test_a_python_too_old_or_too_new_is_named_with_the_remedy(preflight, monkeypatch, oldest, newest):
    monkeypatch.setattr(preflight, 'OLDEST', oldest)
    monkeypatch.setattr(preflight, 'NEWEST', newest)
    assert 'make PYTHON=' in preflight.missing() and sys.executable in preflight.missing()


def test_a_machine_without_wheels_is_told_to_use_colcon(preflight, monkeypatch):
    monkeypatch.setattr(preflight.platform, 'machine', lambda: 'aarch64')
    assert 'colcon build' in preflight.missing()
