"""What the README points to is there."""
import ast
from pathlib import Path
import re

import pytest

from jepa_ros.cli.app import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / 'README.md').read_text(encoding='utf-8')


def test_every_file_of_the_map_exists():
    part = README.split('## Where the papers are')[1]
    named = re.findall(r'`((?:\w+/)+(?:\w+\.py)?|jepa_ros/\w+\.py)`', part)
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).exists() and not (ROOT / 'jepa_ros' / name).exists()] == []


def test_every_picture_and_script_exists():
    named = re.findall(r'\]\((docs/[^)]+)\)', README) + re.findall(r'python (benchmark/\w+\.py)', README)
    assert len(named) > 4
    assert [name for name in named if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize('command', COMMANDS)
def test_every_command_is_in_the_table(command):
    assert f'`jepa-ros {command}' in README


def test_the_maze_benchmark_is_run_as_its_module_says():
    module = ast.get_docstring(ast.parse((ROOT / 'benchmark' / 'maze.py').read_text(encoding='utf-8')))
    commands = [re.split(r'  +#| \[', line)[0].strip() for line in module.splitlines() if line.startswith('    ')]
    shown = (ROOT / 'docs' / 'evaluation.md').read_text(encoding='utf-8').splitlines()
    assert len(commands) == 5 and [command for command in commands if command not in shown] == []


def test_measured_tables_are_filled():
    blocks = re.findall(r'<!-- table: \w+ -->\n(.*?)<!-- end -->', README, re.DOTALL)
    assert len(blocks) == 9
    assert all(block.count('\n| ') >= 3 for block in blocks)
