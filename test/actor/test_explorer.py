"""Mode-1 that gets nowhere."""
import numpy as np
import tiny
import torch

from jepa_ros.actor.explorer import Explorer, WHY
from jepa_ros.actor.impasse import PATIENCE
from jepa_ros.cost.cost import Goal
from jepa_ros.energy.distance import squared

GOAL = torch.tensor([1.0, 0.0])


def rollout(s, actions):
    return s[:, None] + 0.1 * actions.cumsum(1)


def explorer() -> Explorer:
    return Explorer(squared, rollout, 2, 8)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def test_who_gets_on_is_left_alone():
    made, random = explorer(), generator()
    assert all(made.lead(GOAL * (1 - 0.9 ** step), GOAL, False, random) is None for step in range(40))


def test_who_stands_still_is_led_for_one_period_then_for_longer_ones():
    made, random, s = explorer(), generator(), torch.zeros(2)
    led = [made.lead(s, GOAL, False, random) is not None for _ in range(3 * PATIENCE + 30)]
    first = led.index(True)
    assert first == PATIENCE and all(led[first:first + 8]) and not led[first + 8]
    second = led.index(True, first + 8)
    assert all(led[second:second + 16]) and not led[second + 16]


def test_the_first_way_is_the_one_that_promises_most_the_next_one_leads_furthest():
    made, random = explorer(), generator()
    ways = []
    for _ in range(200):
        way = made.lead(torch.zeros(2), GOAL, False, random)
        if way is not None and len(way) in (8, 16) and len(ways) < 2 and (not ways or len(way) == 16):
            ways.append(way[0])
    assert float(ways[0][0]) > 0        # towards the goal
    assert float(ways[1].abs().max()) == 1


def test_at_the_goal_nobody_is_led():
    made, random = explorer(), generator()
    assert all(made.lead(GOAL, GOAL, True, random) is None for _ in range(3 * PATIENCE))


def test_mode_reactive_of_a_policy_that_doubts_says_when_it_explores():
    agent = tiny.agent()
    state = agent.perception.encode({'overhead': tiny.image()})
    other = agent.perception.encode({'overhead': tiny.image(1)})

    def reasons(doubts: bool) -> set[str]:
        agent.card = agent.card.model_copy(update={'policy_doubts': doubts})
        actor = agent.new_actor()
        actor.configure(goal=Goal(levels=other.levels), mode='reactive')
        decisions = [actor.act(state) for _ in range(PATIENCE + 3)]
        assert all(np.isfinite(decision.action).all() and decision.mode == 1 for decision in decisions)
        return {decision.degradation for decision in decisions}
    assert reasons(True) == {'', WHY} and reasons(False) == {''}
