"""From bags to a store: the same tensors, whatever the workers and the kills between."""
import fcntl
import os
from pathlib import Path
import resource
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import zarr

from jepa_ros.errors import BagError, ContractError, DatasetError
from jepa_ros.robot.bags import read_episodes
from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.dataset import work
from jepa_ros.robot.dataset.build import build
from jepa_ros.robot.dataset.layout import observations
from jepa_ros.robot.dataset.plan import BagPlan, find_bags, make_plan
from jepa_ros.robot.dataset.pool import Pool
from jepa_ros.robot.dataset.store import STAGING, Store
from jepa_ros.robot.dataset.work import share_of

from .conftest import record


def same(stored, read) -> None:
    """Assert that two episodes are equal, bit for bit."""
    assert (stored.episode_id, stored.source) == (read.episode_id, read.source)
    for name in ('stamps_ns', 'actions', 'readouts'):
        a, b = getattr(stored, name), getattr(read, name)
        assert a.dtype == b.dtype and a.tobytes() == b.tobytes(), name
    for part in ('percepts', 'valid'):
        for key, rows in getattr(read, part).items():
            a = getattr(stored, part)[key]
            assert a.dtype == rows.dtype and a.shape == rows.shape and a.tobytes() == rows.tobytes(), (part, key)


def hashes(store: Store) -> dict[tuple[str, str], str]:
    return {(e.bag.name, e.episode_id): e.sha256 for e in store.episodes}


def test_a_store_holds_the_episodes_of_its_bags_bit_for_bit(built, bags, contract):
    read = [e for bag in bags for e in read_episodes(bag, contract)]
    stored = list(Store(built).read_all())
    assert [len(e) for e in stored] == [20, 70, 33, 40, 5]
    assert any(not e.valid['rear'].all() for e in read) and any(e.valid['rear'].any() for e in read)
    for a, b in zip(stored, read):
        same(a, b)


def test_any_zarr_reader_finds_arrays_episodes_and_attributes(built, bags, contract):
    group = zarr.open_group(str(built), mode='r')
    starts, lengths = group['episodes/starts'][:], group['episodes/lengths'][:]
    images = group['observations/front'][int(starts[1]):int(starts[1] + lengths[1])]
    assert images.dtype == np.uint8 and images.shape == (70, 40, 48, 3)
    assert np.array_equal(images, read_episodes(bags[0], contract)[1].percepts['front'])
    attributes = dict(group.attrs)
    assert RobotContract.parse(attributes['contract']) == contract and attributes['complete']
    assert [(b['name'], len(b['sha256'])) for b in attributes['bags']] == [('day', 64), ('night', 64)]
    assert attributes['jepa_ros_version'] and attributes['contract_sha256'] == contract.sha256()


def test_workers_make_the_same_store_as_one_process(tmp_path, built, bags, contract, monkeypatch):
    """Two bags over two processes, the longer one divided."""
    monkeypatch.setattr('jepa_ros.robot.dataset.plan.LEAST_SHARE', 16)
    made = build(bags, tmp_path / 'store', contract, workers=2).store
    assert hashes(made) == hashes(Store(built))
    assert made.attributes['statistics'] == Store(built).attributes['statistics']
    for name in ('observations/front', 'observations/rear', 'actions'):
        kept = {f.name: f.read_bytes() for f in (built / name).iterdir() if f.name[0].isdigit()}
        assert kept == {f.name: f.read_bytes() for f in (made.path / name).iterdir() if f.name[0].isdigit()}


@pytest.mark.parametrize('rows', [0, 1, 31, 32, 33, 200, 1000])
@pytest.mark.parametrize('shares', [1, 2, 3, 7])
def test_shares_cover_all_rows_and_meet_at_whole_chunks(rows, shares):
    bounds = [share_of(rows, shares, i) for i in range(shares)]
    assert bounds[0][0] == 0 and bounds[-1][1] == rows
    assert all(a[1] == b[0] and a[1] % 32 == 0 for a, b in zip(bounds, bounds[1:]))


