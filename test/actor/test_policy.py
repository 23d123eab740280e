"""The Mode-1 policy."""
from hypothesis import given
from hypothesis import strategies as st
import pytest
import tiny
import torch

from jepa_ros.actor.policy import Policy
from jepa_ros.errors import ConfigError


@tiny.invariant
@given(st.floats(0.1, 1e4))
def test_actions_never_leave_the_contract_s_limits(size):
    torch.manual_seed(0)
    actions = Policy(6, 2, chunk=4, width=16)(size * torch.randn(3, 6), size * torch.randn(3, 6))
    assert actions.shape == (3, 4, 2)
    assert bool((actions.abs() <= 1).all())


def test_one_goal_serves_many_states():
    torch.manual_seed(0)
    policy, s, goal = Policy(6, 2, chunk=4, width=16), torch.randn(5, 6), torch.randn(6)
    assert torch.allclose(policy(s, goal)[2], policy(s[2], goal), atol=1e-6)


def test_a_policy_that_does_not_doubt_cannot_tell_how_sure_it_is():
    assert bool(Policy(6, 2, 4, 16).uncertainty(torch.randn(3, 6), torch.randn(6)).isinf().all())


def test_doubt_is_a_probability_that_can_be_taught_and_leaves_the_actions_alone():
    torch.manual_seed(0)
    policy, s, goal = Policy(2, 1, 2, 32, doubts=True), torch.randn(256, 2), torch.zeros(2)
    before, fails = policy(s, goal).detach(), (s[:, 0] > 0).float()
    optimiser = torch.optim.Adam(policy.doubt.parameters(), 1e-2)
    for _ in range(60):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(policy.doubt_logit(s, goal), fails)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        doubt = policy.uncertainty(s, goal)
    assert doubt.shape == (256,) and bool(((doubt >= 0) & (doubt <= 1)).all())
    assert float(doubt[fails > 0].mean()) > 0.8 > 0.2 > float(doubt[fails == 0].mean())
    assert torch.equal(policy(s, goal), before)


def test_a_task_token_changes_the_action_and_must_fit():
    torch.manual_seed(0)
    policy, s, goal = Policy(6, 2, 4, 16, tokens=2), torch.randn(6), torch.randn(6)
    one, other = (policy(s, goal, torch.tensor(token)) for token in ([1.0, 0.0], [0.0, 1.0]))
    assert not torch.allclose(one, other)
    assert torch.equal(policy(s, goal), policy(s, goal, torch.zeros(2)))
    with pytest.raises(ConfigError, match='policy: the task token has 3 numbers, this checkpoint takes 2'):
        policy(s, goal, torch.zeros(3))
