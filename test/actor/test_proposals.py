"""Mode-1 seeds Mode-2 at every level."""
from acting import at, GOAL, ready
import pytest
import tiny
import torch

from jepa_ros.actor.planners import PlannerConfig
from jepa_ros.actor.policy import Policy
from jepa_ros.actor.proposals import Proposals
from jepa_ros.actor.reflex import Reflex
from jepa_ros.energy.distance import squared

FAR = torch.tensor([1.0, -0.5])
CONFIGS = [PlannerConfig(samples=8, iterations=1, horizon=horizon, elites=2) for horizon in (4, 5)]


class Straight(Policy):
    """Goes straight to the goal, as far as a step can."""

    def forward(self, s, goal, task=None, known=None):
        actions = []
        for _ in range(self.chunk):
            actions.append(((goal - s) / 0.1).clamp(-1, 1))
            s = s + 0.1 * actions[-1]
        return torch.stack(actions, -2)


def integrator(levels: int = 2):
    """Whose macro-action is the mean of the actions of a period: it does what they do."""
    model = tiny.integrator_model(levels)
    for level in model.levels[1:]:
        net = torch.nn.Linear(2 * level.period, 2, bias=False)
        net.weight.data = torch.eye(2).repeat(1, level.period) / level.period
        level.action_encoder.net = net
    return model.requires_grad_(False)


def seeds(model, chunk: int = 4, configs=CONFIGS):
    asked = Proposals(Reflex(Straight(2, 2, chunk, 8), model.levels[0]), model, [torch.zeros(2)] * len(configs), FAR)
    return [asked(number, config) for number, config in enumerate(configs)]


def test_each_level_is_offered_what_mode_1_would_do():
    low, high = seeds(integrator())
    assert low.shape == (1, 1, 4, 2) and high.shape == (1, 1, 5, 2)
    assert torch.allclose(low[0, 0], torch.tensor([[1.0, -1.0]]).expand(4, 2))
    assert torch.allclose(high[0, 0, 0], torch.tensor([1.0, -1.0]))     # the same period, as one macro-action
    ends = integrator().levels[1].rollout(torch.zeros(2), high[0, 0])
    assert torch.allclose(ends[-1], FAR, atol=1e-5)     # it went on from period to period, to the goal


def test_macro_actions_stay_where_training_was():
    model = integrator()
    model.levels[1].action_encoder.high.fill_(0.5)
    assert float(seeds(model)[1].max()) == 0.5


@pytest.mark.parametrize('chunk, offered', [(3, [False, False]), (4, [True, True]), (8, [True, True])])
def test_a_chunk_shorter_than_the_horizon_or_a_period_is_no_candidate(chunk, offered):
    assert [seed is not None for seed in seeds(integrator(), chunk)] == offered


def test_a_level_of_longer_periods_than_the_chunk_or_with_states_of_its_own_gets_none():
    three = [*CONFIGS, CONFIGS[1]]
    assert [seed is not None for seed in seeds(integrator(3), configs=three)] == [True, True, False]
    pooled = integrator()
    pooled.config = pooled.config.model_copy(update={'levels': tuple(
        level.model_copy(update={'encoder': 'mean'}) if level.period > 1 else level for level in pooled.config.levels)})
    assert [seed is not None for seed in seeds(pooled)] == [True, False]


def test_a_plan_of_few_samples_asks_for_what_mode_1_would_do():
    """Two candidates a level: the mean, which stays where it is, and Mode-1's."""
    made = ready(model=integrator(), policy=Straight(2, 2, 4, 8), samples=2, iterations=1, elites=1)
    subgoal = made.act(at()).subgoals[0][0]
    assert float(squared(subgoal, GOAL.levels[0])) < 1e-6
