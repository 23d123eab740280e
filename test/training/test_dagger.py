"""Mode-1 practises, and knows where it is enough."""
from dataclasses import replace

import pytest
import tiny
import torch

from jepa_ros.actor.hierarchy import Hierarchy
from jepa_ros.actor.planners import PlannerConfig
from jepa_ros.actor.policy import Policy
from jepa_ros.agent import Agent
from jepa_ros.cost.cost import Cost
from jepa_ros.cost.critic import Critic
from jepa_ros.energy.distance import squared
from jepa_ros.errors import ConfigError, TrainingError
from jepa_ros.training.dagger import Dagger, DaggerSettings, redistilled, STATE
from jepa_ros.training.lived import Lived
from jepa_ros.training.practice import Practice

PLANNER = PlannerConfig(samples=32, iterations=3, horizon=4, elites=8, min_std=0.05)
SETTINGS = DaggerSettings(rounds=3, problems=64, ticks=12, labels=32, updates=60, critic_updates=60, batch=64,
                          horizon=8, rate=3e-3)


@pytest.fixture(scope='module')
def practice():
    """The integrator, and states of episodes that lie within a metre."""
    model, data = tiny.integrator_model(2), tiny.episodes([30] * 6)
    s = 0.5 * torch.randn(180, 2, generator=torch.Generator().manual_seed(0))
    critic = Critic(2, 32).requires_grad_(False)
    cost = Cost(model, ['x_m', 'y_m'], critic)
    return Practice(model, cost, Hierarchy(model, cost, [PLANNER] * 2), data, s)


def made(practice, settings=SETTINGS, **more) -> Dagger:
    torch.manual_seed(0)
    return Dagger(practice, Policy(2, 2, 4, 32, doubts=True), Critic(2, 32), settings, **more)


@pytest.fixture(scope='module')
def practised(practice):
    rounds = made(practice)
    return rounds, rounds.run()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def final(practice, policy) -> float:
    problems = practice.problems(Critic(2, 8), 200, 0.0, generator(7))
    before = squared(problems.start, problems.goal).mean()
    return float(practice.drive(policy, problems, 12).energies[:, -1].mean() / before)


def test_practice_brings_mode_1_to_its_goals(practice, practised):
    """LeCun §3.1.3: the policy performs amortised inference of what Mode-2 finds."""
    assert final(practice, practised[0].policy) < 0.1 < 0.5 < final(practice, made(practice).policy)
    assert practised[1]['critic_r2'] > 0.3


def test_labels_alone_teach_as_well(practice):
    """DAgger without gradients through the world model: one step of horizon, which sees only itself."""
    rounds = made(practice, replace(SETTINGS, labels=200, rounds=4, updates=150))
    rounds.practice = type('Blind', (Practice,), {'amortise': lambda self, *_: torch.zeros((), requires_grad=True)})(
        *practice.__dict__.values())
    rounds.run()
    assert final(practice, rounds.policy) < 0.35


def test_only_labels_that_beat_mode_1_are_kept(practice):
    rounds = made(practice)
    drawn = practice.problems(rounds.critic, 64, 0.0, generator())
    actions, better = practice.relabel(rounds.policy, 1.0, drawn.start, drawn.goal, generator())
    share = rounds._relabel(drawn.start, drawn.goal)
    assert actions.shape == (64, 4, 2) and better.dtype == torch.bool
    assert float(better.float().mean()) > 0.5       # an untaught policy is easily beaten
    assert len(rounds._labels[0]) == round(share * SETTINGS.labels)


def test_hard_problems_are_those_with_most_energy_to_come(practice):
    critic = lambda s, goal: squared(s, goal)       # noqa: E731
    easy, hard = (squared(drawn.start, drawn.goal).mean()
                  for drawn in (practice.problems(critic, 500, share, generator()) for share in (0.0, 1.0)))
    assert float(hard) > 1.5 * float(easy)


def test_the_same_seed_teaches_the_same_policy(practice, practised):
    again = made(practice)
    assert again.run() == practised[1]
    assert all(torch.equal(a, b) for a, b in zip(again.policy.parameters(), practised[0].policy.parameters()))


