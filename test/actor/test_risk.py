"""Several futures of each candidate, and one number for all of them (LeCun §4.8, Fig. 17)."""
from itertools import product

from hypothesis import assume, given
from hypothesis import strategies as st
import pytest
import tiny
import torch
from torch import Tensor

from jepa_ros.actor.hierarchy import Hierarchy
from jepa_ros.actor.planners import PlannerConfig
from jepa_ros.actor.risk import chance_violation, Futures, measure, Scenarios
from jepa_ros.cost.cost import Cost, Goal
from jepa_ros.world_model.config import LevelConfig
from jepa_ros.world_model.jepa import JEPA
from jepa_ros.world_model.predictors import Memory, Predictor

DIM, ACTION = 3, 2
PREDICTORS = {'residual_mlp': {}, 'gru': {'memory': 4, 'context': 3}, 'transformer': {'window': 3, 'heads': 2}}


def jepa(predictor: str = 'residual_mlp', latent: str = 'none', size: int | None = None, **changes) -> JEPA:
    torch.manual_seed(0)
    level = LevelConfig.model_validate({'predictor': predictor, 'width': 8, 'options': PREDICTORS[predictor],
                                        'latent': {'kind': latent, 'dim': size, **changes.pop('latent_options', {})},
                                        **changes})
    made = JEPA(level, DIM, ACTION).eval().requires_grad_(False)
    with torch.no_grad():       # far from linear, so that different pasts and latents make different futures
        for parameter in made.predictor.parameters():
            parameter.mul_(2)
    return made


