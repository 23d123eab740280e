"""Goals that an agent gets while nobody watches."""
import numpy as np

from jepa_ros.robot.random_goals import RandomGoals, RESERVOIR

MEAN, STD = np.array([1.0, -2.0]), np.array([0.5, 0.1])


def goals(seed: int = 0) -> RandomGoals:
    return RandomGoals(['x_m', 'y_m'], MEAN, STD, seed)


def test_goals_spread_as_the_readouts_of_the_training_data():
    one = goals()
    drawn = np.array([list(one.draw().values()) for _ in range(4000)])
    assert np.abs(drawn.mean(0) - MEAN).max() < 0.05 and np.abs(drawn.std(0) / STD - 1).max() < 0.05


def test_half_of_the_goals_were_seen():
    one = goals()
    for x in range(3 * RESERVOIR):
        one.seen({'x_m': 100.0 + x, 'y_m': 5.0})
    drawn = [one.draw() for _ in range(1000)]
    assert 400 < sum(goal['y_m'] == 5.0 for goal in drawn) < 600
    assert max(goal['x_m'] for goal in drawn) > 100 + RESERVOIR      # late ones are among them too


def test_readouts_that_cannot_be_goals_are_passed_over():
    one = goals()
    one.seen({'x_m': float('nan'), 'y_m': 0.0})
    one.seen({'x_m': 7.0})
    assert all(goal['x_m'] < 3 for goal in (one.draw() for _ in range(50)))


def test_the_same_seed_draws_the_same_goals():
    assert [goals(3).draw() for _ in range(3)] == [goals(3).draw() for _ in range(3)] != [goals(4).draw()] * 3
