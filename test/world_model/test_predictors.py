"""What every predictor must hold to: small ones of each name."""
import pytest
import torch

from jepa_ros.errors import ConfigError
from jepa_ros.registry import Registry
from jepa_ros.world_model import predictors
from jepa_ros.world_model.predictors import build_predictor, expand_memory, mlp, PREDICTORS

SMALL = {
    'residual_mlp': {},
    'adaln_mlp': {},
    'gru': {},
    'gru memory': dict(memory=3, context=5),
    'transformer': dict(heads=2),
    'transformer tokens': dict(heads=2, window=4, tokens=3, numbered=True),
    'lewm': dict(heads=2, head_dim=4, mlp=8, smoothed=3, action_width=8, projector=8, norm='layer'),
}
DIM, CONDITION, STEPS = 6, 2, 11
every = pytest.mark.parametrize('name', SMALL)
looking_back = pytest.mark.parametrize('name', ['gru memory', 'transformer', 'transformer tokens', 'lewm'])


def make(name, seed=0):
    torch.manual_seed(seed)
    predictor = build_predictor(name.split()[0], DIM, CONDITION, 8, 2, SMALL[name]).eval()
    with torch.no_grad():           # some begin with zeros, which would hide what they depend on
        for parameter in predictor.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return predictor


def data(*leading, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*leading, DIM, generator=generator), torch.randn(*leading, CONDITION, generator=generator)


def step_by_step(predictor, s, c, memory=None):
    following = []
    for t in range(s.shape[-2]):
        predicted, memory = predictor.step(s[..., t, :], c[..., t, :], memory)
        following.append(predicted)
    return torch.stack(following, -2)


def close(one, other):
    torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-5)


def test_every_predictor_is_held_to_the_following():
    assert {name.split()[0] for name in SMALL} == set(PREDICTORS.names())


@every
def test_keeps_the_shape_of_the_state_for_any_batch(name):
    predictor = make(name)
    for leading in ((), (3,), (3, 4), (2, 3, 4)):
        s, c = data(*leading)
        assert predictor(s, c).shape == (*leading, DIM)
        predicted, memory = predictor.step(s, c, None)
        close(predicted, predictor(s, c))
        assert predictor.step(predicted, c, memory)[0].shape == (*leading, DIM)


@every
def test_depends_on_state_and_condition_and_lets_gradients_through_to_both(name):
    s, c = (t.requires_grad_() for t in data(3))
    make(name)(s, c).square().sum().backward()
    assert float(s.grad.abs().min()) > 0 and float(c.grad.abs().min()) > 0


@every
def test_keeps_nothing_between_calls_but_what_it_hands_out(name):
    predictor, (s, c) = make(name), data(3)
    first = predictor(s, c)
    predictor(*data(3, seed=2))
    predictor.begin(*data(3, 4))
    assert torch.equal(predictor(s, c), first)


@every
def test_step_by_step_is_the_whole_sequence_at_once(name):
    predictor, (s, c) = make(name), data(2, 3, STEPS)
    close(predictor.sequence(s, c), step_by_step(predictor, s, c))


@every
def test_a_past_that_really_happened_is_as_if_it_had_been_stepped_through(name):
    predictor, (s, c) = make(name), data(2, STEPS)
    most = STEPS if name != 'gru memory' else predictor.context     # its numbers never forget all of what was before
    for past in range(most):
        memory = predictor.begin(s[:, :past], c[:, :past])
        close(step_by_step(predictor, s[:, past:most], c[:, past:most], memory),
              predictor.sequence(s[:, :most], c[:, :most])[:, past:])


@every
def test_a_prediction_never_depends_on_what_comes_later(name):
    predictor, (s, c) = make(name), data(STEPS)
    later_s, later_c = data(STEPS, seed=2)
    later_s[:5], later_c[:5] = s[:5], c[:5]
    close(predictor.sequence(s, c)[:5], predictor.sequence(later_s, later_c)[:5])


@looking_back
def test_the_past_counts_back_to_its_context_and_no_further(name):
    predictor, past = make(name), 20
    s, c = data(past)
    moved = s.clone().requires_grad_()
    memory = predictor.begin(moved, c)
    predictor.step(*data(), memory)[0].square().sum().backward()
    reached = moved.grad.abs().sum(-1) > 0
    assert reached.tolist() == [t >= past - (predictor.context - 1) for t in range(past)]


@every
def test_without_a_past_there_is_nothing_to_begin_with(name):
    s, c = data(3, 4)
    assert make(name).begin(s[:, :0], c[:, :0]) is None


@looking_back
def test_candidates_share_the_memory_of_their_robot(name):
    predictor, (s, c) = make(name), data(2, 4)
    memory = predictor.begin(s, c)
    assert all(m.shape[0] == 2 for m in memory)
    now, action = data(2, 5, seed=3)
    together, carried = predictor.step(now, action, expand_memory(memory, 5))
    assert together.shape == (2, 5, DIM) and all(m.shape[:2] == (2, 5) for m in carried)
    for robot in range(2):
        for candidate in range(5):
            alone = tuple(m[robot] for m in memory)
            close(predictor.step(now[robot, candidate], action[robot, candidate], alone)[0],
                  together[robot, candidate])


