"""When Mode-1 is enough."""
import dataclasses

import acting
from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
import tiny
import torch

from jepa_ros.actor.actor import PLANNED, REACTIVE
from jepa_ros.actor.arbiter import Arbiter, Evidence, KEEPS_S, PATIENCE_S, SURPRISED
from jepa_ros.actor.policy import Policy
from jepa_ros.cost.cost import Region
from jepa_ros.cost.critic import Critic

SURE = Evidence(uncertainty=0.1, now=1.0, ahead=0.5)


def but(**changes) -> Evidence:
    return dataclasses.replace(SURE, **changes)


def surprised(surprise: float = 50.0) -> Arbiter:
    arbiter = Arbiter(0.5, 0.1)
    arbiter.surprise = surprise
    return arbiter


def progressing(count: int, **changes):
    return [but(now=0.9 ** i, ahead=0.5 * 0.9 ** i, **changes) for i in range(count)]


def test_mode_1_acts_alone_while_nothing_speaks_against_it():
    arbiter = Arbiter(0.5)
    choices = [arbiter.choose(evidence) for evidence in progressing(40)]
    assert all(choice.reactive for choice in choices) and choices[0].why.startswith('Mode-1: sure')


def test_each_doubt_calls_mode_2_and_is_named():
    for doubt, words in ((but(uncertainty=0.6), 'unsure'), (but(ahead=1.1), 'would not lower the energy'),
                         (but(uncertainty=np.inf), 'unsure'), (but(uncertainty=np.nan), 'unsure'),
                         (but(ahead=np.nan), 'would not lower')):
        choice = Arbiter(0.5).choose(doubt)
        assert not choice.reactive and words in choice.why, doubt
    choice = surprised(2 * SURPRISED).choose(SURE)
    assert not choice.reactive and 'surprised' in choice.why


def test_an_unknown_surprise_is_no_doubt_and_at_the_goal_the_energy_need_not_fall():
    assert surprised(np.nan).choose(SURE).reactive
    assert Arbiter(0.5).choose(but(now=0.005, ahead=0.006, there=True)).reactive


def test_mode_2_keeps_the_wheel_until_no_doubt_has_come_for_a_while():
    arbiter = surprised()
    arbiter.choose(SURE)
    arbiter.surprise = 1.0
    modes = [arbiter.choose(SURE).reactive for _ in range(10)]
    assert modes == [False] * round(KEEPS_S / 0.1) + [True] * (10 - round(KEEPS_S / 0.1))


def test_uncertainty_around_the_threshold_does_not_make_it_flicker():
    arbiter = Arbiter(0.5)
    modes = [arbiter.choose(but(uncertainty=0.5 + 0.02 * (-1) ** i, now=0.9 ** i, ahead=0.0)).reactive
             for i in range(40)]
    assert sum(a != b for a, b in zip(modes, modes[1:])) <= 1


def test_without_progress_mode_2_is_called():
    arbiter = Arbiter(0.5, 0.1)
    choices = [arbiter.choose(SURE) for _ in range(round(PATIENCE_S / 0.1) + 2)]
    assert choices[-2].reactive and not choices[-1].reactive and 'no progress' in choices[-1].why


def test_who_got_stuck_gets_the_wheel_back_when_mode_2_has_come_nearer():
    arbiter = Arbiter(0.5, 0.1)
    while arbiter.choose(SURE).reactive:
        pass
    waiting = [arbiter.choose(SURE) for _ in range(30)]
    assert not any(choice.reactive for choice in waiting) and 'not yet nearer' in waiting[-1].why
    assert arbiter.choose(but(now=0.9, ahead=0.4)).reactive


def test_a_new_goal_forgets_the_doubts_of_the_old_one():
    arbiter = surprised()
    arbiter.choose(SURE)
    arbiter.reset()
    assert arbiter.choose(SURE).reactive


