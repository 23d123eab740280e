"""The fast rollout of a LeWM predictor gives what its steps give, whatever its sizes, its past and its candidates."""
import copy

import pytest
import torch
from torch import nn

from jepa_ros.world_model import fast_lewm, linear
from jepa_ros.world_model.config import LevelConfig
from jepa_ros.world_model.jepa import JEPA
from jepa_ros.world_model.numerics import Numerics
from jepa_ros.world_model.predictors import expand_memory, Predictor
from jepa_ros.world_model.predictors_lewm import LeWMPredictor

DIM, ACTION = 6, 2
VARIANTS = {'published': {}, 'layer norm': dict(norm='layer'), 'no norm': dict(norm='none'),
            'no projector': dict(projector=0), 'wider': dict(width=10), 'one head': dict(heads=1, head_dim=DIM),
            'no window': dict(context=1), 'short window': dict(context=2), 'long window': dict(context=5)}
every_variant = pytest.mark.parametrize('variant', VARIANTS)


def make(variant='published', seed=0) -> LeWMPredictor:
    """Small, and no weight, mean or variance is one that would hide a mistake."""
    torch.manual_seed(seed)
    options = dict(width=DIM, heads=2, head_dim=4, mlp=8, repeat=2, smoothed=3, action_width=8, projector=8)
    made = LeWMPredictor(DIM, ACTION, depth=2, **(options | VARIANTS[variant])).eval().requires_grad_(False)
    for tensor in (*made.parameters(), made.gain, made.offset):
        tensor.add_(0.3 * torch.randn_like(tensor))
    for module in made.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return made


def data(*leading, horizon=5, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(*leading, DIM, generator=generator),
            torch.randn(*leading, horizon, ACTION, generator=generator))


def past(predictor, steps, batch=2):
    states, actions = data(batch, steps, seed=3)
    return predictor.begin(states, actions[..., 0, :])


def fast(predictor, s, c, memory=None, precision='fp32'):
    return fast_lewm.fast_form(predictor, Numerics(precision)).rollout(s, c, memory)


def close(predictor, s, c, memory=None):
    torch.testing.assert_close(fast(predictor, s, c, memory), Predictor.rollout(predictor, s, c, memory),
                               atol=2e-5, rtol=1e-5)


@every_variant
@pytest.mark.parametrize('horizon', [1, 2, 3, 4, 7])
def test_is_the_same_as_step_by_step_while_the_window_grows_and_when_it_slides(variant, horizon):
    predictor = make(variant)
    for leading in ((), (3,), (2, 3), (2, 1, 2)):
        close(predictor, *data(*leading, horizon=horizon))


@pytest.mark.parametrize('variant', ['published', 'wider', 'short window', 'long window'])
@pytest.mark.parametrize('horizon', [1, 2, 6])
def test_is_the_same_after_a_past_of_any_length(variant, horizon):
    predictor = make(variant)
    s, c = data(2, horizon=horizon)
    for steps in range(1, predictor.context + 1):
        close(predictor, s, c, past(predictor, steps))


def test_problems_may_have_pasts_of_different_lengths():
    predictor = make('long window')
    memory = tuple(torch.cat(pair) for pair in zip(past(predictor, 1, 1), past(predictor, 3, 1)))
    close(predictor, *data(2), memory)


@pytest.mark.parametrize('steps', [0, 1, 2])
def test_what_candidates_share_is_computed_once(steps, monkeypatch):
    predictor, entered = make(), []
    s, c = data(2)
    c = c[:, None] + torch.arange(4.0)[:, None, None]
    shared, memory = s[:, None].expand(-1, 4, -1), expand_memory(past(predictor, steps), 4) if steps else None
    close(predictor, shared, c, memory)
    form = fast_lewm.fast_form(predictor, Numerics())
    monkeypatch.setattr(form, 'enter', lambda x: entered.append(tuple(x.shape[:-1])) or x)
    form.rollout(shared, c, memory)
    alone = predictor.context - 1 if steps else 0       # tokens of the past, those that never happened among them
    assert entered == [(2, 1)] * (alone + 1) + [(2, 4)] * 4


def test_candidates_that_are_copies_give_the_same_as_shared_ones():
    predictor = make()
    s, c = data(2, 4)
    shared, memory = s[:, :1].expand(-1, 4, -1), expand_memory(past(predictor, 2), 4)
    torch.testing.assert_close(fast(predictor, shared, c, memory),
                               fast(predictor, shared.clone(), c, tuple(m.clone() for m in memory)))


