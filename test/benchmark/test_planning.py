"""The benchmark of fast plans at tiny sizes; against stable-worldmodel where it is installed."""
import json
from pathlib import Path
import sys

import pytest
from rich.console import Console
import torch

from jepa_ros.errors import WorldError
from jepa_ros.world_model.numerics import Numerics

BENCHMARK = Path(__file__).parents[2] / 'benchmark'
CPU = torch.device('cpu')


@pytest.fixture(scope='module')
def planning():
    sys.path.insert(0, str(BENCHMARK))
    try:
        import planning
    finally:
        sys.path.remove(str(BENCHMARK))
    return planning


@pytest.fixture
def task(planning):
    """Predictor, search, and a problem of two at once."""
    predictor, search = planning.SMALL.predictor(), planning.Search(samples=32, iterations=6, elites=6, horizon=3)
    return predictor, search, next(planning.problems(predictor, search.horizon, 2))


def test_plans_come_closer_to_the_goal_than_standing_still_and_the_seed_decides_them(planning, task):
    predictor, search, (s, goal) = task
    for precision in ('fp32', 'bf16'):
        ours = planning.Ours(predictor, search, Numerics(precision))
        actions = ours.plan(s, goal, 0)
        found, idle = (ours.exact(a[:, None], s, goal).energy for a in (actions, 0 * actions))
        assert bool((found < 0.8 * idle).all())
        assert planning.same_plan(ours.plan, s, goal)


def test_problems_are_new_each_time_and_the_same_for_the_same_seed(planning, task):
    predictor, search, (s, goal) = task
    drawn = planning.problems(predictor, search.horizon, 2)
    again, other = next(drawn), next(drawn)
    assert torch.equal(s, again[0]) and torch.equal(goal, again[1]) and not torch.equal(goal, other[1])


def test_ratios_are_of_medians_and_mean_energies_and_the_quickest_has_no_name(planning):
    latencies = {'swm_cem': [100.0, 300.0, 200.0], 'fp32': [40.0, 40.0, 70.0], 'bf16': [20.0]}
    energies = {'swm_cem': [1.0, 3.0], 'fp32': [2.0, 2.0], 'bf16': [1.0, 1.0]}
    rows = {each['what']: each['value'] for each in planning.figures(latencies, energies, True, CPU)}
    assert rows['ratio_to_swm_cem_fp32_cpu'] == 5 and rows['ratio_to_swm_cem_cpu'] == 10
    assert rows['energy_ratio_to_swm_cem_fp32'] == 1 and rows['energy_ratio_to_swm_cem'] == 0.5
    assert rows['plan_fp32_ms_p99_cpu'] == pytest.approx(69.4) and rows['plan_same_seed_same_plan_cpu'] == 1


def test_without_the_peer_it_says_what_to_install_and_measures_the_rest(planning, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'stable_worldmodel', None)
    monkeypatch.setattr(torch, 'set_num_threads', lambda count: None)
    planning.main(['--quick', '--device', 'cpu', '--output', str(tmp_path / 'planning.json')])
    assert 'compare left out: ' in (said := capsys.readouterr().out) and 'pip install stable-worldmodel' in said
    rows = json.loads((tmp_path / 'planning.json').read_text())['rows']
    assert len(rows) == len(planning.QUICK_SCALES) and all(each['value'] > 0 for each in rows)


def test_with_the_peer_both_minimise_the_same(planning):
    options = planning.chosen(['--quick', '--device', 'cpu'])
    try:
        peer = planning.Peer(options.sizes, options.search, CPU)
    except WorldError as error:
        pytest.skip(str(error))
    predictor = peer.predictor()
    s, goal = next(planning.problems(predictor, options.search.horizon, 2))
    candidates = torch.randn(2, 7, options.search.horizon, options.sizes.action)
    ours = planning.Ours(predictor, options.search, Numerics()).exact(candidates, s, goal).energy
    torch.testing.assert_close(ours, peer.cost(s, goal, candidates), atol=1e-5, rtol=1e-4)
    rows = {each['what']: each['value'] for each in planning.compare(options, CPU, Console())}
    assert rows['ratio_to_swm_cem_cpu'] > 0 and rows['energy_ratio_to_swm_cem'] > 0