def test_statistics_are_those_of_the_tensors(built):
    store = Store(built)
    found, episodes = store.attributes['statistics'], list(store.read_all())
    actions = np.concatenate([e.actions for e in episodes]).astype(np.float64)
    assert np.allclose(found['actions']['mean'], actions.mean(0))
    assert np.allclose(found['actions']['std'], actions.std(0))
    assert np.allclose(found['actions']['quantiles']['0.5'], np.median(actions, 0))
    assert [sum(h) for h in found['actions']['histogram']] == [store.steps] * 2
    front = np.concatenate([e.percepts['front'] for e in episodes]).reshape(-1, 3).astype(np.float64)
    assert np.allclose(found['observations/front']['mean'], front.mean(0), rtol=1e-12)
    assert np.allclose(found['observations/front']['std'], front.std(0), rtol=1e-9)
    valid = np.concatenate([e.valid['rear'] for e in episodes])
    rear = np.concatenate([e.percepts['rear'] for e in episodes])[valid].reshape(-1, 3).astype(np.float64)
    assert found['observations/rear']['valid_share'] == valid.mean() < 1
    assert np.allclose(found['observations/rear']['mean'], rear.mean(0), rtol=1e-12)


def test_a_damaged_picture_is_left_out_as_it_would_be_live(tmp_path, contract, monkeypatch):
    """Found only after the grid was: the bag is read again with care, by all that share it."""
    monkeypatch.setattr('jepa_ros.robot.dataset.plan.LEAST_SHARE', 16)
    monkeypatch.setattr('jepa_ros.robot.dataset.lazy.SPOOL_BYTES', 1000)     # to be put off in a file
    monkeypatch.setattr(Pool, '_there', Pool._here)
    bag = record(tmp_path / 'bag', contract, {'a': 60, 'b': 40}, damaged=25)
    made = build([bag], tmp_path / 'store', contract, workers=2).store
    for a, b in zip(made.read_all(), read_episodes(bag, contract), strict=True):
        same(a, b)
    assert made.steps == 98 and any('front' in line and '2 of 100' in line for line in made.bags[0].notes)


def kill_when(process: subprocess.Popen, condition) -> None:
    end_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end_s and process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()


SLOW_BUILD = """
import sys, time
from pathlib import Path
from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.dataset import work
from jepa_ros.robot.dataset.build import build
write = work.row_digests
def slow(rows):         # leaves time to be killed between two chunks
    time.sleep(0.05)
    return write(rows)
work.row_digests = slow
build([Path(p) for p in sys.argv[3:]], Path(sys.argv[1]), RobotContract.load(sys.argv[2]), workers=1)
"""


def test_a_killed_build_goes_on_where_it_was(tmp_path, built, bags, contract, monkeypatch):
    (tmp_path / 'scout.yaml').write_text(contract.to_yaml())
    output, journal = tmp_path / 'store', tmp_path / 'store' / STAGING / 'bag0' / 'front.0.journal'
    process = subprocess.Popen([sys.executable, '-c', SLOW_BUILD, str(output), str(tmp_path / 'scout.yaml'),
                                *map(str, bags)])
    kill_when(process, lambda: journal.exists() and journal.read_text().count('\n') >= 2)
    with pytest.raises(DatasetError, match='half built; jepa-ros dataset build with the same bags'):
        Store(output)
    with journal.open('a') as file:
        file.write('[3, "torn')         # as by a kill in the middle of a line
    first = output / 'observations/front/0.0.0.0'
    before_ns, chunks = first.stat().st_mtime_ns, []
    digests = work.row_digests
    monkeypatch.setattr(work, 'row_digests', lambda rows: chunks.append(len(rows)) or digests(rows))
    resumed = build(bags, output, contract, workers=1)
    assert resumed.resumed and hashes(resumed.store) == hashes(Store(built))
    assert first.stat().st_mtime_ns == before_ns            # not written again
    assert sum(chunks) < 2 * resumed.store.steps            # front and rear, less what was done before
    assert not (output / STAGING).exists()


