"""Which episodes are held out."""
from hypothesis import given
from hypothesis import strategies as st
import pytest
import tiny
import torch

from jepa_ros.errors import TrainingError
from jepa_ros.training.data import from_episodes

from .test_data import numbered


@tiny.invariant
@given(lengths=st.lists(st.integers(2, 5), min_size=2, max_size=60), share=st.floats(0.01, 0.5))
def test_training_and_held_out_episodes_share_none_and_lose_none(lengths, share):
    training, held_out = numbered(lengths).split(share)
    assert len(training.starts) >= 1 and len(held_out.starts) >= 1
    assert torch.cat([training.starts, held_out.starts]).tolist() == numbered(lengths).starts.tolist()
    assert len(held_out.starts) == max(1, round(len(lengths) * share))


@tiny.invariant
@given(length=st.integers(2, 2000), gap=st.integers(0, 100))
def test_the_end_of_a_single_episode_is_held_out_a_gap_away(length, gap):
    data = numbered([length])
    if round(length / 10) < 2 or length - round(length / 10) - gap < 2:
        with pytest.raises(TrainingError, match=f'of at most {length} steps are too few.*record'):
            data.split(gap=gap)
        return
    training, held_out = data.split(gap=gap)
    assert (int(training.starts), int(held_out.starts + held_out.lengths)) == (0, length)
    assert int(held_out.starts) - int(training.lengths) == gap
    assert int(held_out.lengths) == round(length / 10)


def test_every_long_episode_can_be_cut_in_time_and_short_ones_are_for_training():
    training, held_out = numbered([100, 12, 50]).split_in_time(0.2, gap=5)
    assert (training.starts.tolist(), training.lengths.tolist()) == ([0, 100, 112], [75, 5, 35])
    assert (held_out.starts.tolist(), held_out.lengths.tolist()) == ([80, 110, 152], [20, 2, 10])
    training, held_out = numbered([100, 12, 50]).split_in_time(0.2, gap=10)
    assert (training.lengths.tolist(), held_out.starts.tolist()) == ([70, 12, 30], [80, 152])


@pytest.fixture
def recorded():
    parts = [tiny.episode(4, i, f'e{i}', f'bags/{bag}') for i, bag in enumerate(('day', 'night', 'day', 'night'))]
    return from_episodes(parts, tiny.contract(), {'day': '00', 'night': '11'})


def test_a_bag_can_be_held_out_by_its_name(recorded):
    training, held_out = recorded.split_by_bag(['night'])
    assert training.names == ('day: episode e0', 'day: episode e2') and training.starts.tolist() == [0, 8]
    assert held_out.names == ('night: episode e1', 'night: episode e3') and held_out.starts.tolist() == [4, 12]


@pytest.mark.parametrize('names, words', [
    (['nigth'], "no bag 'nigth' in the data: day, night"), (['day', 'night'], 'no episodes are left to train on'),
    ([], 'no episodes are in the bags named')])
def test_a_split_by_bags_that_leaves_nothing_is_refused_in_one_line(recorded, names, words):
    with pytest.raises(TrainingError, match=words) as refused:
        recorded.split_by_bag(names)
    assert '\n' not in str(refused.value)
