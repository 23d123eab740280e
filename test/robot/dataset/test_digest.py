"""Hashes and sums do not depend on how rows are cut into chunks."""
import hashlib

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
import tiny

from jepa_ros.robot.dataset.digest import row_digests, Sums
from jepa_ros.robot.dataset.layout import Stream
from jepa_ros.robot.dataset.work import Chunk, read_journal

PICTURE = Stream('observations/front', (4, 5, 3), np.dtype(np.uint8), True)
SCAN = Stream('observations/scan', (2, 7), np.dtype(np.float32))
VECTOR = Stream('actions', (3,), np.dtype(np.float32))


def rows_of(stream: Stream, count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 256, (count, *stream.shape)).astype(stream.dtype)
    if stream is SCAN:
        rows[:, 1] = rows[:, 1] > 100
    return rows


def summed(stream: Stream, rows: np.ndarray, valid: np.ndarray, cuts: list[int]) -> Sums:
    whole = Sums()
    for first, last in zip([0, *cuts], [*cuts, len(rows)]):
        part = Sums()
        part.add(stream, rows[first:last], valid[first:last])
        whole.merge(Sums.from_json(part.to_json()))
    return whole


@tiny.invariant
@given(st.sampled_from([PICTURE, SCAN, VECTOR]), st.integers(0, 30), st.integers(0, 99), st.data())
def test_sums_are_the_same_however_rows_are_cut(stream, count, seed, data):
    rows, valid = rows_of(stream, count, seed), np.random.default_rng(seed).random(count) < 0.7
    cuts = sorted(data.draw(st.lists(st.integers(0, count), max_size=4)))
    assert summed(stream, rows, valid, cuts).statistics() == summed(stream, rows, valid, []).statistics()


@tiny.invariant
@given(st.integers(1, 20), st.integers(0, 99))
def test_statistics_of_a_scan_are_those_of_its_valid_beams(count, seed):
    rows = rows_of(SCAN, count, seed)
    found = summed(SCAN, rows, np.ones(count, bool), []).statistics()
    beams = rows[:, 0][rows[:, 1] > 0].astype(np.float64)
    assert found['valid_beams_share'] == pytest.approx((rows[:, 1] > 0).mean())
    if len(beams):
        assert found['mean'] == pytest.approx([beams.mean()]) and found['std'] == pytest.approx([beams.std()], abs=1e-6)
        assert (found['min'], found['max'], found['count']) == ([beams.min()], [beams.max()], len(beams))


def test_the_digest_of_a_row_is_its_sha256():
    rows = rows_of(PICTURE, 3, 0)
    assert [d.tobytes() for d in row_digests(rows)] == [hashlib.sha256(r.tobytes()).digest() for r in rows]


@tiny.invariant
@given(st.integers(0, 5), st.integers(0, 200))
def test_a_journal_that_was_cut_anywhere_gives_its_whole_lines(tmp_path, whole, cut):
    rows = rows_of(PICTURE, 4, whole)
    sums = summed(PICTURE, rows, np.ones(4, bool), [])
    lines = [Chunk(number, row_digests(rows), sums).to_line() for number in range(whole + 1)]
    (tmp_path / 'front.0.journal').write_text(''.join(lines[:whole]) + lines[whole][:min(cut, len(lines[whole]) - 1)])
    found = read_journal(tmp_path, 'front', 0)
    assert list(found) == list(range(whole))
    assert all(np.array_equal(chunk.digests, row_digests(rows)) for chunk in found.values())