def test_a_complete_store_is_left_as_it_is(built, bags, contract):
    before = {f: f.stat().st_mtime_ns for f in built.rglob('*') if f.is_file()}
    again = build(bags, built, contract, workers=1)
    assert again.resumed and {f: f.stat().st_mtime_ns for f in built.rglob('*') if f.is_file()} == before


@pytest.mark.parametrize('what, words', [
    ('file', 'exists and is a file: give another -o'), ('folder', 'exists and holds something else: give another -o'),
    ('below a file', 'cannot be written (Not a directory)'),
    ('other bags', 'was built from other bags: night is not among the bags given'),
    ('other contract', 'the contract given is changed since: give another -o, or --overwrite'),
    ('other robot', 'the contract given is of robot rover'), ('no bag', 'nowhere: there is no such bag'),
    ('none', 'no bags are given'), ('twice', 'day is given twice'), ('copy', 'the same recording as')])
def test_what_cannot_be_built_is_one_line(tmp_path, store, bags, contract, what, words):
    output, given = tmp_path / 'output', list(bags)
    if what in ('file', 'below a file'):
        output.write_text('')
        output = output / 'store' if what == 'below a file' else output
    elif what == 'folder':
        output.mkdir()
        (output / 'thesis.tex').write_text('')
    elif what.startswith('other'):
        output = store.path
        if what == 'other bags':
            given = given[:1]
        else:
            text = contract.to_yaml()
            contract = RobotContract.parse(text.replace('name: scout', 'name: rover') if what == 'other robot' else
                                           text.replace('height: 40', 'height: 20'))
            given = [record(tmp_path / 'new', contract, {'a': 8})]
    elif what == 'copy':
        shutil.copytree(bags[0], tmp_path / 'copy')
        given.append(tmp_path / 'copy')
    else:
        given = {'no bag': [tmp_path / 'nowhere'], 'none': [], 'twice': [bags[0], bags[0]]}[what]
    with pytest.raises((BagError, DatasetError)) as caught:
        build(given, output, contract, workers=1)
    assert words in str(caught.value) and '\n' not in str(caught.value)
    assert what in ('file', 'folder') or what.startswith('other') or not output.exists()


def test_overwrite_builds_a_store_again_and_deletes_nothing_else(tmp_path, store, bags, contract):
    assert build(bags[:1], store.path, contract, workers=1, overwrite=True).store.steps == 123
    (tmp_path / 'thesis').mkdir()
    (tmp_path / 'thesis/thesis.tex').write_text('')
    with pytest.raises(DatasetError, match='holds something else'):
        build(bags, tmp_path / 'thesis', contract, overwrite=True)
    assert (tmp_path / 'thesis/thesis.tex').exists()


