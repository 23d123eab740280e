"""The term set has one hash, everywhere the same, and nothing that learns or is configured changes it."""
import ast
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
import subprocess
import sys

import pytest
import tiny
import torch

from jepa_ros import checkpoint
from jepa_ros.agent import Agent
from jepa_ros.cost import term_set
from jepa_ros.cost.cost import Cost, Goal, Region
from jepa_ros.cost.intrinsic import TERMS
from jepa_ros.cost.term_set import FILES, term_set_sha256
from jepa_ros.errors import ConfigError, CostError

TERM = '''"""Theirs."""
from jepa_ros.cost.terms import term

SLOPE = 2.0


@term('{name}', weight={weight})
def theirs(states, actions, context):
    """Steep."""
    return SLOPE * states.sum(-1)  # as it is
'''


def test_every_shipped_term_is_hashed():
    modules = {each.__module__ for name in TERMS.names()
               for each in (TERMS.get(name).function, TERMS.get(name).constraint) if each}
    assert modules == set(FILES)


def test_another_process_without_torch_finds_the_same_hash():
    code = ('import sys; from jepa_ros.cost.term_set import term_set_sha256\n'
            'print(term_set_sha256(), "torch" in sys.modules)')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [term_set_sha256(), 'False']


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Says the hash with a term of a third party, given its source."""
    monkeypatch.syspath_prepend(tmp_path)
    entry = EntryPoint('theirs', 'their_terms:theirs', term_set.GROUP)
    monkeypatch.setattr(term_set, 'entry_points', lambda group: [entry])

    def hashed(text: str) -> str:
        Path(tmp_path / 'their_terms.py').write_text(text)
        return term_set_sha256()
    return hashed


def test_the_hash_follows_what_a_term_computes_and_not_how_it_is_written(plugin):
    text = TERM.format(name='theirs', weight=1.0)
    before = plugin(text)
    assert plugin(text.replace('# as it is', '# another comment').replace('Steep', 'Very steep').replace(
        'states.sum(-1)', '(states.sum(\n        -1))')) == before
    for old, new in (('SLOPE = 2.0', 'SLOPE = 3.0'), ('weight=1.0', 'weight=0.5'), ('sum', 'mean'),
                     ("'theirs'", "'ours'"), ('weight=1.0', 'weight=1.0, floor=1.0')):
        assert plugin(text.replace(old, new)) != before


def test_a_plugin_changes_the_hash(monkeypatch, plugin):
    with_it = plugin(TERM.format(name='theirs', weight=1.0))
    monkeypatch.setattr(term_set, 'entry_points', lambda group: [])
    assert term_set_sha256() != with_it


def test_the_functions_that_terms_borrow_count(monkeypatch):
    before, tree = term_set_sha256(), term_set._tree
    source = {'jepa_ros.energy.distance': ('square()', 'abs()')}

    def changed(module: str):
        found = tree(module)
        if module in source:
            return ast.parse(ast.unparse(found).replace(*source[module]))
        return found
    monkeypatch.setattr(term_set, '_tree', changed)
    assert term_set_sha256() != before


def test_a_term_without_source_is_refused_in_one_line(monkeypatch):
    entry = EntryPoint('theirs', 'nowhere_at_all:theirs', term_set.GROUP)
    monkeypatch.setattr(term_set, 'entry_points', lambda group: [entry])
    with pytest.raises(ConfigError, match='the source of nowhere_at_all, which defines cost terms, cannot be read'):
        term_set_sha256()


def test_a_checkpoint_says_which_terms_it_was_trained_under(tmp_path):
    tiny.agent().save(tmp_path)
    assert checkpoint.read_card(tmp_path).term_set_sha256 == term_set_sha256()


@pytest.mark.parametrize('said, warned', [('', False), ('0' * 64, True), (None, False)])
def test_loading_a_checkpoint_of_another_term_set_warns_in_one_line(tmp_path, caplog, said, warned):
    agent = tiny.agent()
    if said is not None:
        agent.card = agent.card.model_copy(update={'term_set_sha256': said})
    agent.save(tmp_path)
    Agent.load(tmp_path, device='cpu')
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == warned
    if warned:
        assert lines[0].startswith(f'{tmp_path}: trained under another set of intrinsic cost terms (000000000000, here')
        assert '\n' not in lines[0]


def test_training_everything_an_agent_has_leaves_the_intrinsic_cost_as_it_was():
    """LeCun §3.2: "the IC must be immutable and not subject to learning"."""
    agent = tiny.agent()
    hashed, terms = term_set_sha256(), {name: TERMS.get(name) for name in TERMS.names()}
    settings = agent.cost.make_settings(Goal(levels=(torch.zeros(6),)), {'critic': 1.0, 'agency': 1.0},
                                        [Region({'x_m': 9.0}, 0.5)])
    parameters = list(agent.networks.requires_grad_(True).parameters())
    before = [p.detach().clone() for p in parameters]
    optimiser = torch.optim.SGD(parameters, lr=0.1)
    s, actions = torch.randn(4, 6), torch.randn(4, 3, 2)
    for _ in range(5):
        optimiser.zero_grad()
        states = agent.networks.world_model.levels[0].rollout(s, actions)
        chunk = agent.networks.policy(s, torch.zeros(6))
        (agent.cost.energy(states, actions, settings).mean() + chunk.square().mean()).backward()
        optimiser.step()
    changed = sum(not torch.equal(p, old) for p, old in zip(parameters, before))
    assert changed > 10                                             # of predictor, readouts, policy and critic
    assert term_set_sha256() == hashed
    assert {name: TERMS.get(name) for name in TERMS.names()} == terms
    assert settings.weights == {**agent.cost.default_weights(), 'critic': 1.0, 'agency': 1.0}


def test_no_term_brings_parameters_of_its_own():
    """Only the world model, which readouts and agency ask, and the critic have gradients."""
    agent = tiny.agent()
    cost = Cost(agent.networks.world_model, ['x_m', 'y_m'])
    assert not [v for v in vars(cost).values() if isinstance(v, torch.nn.Parameter)]
    states = torch.randn(3, 6)
    settings = cost.make_settings(Goal(levels=(torch.zeros(6),), readouts={}), {'goal': 1.0})
    assert not cost.energy(states, torch.randn(3, 2), settings).requires_grad


def test_weights_in_force_cannot_be_written_to_nor_replaced_by_lower_ones():
    settings = tiny.agent().cost.settings
    with pytest.raises(TypeError):
        settings.weights['avoid'] = 0.0
    with pytest.raises(CostError, match="weight 0 of guardrail 'avoid' is below its floor 10"):
        replace(settings, weights={**settings.weights, 'avoid': 0.0})
    with pytest.raises(CostError, match="guardrail 'limits'"):
        replace(settings, weights={**settings.weights, 'limits': float('nan')})
