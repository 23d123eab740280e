"""Episodes cut from what the robot lives through."""
import torch

from jepa_ros.cost.critic_learner import LONGEST
from jepa_ros.cost.experience import Experience

TICK = 100_000_000
GOAL, OTHER = torch.zeros(2), torch.ones(2)


def lived(experience: Experience, count: int, first: int = 0, energy: float = 1.0):
    return [experience.step((first + i) * TICK, torch.full((2,), float(i)), energy) for i in range(count)]


def test_an_episode_ends_with_its_goal():
    experience = Experience(0.1, tolerance=0.1)
    assert experience.pursue(GOAL) is None and lived(experience, 5) == [None] * 5
    episode = experience.pursue(OTHER)
    assert episode.states.shape == (5, 2) and torch.equal(episode.goal, GOAL) and not episode.finished
    lived(experience, 3, energy=0.05)
    assert experience.pursue(None).finished        # it came within the tolerance


def test_without_a_goal_nothing_is_kept():
    experience = Experience(0.1, 0.1)
    lived(experience, 5)
    assert experience.pursue(GOAL) is None and experience.pursue(None) is None


def test_other_settings_of_the_same_goal_cut_nothing():
    experience = Experience(0.1, 0.1)
    experience.pursue(GOAL)
    lived(experience, 5)
    assert experience.pursue(GOAL.clone()) is None
    assert len(experience.pursue(None).states) == 5


def test_a_gap_in_time_and_a_jump_back_begin_a_new_episode():
    experience = Experience(0.1, 0.1)
    experience.pursue(GOAL)
    lived(experience, 5)
    assert len(lived(experience, 3, first=20)[0].states) == 5
    assert len(lived(experience, 2, first=0)[0].states) == 3


def test_an_endless_episode_is_cut():
    experience = Experience(0.1, 0.1)
    experience.pursue(GOAL)
    ended = [e for e in lived(experience, LONGEST + 1) if e is not None]
    assert len(ended) == 1 and len(ended[0].states) == LONGEST
