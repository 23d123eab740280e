"""What the README points to is there."""
from pathlib import Path
import re

import pytest

from jepa_ros.cli.main import COMMANDS

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


def test_measured_tables_are_filled():
    blocks = re.findall(r'<!-- table: \w+ -->\n(.*?)<!-- end -->', README, re.DOTALL)
    assert len(blocks) == 8
    assert all(block.count('\n| ') >= 3 for block in blocks)