def test_an_interrupted_run_goes_on_and_ends_as_if_it_had_not_been(practice, practised, tmp_path):
    def stop(stage, done, total, figures):
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        made(practice, state_file=tmp_path / STATE).run(stop)
    rest = made(practice, state_file=tmp_path / STATE)
    seen = []
    figures = rest.run(lambda stage, done, total, figures: seen.append((done, total)))
    assert seen == [(2, 3), (3, 3)] and figures == practised[1]
    assert all(torch.equal(a, b) for a, b in zip(rest.policy.parameters(), practised[0].policy.parameters()))


def test_a_state_of_another_run_is_refused(practice, tmp_path):
    made(practice, replace(SETTINGS, rounds=1), state_file=tmp_path / STATE).run()
    with pytest.raises(TrainingError, match='another configuration: settings.rate was 0.003, is 0.001'):
        made(practice, replace(SETTINGS, rounds=1, rate=1e-3), state_file=tmp_path / STATE).run()


@pytest.mark.parametrize('name, value', [('rounds', 0), ('rate', 0.0), ('batch', 0)])
def test_a_setting_out_of_its_range_is_refused_by_name(name, value):
    with pytest.raises(ConfigError, match=f'distillation: {name} is {value}'):
        replace(SETTINGS, **{name: value})


SMALL = replace(SETTINGS, rounds=1, updates=3, critic_updates=3, problems=8, labels=8, ticks=4, lived_rounds=2,
                lived_updates=3)


@pytest.fixture(scope='module')
def new(tmp_path_factory):
    """A tiny checkpoint and what `redistilled` makes of it."""
    agent = tiny.agent()
    return agent, redistilled(agent, tiny.episodes([30] * 6), SMALL)


def test_the_world_model_stays_as_it_is(new):
    old, made_new = (each.networks.world_model.state_dict() for each in new)
    assert all(torch.equal(old[name], made_new[name]) for name in old)


def test_mode_1_drives_between_the_rounds_as_it_is_then_and_once_more_to_be_judged(new):
    agents, numbers = [], []

    def driving(agent, number):
        agents.append(agent.networks.policy.net[0].weight.clone())
        numbers.append(number)
        return [Lived(torch.randn(9, 6), torch.randn(8, 2).clamp(-1, 1), torch.randn(6)) for _ in range(6)]
    torch.manual_seed(0)
    made = redistilled(tiny.agent(), tiny.episodes([30] * 6), SMALL, driving=driving)
    assert numbers == [0, 1, 2] and not torch.equal(agents[0], agents[1])
    assert torch.equal(agents[2], made.networks.policy.net[0].weight)
    assert made.card.metrics['policy_solved'] == 0 and made.card.policy_threshold == 0   # random drives arrive nowhere


def test_what_was_lived_changes_mode_1(new):
    less = redistilled(tiny.agent(), tiny.episodes([30] * 6), replace(SMALL, lived_rounds=0))
    assert not torch.equal(less.networks.policy.net[0].weight, new[1].networks.policy.net[0].weight)


def test_a_checkpoint_keeps_doubt_and_threshold(new, tmp_path):
    agent = new[1]
    agent.card = agent.card.model_copy(update={'policy_threshold': 0.25})
    agent.save(tmp_path / 'new')
    loaded = Agent.load(tmp_path / 'new', device='cpu')
    assert loaded.card.policy_doubts and loaded.actor._arbiter.threshold == 0.25
    s, goal = torch.randn(4, 6), torch.randn(6)
    assert torch.equal(loaded.networks.policy.uncertainty(s, goal), agent.networks.policy.uncertainty(s, goal))


def test_what_was_taught_goes_on_learning_or_begins_afresh(new):
    none = replace(SMALL, rounds=1, updates=1, critic_updates=1, lived_rounds=0, rate=1e-9)
    on, afresh = (redistilled(new[1], tiny.episodes([30] * 6), replace(none, afresh=each)) for each in (False, True))
    taught = new[1].networks.policy.net[0].weight
    assert torch.allclose(on.networks.policy.net[0].weight, taught, atol=1e-6)
    assert not torch.allclose(afresh.networks.policy.net[0].weight, taught, atol=1e-2)


def test_an_old_checkpoint_has_no_arbiter(new):
    assert new[0].actor._arbiter is None and not new[0].card.policy_doubts
