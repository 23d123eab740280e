"""What a task may ask of the cost: checked, as tensors, at every level; and what cannot be asked."""
import math

from hypothesis import given
from hypothesis import strategies as st
import pytest
import tiny
import torch

from jepa_ros.cost.cost import Cost, Goal, Region
from jepa_ros.cost.critic import Critic
from jepa_ros.cost.intrinsic import TERMS
from jepa_ros.cost.settings import MOST_REMEMBERED
from jepa_ros.errors import CostError, JepaRosError
from jepa_ros.robot.drives import Clearance, Drives, Hunger, Range
from jepa_ros.world_model.config import LevelConfig

NAMES = ['x_m', 'y_m']


def seen(levels: int = 2, drives: Drives | None = None) -> Cost:
    """Two numbers that are read out as they are."""
    model = tiny.integrator_model(levels)
    for jepa in model.levels:
        jepa.readout = torch.nn.Identity()
    return Cost(model, NAMES, Critic(2, 8), drives)


def value(cost: Cost, name: str, states: torch.Tensor) -> float:
    return next(term.value for term in cost.evaluate(states).terms if term.name == name)


def test_regions_of_discomfort_cost_and_are_not_forbidden():
    cost = seen()
    cost.configure(goal=None, discomfort=[Region({'x_m': 0.5}, 0.5)])
    states = torch.tensor([[0.5, 9.0], [0.25, 0.0], [2.0, 0.0]])
    assert value(cost, 'discomfort', states) == pytest.approx(1.25, rel=1e-4)
    assert not cost.forbids(cost.settings) and cost.depth(torch.zeros(1, 2), cost.settings) is None


def test_a_demonstration_is_followed_at_every_level():
    cost = seen(3)
    way = torch.stack([torch.arange(33.0), torch.zeros(33)], -1)
    settings = cost.make_settings(None, {'program': 1.0, 'effort': 0.0}, program=way)
    for level, period in enumerate((1, 4, 16)):
        states = way[[period, 2 * period]]
        assert float(cost.energy(states, None, settings, level=level, start=way[0])) == 0
        assert float(cost.energy(states + 1, None, settings, level=level, start=way[0])) == pytest.approx(2)


def test_a_demonstration_is_encoded_for_levels_with_a_state_space_of_their_own():
    """What level 1 makes of the states of the period that has just passed."""
    level = LevelConfig(period=4, macro_dim=2, width=8, encoder='mean', dim=6)
    model = tiny.model((LevelConfig(width=8), level))
    way = torch.randn(9, 6)
    settings = Cost(model, NAMES).make_settings(None, program=way)
    assert [len(states) for states in settings.program] == [9, 9]
    assert torch.allclose(settings.program[1][7], model.pool(1, way[4:8]))
    assert torch.allclose(settings.program[1][1], model.pool(1, way[[0, 0, 0, 1]]))


def test_a_lower_level_follows_its_subgoal_and_not_the_demonstration():
    cost = seen()
    settings = cost.make_settings(None, program=torch.ones(3, 2))
    assert float(cost.energy(torch.zeros(1, 2), None, settings)) == 1
    assert float(cost.energy(torch.zeros(1, 2), None, cost.action_settings(settings))) == 0


def test_curiosity_leads_away_from_what_is_remembered():
    cost = seen()
    cost.configure(goal=None, weights={'curiosity': 1.0}, remembered=torch.zeros(5, 2))
    assert value(cost, 'curiosity', torch.zeros(1, 2)) == 1
    far = [value(cost, 'curiosity', torch.full((1, 2), x)) for x in (0.5, 1.0, 2.0)]
    assert 1 > far[0] > far[1] > far[2] > 0


def test_of_very_many_remembered_states_some_are_kept():
    settings = seen().make_settings(None, remembered=torch.randn(3 * MOST_REMEMBERED, 2))
    assert [len(states) for states in settings.remembered] == [MOST_REMEMBERED] * 2


