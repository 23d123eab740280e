"""A model that recalls, from training to acting."""
import numpy as np
import pytest
import tiny
import torch

from jepa_ros.agent import Agent, Networks
from jepa_ros.cost.cost import Goal
from jepa_ros.errors import ConfigError, TrainingError
from jepa_ros.training import data as training_data
from jepa_ros.training import trainer
from jepa_ros.training.config import TrainingConfig
from jepa_ros.training.dagger import DaggerSettings, redistilled
from jepa_ros.training.imagined import embed, Sequence
from jepa_ros.training.level0 import Level0, losses_of
from jepa_ros.training.lived import Lived
from jepa_ros.training.world_model import train
from jepa_ros.world_model.recall import RecallConfig

RECALL = {'slots': 8, 'key': 3, 'value': 4, 'past': 6}


def config(**changes) -> TrainingConfig:
    made = tiny.training_config(distillation={'problems': 8, 'updates': 20, 'batch': 16}, **changes)
    levels = tuple(level.model_copy(update={'recall': RecallConfig(**RECALL)}) for level in made.levels)
    return made.model_copy(update={'levels': levels})


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Where a model whose both levels recall was written by the command's own code."""
    made = tmp_path_factory.mktemp('recalls')
    training_data.save(tiny.episodes([60] * 6), made / 'episodes.npz')
    trainer.train([made / 'episodes.npz'], tiny.contract(), config(), made / 'mine', made / 'work',
                  commands=['jepa-ros train data'])
    return made / 'mine'


@pytest.fixture
def agent(folder) -> Agent:
    return Agent.load(folder, contract=tiny.contract(), device='cpu')


def remember(agent: Agent, *seeds: int) -> None:
    for seed in seeds:
        agent.memory.store(seed, agent.perception.encode({'overhead': tiny.image(seed)}).levels[0], 0.0)


def test_all_of_it_is_trained_and_is_in_the_checkpoint(agent):
    fresh = Agent.create(tiny.contract(), 0, 'fresh', agent.networks.world_model.config)
    for level in range(2):
        new, old = (a.networks.world_model.levels[level].predictor.recall.state_dict() for a in (agent, fresh))
        assert {name.split('.')[0] for name in new} == {'key', 'query', 'value', 'worth', 'log_beta', 'log_gamma'}
        assert all(not torch.equal(new[name], old[name]) for name in new)


def test_what_the_agent_imagines_depends_on_what_it_remembers(agent):
    s, actions = agent.perception.encode({'overhead': tiny.image(1)}).levels[0], np.zeros((4, 2))
    macros = np.zeros((2, 3))
    before = [agent.world_model.imagine(level, s, a).states for level, a in enumerate((actions, macros))]
    surprised = agent.world_model.surprise(s, actions[0], s)
    remember(agent, 1, 2, 3)
    for level, a in enumerate((actions, macros)):
        assert not torch.allclose(agent.world_model.imagine(level, s, a).states, before[level])
    assert agent.world_model.surprise(s, actions[0], s) != pytest.approx(surprised)


@pytest.mark.parametrize('changes', [{}, {'scenarios': 2}, {'method': 'gradient'}])
def test_plans_depend_on_what_is_remembered(folder, changes):
    decisions = []
    for seeds in ((), (2, 3), (2, 3)):
        agent = Agent.load(folder, contract=tiny.contract(), device='cpu')
        card = agent.card.model_copy(update={'planners': [p | changes for p in agent.card.planners]})
        agent = Agent(agent.networks, card, agent.contract)
        agent.memory.attended = True        # nothing but what is stored here
        remember(agent, *seeds)
        state, goal = (agent.perception.encode({'overhead': tiny.image(i)}) for i in (1, 4))
        agent.actor.configure(goal=Goal(levels=goal.levels), budget_ms=60_000, mode='planned')
        decisions.append(agent.actor.act(state))
    nothing, one, same = decisions
    assert not np.array_equal(nothing.energies, one.energies)
    assert np.array_equal(one.actions, same.actions) and one.energies == same.energies


def test_a_reflex_depends_on_what_is_remembered_and_is_taught_to(folder, agent):
    assert agent.card.policy_recalled == agent.networks.policy.recalled == RECALL['value'] + 1
    state, goal = (agent.perception.encode({'overhead': tiny.image(i)}) for i in (1, 4))
    decisions = []
    for seeds in ((), (2, 3), (2, 3)):
        agent = Agent.load(folder, contract=tiny.contract(), device='cpu')
        agent.memory.attended = True
        remember(agent, *seeds)
        agent.actor.configure(goal=Goal(levels=goal.levels), budget_ms=60_000, mode='reactive')
        decisions.append(agent.actor.act(state).actions)
    assert not np.array_equal(decisions[0], decisions[1]) and np.array_equal(decisions[1], decisions[2])


