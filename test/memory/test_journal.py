"""A memory file: what it gives back, and what it survives."""
import os
from pathlib import Path
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from jepa_ros.errors import ConfigError
from jepa_ros.memory import chunks, journal
from jepa_ros.memory.memory import Memory

S = 1_000_000_000
MODEL = 'ec112c3ed238'


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / 'robot.memory'


def opened(path: Path, model: str = MODEL, dim: int = 3, capacity: int = 1000) -> Memory:
    memory = Memory(dim, capacity)
    memory.keep_in(path, model)
    return memory


def state(i: int, dim: int = 3) -> torch.Tensor:
    return torch.randn(dim, generator=torch.Generator().manual_seed(i))


def lived(memory: Memory, first: int = 0, count: int = 20) -> Memory:
    for i in range(first, first + count):
        if i % 10 == 0:
            memory.begin(f'e{i // 10}', 'goal')
        memory.store((i + 1) * S, state(i, memory.dim), i / 2, np.array([i, -i]) if i % 3 else None)
    return memory


def known(memory: Memory) -> list:
    """All that a memory holds, to compare."""
    slots = memory.episodic.in_order()
    slots = slots[~memory.episodic.imagined[slots]]
    held = memory.episodic
    return [(int(held.stamps_ns[i]), held.states[i].tolist(), float(held.energies[i]), held.runs[int(held.run[i])],
             np.nan_to_num(held.actions[i], nan=-99).tolist()) for i in slots]


def test_what_was_lived_is_remembered_by_the_next_process(path):
    memory = lived(opened(path))
    memory.remember_label('the  red door', state(3), 4 * S)
    memory.imagine(np.array([99 * S]), torch.zeros(1, 3), np.zeros(1))
    memory.close()
    again = opened(path)
    assert known(again) == known(memory) and len(again) == 20 and not again.warnings
    assert {text: s.tolist() for text, s in again.labels().items()} == {'the red door': [state(3).tolist()]}
    assert torch.allclose(again.by_state(state(7)).value, memory.by_state(state(7)).value)
    assert [len(t) for t in again.trajectories()] == [10, 10]
    again.close()


def test_a_second_life_goes_on_where_the_first_ended(path):
    lived(opened(path)).close()
    lived(opened(path), first=20).close()
    third = opened(path)
    assert [row[0] for row in known(third)] == [(i + 1) * S for i in range(40)]
    assert [t.run.episode for t in third.trajectories()] == ['e0', 'e1', 'e2', 'e3']
    third.close()


def test_a_file_that_is_written_anew_is_bounded_and_says_the_same(path, monkeypatch):
    monkeypatch.setattr(journal, 'GROWTH', 40)
    monkeypatch.setattr(journal, 'FLUSH_S', 0.02)
    memory = opened(path, capacity=60)
    for first in range(0, 400, 50):
        lived(memory, first, 50)
        time.sleep(0.1)
    memory.remember_label('here', state(1))
    memory.close()
    again = opened(path, capacity=60)
    assert known(again) == known(memory) and len(again) == 60
    assert torch.allclose(again.by_state(state(399)).value, memory.by_state(state(399)).value, atol=1e-5)
    again.close()
    assert path.stat().st_size < 40_000 and not path.with_name(path.name + '.partial').exists()


def test_a_smaller_memory_takes_the_newest_of_a_file(path):
    lived(opened(path), count=30).close()
    small = opened(path, capacity=5)
    assert [row[0] for row in known(small)] == [(i + 1) * S for i in range(25, 30)]
    small.close()


def test_a_file_cut_anywhere_gives_all_before_the_cut_and_one_line(path):
    memory = lived(opened(path), count=4)
    memory.close()
    lived(opened(path), first=4, count=6).close()
    whole = path.read_bytes()
    before = [row[:4] for row in known(memory)]
    length = len(chunks.Header(MODEL, 3).packed())
    ends = {chunks.read(whole[:cut], length, 3)[1] for cut in range(length, len(whole) + 1)}
    lengths = {}
    for cut in [*range(length, len(whole), 7), *(end - 1 for end in ends), len(whole)]:
        path.write_bytes(whole[:cut])
        again = opened(path)
        assert len(again.warnings) == (cut not in ends), cut
        assert [row[:4] for row in known(again)[:4]] == before[:len(again)], cut
        lengths[cut] = len(again)
        again.close()
    assert [lengths[cut] for cut in sorted(lengths)] == sorted(lengths.values()) and lengths[len(whole)] == 10
    assert not path.with_name(path.name + '.damaged').exists()


def test_a_damaged_byte_costs_what_comes_after_it_and_that_is_kept_aside(path):
    lived(opened(path), count=4).close()
    good = path.stat().st_size
    lived(opened(path), first=4, count=6).close()
    lived(opened(path), first=10, count=6).close()
    data = bytearray(path.read_bytes())
    data[good + 40] ^= 1
    path.write_bytes(data)
    again = opened(path)
    line, = again.warnings
    aside = path.with_name(path.name + '.damaged')
    assert len(again) == 4 and f'damaged at byte {good} of {len(data)}: 4 triplets' in line and str(aside) in line
    assert '\n' not in line and aside.read_bytes() == data[good:]
    lived(again, first=20, count=2).close()
    assert len(opened(path)) == 6


@pytest.mark.parametrize('model, dim, word', [
    ('0123456789ab', 3, 'of model ec112c3ed238 (states of 3), this is model 0123456789ab (3)'),
    (MODEL, 5, 'this is model ec112c3ed238 (5)')])