def test_memory_is_expanded_after_any_number_of_dimensions_without_a_copy():
    m = torch.randn(2, 3, 4)
    assert expand_memory(None, 5) is None
    assert [expand_memory((m,), 5, leading)[0].shape for leading in (0, 1, 2)] == [
        (5, 2, 3, 4), (2, 5, 3, 4), (2, 3, 5, 4)]
    assert expand_memory((m,), 5)[0].data_ptr() == m.data_ptr()


@every
def test_gradients_of_the_last_state_of_a_rollout_reach_the_first_action(name):
    predictor, (s, c) = make(name), data(5)
    c.requires_grad_()
    now, memory = s[0], None
    for t in range(5):
        now, memory = predictor.step(now, c[t], memory)
    now.square().sum().backward()
    assert float(c.grad[0].abs().max()) > 0


@every
def test_half_precision_gives_the_same_within_its_digits(name):
    predictor, (s, c) = make(name), data(3, STEPS)
    exact = predictor.sequence(s, c).detach()
    with torch.autocast('cpu', torch.bfloat16):
        coarse = step_by_step(predictor, s, c)
    coarse.float().sum().backward()
    assert float((coarse.detach().float() - exact).abs().max()) < 0.15 * float(exact.abs().max())
    assert all(bool(torch.isfinite(p.grad).all()) for p in predictor.parameters() if p.grad is not None)


@every
def test_memory_of_half_precision_is_taken_in_full_precision(name):
    predictor, (s, c) = make(name), data(3, STEPS)
    with torch.autocast('cpu', torch.bfloat16):
        memory = predictor.begin(s, c)
    assert predictor.step(s[:, 0], c[:, 0], memory)[0].dtype == torch.float32


@every
def test_follows_the_precision_of_its_weights(name):
    predictor, (s, c) = make(name).double(), (t.double() for t in data(3, STEPS))
    assert predictor.sequence(s, c).dtype == torch.float64
    torch.testing.assert_close(predictor.sequence(s, c), step_by_step(predictor, s, c), atol=1e-12, rtol=1e-12)


@every
def test_one_exported_program_takes_any_batch(name):
    predictor = make(name)
    batch = torch.export.Dim('batch', min=2, max=4096)
    program = torch.export.export(predictor, data(3), dynamic_shapes=({0: batch}, {0: batch})).module()
    close(program(*data(7)), predictor(*data(7)))


@looking_back
def test_a_rollout_compiles_to_one_graph(name):
    predictor, (s, c) = make(name), data(3, 5)
    torch._dynamo.reset()
    rollout = torch.compile(lambda s, c, memory: step_by_step(predictor, s, c, memory), fullgraph=True, backend='eager')
    memory = predictor.begin(s[:, :3], c[:, :3])
    close(rollout(s[:, 3:], c[:, 3:], memory), predictor.sequence(s, c)[:, 3:])


def test_residual_mlp_adds_what_its_network_says():
    predictor, (s, c) = make('residual_mlp'), data(3)
    assert list(predictor.state_dict()) == [f'net.{i}.{kind}' for i in (0, 2, 4) for kind in ('weight', 'bias')]
    assert torch.equal(predictor(s, c), s + predictor.net(torch.cat([s, c], -1)))


def test_adaln_mlp_is_a_sum_of_modulated_blocks():
    predictor, (s, c) = make('adaln_mlp'), data(3)
    assert {key.split('.')[0] for key in predictor.state_dict()} == {'modulation', 'blocks'}
    modulation = predictor.modulation(c).unflatten(-1, (2, 3, DIM))
    for i, block in enumerate(predictor.blocks):
        scale, shift, gate = modulation[:, i].unbind(-2)
        normed = (s - s.mean(-1, keepdim=True)) / (s.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
        s = s + (1 + gate) * block(normed * (1 + scale) + shift)
    close(predictor(data(3)[0], c), s)


def test_mlp_has_as_many_hidden_layers_as_asked():
    assert sum(isinstance(layer, torch.nn.Linear) for layer in mlp(3, 8, 2, depth=4)) == 5
    assert mlp(3, 8, 2, depth=0)(torch.zeros(3)).shape == (2,)


@pytest.mark.parametrize(('name', 'options', 'message'), [
    ('grue', {}, r"unknown predictor 'grue' \(did you mean gru\?\); known: "),
    ('gru', dict(memori=3), r"predictor gru has no option 'memori' \(did you mean memory\?\); it has scale, norm, mem"),
    ('residual_mlp', dict(heads=2), "predictor residual_mlp has no option 'heads'; it has none"),
    ('transformer', dict(window=0), r'predictor transformer: window: Input should be greater than 0 \(got 0\)'),
    ('transformer', dict(heads=3), 'width 8 is no multiple of its 3 heads'),
    ('transformer', dict(heads=2, tokens=4), 'a state of 6 numbers is not 4 tokens of equal size'),
])
def test_what_is_wrong_in_a_configuration_is_named_in_one_line(name, options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        build_predictor(name, DIM, CONDITION, 8, 2, options)
    assert '\n' not in str(caught.value)


def test_a_third_party_s_class_that_is_no_predictor_is_refused(monkeypatch):
    registry = Registry('predictor')
    registry.register('theirs')(torch.nn.Linear)
    monkeypatch.setattr(predictors, 'PREDICTORS', registry)
    with pytest.raises(ConfigError, match='predictor theirs is no Predictor: derive it from'):
        build_predictor('theirs', DIM, CONDITION)