def test_a_policy_that_recalls_goes_on_to_learn_from_mode_2_and_from_what_was_lived(agent):
    settings = DaggerSettings(rounds=1, problems=8, ticks=4, labels=8, updates=2, critic_updates=2, batch=8, horizon=4,
                              lived_rounds=1, lived_updates=2)
    def driving(agent, number):
        return [Lived(torch.randn(9, 6), torch.randn(8, 2).clamp(-1, 1), torch.randn(6)) for _ in range(6)]
    for how in (None, driving):
        made = redistilled(agent, tiny.episodes([30] * 6), settings, driving=how)
        assert made.card.policy_recalled == RECALL['value'] + 1 and made.networks.policy.doubt is not None
        weight = made.networks.policy.net[0].weight
        assert bool((weight[:, 18:] != agent.networks.policy.net[0].weight[:, 18:]).any())     # 3 · 6 without memory


def test_an_older_checkpoint_asks_its_memory_nothing(agent):
    card = agent.card.model_copy(update={'policy_recalled': 0})
    assert Networks(card.model_settings(), agent.contract.observations, card).policy.recalled == 0
    with pytest.raises(ConfigError, match='policy_recalled is 3: memory says 5 numbers'):
        Networks(card.model_settings(), agent.contract.observations, card.model_copy(update={'policy_recalled': 3}))


def test_where_nobody_stores_what_is_seen_the_actor_remembers_it_itself(agent):
    states = [agent.perception.encode({'overhead': tiny.image(i)}) for i in range(3)]
    agent.actor.configure(goal=Goal(levels=states[2].levels), budget_ms=60_000)
    for state in states[:2]:
        agent.actor.act(state)
    at, what = agent.memory.reader().newest(8)
    assert len(at) and torch.allclose(what[0], states[0].levels[0], atol=1.0)
    agent.actor.reset()         # a new goal forgets nothing of the world
    assert agent.world_model.recalled()[0] is not None


def test_the_past_of_a_window_is_written_and_not_predicted():
    jepa = tiny.model((tiny.LevelConfig(width=8, recall=RecallConfig(**RECALL)),)).levels[0]
    generator = torch.Generator().manual_seed(0)
    s, a = torch.randn(3, 12, 6, generator=generator), torch.randn(3, 11, 2, generator=generator)
    made, parts = embed(jepa, Sequence(s, a, a, s[..., :2]))
    memory = jepa.recollect(s[:, :6], s[:, :6])
    torch.testing.assert_close(made.predicted[:, 0], jepa.rollout(s[:, 6], a[:, 6:], memory=memory))
    assert torch.equal(made.s, s[:, 6:]) and made.inferred_actions.shape == (3, 5, 2) and 'next' not in parts
    several, _ = embed(jepa, Sequence(s, a, a, s[..., :2]), horizon=2, stride=1)
    torch.testing.assert_close(several.predicted[:, 3], jepa.rollout(s[:, 9], a[:, 9:11], memory=memory))


@pytest.mark.parametrize('level', [{'ensemble': 2}, {'predictor': 'adaln_mlp'}, {'predictor': 'gru'}])
def test_what_is_remembered_teaches_the_encoder(level):
    levels = (tiny.LevelConfig.model_validate({'width': 16, 'recall': RECALL} | level),)
    model = tiny.model(levels).requires_grad_(True)
    data = tiny.episodes([12] * 4)
    taken = data.take(data.all_windows(12, 12))
    module = Level0(model, losses_of({'prediction': {}}, model.levels[0]))
    s = model.encode(taken.percepts).detach().requires_grad_()
    module.of_states(s, taken.actions, taken.readouts)[0].backward()
    assert bool((s.grad[:, :6].abs() > 0).all())


def test_levels_may_be_trained_jointly():
    stage = tiny.training_config().level0.model_copy(update={'updates': 5})
    model, figures = train(tiny.episodes([60] * 6), tiny.contract(), config(schedule='joint', level0=stage))
    assert all(np.isfinite(value) for value in figures.values()) and model.levels[1].config.recall is not None


def test_episodes_that_are_too_short_for_the_past_are_refused_before_training():
    with pytest.raises(TrainingError, match='training episode has 24 steps, 33 are needed: record longer'):
        train(tiny.episodes([24] * 6), tiny.contract(), config())