def test_a_memory_of_another_model_is_refused_and_kept_and_a_fresh_one_lies_beside_it(path, model, dim, word):
    lived(opened(path)).close()
    old = path.read_bytes()
    other = Memory(dim)
    beside = other.keep_in(path, model)
    line, = other.warnings
    assert word in line and str(beside) in line and '\n' not in line and len(other) == 0
    lived(other, count=3).close()
    assert path.read_bytes() == old and beside.parent == path.parent
    again = Memory(dim)
    assert again.keep_in(path, model) == beside and len(again) == 3
    again.close()
    mine = opened(path)
    assert len(mine) == 20
    mine.close()


@pytest.mark.parametrize('text, word', [
    (b'- a\n- yaml\n- file\n', 'this is no memory file'), (b'JEPAMEM\n', 'this is no memory file'),
    (b'JEPAMEM\n\x20\0\0\0abcd{}', 'the header of the file is damaged')])
def test_what_is_no_memory_file_is_left_alone(path, text, word):
    path.write_bytes(text)
    memory = opened(path)
    assert word in memory.warnings[0]
    lived(memory).close()
    assert path.read_bytes() == text


def test_two_processes_do_not_write_one_file(path):
    first = opened(path)
    with pytest.raises(ConfigError, match='in use by another process'):
        opened(path)
    first.close()
    opened(path).close()


def test_a_file_that_cannot_be_made_is_refused_in_one_line(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(ConfigError, match='cannot be written .*: give another memory_file'):
        opened(tmp_path / 'file' / 'robot.memory')
    with pytest.raises(ConfigError, match='cannot be written'):
        opened(tmp_path)


def test_a_memory_that_was_there_before_its_file_is_written_to_it(path):
    memory = lived(Memory(3))
    memory.keep_in(path, MODEL)
    memory.close()
    again = opened(path)
    assert known(again) == known(memory)
    again.close()


def test_storing_never_waits_for_the_disk_and_what_finds_no_room_is_written_later(path, monkeypatch):
    disk, slow = os.fsync, [0.3]

    def fsync(descriptor):
        time.sleep(slow[0])
        disk(descriptor)
    monkeypatch.setattr(journal.os, 'fsync', fsync)
    monkeypatch.setattr(journal, 'PENDING', 10)
    monkeypatch.setattr(journal, 'FLUSH_S', 0.02)
    memory = opened(path)
    time.sleep(0.05)                                        # the writer is at the disk now
    started = time.monotonic()
    lived(memory, count=200)
    assert time.monotonic() - started < 0.25
    slow[0] = 0.0
    memory.close()
    again = opened(path)
    assert known(again) == known(memory)
    again.close()


WRITER = """
import sys, time, torch
from jepa_ros.memory.memory import Memory
memory = Memory(16, 500)
memory.keep_in(sys.argv[1], 'm')
print('ready', flush=True)
for i in range(100_000):
    memory.store(i + 1, torch.full((16,), float(i)), i / 2)
    sys.stdout.write(f'{i + 1} {time.monotonic()}\\n')
    sys.stdout.flush()
    time.sleep(0.0005)
"""


@pytest.mark.parametrize('after_s', [0.3, 1.7])
def test_a_kill_costs_at_most_the_last_second(path, after_s):
    """A capacity of 500 and thousands of triplets: the file is written anew several times under the kill."""
    writer = subprocess.Popen([sys.executable, '-c', WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout.readline() == 'ready\n'
    time.sleep(after_s)
    killed = time.monotonic()
    os.kill(writer.pid, signal.SIGKILL)
    said = [line.split() for line in writer.stdout.read().splitlines() if line.count(' ') == 1 and line[-1].isdigit()]
    writer.wait()
    memory = Memory(16, 500)
    memory.keep_in(path, 'm')
    newest = int(memory.episodic.stamps_ns.max()) if len(memory) else 0
    due = [int(stamp) for stamp, wall in said if float(wall) < killed - 1.0]
    assert newest >= max(due, default=0)
    held = sorted(memory.episodic.stamps_ns.tolist())
    assert held == list(range(max(1, newest - 499), newest + 1))
    assert all(memory.by_time(t, 1).states[0, 0] == t - 1 for t in held[::50])
    memory.close()


FULL = """
import resource, sys, time, torch
from jepa_ros.memory import journal
from jepa_ros.memory.memory import Memory
journal.RETRY_S = 0.05
memory = Memory(16, 500)
memory.keep_in(sys.argv[1], 'm')
def store(first, count):
    for i in range(first, first + count):
        memory.store(i + 1, torch.full((16,), float(i)), 0.0)
def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
store(0, 100)
time.sleep(1.2)
size = __import__('os').path.getsize(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50, resource.RLIM_INFINITY))
store(100, 100)
until(lambda: memory.problem)
print(memory.problem)
print(__import__('os').path.getsize(sys.argv[1]) == size)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
until(lambda: not memory.problem)
store(200, 100)
memory.close()
"""


def test_a_disk_that_takes_no_more_is_reported_and_nothing_is_lost(path):
    done = subprocess.run([sys.executable, '-c', FULL, str(path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    problem, untouched = done.stdout.splitlines()
    assert 'cannot be written' in problem and 'free space' in problem and untouched == 'True'
    memory = Memory(16, 500)
    memory.keep_in(path, 'm')
    assert sorted(memory.episodic.stamps_ns.tolist()) == list(range(1, 301)) and not memory.warnings
    memory.close()
