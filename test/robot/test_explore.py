"""What makes exploration useful for training, and repeatable."""
import numpy as np
import pytest

from jepa_ros.robot.explore import Exploration

LOW, HIGH = np.array([-0.8, -0.4]), np.array([0.8, 0.2])


def drive(seed: int = 0, episode: int = 0, steps: int = 100) -> np.ndarray:
    exploration = Exploration(LOW, HIGH, 0.1, seed)
    exploration.start(episode)
    return np.array([exploration.next() for _ in range(steps)])  # (steps, A)


@pytest.fixture(scope='module')
def many() -> np.ndarray:
    return np.stack([drive(episode=e) for e in range(60)])  # (60, 100, A)


def test_same_seed_and_episode_give_the_same_actions():
    np.testing.assert_array_equal(drive(3, 5), drive(3, 5))


def test_an_episode_does_not_depend_on_those_before():
    exploration = Exploration(LOW, HIGH, 0.1, 0)
    for _ in range(7):
        exploration.next()
    exploration.start(4)
    np.testing.assert_array_equal([exploration.next() for _ in range(100)], drive(0, 4))


@pytest.mark.parametrize('seed, episode', [(1, 0), (0, 1)])
def test_seeds_and_episodes_differ(seed, episode):
    assert not np.array_equal(drive(), drive(seed, episode))


def test_actions_stay_within_limits_that_are_not_symmetric(many):
    assert (many >= LOW).all() and (many <= HIGH).all()
    assert (many == LOW).any() and (many == HIGH).any()


def test_often_at_full_speed_and_sometimes_still(many):
    at_limit = ((many == LOW) | (many == HIGH)).mean()
    still = (many == 0).all(axis=2).mean()
    assert 0.25 < at_limit < 0.75
    assert 0.02 < still < 0.2


def test_headings_hold_for_about_a_second(many):
    def correlation(lag):
        return (many[:, lag:] * many[:, :-lag]).mean() / (many ** 2).mean()

    assert correlation(1) > 0.7 and 0.1 < correlation(10) < 0.6


def test_both_directions_are_explored_equally(many):
    share = np.where(many > 0, many / HIGH, -many / LOW).mean()
    assert abs(share) < 0.1


def test_limits_on_one_side_of_zero_are_explored_all_over():
    exploration = Exploration(np.array([0.0]), np.array([3.0]), 0.1, 0)
    choices = []
    for episode in range(60):
        exploration.start(episode)
        choices += [float(exploration.next()[0]) for _ in range(100)]
    assert 0.0 <= min(choices) and max(choices) <= 3.0
    assert all(np.mean(np.round(choices) == choice) > 0.1 for choice in range(4))


def test_numbers_that_hold_wander_over_their_range_and_stand_still_where_they_are():
    low, high = np.array([-0.1, -2.6, -1.0]), np.array([0.8, -1.7, 1.0])
    exploration = Exploration(low, high, 0.1, 0, hold=np.array([True, True, False]))
    actions, rests = [], 0
    for episode in range(40):
        exploration.start(episode)
        np.testing.assert_allclose(exploration.still(), [0.35, -2.15, 0.0])
        for _ in range(100):
            before = exploration.still()
            actions.append(exploration.next())
            if actions[-1][2] == 0:
                rests += 1
                np.testing.assert_array_equal(actions[-1], before)
    assert rests > 50
    assert (np.array(actions) >= low).all() and (np.array(actions) <= high).all()
    assert np.median(actions, axis=0)[:2] == pytest.approx([0.35, -2.15], abs=0.1)
