"""Worlds of the benchmark of latents: what is random is so as they say, and nothing else is."""
from pathlib import Path
import sys

import numpy as np
import pytest

BENCHMARK = str(Path(__file__).parents[2] / 'benchmark')


@pytest.fixture(scope='module')
def worlds():
    sys.path.insert(0, BENCHMARK)
    try:
        import stochastic_worlds
    finally:
        sys.path.remove(BENCHMARK)
    return stochastic_worlds


@pytest.fixture(scope='module')
def forks(worlds):
    return worlds.fork(300, 18, 0)


@pytest.fixture(scope='module')
def obstacles(worlds):
    return worlds.obstacle(150, 18, 0)


@pytest.mark.parametrize('name', ['fork', 'obstacle'])
def test_the_same_seed_draws_the_same_episodes_and_another_does_not(worlds, name):
    one, again, other = (worlds.WORLDS[name](3, 5, seed) for seed in (1, 1, 2))
    assert np.array_equal(one.images, again.images) and np.array_equal(one.actions, again.actions)
    assert not np.array_equal(one.images, other.images)
    assert one.images.shape == (3, 5, worlds.SIZE, worlds.SIZE, 3) and one.images.dtype == np.uint8


def test_the_right_side_is_taken_as_often_as_the_lamp_says(worlds, forks):
    taken = forks.side[:, -1]
    for chance in worlds.CHANCES:
        some = taken[(forks.chance == np.float32(chance)) & (taken != 0)]
        assert (some > 0).mean() == pytest.approx(chance, abs=4 * np.sqrt(chance * (1 - chance) / len(some)))


def test_a_side_is_decided_once_and_only_behind_the_junction(worlds, forks):
    decided = forks.side != 0
    assert bool((decided[:, 1:] >= decided[:, :-1]).all())
    before, after = forks.side[:, :-1], forks.side[:, 1:]
    assert bool((before == after)[decided[:, :-1]].all())
    assert bool((np.abs(forks.place[decided][:, 0] - worlds.MIDDLE_PX) >= worlds.PUSH_PX).all())
    assert bool((forks.place[~decided][:, 0] == worlds.MIDDLE_PX).all())


def test_before_the_junction_the_images_tell_the_lamp_and_nothing_of_the_side(worlds, forks):
    first = forks.images[:, 0]
    lamp = first[:, worlds.LAMP[0], worlds.LAMP[1]].mean((1, 2, 3)) / 255
    assert np.allclose(lamp, forks.chance, atol=0.01)
    last = forks.images[forks.side[:, -1] != 0, -1]
    left, right = slice(1, 16), slice(31, 16, -1)       # mirror images about the middle column
    assert np.array_equal(first[:, :, left], first[:, :, right])
    assert not any(np.array_equal(image[:, left], image[:, right]) for image in last)


def test_the_other_outcome_differs_in_the_side_alone(worlds, forks):
    done = forks.side[:, -1] != 0
    left, right = worlds.both_ways(forks.place[done, -1], forks.chance[done])
    came = np.where((forks.side[done, -1] > 0)[:, None, None, None], right, left)
    assert np.array_equal(came, forks.images[done, -1])
    assert not np.array_equal(left, right)


def test_the_throttle_decides_every_step_of_the_fork_but_the_push(worlds, forks):
    step = forks.place[:, 1:] - forks.place[:, :-1]
    wanted = worlds.SPEED_PX + worlds.THROTTLE_PX * forks.actions[:, :-1, 0]
    upwards = (forks.side[:, 1:] == 0)
    assert np.allclose(-step[..., 1][upwards], wanted[upwards], atol=1e-5)


def test_the_obstacle_wanders_as_far_as_said(worlds, obstacles):
    away = obstacles.place - worlds.MIDDLE_PX
    for steps in (1, 4, 8):
        wandered = away[:, steps:] - worlds.KEEP ** steps * away[:, :-steps]
        assert float(wandered.std()) == pytest.approx(worlds.wandered_std(steps), rel=0.1)
    assert worlds.wandered_std(1) == worlds.SIGMA_PX


def test_steps_of_the_obstacle_owe_nothing_to_the_actions_nor_to_the_step_before(worlds, obstacles):
    away = obstacles.place - worlds.MIDDLE_PX
    noise = away[:, 1:] - worlds.KEEP * away[:, :-1]
    for other in (obstacles.actions[:, :-1], np.roll(noise, 1, 1)):
        assert abs(np.corrcoef(noise[:, 1:].ravel(), other[:, 1:].ravel())[0, 1]) < 0.06


def test_a_fair_coin_is_one_bit(worlds):
    assert worlds.coin_bits(np.array([0.5, 0.2])) == pytest.approx([1.0, 0.7219], abs=1e-4)
