"""Perceived and imagined triplets side by side, and the sequences a learner draws."""
from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
from tiny import invariant
import torch

from jepa_ros.memory.episodic import EpisodicStore, Run

S = 1_000_000_000


def place(x: float) -> torch.Tensor:
    return torch.tensor([float(x)])


@invariant
@given(st.lists(st.booleans(), max_size=30), st.integers(1, 6))
def test_imagination_gives_way_first_and_never_displaces_experience(imagined, capacity):
    store = EpisodicStore(1, capacity)
    perceived, fantasies = [], []
    for i, flag in enumerate(imagined):
        kept = store.append(i, place(i), 0.0, imagined=flag)
        full = len(perceived) + len(fantasies) == capacity
        if flag and full and not fantasies:
            assert not kept
            continue
        assert kept
        if full:
            (fantasies or perceived).pop(0)
        (fantasies if flag else perceived).append(i)
    assert sorted(store.stamps_ns[~store.imagined].tolist()) == perceived
    assert sorted(store.stamps_ns[store.imagined].tolist()) == fantasies


def driven(capacity: int = 100) -> EpisodicStore:
    store = EpisodicStore(1, capacity)
    first = store.begin(Run('e1', 'g1'))
    for i in range(4):
        store.append(i * S, place(i), i, first)
        store.append((i + 1) * S, place(-i), 0.0, store.begin(Run('imagined')), imagined=True)
    second = store.begin(Run('e1', 'g2'))
    for i in (4, 5, 9, 10):
        store.append(i * S, place(i), i, second)
    return store


def test_a_trajectory_stays_within_one_goal_of_one_episode():
    found = driven().trajectories()
    assert [(t.run, t.stamps_ns.tolist()) for t in found] == [
        (Run('e1', 'g1'), [0, S, 2 * S, 3 * S]), (Run('e1', 'g2'), [4 * S, 5 * S, 9 * S, 10 * S])]
    assert [t.states[:, 0].tolist() for t in found] == [[0, 1, 2, 3], [4, 5, 9, 10]]
    assert not any(t.imagined for t in found)


def test_a_gap_in_time_cuts_a_trajectory_and_single_states_are_left_out():
    assert [t.stamps_ns.tolist() for t in driven().trajectories(max_gap_s=1.5)] == [
        [0, S, 2 * S, 3 * S], [4 * S, 5 * S], [9 * S, 10 * S]]
    assert [len(t) for t in driven().trajectories(max_gap_s=0.5)] == []
    assert len(driven().trajectories(max_gap_s=0.5, shortest=1)) == 8


def test_time_that_goes_back_cuts_a_trajectory():
    store = EpisodicStore(1, 10)
    for stamp in (5, 6, 1, 2):
        store.append(stamp, place(stamp), 0.0)
    assert [t.stamps_ns.tolist() for t in store.trajectories()] == [[5, 6], [1, 2]]


def test_trajectories_stay_in_order_when_space_was_short():
    store = EpisodicStore(1, 4)
    for i in range(7):
        store.append(i, place(i), 0.0)
    assert [t.stamps_ns.tolist() for t in store.trajectories()] == [[3, 4, 5, 6]]


def test_imagined_futures_are_trajectories_of_their_own():
    store = EpisodicStore(1, 10)
    for start in (10, 20):
        run = store.begin(Run('imagined', 'g'))
        for i in range(3):
            store.append(start + i, place(i), 0.0, run, imagined=True)
    assert [(t.imagined, t.stamps_ns.tolist()) for t in store.trajectories(imagined=True)] == [
        (True, [10, 11, 12]), (True, [20, 21, 22])]
    assert store.trajectories() == []


def test_actions_belong_to_the_perceived_state_they_were_taken_in():
    store = EpisodicStore(1, 10)
    store.append(1, place(0), 0.0)
    store.append(2, place(1), 0.0, imagined=True)
    store.append(2, place(2), 0.0)
    assert store.trajectories()[0].actions.shape == (2, 0)
    assert store.act(2, np.array([0.5, -1.0])) and not store.act(7, np.array([0.5, -1.0]))
    actions = store.trajectories()[0].actions
    assert np.isnan(actions[0]).all() and actions[1].tolist() == [0.5, -1.0]
    assert np.isnan(store.actions[1]).all()


def test_a_used_again_slot_has_no_action_of_before():
    store = EpisodicStore(1, 1)
    store.append(1, place(0), 0.0)
    store.act(1, np.array([1.0]))
    store.append(2, place(0), 0.0)
    assert np.isnan(store.actions).all()


@pytest.mark.parametrize('capacity, perceived, imagined', [
    (100, list(range(4)) + [4, 5, 9, 10], 4), (9, list(range(4)) + [4, 5, 9, 10], 1), (3, [5, 9, 10], 0)])
def test_a_smaller_store_keeps_the_newest_experience_before_any_imagination(capacity, perceived, imagined):
    store = driven().resized(capacity)
    assert sorted(store.stamps_ns[~store.imagined].tolist()) == [i * S for i in perceived]
    assert int(store.imagined.sum()) == imagined
    assert store.trajectories()[-1].run == Run('e1', 'g2')


def test_names_of_runs_of_which_nothing_is_left_are_forgotten():
    store = EpisodicStore(1, 2)
    for i in range(200):
        store.append(i, place(i), 0.0, store.begin(Run(f'e{i}')))
    assert len(store.runs) < 40
    assert {store.runs[int(n)].episode for n in store.run} == {'e198', 'e199'}
