"""Mode-1 knows where it is enough."""
import math

import pytest
import tiny
import torch

from jepa_ros.actor.hierarchy import Hierarchy
from jepa_ros.actor.planners import PlannerConfig
from jepa_ros.actor.policy import Policy
from jepa_ros.cost.cost import Cost
from jepa_ros.cost.critic import Critic
from jepa_ros.energy.distance import squared
from jepa_ros.training import doubt
from jepa_ros.training.lived import Lived
from jepa_ros.training.practice import Practice


@pytest.fixture(scope='module')
def practice():
    """The integrator, and states of episodes that lie within a metre."""
    model, data = tiny.integrator_model(2), tiny.episodes([30] * 6)
    s = 0.5 * torch.randn(180, 2, generator=torch.Generator().manual_seed(0))
    cost = Cost(model, ['x_m', 'y_m'], Critic(2, 32).requires_grad_(False))
    hierarchy = Hierarchy(model, cost, [PlannerConfig(samples=32, iterations=3, horizon=4, elites=8)] * 2)
    return Practice(model, cost, hierarchy, data, s)


def policy(rightwards: float) -> Policy:
    """A reflex that goes right only."""
    torch.manual_seed(0)
    made = Policy(2, 2, 4, 32, doubts=True)
    with torch.no_grad():
        for p in made.net.parameters():
            p.zero_()
        made.net[-1].bias.view(4, 2)[:, 0] = rightwards
    return made


def imagined(practice, reflex, tolerance, ticks, hard, count, seed):
    return doubt.imagined(practice, reflex, Critic(2, 8), tolerance, ticks, hard, count,
                          torch.Generator().manual_seed(seed))


def test_doubt_foresees_where_mode_1_does_not_arrive(practice):
    """From the left it arrives, from the right it does not."""
    reflex = policy(0.3)
    doubt.teach(reflex, imagined(practice, reflex, 0.15, 12, 0.7, 256, 1)[0], 128, 0)
    found = doubt.calibrated(reflex, *imagined(practice, reflex, 0.15, 12, 0.0, doubt.JUDGED, 5), 5)
    assert found.auroc > 0.85 and 0 < found.share < 0.9 and 0 < found.threshold < 0.9
    with torch.no_grad():
        left, right = (reflex.uncertainty(torch.tensor([x, 0.0]), torch.zeros(2)) for x in (-0.6, 0.9))
    assert float(left) < 0.3 < 0.7 < float(right)


def test_a_policy_that_never_arrives_is_never_let_alone(practice):
    reflex = policy(0.0)
    found = doubt.calibrated(reflex, *imagined(practice, reflex, 1e-9, 2, 0.0, doubt.JUDGED, 0), 0)
    assert found.threshold == 0 and found.solved < 0.1


def test_a_drive_in_the_world_counts_up_to_where_it_arrived():
    goal, steps = torch.zeros(2), torch.linspace(1, 0, 41)[:, None] * torch.ones(2)
    arrives, stops = (Lived(s, torch.zeros(len(s) - 1, 2), goal) for s in (steps, steps[:21]))
    known, solved = doubt.driven([arrives, stops], 0.01, tiny.integrator_model(1).levels[0])
    first = int((squared(steps, goal) <= 0.01).nonzero()[0])
    assert solved == 0.5 and len(known.s) == first + 21
    assert bool(known.arrived[:first].all()) and not bool(known.arrived[first:].any())


@pytest.mark.parametrize('solved, threshold', [(0.95, 1.0), (0.8, 0.0)])
def test_where_uncertainty_tells_nothing_only_one_that_mostly_arrives_may_try(solved, threshold):
    arrived = torch.arange(100) % 20 != 0
    known = doubt.Outcome(torch.zeros(100, 2), torch.zeros(100, 2), arrived)
    assert doubt.calibrated(policy(0.1), known, solved, 0).threshold == threshold


def test_who_rarely_fails_is_rarely_stopped():
    """A doubt of its own for each state, one of ten fails, the doubt ranks them: only the dubious are stopped."""
    class Knows:
        def uncertainty(self, s, goal, known=None):
            return s[:, 0]
    s = torch.linspace(0, 1, 100)[:, None].expand(-1, 2)
    found = doubt.calibrated(Knows(), doubt.Outcome(s, s, s[:, 0] < 0.9), 0.9, 0)
    assert found.share == pytest.approx(0.9, abs=0.011) and 0.85 < found.threshold < 0.9
    never = doubt.calibrated(Knows(), doubt.Outcome(s, s, s[:, 0] > 0.9), 0.1, 0)   # doubts the wrong ones
    assert never.threshold == 0


def test_auroc_is_the_chance_of_ranking_a_failure_first():
    score, failed = torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.tensor([False, True, False, True])
    assert doubt.auroc(score, failed) == 0.75
    assert doubt.auroc(torch.ones(4), failed) == 0.5
    assert math.isnan(doubt.auroc(score, torch.zeros(4, dtype=torch.bool)))