@tiny.invariant
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 100), st.floats(0, 2), st.floats(0, 2)), max_size=60))
def test_mode_1_never_acts_where_it_is_unsure_or_surprised_or_raises_the_energy(ticks):
    arbiter = Arbiter(0.5)
    for uncertainty, arbiter.surprise, now, ahead in ticks:
        if arbiter.choose(Evidence(uncertainty, now, ahead)).reactive:
            assert uncertainty <= 0.5 and arbiter.surprise <= SURPRISED and ahead < now


# in the actor
def sure_policy(doubt: float = 0.05) -> Policy:
    """Straight to the goal of `acting`, with the same doubt everywhere."""
    torch.manual_seed(0)
    made = Policy(2, 2, 4, 16, doubts=True).requires_grad_(False)
    with torch.no_grad():
        for p in made.parameters():
            p.zero_()
        made.net[-1].bias.copy_(torch.tensor([(0.9, -0.9)] * 2 + [(0.0, 0.0)] * 2).atanh().flatten())
        made.doubt[-1].bias.fill_(torch.logit(torch.tensor(doubt)))
    return made


def actor(policy: Policy, mode: str = 'auto', threshold: float = 0.2, **settings):
    made = acting.actor(policy=policy)
    made._arbiter = Arbiter(threshold)
    made.configure(goal=acting.GOAL, budget_ms=10_000, mode=mode, **settings)
    return made


def test_auto_leaves_the_wheel_to_a_sure_policy_and_says_why():
    decision = actor(sure_policy()).act(acting.at())
    assert decision.mode == REACTIVE and decision.why.startswith('Mode-1: sure') and not decision.degradation
    assert np.allclose(decision.actions, actor(sure_policy(), 'reactive').act(acting.at()).actions)


def test_auto_plans_where_mode_1_doubts_that_it_arrives():
    decision = actor(sure_policy(0.6)).act(acting.at())
    assert decision.mode == PLANNED and 'Mode-1 is unsure' in decision.why


def test_auto_plans_after_a_surprise():
    made = actor(sure_policy())
    assert made.act(acting.at()).mode == REACTIVE
    made.notice(100.0)
    decision = made.act(acting.at())
    assert decision.mode == PLANNED and 'surprised' in decision.why


def test_planned_and_reactive_do_not_ask_the_arbiter():
    assert actor(sure_policy(), 'planned').act(acting.at()).mode == PLANNED
    reactive = actor(sure_policy(0.9), 'reactive').act(acting.at())
    assert reactive.mode == REACTIVE and reactive.why == ''


def test_a_reflex_that_breaks_a_guardrail_is_not_taken():
    # the way of the reflex leads through the region, a plan can go round it
    region = Region({'x_m': 0.1, 'y_m': -0.1}, 0.05)
    decision = actor(sure_policy(), regions=[region]).act(acting.at())
    assert decision.why == 'Mode-2: Mode-1 breaks a guardrail'


def test_a_policy_of_unknown_uncertainty_changes_nothing():
    with_arbiter, without = actor(acting.policy()), acting.ready(policy=acting.policy())
    for x in (0.0, 0.05):
        one, other = with_arbiter.act(acting.at(x)), without.act(acting.at(x))
        assert one.mode == other.mode == PLANNED and np.array_equal(one.actions, other.actions)


@pytest.mark.parametrize('asked', [{'weights': {'effort': 0.5}}, {'program': torch.zeros(3, 2)},
                                   {'discomfort': [Region({'x_m': 0.4, 'y_m': 0.4}, 0.1)]}])
def test_who_was_not_taught_the_task_neither_acts_nor_seeds_plans(asked):
    """A policy that learned to reach goals knows nothing of saving energy, of a way to follow, of unpleasant places."""
    decision = actor(sure_policy(), **asked).act(acting.at())
    assert decision.mode == PLANNED and not decision.why
    assert np.array_equal(decision.actions, actor(acting.policy(), **asked).act(acting.at()).actions)


def test_the_weight_of_the_critic_is_no_other_task():
    made = acting.actor(policy=sure_policy())
    made._cost._critic = Critic(2, 8).requires_grad_(False)
    made._arbiter = Arbiter(0.2)
    made.configure(goal=acting.GOAL, budget_ms=10_000, weights={'critic': 1.0})
    assert made.act(acting.at()).mode == REACTIVE
