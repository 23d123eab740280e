"""From Mode-2 to Mode-1 and the critic."""
import math

import pytest
import tiny
import torch

from jepa_ros.actor.planners import PlannerConfig
from jepa_ros.actor.policy import Policy
from jepa_ros.cost.cost import Cost
from jepa_ros.cost.critic import Critic
from jepa_ros.energy.distance import squared
from jepa_ros.errors import TrainingError
from jepa_ros.training import distill
from jepa_ros.training.config import Distillation

PLANNERS = [PlannerConfig(samples=64, iterations=4, horizon=4, elites=8, min_std=0.05)] * 2
PROBLEMS = 150


@pytest.fixture(scope='module')
def world():
    """The integrator, and states of episodes that lie within a metre."""
    data = tiny.episodes([30] * 6)
    s = 0.5 * torch.randn(180, 2, generator=torch.Generator().manual_seed(0))
    return tiny.integrator_model(2), data, s


@pytest.fixture(scope='module')
def taught(world):
    model, data, s = world
    return distill.lessons(model, Cost(model, ['x_m', 'y_m']), PLANNERS, data, s, PROBLEMS, seed=0)


def test_start_and_goal_are_of_one_episode(world):
    _, data, _ = world
    start, goal, first = distill.pairs(data, torch.zeros(180, 1), 500, torch.Generator().manual_seed(0))
    assert bool(((start // 30) == (goal // 30)).all()) and torch.equal(first, start // 30 * 30)
    assert len(start.unique()) > 150 and not torch.equal(start, goal)


@pytest.mark.parametrize('recalled, least, most', [(1, 0.0, 0.2), (0, 0.8, 2.0)])
def test_what_only_memory_knows_is_learned_by_a_policy_that_asks_it(recalled, least, most):
    """The right action is on the side that memory tells; nothing in state and goal does."""
    torch.manual_seed(0)
    side = torch.randint(0, 2, (2000, 1)) * 2.0 - 1
    lessons = distill.Lessons(torch.randn(2000, 2), torch.randn(2000, 2), 0.5 * side[:, None].expand(-1, 4, 2),
                              torch.rand(2000), side)
    policy, critic = Policy(2, 2, 4, 32, recalled=recalled), Critic(2, 8)
    figures = distill.distill(policy, critic, lessons, Distillation(problems=10, updates=200, batch=128, lr=3e-3), 0)
    assert least <= figures['policy_error'] <= most


def test_each_problem_is_followed_for_all_its_periods(taught):
    assert taught.s.shape == taught.goal.shape == (PROBLEMS * distill.PERIODS, 2)
    assert taught.actions.shape == (PROBLEMS * distill.PERIODS, 4, 2)
    assert taught.to_come.shape == (PROBLEMS * distill.PERIODS,)


def test_the_policy_learns_from_states_its_teacher_comes_through(taught):
    """A lesson starts where the plan of the lesson before it ended: s + 0.1 · Σ a of the integrator."""
    s, actions = (x.unflatten(0, (distill.PERIODS, PROBLEMS)) for x in (taught.s, taught.actions))
    assert torch.allclose(s[1:], s[:-1] + 0.1 * actions[:-1].sum(2), atol=1e-5)


def test_mode_2_brings_the_states_to_their_goals(taught):
    distance = squared(taught.s, taught.goal).sqrt().unflatten(0, (distill.PERIODS, PROBLEMS)).mean(1)
    assert float(distance[-1]) < 0.25 * float(distance[0])


def test_energy_to_come_is_the_discounted_mean_of_what_follows(taught):
    """LeCun §3.3, Fig. 7: v_t = (1 − γ) e_t + γ v_{t+1}; e_t is the mean distance along the plan of period t."""
    s, goal, actions, to_come = (
        x.unflatten(0, (distill.PERIODS, PROBLEMS)) for x in (taught.s, taught.goal, taught.actions, taught.to_come))
    along = s[:, :, None] + 0.1 * actions.cumsum(2)
    energy = squared(along, goal[:, :, None]).mean(2)
    value = squared(along[-1, :, -1], goal[-1])
    for t in reversed(range(distill.PERIODS)):
        value = (1 - distill.DISCOUNT) * energy[t] + distill.DISCOUNT * value
        assert torch.allclose(to_come[t], value, atol=1e-5)


def test_the_same_seed_teaches_the_same_lessons(world, taught):
    model, data, s = world
    again = distill.lessons(model, Cost(model, ['x_m', 'y_m']), PLANNERS, data, s, PROBLEMS, seed=0)
    assert torch.equal(again.actions, taught.actions) and torch.equal(again.to_come, taught.to_come)


def test_policy_and_critic_learn_their_lessons(taught):
    """LeCun §3.1.3, Fig. 5: Mode-1 approximates Mode-2; §3.3: the critic foresees the energy to come."""
    torch.manual_seed(0)
    policy, critic = Policy(2, 2, 4, 64), Critic(2, 32)
    config = Distillation(problems=PROBLEMS, updates=400, batch=64, lr=1e-2)
    figures = distill.distill(policy, critic, taught, config, seed=0)
    assert figures['policy_error'] < 0.3 and figures['critic_r2'] > 0.3     # 1 and 0 are those of a constant
    here, goal = torch.zeros(2), torch.tensor([0.4, -0.4])
    with torch.no_grad():
        first = policy(here, goal)[0]
        near, far = critic(here, goal), critic(here, 3 * goal)
    assert float(first[0]) > 0.2 and float(first[1]) < -0.2
    assert float(far) > float(near)


def test_lessons_of_an_unusable_world_model_are_refused_in_one_line(taught):
    broken = distill.Lessons(taught.s, taught.goal, taught.actions, torch.full_like(taught.to_come, math.nan),
                             taught.known)
    with pytest.raises(TrainingError, match='distillation: a plan has an energy that is not finite') as refused:
        distill.distill(Policy(2, 2, 4, 8), Critic(2, 8), broken, Distillation(), seed=0)
    assert '\n' not in str(refused.value)
