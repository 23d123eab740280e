"""The critic that learns while the robot drives."""
from hypothesis import given
from hypothesis import strategies as st
import pytest
import tiny
import torch

from jepa_ros.cost.critic import Critic
from jepa_ros.cost.critic_learner import (
    CriticLearner,
    lambda_returns,
    LearnerSettings,
    LONGEST,
    realised,
    Trajectory,
)
from jepa_ros.errors import ConfigError

QUICK = LearnerSettings(rate=1e-2, updates=60, windows=8, window=16, discount=0.9)


def approach(seed: int, steps: int = 30, finished: bool = True) -> Trajectory:
    """A point that comes a tenth nearer to its goal with each step; its energy is the squared distance."""
    generator = torch.Generator().manual_seed(seed)
    goal, start = torch.randn(2, generator=generator), torch.randn(2, generator=generator)
    states = goal + (start - goal) * 0.9 ** torch.arange(steps)[:, None]
    return Trajectory(states, (states - goal).square().mean(1), goal, finished=finished)


def learner(episodes: int = 10, **changes) -> CriticLearner:
    torch.manual_seed(0)
    made = CriticLearner(Critic(2, 32, changes.pop('quantiles', 1)),
                         LearnerSettings(**{**QUICK.__dict__, **changes}))
    for seed in range(episodes):
        made.add(approach(seed))
    return made


@pytest.mark.parametrize('quantiles', [1, 8])
def test_learns_to_foresee_what_really_comes_on_episodes_it_never_saw(quantiles):
    """LeCun §3.3: the critic is trained to predict future intrinsic energy from memory."""
    made = learner(30, quantiles=quantiles)
    unseen = [approach(seed) for seed in range(100, 110)]
    before = made.r2(unseen)
    rounds = [made.learn() for _ in range(15)]
    assert made.r2(unseen) > 0.6 > before
    assert rounds[-1].r2 > 0.6 and rounds[-1].held_out == 6 and rounds[-1].episodes == 30


def test_the_unit_of_a_critic_that_only_ranks_is_put_right_by_two_numbers():
    made = learner(30)
    for _ in range(15):
        made.learn()
    unseen = [approach(seed) for seed in range(100, 110)]
    right = made.r2(unseen)
    with torch.no_grad():
        made.critic.net[-1].weight.mul_(0.3)    # the same order of states, another unit
        made.critic.net[-1].bias.mul_(0.3).sub_(2.0)
    assert made.r2(unseen) < right - 0.3 and made.rescale()
    assert made.r2(unseen) > right - 0.1
    assert torch.equal(made._target.net[-1].weight, made.critic.net[-1].weight)


def test_where_a_round_teaches_nothing_the_unit_is_put_right():
    """Few drives: what a wild step unlearns is undone, two numbers are learned all the same."""
    made = learner(30)
    for _ in range(15):
        made.learn()
    with torch.no_grad():
        made.critic.net[-1].weight.mul_(0.3)
        made.critic.net[-1].bias.mul_(0.3).sub_(2.0)
    made._optimiser.param_groups[0]['lr'] = 100.0
    undone = made.rolled_back
    done = made.learn()
    assert done.kept and done.after < 0.5 * done.before and made.rolled_back == undone
    again = made.learn()        # the unit is right now: a little more of it is no version
    assert not again.kept and made.rolled_back == undone + 1


def test_a_unit_that_does_not_suit_the_held_out_episodes_is_not_taken():
    made = learner(10)
    made._held_out.clear()
    standing = approach(50)
    made._held_out.append(made._checked(Trajectory(standing.states, 10 + standing.energies, standing.goal)))
    before = made.weights()
    assert not made.rescale() and all(torch.equal(before[name], now) for name, now in made.weights().items())
    assert not CriticLearner(Critic(2, 8)).rescale()    # nothing was lived through


def test_a_round_that_raises_the_error_is_undone_with_optimiser_and_target():
    made = learner()
    for _ in range(8):
        made.learn()
    kept, target, optimiser = made._state()
    made._optimiser.param_groups[0]['lr'] = 100.0       # what a wild step would do
    done = made.learn()
    assert not done.kept and done.after > done.before and made.rolled_back >= 1
    now, now_target, _ = made._state()
    assert all(torch.equal(now[name], kept[name]) for name in kept)
    assert all(torch.equal(now_target[name], target[name]) for name in target)
    moments = made._optimiser.state_dict()['state']
    assert all(torch.equal(moments[i][k], v) for i, each in optimiser['state'].items() for k, v in each.items())


