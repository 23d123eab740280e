"""A task's token reaches predictor, critic and policy through the actor (LeCun §2, configurator; §6)."""
import numpy as np
import pytest
import tiny
import torch

from jepa_ros.agent import Agent, Networks
from jepa_ros.cost.cost import Goal
from jepa_ros.errors import CheckpointError, ConfigError
from jepa_ros.world_model.config import LevelConfig

HURRY, CARE = {'hurry': 1.0}, {'care': 1.0}
PERCEPTION = {'task_dim': 2, 'task_names': ['hurry', 'care']}


def agent(tokens: int = 2, task: bool = True, trained: bool = True, **level) -> Agent:
    """One whose predictors, policy and critic take the token, as if it had been trained with it."""
    levels = tuple(LevelConfig(width=16, task=task, **each, **level) for each in ({}, {'period': 4, 'macro_dim': 3}))
    made = tiny.agent(levels, perception=tiny.perception(**PERCEPTION))
    card = made.card.model_copy(update={'policy_tokens': tokens, 'critic_tokens': tokens})
    torch.manual_seed(1)
    networks = Networks(made.networks.world_model.config, made.contract.observations, card)
    if task and trained:
        with torch.no_grad():
            for jepa in networks.world_model.levels:
                jepa.task_weight.normal_(std=4.0)
    return Agent(networks, card, made.contract)


def state(of: Agent, number: int = 1):
    return of.perception.encode({'overhead': tiny.image(number)})


def acts(of: Agent, token: dict, mode: str = 'planned', **settings):
    of.actor.reset()
    of.actor.configure(goal=Goal(levels=state(of, 2).levels), mode=mode, budget_ms=60_000, modulation=token,
                       **settings)
    return of.actor.act(state(of))


@pytest.mark.parametrize('level', [{}, {'predictor': 'adaln_mlp'}, {'ensemble': 2}])
def test_two_tasks_predict_differently_in_the_same_state(level):
    made = agent(**level)
    s, actions, found = state(made).levels[0], np.zeros((4, 2)), []
    for token in ({}, HURRY, CARE, {}):
        made.world_model.modulate(token)
        found.append((made.world_model.imagine(0, s, actions).states, made.world_model.imagine(1, s, np.zeros((2, 3)))
                      .states, made.world_model.predict(s, actions[0]), made.world_model.surprise(s, actions[0], s)))
    for none, one, other, again in zip(*found):
        assert not np.allclose(one, other) and not np.allclose(none, one) and np.array_equal(none, again)


def test_a_predictor_that_never_saw_a_task_does_not_mind_one():
    made = agent(trained=False)
    s, actions = state(made).levels[0], np.zeros((4, 2))
    before = made.world_model.imagine(0, s, actions).states
    made.world_model.modulate(HURRY)
    assert torch.equal(made.world_model.imagine(0, s, actions).states, before)


@pytest.mark.parametrize('changes', [{}, {'scenarios': 2}, {'method': 'gradient'}, {'joint': 2}])
def test_plans_are_made_with_the_predictions_of_the_task(changes):
    made = agent(tokens=0)
    card = made.card.model_copy(update={'planners': [p | changes for p in made.card.planners]})
    made = Agent(made.networks, card, made.contract)
    one, other, again = (acts(made, token) for token in (HURRY, CARE, HURRY))
    assert not np.allclose(one.actions, other.actions) and np.array_equal(one.actions, again.actions)
    assert one.energies != other.energies


def test_the_reflex_is_that_of_the_task():
    made = agent(task=False)
    one, other, again = (acts(made, token, 'reactive').actions for token in (HURRY, CARE, HURRY))
    assert not np.allclose(one, other) and np.array_equal(one, again)


def test_the_critic_foresees_the_energy_of_the_task():
    made, values = agent(task=False), []
    s, goal = state(made).levels[0], Goal(levels=state(made, 2).levels)
    for token in ({}, HURRY, CARE):
        made.cost.configure(goal=goal, weights={'critic': 1.0}, modulation=token)
        values.append(next(t.value for t in made.cost.evaluate(s[None]).terms if t.name == 'critic'))
        assert float(made.cost.energy(s[None], None)) == pytest.approx(made.cost.evaluate(s[None]).total, rel=1e-4)
    assert len({round(value, 5) for value in values}) == 3


def test_curiosity_and_agency_ask_the_predictor_of_the_task():
    made, energies = agent(ensemble=2), []
    s, actions = state(made).levels[0][None], torch.zeros(1, 2)
    for token in (HURRY, CARE):
        made.cost.configure(goal=None, weights={'curiosity': 1.0, 'agency': 1.0}, modulation=token)
        terms = {t.name: t.value for t in made.cost.evaluate(s, actions, s[0]).terms}
        energies.append((terms['curiosity'], terms['agency']))
    assert energies[0][0] != energies[1][0] and energies[0][1] != energies[1][1]


def test_a_task_reaches_the_actor_through_the_configurator():
    made = agent()
    made.configurator.tasks['careful'] = made.configurator.tasks['reach'].model_copy(update={'modulation': CARE})
    goal, actions = Goal(levels=state(made, 2).levels), []
    for task in ('careful', 'reach'):
        made.configurator.start(goal, task)
        made.actor.reset()
        made.actor.configure(mode='planned', budget_ms=60_000, **made.configurator.settings.cost_arguments)
        actions.append(made.actor.act(state(made)).actions)
    weights = made.configurator.tasks['reach'].weights
    assert np.array_equal(actions[0], acts(made, CARE, weights=weights).actions) and not np.array_equal(*actions)


def test_a_model_without_tokens_acts_as_if_none_had_been_given():
    made = tiny.agent()
    plain, given = (acts(made, token) for token in ({}, HURRY))
    assert np.array_equal(plain.actions, given.actions) and plain.energies == given.energies


def test_what_cannot_be_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match="task token 'hury' is not of this model: it has hurry, care"):
        acts(agent(), {'hury': 1.0})
    with pytest.raises(ValueError, match=r'levels.0.task: there is no task token: give perception.task_dim, its size'):
        tiny.model_config((LevelConfig(task=True),))
    made = agent()
    made.card = made.card.model_copy(update={'critic_tokens': 3})
    made.save(tmp_path / 'odd')
    with pytest.raises(CheckpointError, match='critic_tokens is 3: the task token of this model has 2 numbers'):
        Agent.load(tmp_path / 'odd', device='cpu')


def test_a_checkpoint_keeps_what_it_does_with_tasks(tmp_path):
    made = agent()
    made.save(tmp_path / 'tasks')
    loaded = Agent.load(tmp_path / 'tasks', device='cpu')
    for token in (HURRY, CARE):
        assert np.array_equal(acts(made, token).actions, acts(loaded, token).actions)
