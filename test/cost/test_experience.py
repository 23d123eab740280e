"""Episodes cut from what the robot lives through."""
import pytest
import tiny
import torch

from jepa_ros.cost.cost import Cost, Goal
from jepa_ros.cost.critic import Critic
from jepa_ros.cost.critic_learner import LONGEST
from jepa_ros.cost.experience import Asked, Experience
from jepa_ros.robot.drives import Drives, Range

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


def wanted(drives: Drives | None = None, **values: float) -> Asked:
    """A goal in readouts of the integrator, whose state is what it reads out."""
    model = tiny.integrator_model(1)
    model.levels[0].readout = torch.nn.Identity()
    cost = Cost(model, ['x_m', 'y_m'], Critic(2, 8), drives)
    cost.configure(goal=Goal(readouts=values), weights={'critic': 1.0})
    return Asked(values, 0.1, cost, cost.settings)


def drive(experience: Experience, *places: tuple[float, float]) -> None:
    for tick, (x, y) in enumerate(places):
        experience.step(tick * TICK, torch.tensor([x, y]), 7.0, {'x_m': x, 'y_m': y})


PLACES = (0.0, 0.0), (0.2, 0.0), (0.38, 0.0)


def test_a_goal_in_readouts_that_was_reached_teaches_with_the_state_in_which_it_was():
    experience, asked = Experience(0.1, 0.01), wanted(x_m=0.4)
    experience.pursue(asked)
    drive(experience, *PLACES)
    episode = experience.pursue(None)
    assert torch.equal(episode.goal, torch.tensor(PLACES[-1])) and episode.finished
    state_goal = asked.cost
    state_goal.configure(goal=Goal(levels=(episode.goal,)))
    each = [state_goal.evaluate(s[None]) for s in episode.states]      # as a goal that was shown would have cost
    assert episode.energies.tolist() == pytest.approx([
        sum(t.weight * t.value for t in report.terms if t.intrinsic) for report in each])
    assert episode.energies[0] > episode.energies[1] > episode.energies[2] == 0


def test_a_goal_in_readouts_that_was_not_reached_teaches_nothing():
    experience = Experience(0.1, 0.01)
    experience.pursue(wanted(x_m=0.9))
    drive(experience, *PLACES)
    assert experience.pursue(None) is None


def test_the_same_readouts_again_cut_nothing_and_others_do():
    experience = Experience(0.1, 0.01)
    experience.pursue(wanted(x_m=0.4))
    drive(experience, *PLACES)
    assert experience.pursue(wanted(x_m=0.4)) is None
    assert len(experience.pursue(wanted(x_m=0.5)).states) == 3


def test_a_place_where_no_goal_may_be_teaches_nothing():
    experience, asked = Experience(0.1, 0.01), wanted(Drives(limits=[Range(readout='y_m', high=0.5)]), x_m=0.4)
    experience.pursue(asked)
    drive(experience, (0.0, 0.4), (0.38, 0.6))      # there, but where it must not be
    assert experience.pursue(None) is None