def test_the_same_episodes_and_seed_give_the_same_critic():
    one, other, third = learner(), learner(), learner(seed=1)
    for each in (one, other, third):
        each.learn()
    same = [torch.equal(a, b) for a, b in zip(one.weights().values(), other.weights().values())]
    assert all(same)
    assert not all(torch.equal(a, b) for a, b in zip(one.weights().values(), third.weights().values()))


def test_the_critic_it_was_given_is_not_touched():
    critic = Critic(2, 16)
    before = {name: value.clone() for name, value in critic.state_dict().items()}
    made = CriticLearner(critic, QUICK)
    for seed in range(4):
        made.add(approach(seed))
    assert made.learn() is not None
    assert all(torch.equal(critic.state_dict()[name], before[name]) for name in before)


def test_nothing_is_learned_before_there_is_an_episode_to_judge_by():
    made = learner(1)
    assert made.learn() is None
    made.add(approach(9))
    assert made.learn() is not None


def test_a_round_that_is_called_off_leaves_no_trace():
    made = learner()
    made.learn()
    before = made.weights()
    assert made.learn(lambda: False) is None
    assert all(torch.equal(a, b) for a, b in zip(before.values(), made.weights().values()))


def test_the_oldest_episodes_go_where_there_are_too_many():
    made = learner(200, capacity=2 * LONGEST)
    assert LONGEST < made.steps <= 2 * LONGEST
    made.add(approach(500, 9 * LONGEST))
    assert made.steps <= 2 * LONGEST
    assert made.learn() is not None


@tiny.invariant
@given(st.lists(st.floats(0, 10), min_size=1, max_size=6), st.floats(0, 0.99), st.floats(0, 1), st.floats(0, 10))
def test_returns_follow_their_recursion(energies, discount, trace, tail):
    """Sutton & Barto 2018, §12.1, for the discounted mean: G = (1 − γ) e' + γ [(1 − λ) v' + λ G']."""
    values = [0.5 * e + 1 for e in energies]
    got = lambda_returns(torch.tensor(energies), torch.tensor(values)[:, None], torch.tensor([tail]), discount, trace)
    following = tail
    for t in reversed(range(len(energies))):
        ahead = tail if t == len(energies) - 1 else (1 - trace) * values[t] + trace * following
        following = (1 - discount) * energies[t] + discount * ahead
        assert float(got[t, 0]) == pytest.approx(following, rel=1e-4, abs=1e-4)


def test_with_full_trace_a_return_is_what_really_came():
    energies = approach(3).energies
    returns = lambda_returns(energies[1:], torch.full((29, 1), 7.0), energies[-1:], 0.9, 1.0)
    assert torch.allclose(returns[:, 0], realised(energies, 0.9)[:-1], atol=1e-5)


def test_a_task_token_tells_apart_what_states_cannot():
    """Two tasks of the same states and goals, one of which is three times as costly."""
    torch.manual_seed(0)
    made = CriticLearner(Critic(2, 32, tokens=1), QUICK)
    for seed in range(24):
        t, dear = approach(seed // 2), seed % 2
        made.add(Trajectory(t.states, (1 + 2 * dear) * t.energies, t.goal, torch.tensor([float(dear)]), True))
    for _ in range(10):
        made.learn()
    states, goals = (torch.cat(column) for column in zip(*((t.states[:5], t.goal.expand(5, 2)) for t in
                                                          map(approach, range(12)))))
    with torch.no_grad():
        cheap, dear = (float(made.critic(states, goals, torch.tensor([token])).mean()) for token in (0.0, 1.0))
    assert dear > 2 * cheap


@pytest.mark.parametrize('bad, words', [
    ({'states': torch.zeros(4, 3)}, r'states \(4, 3\) and goal \(2,\); this model has states of 2 numbers'),
    ({'energies': torch.zeros(3)}, r'4 states but energies of shape \(3,\)'),
    ({'energies': torch.full((4,), torch.nan)}, 'not finite; not learned from'),
])
def test_an_episode_that_cannot_be_learned_from_is_refused_in_one_line(bad, words):
    values = {'states': torch.zeros(4, 2), 'energies': torch.zeros(4), 'goal': torch.zeros(2), **bad}
    with pytest.raises(ConfigError, match=words):
        learner().add(Trajectory(**values))


@pytest.mark.parametrize('name, value', [('rate', 0.0), ('trace', 1.5), ('discount', 1.0), ('hold_out', 1),
                                         ('capacity', 10)])
def test_a_setting_out_of_its_range_is_refused_by_name(name, value):
    with pytest.raises(ConfigError, match=f'critic learner: {name} is {value}'):
        LearnerSettings(**{name: value})