@pytest.mark.parametrize('asked, line', [
    ({'program': torch.zeros(0, 2)}, r'program: a demonstration has states \(T, 2\) of this model, not \(0, 2\)'),
    ({'program': torch.zeros(3, 9)}, r'not \(3, 9\): encode it with the same checkpoint'),
    ({'program': torch.zeros(2)}, r'not \(2,\)'),
    ({'program': torch.full((3, 2), math.nan)}, 'states that are not finite'),
    ({'program': 'there'}, r'program: a demonstration has states \(T, 2\) of numbers, not str'),
    ({'remembered': torch.zeros(3, 9)}, r'remembered: they has|remembered'),
    ({'remembered': [['a']]}, 'of numbers, not list'),
    ({'discomfort': [Region({'x_m': 0.0}, 0.0)]}, 'region 1 of discomfort: it needs a centre and a positive radius'),
    ({'discomfort': [Region({'z_m': 0.0}, 1.0)]}, "unknown readout 'z_m'"),
    ({'regions': [Region({'x_m': 0.0}, 1e-9)]}, 'a positive radius from 0.0001 to 1e'),
    ({'regions': [Region({'x_m': 10 ** 400}, 1.0)]}, 'region 1 to avoid: x_m is 1000'),
    ({'weights': {'goal': 'much'}}, "weight of cost term 'goal' is 'much': it must be finite and not negative"),
    ({'weights': {'goal': None}}, "weight of cost term 'goal' is None"),
    ({'weights': {'goal': True}}, "weight of cost term 'goal' is True"),
    ({'weights': {'goal': 1e300}}, 'at most 1e'),
    ({'weights': {'avoid': 1e-300}}, "weight 1e-300 of guardrail 'avoid' is below its floor 10"),
    ({'weights': {'collision': 9}}, "weight 9 of guardrail 'collision' is below its floor 10"),
    ({'weights': {'readout_limits': 0}}, "guardrail 'readout_limits' is below its floor 10"),
    ({'weights': {7: 1.0}}, 'unknown cost term 7'),
    ({'weights': {'a\nb': 1.0}}, r"unknown cost term 'a\\nb'"),
    ({'goal': Goal(levels=(torch.tensor([math.nan, 0.0]),))}, 'goal state has numbers that are not finite'),
    ({'goal': Goal(readouts={'x_m': 'left'})}, "goal value of readout 'x_m' is 'left': it must be finite"),
])
def test_what_cannot_be_asked_is_refused_in_one_line_and_changes_nothing(asked, line):
    cost = seen()
    before = cost.settings
    with pytest.raises(CostError, match=line) as refused:
        cost.configure(**{'goal': None, **asked})
    assert '\n' not in str(refused.value)
    assert cost.settings is before


DRIVES = Drives(battery=Hunger(readout='y_m', low=0.5), clearance=[Clearance(readout='x_m', least=0.4)],
                collision=[Range(readout='x_m', low=0.0)], limits=[Range(readout='y_m', low=-1.0, high=1.0)])


def test_drives_of_the_robot_are_felt_whatever_is_configured():
    cost, plain = seen(drives=DRIVES), seen()
    state = torch.tensor([[-0.5, -3.0]])
    found = {name: value(cost, name, state) for name in ('clearance', 'collision', 'readout_limits', 'battery')}
    assert found == {'clearance': pytest.approx(2.25 ** 2), 'collision': 0.25, 'readout_limits': 4.0, 'battery': 49.0}
    assert plain.evaluate(state).total == 0
    for level in range(2):
        assert cost.depth(state, cost.make_settings(None), level).tolist() == [[0.5, 2.0]]
    assert cost.forbids(cost.settings) and not plain.forbids(plain.settings)


def test_a_drive_that_the_model_cannot_feel_is_refused():
    with pytest.raises(CostError, match="drives of the robot contract: unknown readout 'y_m'.*reads out: x_m: train"):
        Cost(tiny.model(readouts=1), ['x_m'], None, DRIVES)