def test_two_builds_in_one_store_are_refused(tmp_path, bags, contract):
    (tmp_path / 'store' / STAGING).mkdir(parents=True)
    with (tmp_path / 'store' / STAGING / 'lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(DatasetError, match='another build is at work in it'):
            build(bags, tmp_path / 'store', contract)


def test_a_bag_of_another_robot_is_named_or_left_out(tmp_path, built, bags, contract):
    rover = RobotContract.parse(contract.to_yaml().replace('name: scout', 'name: rover'))
    other = record(tmp_path / 'foreign', rover, {'a': 8})
    with pytest.raises(BagError, match='foreign: recorded with another robot contract.*--skip-bad leaves'):
        build([bags[0], other, bags[1]], tmp_path / 'store', contract)
    assert not (tmp_path / 'store').exists()
    made = build([bags[0], other, bags[1]], tmp_path / 'store', contract, workers=1, skip_bad=True)
    assert hashes(made.store) == hashes(Store(built))
    (path, why), = made.skipped.items()
    assert path == str(other) and 'another robot contract' in why
    assert made.store.attributes['skipped'] == made.skipped


def test_a_bag_that_proves_bad_only_while_it_is_read_is_named_or_left_out(tmp_path, bags, contract):
    empty = record(tmp_path / 'empty', contract, {'a': 0})
    with pytest.raises(BagError, match='empty: .*--skip-bad'):
        build([bags[0], empty], tmp_path / 'store', contract, workers=1)
    made = build([bags[0], empty], tmp_path / 'store', contract, workers=1, skip_bad=True)
    assert made.store.steps == 123 and list(made.skipped) == [str(empty)]
    with pytest.raises(BagError, match=r'none of 1 bag\(s\) can be used'):
        build([empty], tmp_path / 'other', contract, workers=1, skip_bad=True)


def test_a_full_disk_is_one_line_and_the_same_command_goes_on(tmp_path, built, bags, contract):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, hard))   # of one file; Python ignores SIGXFSZ
    try:
        with pytest.raises(DatasetError, match='cannot be written .*the same command goes on where it was'):
            build(bags, tmp_path / 'store', contract, workers=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert hashes(build(bags, tmp_path / 'store', contract, workers=1).store) == hashes(Store(built))


def test_a_killed_worker_is_one_line(tmp_path, bags, contract, monkeypatch):
    monkeypatch.setattr('jepa_ros.robot.dataset.plan.LEAST_SHARE', 16)
    me = os.getpid()

    def kill_a_worker(stage: str, share: float) -> None:
        children = Path(f'/proc/{me}/task/{me}/children').read_text().split()
        for child in children:
            if b'spawn_main' in Path(f'/proc/{child}/cmdline').read_bytes():
                os.kill(int(child), signal.SIGKILL)
    with pytest.raises(DatasetError, match='a worker was killed.*the same command goes on'):
        build(bags, tmp_path / 'store', contract, workers=2, report=kill_a_worker)


def test_folders_of_bags_stand_for_their_bags(bags, tmp_path):
    assert find_bags([bags[0].parent]) == bags
    assert find_bags([tmp_path]) == [tmp_path]          # no bag in it: to be refused by its own name


def test_bags_of_one_name_get_names_that_tell_them_apart(tmp_path, contract):
    bags = [record(tmp_path / part / 'run', contract, {'a': 4}, seed) for seed, part in enumerate(('mon', 'tue'))]
    plan = make_plan(bags, contract, 1, False, lambda *_: None)
    assert [b.name for b in plan.bags] == ['mon/run', 'tue/run']


def test_a_contract_that_cannot_be_read_is_refused_before_anything_is_written(tmp_path, bags):
    with pytest.raises(ContractError):
        build(bags, tmp_path / 'store', RobotContract.load(str(tmp_path / 'none.yaml')))
    assert not (tmp_path / 'store').exists()


def test_only_large_streams_are_divided_over_workers(contract):
    assert [key for key, stream in observations(contract).items() if stream.large] == ['front', 'rear']
    assert BagPlan('a', 'a', '').shares == 1


SHARED = Path(__file__).resolve().parents[4] / 'shared' / 'data'


@pytest.mark.parametrize('robot, bag', [('donkeycar', 'donkeycar/seg_03'), ('neato', 'neato/test-bag')])
def test_recordings_of_real_robots_are_stored_bit_for_bit(tmp_path, robot, bag):
    if not (SHARED / bag).is_dir():
        pytest.skip(f'needs the real recordings in {SHARED}')
    contract = RobotContract.load(robot)
    stored = build([SHARED / bag], tmp_path / 'store', contract, workers=1).store
    for a, b in zip(stored.read_all(), read_episodes(SHARED / bag, contract), strict=True):
        same(a, b)
