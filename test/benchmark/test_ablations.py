"""Configurations of the ablations, and how their runs become rows."""
from argparse import Namespace
from pathlib import Path
import sys

import pytest

from jepa_ros.training.config import load_config

BENCHMARK = str(Path(__file__).parents[2] / 'benchmark')


@pytest.fixture(scope='module')
def ablations():
    sys.path.insert(0, BENCHMARK)
    try:
        import ablations
    finally:
        sys.path.remove(BENCHMARK)
    return ablations


def differing(one, other, prefix=''):
    """Dotted names of what differs in two nested configurations."""
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        one, other = dict(enumerate(one)), dict(enumerate(other))
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return set() if one == other else {prefix}
    return {found for key in {*one, *other}
            for found in differing(one.get(key), other.get(key), f'{prefix}.{key}' if prefix else str(key))}


@pytest.mark.parametrize(('name', 'changes'), [
    ('full', set()),
    ('without_inverse', {'losses.inverse'}),
    ('without_variance', {'losses.vicreg.variance'}),
    ('without_covariance', {'losses.vicreg.covariance'}),
    ('without_smoothness', {'losses.smoothness'}),
    ('without_hierarchy', set()),
    ('sigreg', {'losses.vicreg', 'losses.sigreg'}),
    ('barlow_twins', {'losses.vicreg', 'losses.barlow_twins'}),
    ('info_nce', {'losses.vicreg', 'losses.info_nce'}),
])
def test_an_ablation_differs_from_the_whole_in_what_it_is_named_for(ablations, name, changes):
    full, one = (ablations.configured(which, 1000, 3).model_dump(mode='json') for which in ('full', name))
    assert differing(full, one) == changes


@pytest.mark.parametrize('kind', ['discrete', 'gaussian'])
def test_a_latent_is_added_to_level_0_alone(ablations, kind):
    config = ablations.configured(f'latent_{kind}', 1000, 0)
    assert [level.latent.kind for level in config.levels] == [kind, 'none']
    plain = ablations.configured('full', 1000, 0).model_dump(mode='json')
    assert all(name.startswith('levels.0.latent.') for name in differing(plain, config.model_dump(mode='json')))


def test_all_stages_are_shortened_alike_and_a_collapse_does_not_end_the_run(ablations):
    shipped, config = load_config('two_rooms'), ablations.configured('full', 800, 5)
    share = 800 / shipped.level0.updates
    assert config.level0.updates == 800 and config.level0.warmup <= 200
    assert config.upper.updates == round(share * shipped.upper.updates)
    assert config.seed == 5 and not config.collapse.refuse


def test_changing_a_configuration_leaves_the_original_as_it_was(ablations):
    before = {'a': {'b': 1, 'c': 2}, 'l': [{'x': 1}, {'x': 2}]}
    after = ablations.changed(before, {'a': {'b': None, 'd': {'e': 3}}, 'l': {1: {'x': 5}}})
    assert after == {'a': {'c': 2, 'd': {'e': 3}}, 'l': [{'x': 1}, {'x': 5}]}
    assert before == {'a': {'b': 1, 'c': 2}, 'l': [{'x': 1}, {'x': 2}]}


def test_collapse_is_said_in_words_and_health_is_silence(ablations):
    healthy = {'effective_rank': 40.0, 'std': 1.0, 'inverse_error': 0.1}
    assert ablations.collapse(healthy) == ''
    assert ablations.collapse(healthy | {'effective_rank': 1.2}) == 'effective rank of s is 1.2 < 4.0'
    both = ablations.collapse(healthy | {'effective_rank': 1.2, 'inverse_error': 0.9})
    assert both.startswith('effective rank of s is 1.2 < 4.0; inverse dynamics misses 90% of the actions')


def test_a_row_has_mean_and_deviation_over_the_seeds_and_says_which_one_collapsed(ablations):
    good = {'success': 1.0, 'plan_ms_p50': 10.0, 'minutes': 2.0, 'figures': {'std': 1.0, 'inverse_error': 0.1},
            'collapse': ''}
    bad = {'success': 0.0, 'plan_ms_p50': None, 'minutes': 1.0, 'figures': {}, 'collapse': 'not finite'}
    options = Namespace(episodes=40, updates=1000)
    worse = good | {'success': 0.5, 'figures': {'std': 3.0, 'inverse_error': 0.1}}
    made = ablations.row('full', [good, worse], options)
    assert (made['success_mean'], made['seeds'], made['plan_ms_p50'], made['collapsed']) == (0.75, 2, 10.0, [])
    assert made['success_std'] == pytest.approx(0.3536, abs=1e-4)
    assert made['figures']['std'] == {'mean': 2.0, 'std': pytest.approx(1.4142, abs=1e-4)}
    made = ablations.row('full', [good, bad], options)
    assert made['success_mean'] == 0.5 and made['plan_ms_p50'] == 10.0 and made['figures'] == {}
    assert made['collapsed'] == ['seed 1: not finite']