def test_a_guardrail_without_a_range_is_measured_in_the_spread_of_training():
    model = tiny.integrator_model(1)
    model.levels[0].readout = torch.nn.Identity()
    model.readout_std.copy_(torch.tensor([0.5, 1.0]))
    cost = Cost(model, NAMES, None, Drives(collision=[Range(readout='x_m', high=1.0)]))
    assert cost.depth(torch.tensor([[3.0, 0.0]]), cost.make_settings(None)).tolist() == [[1.0]]


def test_terms_of_weight_0_do_not_ask_the_world_model():
    cost = seen(1)
    cost._model.levels[0].predictor.forward = None      # would fail
    states, actions = torch.zeros(4, 2), torch.zeros(4, 2)
    assert float(cost.energy(states, actions, start=torch.zeros(2))) == 0
    assert value(cost, 'agency', states) == 0
    with pytest.raises(TypeError):
        cost.energy(states, actions, cost.make_settings(None, {'agency': 1.0}))


def test_readouts_are_asked_once_for_all_terms():
    cost, asked = seen(drives=DRIVES), []
    cost._model.levels[0].readout.register_forward_hook(lambda *_: asked.append(1))
    settings = cost.make_settings(Goal(readouts={'x_m': 0.5}), None, [Region({'x_m': 9.0}, 1.0)],
                                  discomfort=[Region({'x_m': 5.0}, 1.0)])
    asked.clear()
    cost.energy(torch.zeros(3, 2), None, settings)
    assert len(asked) == 1


odd = st.one_of(st.floats(), st.integers(-10 ** 400, 10 ** 400), st.text(max_size=8), st.none(), st.booleans(),
                st.sampled_from([10.0, 1e9, 1e-30, 9.999999]))
names = st.one_of(st.sampled_from([*TERMS.names(), 'critic']), st.text(max_size=12))
readouts = st.one_of(st.sampled_from(NAMES), st.text(max_size=5))
centres = st.dictionaries(readouts, odd | st.sampled_from(NAMES), max_size=2)
regions = st.lists(st.builds(Region, centres, odd), max_size=3)
goals = st.none() | st.builds(Goal, st.tuples(st.tuples(st.floats(width=32), st.floats(width=32)).map(torch.tensor)),
                              st.dictionaries(readouts, odd, max_size=2))


@tiny.invariant
@given(weights=st.dictionaries(names, odd, max_size=4), goal=goals, avoid=regions, soft=regions,
       at=st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)))
def test_whatever_is_asked_floors_hold_and_energies_are_finite_or_one_line_says_why_not(weights, goal, avoid, soft, at):
    cost = seen(1, DRIVES)
    before = cost.settings
    try:
        cost.configure(goal=goal, weights=weights, regions=avoid, discomfort=soft)
    except JepaRosError as error:
        assert '\n' not in str(error) and cost.settings is before
        return
    for name in TERMS.names():
        assert TERMS.get(name).floor <= cost.settings.weights[name] < math.inf
    states = torch.tensor([at], requires_grad=True)
    energy = cost.energy(states, torch.zeros(1, 2))
    slope, = torch.autograd.grad(energy, states)
    assert bool(torch.isfinite(energy)) and bool(torch.isfinite(slope).all())
    depth = cost.depth(states.detach(), cost.settings)
    assert depth.shape == (1, len(avoid) + 2) and bool((depth >= 0).all())


sizes = st.floats(1e-4, 1e9)


@tiny.invariant
@given(x=st.floats(-10, 10), y=st.floats(-10, 10), radius=sizes, inside=st.floats(0, 0.9))
def test_a_goal_within_a_region_of_any_size_is_refused_with_both_named(x, y, radius, inside):
    cost, goal = seen(1), Goal(readouts={'x_m': x, 'y_m': y})
    with pytest.raises(CostError, match=r'the goal \(x_m = .* lies inside region 1 to avoid \(centre x_m'):
        cost.make_settings(goal, None, [Region({'x_m': x + inside * min(radius, 1e8), 'y_m': y}, radius)])
