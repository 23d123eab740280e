"""What the actor knows of the last moments."""
import math

import numpy as np
import pytest
import tiny
import torch

from jepa_ros.actor.past import Past
from jepa_ros.world_model.config import LevelConfig
from jepa_ros.world_model.world_model import WorldModel

ACTIONS = [np.array(a) for a in ([0.25, 0.0], [1.0, -2.0], [-0.5, 1.0], [0.4, 0.2])]     # SI
STATES = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
LOOKS_BACK = {'gru': {'memory': 3, 'context': 3}, 'transformer': {'window': 2, 'heads': 2}}


def world(predictor: str = 'gru') -> WorldModel:
    level = LevelConfig(predictor=predictor, width=8, depth=2, options=LOOKS_BACK.get(predictor, {}))
    return WorldModel(tiny.model((level,), perception=tiny.perception(2)), 0.1, np.array([-0.5, -2.0]),
                      np.array([1.0, 2.0]), ['vx_mps', 'vy_mps'], ['x_m', 'y_m'])


def remembered(of: WorldModel, first: int, last: int):
    """Memory of STATES[first:last] and the actions that were taken there."""
    actions = torch.stack([of.scale_actions(a) for a in ACTIONS[first:last]])
    return of.model.levels[0].remember(STATES[None, first:last], actions[None])


def same(memory, other) -> bool:
    return all(torch.allclose(a, b) if a.is_floating_point() else torch.equal(a, b) for a, b in zip(memory, other))


@pytest.mark.parametrize('predictor', LOOKS_BACK)
def test_remembers_the_states_before_the_newest_with_the_actions_that_were_taken_there(predictor):
    made = world(predictor)
    past = Past(made)
    assert past.see(STATES[0], None) is None
    assert same(past.see(STATES[1], ACTIONS[0]), remembered(made, 0, 1))
    assert same(past.see(STATES[2], ACTIONS[1]), remembered(made, 0, 2))
    assert not same(past.see(STATES[2], ACTIONS[1]), remembered(made, 0, 2))


def test_remembers_no_more_than_the_predictor_looks_back():
    made = world()
    past = Past(made)
    for step in range(5):
        memory = past.see(STATES[step], ACTIONS[step - 1] if step else None)
    assert same(memory, remembered(made, 2, 4))


def test_a_predictor_that_does_not_look_back_needs_no_memory():
    past = Past(world('residual_mlp'))
    assert [past.see(s, ACTIONS[0]) for s in STATES] == [None] * 5


def test_where_the_action_is_not_known_the_past_begins_anew():
    made = world()
    past = Past(made)
    past.see(STATES[3], None)
    past.see(STATES[4], ACTIONS[2])
    assert past.see(STATES[0], None) is None
    assert same(past.see(STATES[1], ACTIONS[0]), remembered(made, 0, 1))


@pytest.mark.parametrize('bad', [math.nan, math.inf])
def test_a_state_that_is_not_finite_is_not_remembered(bad):
    made = world()
    past = Past(made)
    past.see(STATES[3], None)
    assert past.see(torch.tensor([bad, 0.0]), ACTIONS[0]) is None
    assert past.see(STATES[0], ACTIONS[1]) is None      # what was before it is not known
    assert same(past.see(STATES[1], ACTIONS[0]), remembered(made, 0, 1))


def test_the_state_at_effect_lies_on_the_way_to_the_prediction_that_knows_the_past():
    made = world()
    past = Past(made)
    past.see(STATES[0], None)
    memory = past.see(STATES[1], ACTIONS[0])
    scaled = made.scale_actions(ACTIONS[1])
    low = made.model.levels[0]
    ahead, forgetful = (low.predict(STATES[None, 1], scaled[None], memory=known)[0] for known in (memory, None))
    assert not torch.allclose(ahead, forgetful, atol=1e-4)
    for delay_s, share in ((0.0, 0.0), (0.025, 0.25), (0.1, 1.0), (0.4, 1.0)):
        expected = torch.lerp(STATES[1], ahead, share)
        assert torch.allclose(past.at_effect(STATES[1], ACTIONS[1], delay_s, memory), expected, atol=1e-6)
    assert torch.equal(past.at_effect(STATES[1], None, 0.1, memory), STATES[1])