def test_a_step_takes_each_state_once_per_window_and_reads_one_token(monkeypatch):
    predictor, rows, product = make(), [], linear.Map.__call__

    def noted(self, x):
        rows.append((self, x.shape[:-1].numel()))
        return product(self, x)
    monkeypatch.setattr(linear.Map, '__call__', noted)
    form = fast_lewm.fast_form(predictor, Numerics())
    form.rollout(*data(10))
    count = {name: sum(n for found, n in rows if found is layer) // 10 for name, layer in {
        'kv first': form.blocks[0]._kv, 'mlp first': form.blocks[0]._up, 'q first': form.blocks[0]._q,
        'kv last': form.blocks[1]._kv, 'mlp last': form.blocks[1]._up, 'modulation': form._modulation}.items()}
    # five steps in windows of three: 1 + 2 + 3 + 3 + 3 tokens, of which the first three steps share a growing window
    assert count == {'kv first': 9, 'mlp first': 9, 'q first': 6, 'kv last': 9, 'mlp last': 5, 'modulation': 5}


def test_without_onednn_it_is_the_same(monkeypatch):
    monkeypatch.setattr(linear, '_packs', lambda weight: False)
    close(make(), *data(3))


@pytest.mark.parametrize('steps', [0, 2])
def test_compiles_as_one_graph(steps, monkeypatch):
    monkeypatch.setattr(linear, '_packs', lambda weight: False)      # as on a GPU
    predictor = make()
    form = fast_lewm.fast_form(predictor, Numerics())
    compiled = torch.compile(form._steps, backend='eager', fullgraph=True, dynamic=False)
    s, c = data(2, horizon=4)
    memory = past(predictor, steps) if steps else None
    torch.testing.assert_close(compiled(s, c, memory), form.rollout(s, c, memory))


def test_changed_weights_count_at_once():
    predictor, (s, c) = make(), data(3)
    before = fast(predictor, s, c)
    predictor.blocks[0].mlp[0].weight.mul_(2)
    assert not torch.allclose(fast(predictor, s, c), before)
    close(predictor, s, c)
    predictor.load_state_dict(make(seed=5).state_dict())
    close(predictor, s, c)


def test_a_predictor_that_has_planned_can_be_copied_and_saved():
    predictor, (s, c) = make(), data(3)
    names = list(predictor.state_dict())
    fast(predictor, s, c)
    assert list(predictor.state_dict()) == names
    other = copy.deepcopy(predictor)
    other.positions.add_(1)
    close(other, s, c)
    close(predictor, s, c)


def test_bf16_comes_near_and_gives_states_in_fp32():
    predictor, (s, c) = make(), data(50)
    exact, near = fast(predictor, s, c), fast(predictor, s, c, precision='bf16')
    assert near.dtype == torch.float32 and torch.equal(near, fast(predictor, s, c, precision='bf16'))
    error = (near - exact).square().mean().sqrt() / exact.std()
    assert 0 < error < 0.03


class TestInALevel:
    @pytest.fixture
    def jepa(self):
        options = dict(heads=2, head_dim=4, mlp=8, smoothed=3, action_width=8, projector=8)
        torch.manual_seed(0)
        level = JEPA(LevelConfig(predictor='lewm', width=DIM, depth=2, options=options), DIM, ACTION).eval()
        for parameter in level.predictor.parameters():
            parameter.data.add_(0.3 * torch.randn_like(parameter))
        return level

    def test_planners_get_the_fast_form_and_the_precision_they_ask_for(self, jepa):
        s, a = data(3)
        with torch.no_grad():
            exact, near = jepa.rollout(s, a), jepa.rollout(s, a, numerics=Numerics('bf16'))
        assert torch.equal(exact, fast(jepa.predictor, s, a))
        assert torch.equal(near, fast(jepa.predictor, s, a, precision='bf16')) and not torch.equal(near, exact)

    def test_gradients_go_through_the_steps(self, jepa):
        s, a = data(3)
        a.requires_grad_()
        states = jepa.rollout(s, a, numerics=Numerics('bf16'))
        states[:, -1].square().sum().backward()
        assert float(a.grad.abs().min()) > 0
        with torch.no_grad():
            torch.testing.assert_close(jepa.rollout(s, a), states, atol=2e-5, rtol=1e-5)

    def test_training_sees_the_statistics_of_its_batch(self, jepa):
        s, a = data(3)
        jepa.train()
        with torch.no_grad():
            mine, steps = jepa.rollout(s, a), Predictor.rollout(jepa.predictor, s, a)
        torch.testing.assert_close(mine, steps)
