"""The Mode-1 policy."""
from hypothesis import given
from hypothesis import strategies as st
import tiny
import torch

from jepa_ros.actor.policy import Policy


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
