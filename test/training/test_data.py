"""Training data: windows, batches, shards."""
import dataclasses

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
import tiny
import torch

from jepa_ros.errors import TrainingError
from jepa_ros.training.data import EpisodeSet, from_episodes

from . import rover

lengths = st.lists(st.integers(2, 12), min_size=1, max_size=6)


def numbered(lengths: list[int]) -> EpisodeSet:
    """Episodes of nothing; windows hold indices, so nothing else is needed."""
    total = sum(lengths)
    starts = torch.tensor([0, *np.cumsum(lengths)[:-1]])
    return EpisodeSet({'camera': torch.zeros(total, 1, 1, 3, dtype=torch.uint8)}, torch.zeros(total, 2),
                      torch.zeros(total, 0), starts, torch.tensor(lengths), (), {})


def episode_of(data: EpisodeSet, index: torch.Tensor) -> torch.Tensor:
    return torch.bucketize(index.contiguous(), data.starts, right=True) - 1


@tiny.invariant
@given(lengths=lengths, length=st.integers(1, 12), seed=st.integers(0, 99))
def test_a_random_window_never_crosses_an_episode(lengths, length, seed):
    data, generator = numbered(lengths), torch.Generator().manual_seed(seed)
    if max(lengths) < length:
        with pytest.raises(TrainingError, match=f'no episode has {length} steps'):
            data.windows(10, length, generator)
        return
    index = data.windows(50, length, generator)
    assert index.shape == (50, length)
    assert bool((index.diff(dim=1) == 1).all())
    assert bool((episode_of(data, index[:, 0]) == episode_of(data, index[:, -1])).all())
    assert 0 <= int(index.min()) and int(index.max()) < sum(lengths)


@tiny.invariant
@given(lengths=lengths, length=st.integers(1, 12))
def test_every_possible_window_is_drawn_sooner_or_later(lengths, length):
    data = numbered(lengths)
    possible = {int(s) + o for s, n in zip(data.starts, lengths) for o in range(n - length + 1)}
    if possible:
        drawn = set(data.windows(4000, length, torch.Generator().manual_seed(0))[:, 0].tolist())
        assert drawn == possible


@tiny.invariant
@given(lengths=lengths, length=st.integers(1, 12), stride=st.integers(1, 5))
def test_all_windows_are_every_window_of_every_episode_a_stride_apart(lengths, length, stride):
    data = numbered(lengths)
    expected = [int(s) + o for s, n in zip(data.starts, lengths) for o in range(0, n - length + 1, stride)]
    if not expected:
        with pytest.raises(TrainingError, match=f'no episode has {length} steps: record longer episodes'):
            data.all_windows(length, stride)
        return
    index = data.all_windows(length, stride)
    assert index[:, 0].tolist() == expected
    assert bool((episode_of(data, index[:, 0]) == episode_of(data, index[:, -1])).all())


def test_the_windows_of_a_seed_are_those_that_shipped_models_were_trained_on():
    """Another sequence of random numbers would make another model of the same seed."""
    index = numbered([9, 7, 30]).windows(8, 3, torch.Generator().manual_seed(5))
    assert index[:, 0].tolist() == [16, 6, 12, 3, 18, 12, 12, 32]


def test_a_batch_has_all_sensors_in_the_shape_of_its_index():
    parts = [rover.episode(6, 0, 'a', missing=True), rover.episode(5, 1, 'b')]
    data = from_episodes(parts, rover.contract(), {})
    index = data.windows(7, 4, torch.Generator().manual_seed(1))
    batch = data.take(index)
    assert {key: tuple(x.shape) for key, x in batch.percepts.items()} == {
        'scan': (7, 4, 2, 5), 'odom': (7, 4, 2), 'camera': (7, 4, 8, 9, 3)}
    assert (batch.actions.shape, batch.readouts.shape) == ((7, 4, 2), (7, 4, 1))
    odom = np.concatenate([p.percepts['odom'] for p in parts])
    seen = np.concatenate([p.valid['camera'] for p in parts])
    assert np.array_equal(batch.percepts['odom'], odom[index]) and np.array_equal(batch.valid['camera'], seen[index])


def test_only_sensors_that_are_missing_somewhere_have_a_mask():
    assert list(from_episodes([rover.episode(6, missing=True)], rover.contract(), {}).valid) == ['camera']
    assert not from_episodes([rover.episode(6)], rover.contract(), {}).valid


def test_a_row_is_named_by_bag_episode_and_step():
    data = from_episodes([tiny.episode(5, 0, 'e0'), tiny.episode(3, 1, 'e1')], tiny.contract(), {'a': '00'})
    assert data.where(6) == 'a: episode e1, step 1'
    assert data.part([1]).where(6) == 'a: episode e1, step 1' and data.part([1]).where(4) == 'row 4'


def test_shards_are_every_nth_episode_and_keep_their_rows():
    data = numbered([5, 4, 3, 2, 6])
    shards = [data.shard(rank, 2) for rank in range(2)]
    assert [s.starts.tolist() for s in shards] == [[0, 9, 14], [5, 12]]
    assert all(s.steps == data.steps and s.percepts is data.percepts for s in shards)


@pytest.mark.parametrize('rank, world, words', [(2, 2, 'rank 2 is not one of 2'), (0, 3, 'cannot be shared by 3')])
def test_a_shard_that_cannot_be_is_refused(rank, world, words):
    with pytest.raises(TrainingError, match=words):
        numbered([5, 4]).shard(rank, world)


def test_moving_to_the_device_where_it_is_changes_nothing():
    data = from_episodes([rover.episode(6, missing=True)], rover.contract(), {})
    moved = data.to('cpu')
    assert moved.device == data.device == torch.device('cpu')
    for field in dataclasses.fields(EpisodeSet):
        one, other = getattr(data, field.name), getattr(moved, field.name)
        assert all(torch.equal(one[k], other[k]) for k in one) if field.name in ('percepts', 'valid') else \
            torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other, field.name


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize('share', [0.5, 0.0])
def test_percepts_that_fill_the_gpu_stay_on_the_host_and_batches_come_out_the_same(monkeypatch, share):
    monkeypatch.setattr('jepa_ros.training.data_episodes._GPU_SHARE', share)
    data = from_episodes([rover.episode(20, missing=True)], rover.contract(), {})
    moved = data.to('cuda')
    assert moved.percepts['scan'].device.type == ('cuda' if share else 'cpu') and moved.device.type == 'cuda'
    index = torch.arange(12).view(3, 4)
    one, other = data.take(index), moved.take(index.to('cuda'))
    assert other.actions.device.type == other.percepts['scan'].device.type == 'cuda'
    assert all(torch.equal(one.percepts[key], other.percepts[key].cpu()) for key in one.percepts)