def start(candidates: int = 3, horizon: int = 3, batch: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return (torch.randn(batch, DIM, generator=generator),
            torch.rand(batch, candidates, horizon, ACTION, generator=generator) * 2 - 1)


def past(model: JEPA, batch: int = 2) -> Memory | None:
    generator = torch.Generator().manual_seed(2)
    return model.remember(torch.randn(batch, 2, DIM, generator=generator),
                          torch.randn(batch, 2, ACTION, generator=generator))


def of_candidates(memory: Memory | None, count: int) -> Memory | None:
    return None if memory is None else tuple(m.repeat_interleave(count, 0).unflatten(0, (-1, count)) for m in memory)


def all_branches(model: JEPA, s: Tensor, candidates: Tensor, memory: Memory | None) -> Futures:
    """Every sequence of K values, one by one: states (B, N, K^H, H, D), probabilities (B, N, K^H)."""
    latent, horizon = model.latent.latent, candidates.shape[2]
    states, weights = [], []
    for values in product(range(latent.dim), repeat=horizon):
        z = latent.candidates()[list(values)].expand(*candidates.shape[:2], -1, -1)
        now = s[:, None].expand(-1, candidates.shape[1], -1)
        rolled = model.rollout(now, candidates, z, of_candidates(memory, candidates.shape[1]))
        before = torch.cat([now[:, :, None], rolled[:, :, :-1]], 2)
        prior = latent.prior(before, candidates)
        log_p = latent.log_prior(latent.fitted if prior is None else prior).expand(*before.shape[:-1], -1)
        weights.append(log_p.gather(-1, torch.tensor(values).expand(*before.shape[:-1])[..., None])[..., 0].sum(-1))
        states.append(rolled)
    return Futures(torch.stack(states, 2), torch.stack(weights, 2).exp())


def in_order(futures: Futures) -> Futures:
    """The most probable first."""
    weights, order = futures.weights.sort(-1, descending=True)
    return Futures(futures.states.take_along_dim(order[..., None, None], 2), weights)


@pytest.mark.parametrize('predictor', PREDICTORS)
@pytest.mark.parametrize('state_prior', [False, True])
def test_a_tree_that_fits_is_all_branches_with_their_probabilities(predictor, state_prior):
    model = jepa(predictor, 'discrete', 3, latent_options={'state_prior': state_prior})
    model.latent.latent.fitted.copy_(torch.log(torch.tensor([0.55, 0.3, 0.15])))
    if state_prior:
        torch.nn.init.normal_(model.latent.latent.prior_net[-1].weight)
    s, candidates = start()
    found = in_order(Scenarios(model, 27).futures(s, candidates, past(model)))
    expected = in_order(all_branches(model, s, candidates, past(model)))
    assert found.states.shape == (2, 3, 27, 3, DIM)
    assert torch.allclose(found.weights, expected.weights, atol=1e-6)
    assert torch.allclose(found.weights.sum(-1), torch.ones(2, 3), atol=1e-6)
    # sums over all branches, whatever their order: that of equally probable ones is free
    for moment in (1, 2):
        mean, wanted = ((f.weights[..., None, None] * f.states ** moment).sum(2) for f in (found, expected))
        assert torch.allclose(mean, wanted, atol=1e-4)


def test_a_tree_that_does_not_fit_shows_rare_events_as_often_as_they_are():
    """Of 256 futures 8 are kept. The most probable ones alone would say 0.56 that nothing happens: no risk is left."""
    model = jepa('residual_mlp', 'discrete', 2)
    model.latent.latent.fitted.copy_(torch.log(torch.tensor([0.9, 0.1])))
    model.predictor = Drift(model.dim, model.predictor.condition_dim)
    s, candidates = start(candidates=1, horizon=8, batch=1)
    nothing = 0.0
    for seed in range(400):
        found = Scenarios(model, 8, torch.Generator().manual_seed(seed)).futures(s, torch.zeros_like(candidates))
        assert found.states.shape[2] == 8
        # z is one-hot: the first place is added where nothing happens, eight times in eight steps
        undisturbed = (found.states[0, 0, :, -1, 0] - s[0, 0]).round() == 8
        nothing += float(found.weights[0, 0][undisturbed].sum()) / 400
    assert nothing == pytest.approx(0.9 ** 8, abs=0.02)


@pytest.mark.parametrize('predictor', PREDICTORS)
def test_a_pruned_tree_is_made_of_branches_that_are_and_is_the_same_for_a_seed(predictor):
    model = jepa(predictor, 'discrete', 2)
    s, candidates = start()
    first, again = (Scenarios(model, 4, torch.Generator().manual_seed(3)).futures(s, candidates, past(model))
                    for _ in range(2))
    assert torch.equal(first.states, again.states)
    assert torch.allclose(first.weights.sum(-1), torch.ones(first.weights.shape[:2]))
    branches = all_branches(model, s, candidates, past(model)).states       # (B, N, K^H, H, D)
    apart = (first.states[:, :, :, None] - branches[:, :, None]).abs().amax((-1, -2)).amin(-1)
    assert float(apart.max()) < 1e-5


class Drift(Predictor):
    """ŝ = s + 0.1 · a + z."""

    def forward(self, s: Tensor, c: Tensor) -> Tensor:
        return s + 0.1 * c[..., :1] + c[..., ACTION:ACTION + 1]


def drifting(kind: str) -> JEPA:
    model = jepa(latent=kind, size=1)
    model.predictor = Drift(DIM, ACTION + 1)
    return model


@pytest.mark.parametrize('kind', ['gaussian', 'sparse', 'low_dimensional'])
def test_all_candidates_meet_the_same_draws(kind):
    s, candidates = start(candidates=4)
    states = Scenarios(drifting(kind), 6, torch.Generator().manual_seed(0)).futures(s, candidates).states
    met = states - s[:, None, None, None] - 0.1 * candidates.cumsum(2)[:, :, None, :, :1]
    assert torch.allclose(met, met[:1, :1].expand_as(met), atol=1e-5)
    assert float(met.std(2).min()) > 0.01       # and the scenarios differ


def test_draws_last_for_the_whole_plan_and_follow_the_generator():
    s, candidates = start()
    first, again, other = (Scenarios(drifting('gaussian'), 5, torch.Generator().manual_seed(n)) for n in (3, 3, 4))
    states = first.futures(s, candidates).states
    assert torch.equal(first.futures(s, candidates).states, states)
    assert torch.equal(again.futures(s, candidates).states, states)
    assert not torch.allclose(other.futures(s, candidates).states, states)


def test_drawn_futures_count_the_same():
    s, candidates = start()
    futures = Scenarios(drifting('gaussian'), 5, torch.Generator().manual_seed(0)).futures(s, candidates)
    assert torch.allclose(futures.weights, torch.full((2, 3, 5), 0.2))


@pytest.mark.parametrize('predictor', PREDICTORS)
def test_where_nothing_is_open_the_only_future_is_the_rollout(predictor):
    model = jepa(predictor)
    s, candidates = start()
    futures = Scenarios(model, 7).futures(s, candidates, past(model))
    expected = model.rollout(s[:, None].expand(-1, 3, -1), candidates, memory=of_candidates(past(model), 3))
    assert torch.equal(futures.weights, torch.ones(2, 3, 1))
    assert torch.allclose(futures.states[:, :, 0], expected, atol=1e-6)
    if past(model) is not None:
        assert not torch.allclose(futures.states, Scenarios(model, 7).futures(s, candidates).states, atol=1e-3)


@pytest.mark.parametrize('predictor', PREDICTORS)
@pytest.mark.parametrize('count, members', [(1, 1), (2, 2), (3, 3), (9, 3)])
def test_each_member_of_an_ensemble_has_a_future_of_its_own(predictor, count, members):
    model = jepa(predictor, ensemble=3)
    s, candidates = start()
    futures = Scenarios(model, count).futures(s, candidates, past(model))
    expected = model.predictor.rollouts(s[:, None].expand(-1, 3, -1), candidates, of_candidates(past(model), 3))
    assert torch.allclose(futures.states, expected[:members].movedim(0, 2), atol=1e-5)
    assert torch.allclose(futures.weights, torch.full((2, 3, members), 1 / members))


@pytest.mark.parametrize('latent, size, count, each', [('gaussian', 2, 5, 3), ('discrete', 2, 8, 4)])
def test_members_and_latents_are_open_together(latent, size, count, each):
    model = jepa('gru', latent, size, ensemble=2)
    s, candidates = start(horizon=2)
    futures = Scenarios(model, count, torch.Generator().manual_seed(0)).futures(s, candidates, past(model))
    assert futures.states.shape == (2, 3, 2 * each, 2, DIM)
    assert torch.allclose(futures.weights.unflatten(-1, (2, each)).sum(-1), torch.full((2, 3, 2), 0.5))
    assert not torch.allclose(futures.states[:, :, :each], futures.states[:, :, each:], atol=1e-3)


def risky(risk: str, **changes) -> PlannerConfig:
    return PlannerConfig(risk=risk, **changes)


ENERGIES, WEIGHTS = torch.tensor([1.0, 5.0, 3.0]), torch.tensor([0.5, 0.2, 0.3])


@pytest.mark.parametrize('config, expected', [
    (risky('mean'), 0.5 + 1.0 + 0.9),
    (risky('mean_std', risk_weight=2.0), 2.4 + 2 * (0.5 * 1.4 ** 2 + 0.2 * 2.6 ** 2 + 0.3 * 0.6 ** 2) ** 0.5),
    (risky('mean_std', risk_weight=0.0), 2.4),
    (risky('cvar', risk_share=0.1), 5.0),
    (risky('cvar', risk_share=0.2), 5.0),
    (risky('cvar', risk_share=0.4), (0.2 * 5 + 0.2 * 3) / 0.4),
    (risky('cvar', risk_share=0.8), (0.2 * 5 + 0.3 * 3 + 0.3 * 1) / 0.8),
    (risky('cvar', risk_share=1.0), 2.4),
])
def test_measures_by_hand(config, expected):
    assert float(measure(ENERGIES, WEIGHTS, config)) == pytest.approx(expected, rel=1e-5)


scenarios = st.lists(st.tuples(st.floats(-10, 10, width=32), st.integers(1, 9)), min_size=1, max_size=8)


def tensors(pairs) -> tuple[Tensor, Tensor]:
    energies, weights = (torch.tensor(column, dtype=torch.float32) for column in zip(*pairs))
    return energies, weights / weights.sum()


@tiny.invariant
@given(pairs=scenarios, share=st.floats(0.05, 1))
def test_cvar_is_the_least_of_a_threshold_plus_what_exceeds_it(pairs, share):
    """Rockafellar & Uryasev 2000, theorem 1: min over η of η + E[(X − η)⁺] / share, reached at one of the values."""
    energies, weights = tensors(pairs)
    excess = (weights * torch.relu(energies[None] - energies[:, None])).sum(-1) / share
    expected = float((energies + excess).min())
    assert float(measure(energies, weights, risky('cvar', risk_share=share))) == pytest.approx(expected, abs=1e-3)


@tiny.invariant
@given(pairs=scenarios, config=st.sampled_from([risky('mean'), risky('cvar'), risky('mean_std', risk_weight=0.3)]))
def test_a_plan_whose_worst_scenario_is_worse_is_never_better(pairs, config):
    energies, weights = tensors(pairs)
    worse = energies.clone()
    worse[int(energies.argmax())] += 1
    assert float(measure(worse, weights, config)) >= float(measure(energies, weights, config)) - 1e-4


@pytest.mark.parametrize('bad', [torch.inf, torch.nan])
@pytest.mark.parametrize('risk', ['mean', 'mean_std', 'cvar'])
def test_one_scenario_without_a_finite_energy_spoils_the_plan(risk, bad):
    assert not bool(torch.isfinite(measure(torch.tensor([1.0, bad, 2.0]), WEIGHTS, risky(risk))))


@pytest.mark.parametrize('chance, expected', [(0.0, 5.0), (0.19, 5.0), (0.2, 3.0), (0.49, 3.0), (0.5, 1.0), (0.9, 1.0)])
def test_chance_forgives_the_worst_scenarios_up_to_a_share(chance, expected):
    assert float(chance_violation(ENERGIES, WEIGHTS, chance)) == expected


@tiny.invariant
@given(pairs=scenarios, chance=st.integers(0, 19))
def test_what_chance_leaves_is_exceeded_with_no_more_than_that_probability(pairs, chance):
    violations, weights = tensors(pairs)
    violations, chance = torch.relu(violations), chance / 20
    exceeded = (weights * (violations[None] > violations[:, None])).sum(-1)
    expected = float(violations[exceeded <= chance + 1e-6].min())
    assert float(chance_violation(violations, weights, chance)) == expected


@tiny.invariant
@given(pairs=scenarios)
def test_without_a_chance_every_scenario_must_keep_the_guardrails(pairs):
    violations, weights = tensors(pairs)
    assume(float(violations.max()) > 0)
    assert float(chance_violation(torch.relu(violations), weights, 0.0)) == float(violations.max())


class Gamble(Predictor):
    """To the goal with the action, as a rule; twice as far away from it one time in ten."""

    def forward(self, s: Tensor, c: Tensor) -> Tensor:
        turned = torch.where(c[..., 3:] > 0.5, -2.0, 1.0)
        return s + turned * c[..., :1] * torch.tensor([1.0, 0.0])


def gamble(**changes) -> float:
    """First number of the action that is chosen, the goal at 1."""
    level = LevelConfig.model_validate({'width': 8, 'latent': {'kind': 'discrete', 'dim': 2}})
    model = tiny.model((level,), perception=tiny.perception(2))
    model.levels[0].predictor = Gamble(2, 4)
    model.levels[0].latent.latent.fitted.copy_(torch.log(torch.tensor([0.9, 0.1])))
    cost = Cost(model, ['x_m', 'y_m'])
    config = PlannerConfig(method='cem', samples=128, iterations=8, elites=8, horizon=1, min_std=0.02, **changes)
    plan = Hierarchy(model, cost, [config]).plan(
        (torch.zeros(1, 2),), cost.make_settings(Goal(levels=(torch.tensor([1.0, 0.0]),)), {'effort': 0.0}),
        generator=torch.Generator().manual_seed(0))
    return float(plan.searches[0].actions[0, 0, 0])


def test_a_plan_on_the_most_probable_future_goes_all_the_way():
    assert gamble() > 0.95


def test_a_risk_neutral_plan_gambles_as_far_as_it_pays():
    """0.9 (a − 1)² + 0.1 (2a + 1)² is least at 0.7 / 1.3."""
    assert gamble(scenarios=2) == pytest.approx(0.7 / 1.3, abs=0.03)


@pytest.mark.parametrize('risk', [{'risk': 'cvar', 'risk_share': 0.1}, {'risk': 'mean_std', 'risk_weight': 1.0}])
def test_a_risk_averse_plan_does_not_gamble(risk):
    assert abs(gamble(scenarios=2, **risk)) < 0.03
