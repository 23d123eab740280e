"""The hard-wired terms, one by one."""
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
import pytest
from tiny import invariant
import torch

from jepa_ros.cost.intrinsic import BARRIER, Bounds, Context, inside, TERMS
from jepa_ros.energy.distance import squared


def context(**values) -> Context:
    return Context(**({'goal_state': None, 'goal_readouts': None, 'readouts': lambda s: s[..., :2]} | values))


def term(name, states, actions=None, **values):
    return TERMS.get(name).function(states, actions, context(**values))


def test_no_term_has_anything_to_train():
    """LeCun §3.2: the intrinsic cost is hard-wired and immutable."""
    assert all(not isinstance(TERMS.get(name).function, torch.nn.Module) for name in TERMS.names())


@pytest.mark.parametrize('name', TERMS.names())
def test_gives_one_energy_per_step_of_every_candidate_and_never_a_negative_one(name):
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(2, 3, 4, 5, generator=generator)
    actions = torch.randn(2, 3, 4, 2, generator=generator)
    energy = term(name, states, actions, goal_state=torch.zeros(5), goal_readouts=torch.zeros(2))
    assert energy.shape == (2, 3, 4)
    assert bool((energy >= 0).all())


@pytest.mark.parametrize('name', TERMS.names())
def test_costs_nothing_without_goal_and_actions(name):
    assert term(name, torch.randn(4, 5)).tolist() == [0, 0, 0, 0]


def test_goal_is_the_distance_of_each_step():
    states = torch.tensor([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0]])
    assert term('goal', states, goal_state=torch.ones(2)).tolist() == [1.0, 0.0, 1.0]


def test_readout_goal_looks_only_at_what_is_asked():
    states = torch.tensor([[3.0, 100.0, 7.0]])
    asked = torch.tensor([1.0, torch.nan])
    assert term('readout_goal', states, goal_readouts=asked).tolist() == [4.0]


def test_effort_is_the_mean_square_of_the_action():
    assert term('effort', torch.zeros(2, 1), torch.tensor([[1.0, 1.0], [0.5, 0.0]])).tolist() == [1.0, 0.125]


def test_smoothness_counts_the_change_from_the_action_in_force():
    actions = torch.tensor([[1.0], [1.0], [0.0]])
    assert term('smoothness', torch.zeros(3, 1), actions).tolist() == [0.0, 0.0, 1.0]
    assert term('smoothness', torch.zeros(3, 1), actions, previous_action=torch.tensor([-1.0])).tolist() == [4, 0, 1]


@invariant
@given(st.lists(st.floats(-1, 1), min_size=2, max_size=2))
def test_limits_cost_nothing_inside_the_contract(values):
    assert term('limits', torch.zeros(1, 1), torch.tensor([values])).item() == 0.0


@invariant
@given(st.floats(1.01, 5), st.sampled_from([-1, 1]))
def test_limits_grow_outside_the_contract(size, sign):
    one, more = (term('limits', torch.zeros(1, 1), torch.tensor([[sign * s]])).item() for s in (size, size + 0.1))
    assert 0 < one < more
    assert one == pytest.approx((size - 1) ** 2, rel=1e-4)


def test_limits_collisions_and_regions_to_avoid_are_guardrails():
    guardrails = [name for name in TERMS.names() if TERMS.get(name).guardrail]
    assert guardrails == ['avoid', 'collision', 'limits', 'readout_limits']


def test_gradients_point_from_the_state_to_the_goal():
    s = torch.tensor([[2.0, -1.0]], requires_grad=True)
    goal = torch.tensor([0.0, 0.0])
    term('goal', s, goal_state=goal).sum().backward()
    assert torch.equal(s.grad.sign(), (s.detach() - goal).sign())
    assert float(squared(s.detach() - 0.1 * s.grad, goal)) < float(squared(s.detach(), goal))


# Around (1, 2) with radius 0.5, and where both numbers are alike, within 0.25. Readouts are in their own units.
BOUNDS = Bounds(chosen=torch.tensor([[1.0, 1.0], [1.0, 0.0]]), centre=torch.tensor([[1.0, 2.0], [0.0, 0.0]]),
                moving=torch.tensor([[[0.0, 0.0], [0.0, 0.0]], [[0.0, 1.0], [0.0, 0.0]]]),
                radius=torch.tensor([0.5, 0.25]), mean=torch.zeros(2), std=torch.ones(2))


@pytest.mark.parametrize('at, depths', [
    ((1.0, 2.0), (1.0, 0.0)), ((1.3, 2.0), (0.4, 0.0)), ((1.3, 2.4), (0.0, 0.0)), ((1.0, 1.5), (0.0, 0.0)),
    ((5.0, 5.0), (0.0, 1.0)), ((-3.0, -2.9), (0.0, 0.6)), ((-2.9, -3.0), (0.0, 0.6)), ((0.0, 0.25), (0.0, 0.0)),
    ((1.0, 1.0), (0.0, 1.0)),
])
def test_depth_is_the_share_of_the_radius_to_go_for_each_region(at, depths):
    found = inside(torch.tensor([at]), None, context(bounds=BOUNDS))
    assert found.shape == (1, 2) and found[0].tolist() == pytest.approx(depths, abs=1e-5)


def test_depth_is_measured_in_the_units_of_the_readouts():
    scaled = replace(BOUNDS, mean=torch.tensor([1.0, 0.0]), std=torch.tensor([0.1, 2.0]))
    assert inside(torch.tensor([[3.0, 1.0]]), None, context(bounds=scaled))[0].tolist() == pytest.approx([0.4, 0])


def test_avoid_rises_from_the_barrier_inwards_and_is_one_at_the_border():
    away = torch.tensor([BARRIER + 0.1, BARRIER, 1.25, 1.0, 0.5])[:, None] * 0.5
    states = torch.tensor([[1.0, 2.0]]) - away * torch.tensor([[1.0, 0.0]])
    only = replace(BOUNDS, **{name: getattr(BOUNDS, name)[:1] for name in ('chosen', 'centre', 'moving', 'radius')})
    assert term('avoid', states, bounds=only).tolist() == pytest.approx([0, 0, 0.25, 1, 4], abs=1e-4)


@pytest.mark.parametrize('at', [(1.0, 2.0), (1.1, 2.2), (0.3, 0.3), (9.0, 3.0)])
def test_the_gradient_of_a_guardrail_is_finite_everywhere_and_leads_out(at):
    s = torch.tensor([at], requires_grad=True)
    for depth in (inside(s, None, context(bounds=BOUNDS)).sum(), term('avoid', s, bounds=BOUNDS).sum()):
        slope, = torch.autograd.grad(depth, s)
        assert bool(torch.isfinite(slope).all())
        less = inside(s.detach() - 1e-3 * slope, None, context(bounds=BOUNDS)).sum()
        assert float(less) <= float(inside(s, None, context(bounds=BOUNDS)).sum().detach())


@invariant
@given(x=st.floats(-4, 4), y=st.floats(-4, 4))
def test_inside_of_a_region_avoid_costs_more_than_anywhere_outside(x, y):
    s = torch.tensor([[x, y]])
    deep, cost = inside(s, None, context(bounds=BOUNDS)), float(term('avoid', s, bounds=BOUNDS))
    assert cost >= 1 if bool((deep > 0).any()) else cost <= 2 + 1e-5        # two regions, at most one each
