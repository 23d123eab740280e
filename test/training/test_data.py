"""Training data: windows, refusals and the cache."""
import dataclasses

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
import tiny
import torch

from jepa_ros.errors import TrainingError
from jepa_ros.training import data as training_data
from jepa_ros.training.data import EpisodeSet, from_episodes

lengths = st.lists(st.integers(2, 12), min_size=1, max_size=6)


def numbered(lengths: list[int]) -> EpisodeSet:
    """Step i is filled with i; windows hold indices, so nothing else is needed."""
    total = sum(lengths)
    starts = torch.tensor([0, *np.cumsum(lengths)[:-1]])
    return EpisodeSet(torch.zeros(total, 1, 1, 3, dtype=torch.uint8), torch.zeros(total, 2), torch.zeros(total, 0),
                      starts, torch.tensor(lengths), (), {})


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


def test_the_same_generator_draws_the_same_windows():
    data = numbered([9, 7])
    one, again = (data.windows(20, 3, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(one, again)


@tiny.invariant
@given(lengths=st.lists(st.integers(2, 5), min_size=2, max_size=60), share=st.floats(0.01, 0.5))
def test_training_and_held_out_episodes_share_none_and_lose_none(lengths, share):
    training, held_out = numbered(lengths).split(share)
    assert len(training.starts) >= 1 and len(held_out.starts) >= 1
    assert torch.cat([training.starts, held_out.starts]).tolist() == numbered(lengths).starts.tolist()
    assert len(held_out.starts) == max(1, round(len(lengths) * share))


def test_one_episode_is_too_few_to_hold_one_out():
    with pytest.raises(TrainingError, match=r'1 episode\(s\) are too few: record at least two'):
        numbered([50]).split()


def test_episodes_are_joined_end_to_end_with_actions_scaled_by_the_contract():
    parts = [tiny.episode(5, 0, 'a'), tiny.episode(3, 1, 'b')]
    data = from_episodes(parts, tiny.contract(), {'bag': 'ff'})
    assert data.starts.tolist() == [0, 5] and data.lengths.tolist() == [5, 3]
    assert torch.equal(data.images[5:], torch.from_numpy(parts[1].percepts['overhead']))
    expected = 2 * (parts[0].actions - [-0.5, -2.0]) / [1.5, 4.0] - 1
    assert np.allclose(data.actions[:5], expected, atol=1e-6)
    assert (data.images.dtype, data.actions.dtype, data.readouts.dtype) == (torch.uint8, torch.float32, torch.float32)
    assert (data.readout_names, data.bags) == (('x_m', 'y_m'), {'bag': 'ff'})


def test_episodes_of_a_single_step_are_left_out():
    data = from_episodes([tiny.episode(1), tiny.episode(4, 1), tiny.episode(0, 2)], tiny.contract(), {})
    assert data.lengths.tolist() == [4]


@pytest.mark.parametrize('episodes', [[], [tiny.episode(1)]])
def test_nothing_to_train_on_is_refused_and_names_the_bags(episodes):
    with pytest.raises(TrainingError, match='no episode with two or more steps in night, day'):
        from_episodes(episodes, tiny.contract(), {'night': '0', 'day': '1'})


@pytest.mark.parametrize('what', ['action', 'readout'])
@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_is_refused_with_file_episode_and_step(what, bad):
    episode = tiny.episode(6, name='e7', source='bags/night')
    values = getattr(episode, what + 's').copy()
    values[4, 1] = bad
    with pytest.raises(TrainingError) as refused:
        from_episodes([tiny.episode(4), dataclasses.replace(episode, **{what + 's': values})], tiny.contract(), {})
    assert str(refused.value).startswith(f'bags/night: episode e7, step 4: {what} is not finite')
    assert '\n' not in str(refused.value)


def same(one: EpisodeSet, other: EpisodeSet) -> bool:
    tensors = ('images', 'actions', 'readouts', 'starts', 'lengths')
    return all(torch.equal(getattr(one, k), getattr(other, k)) for k in tensors) and \
        (one.readout_names, one.bags) == (other.readout_names, other.bags)


def test_the_cache_gives_back_what_was_saved(tmp_path):
    data = tiny.episodes([5, 4])
    training_data.save(data, tmp_path / 'deep' / 'episodes.npz')
    assert same(training_data.load(tmp_path / 'deep' / 'episodes.npz'), data)
    assert [p.name for p in (tmp_path / 'deep').iterdir()] == ['episodes.npz']


@pytest.fixture(scope='module')
def cache(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp('cache') / 'episodes.npz'
    training_data.save(tiny.episodes([5, 4]), path)
    return path.read_bytes()


def refusal(path) -> str:
    with pytest.raises(TrainingError) as refused:
        training_data.load(path)
    line = str(refused.value)
    assert line.startswith(f'{path}: not a readable training cache') and '\n' not in line
    return line


def test_a_missing_cache_is_named(tmp_path):
    refusal(tmp_path / 'gone.npz')


@tiny.invariant
@given(share=st.floats(0, 0.999))
def test_a_truncated_cache_is_refused_in_one_line(cache, tmp_path, share):
    path = tmp_path / 'episodes.npz'
    path.write_bytes(cache[:int(len(cache) * share)])
    refusal(path)


@tiny.invariant
@given(share=st.floats(0, 0.999), bit=st.integers(0, 7))
def test_a_flipped_bit_in_a_cache_is_harmless_or_refused_in_one_line(cache, tmp_path, share, bit):
    path, damaged = tmp_path / 'episodes.npz', bytearray(cache)
    damaged[int(len(cache) * share)] ^= 1 << bit
    path.write_bytes(damaged)
    try:
        loaded = training_data.load(path)
    except TrainingError as error:
        assert str(error).startswith(f'{path}: ') and '\n' not in str(error)
    else:
        assert same(loaded, tiny.episodes([5, 4]))      # for instance a time stamp inside the archive


@pytest.mark.parametrize('content', [b'', b'garbage', b'\x93NUMPY\x01\x00'])
def test_another_file_as_a_cache_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / 'episodes.npz'
    path.write_bytes(content)
    refusal(path)


def test_an_array_file_and_an_archive_of_other_arrays_are_refused(tmp_path):
    np.save(tmp_path / 'a.npy', np.zeros(3))
    refusal(tmp_path / 'a.npy')
    np.savez(tmp_path / 'b.npz', images=np.zeros(3))
    refusal(tmp_path / 'b.npz')


def test_pickled_objects_in_a_cache_are_never_loaded(tmp_path):
    np.savez(tmp_path / 'a.npz', images=np.array([{'a': 1}], dtype=object))
    assert 'pickle' in refusal(tmp_path / 'a.npz')
