"""Temporal pooling: a window of states becomes one state of the level above."""
import pytest
import torch

from jepa_ros.errors import ConfigError
from jepa_ros.world_model.pooling import build_pooling, POOLINGS

DIM = 4
LEARNED = {'conv': dict(width=6, depth=2), 'gru': dict(width=6), 'attention': dict(width=6, heads=3)}
every = pytest.mark.parametrize('name', POOLINGS.names())
learned = pytest.mark.parametrize('name', LEARNED)


def make(name, dim=None, seed=0):
    torch.manual_seed(seed)
    return build_pooling(name, DIM, dim, LEARNED.get(name))


def window(*leading, n=5, seed=1):
    return torch.randn(*leading, n, DIM, generator=torch.Generator().manual_seed(seed))


def test_all_five_are_there():
    assert POOLINGS.names() == ['attention', 'conv', 'gru', 'identity', 'mean']


@every
@pytest.mark.parametrize('n', [1, 2, 3, 8, 13])
def test_a_window_of_any_length_becomes_one_state(name, n):
    pooling = make(name)
    for leading in ((), (3,), (2, 3)):
        s = pooling(window(*leading, n=n))
        assert s.shape == (*leading, pooling.dim) and bool(torch.isfinite(s).all())


@every
def test_what_a_state_is_does_not_depend_on_other_windows(name):
    pooling, states = make(name), window(2, 3)
    torch.testing.assert_close(pooling(states)[1, 2], pooling(states[1, 2]), atol=1e-6, rtol=1e-5)


def test_identity_is_the_newest_state_and_mean_the_average():
    states = window(3)
    assert torch.equal(make('identity')(states), states[:, -1])
    torch.testing.assert_close(make('mean')(states), states.sum(1) / 5)


@learned
def test_a_learned_one_makes_states_of_another_size(name):
    pooling = make(name, 7)
    assert pooling.dim == 7 and pooling(window(3)).shape == (3, 7)


@learned
@pytest.mark.parametrize('n', [1, 4, 5])
def test_a_learned_one_sees_every_state_of_the_window(name, n):
    states = window(3, n=n).requires_grad_()
    make(name)(states).square().sum().backward()
    assert float(states.grad.abs().sum(-1).min()) > 0


@learned
def test_a_learned_one_knows_the_order_of_the_states(name):
    pooling, states = make(name), window(3)
    assert float((pooling(states) - pooling(states.flip(1))).detach().abs().max()) > 1e-3


@learned
def test_a_learned_one_learns_how_far_the_window_went(name):
    """The average displacement needs the newest state and the oldest one, and which is which."""
    torch.manual_seed(0)
    pooling = build_pooling(name, 1, 1, LEARNED[name] | dict(width=12))
    optimiser = torch.optim.Adam(pooling.parameters(), 1e-2)
    for _ in range(120):
        states = torch.randn(128, 4, 1)
        loss = (pooling(states) - (states[:, -1] - states[:, 0])).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.5         # 2 is no knowledge of the window, 1 is knowing one end


def test_a_convolution_repeats_the_oldest_state_where_its_kernel_reaches_beyond():
    pooling, states = make('conv'), window(3, n=1)
    torch.testing.assert_close(pooling(states), pooling(states.expand(3, 4, DIM)), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize('n', [4, 7, 8])
def test_the_last_of_a_convolution_s_stages_ends_in_the_newest_state(n):
    pooling = make('conv')
    seen = []
    pooling.stages[0].register_forward_hook(lambda stage, inputs, output: seen.append((inputs[0], output)))
    states = window(n=n)
    pooling(states)
    padded, output = seen[0]
    assert output.shape[-1] == (n + 1) // 2
    assert torch.equal(padded[0, :, -1], states[-1]) and (padded.shape[-1] - pooling.kernel) % 2 == 0


def test_a_forgetful_head_attends_to_the_newest_state():
    pooling, states = make('attention'), window(3)
    with torch.no_grad():
        pooling.forgetting.fill_(200.0)
    torch.testing.assert_close(pooling(states), pooling(states[:, -1:]))


@every
def test_half_precision_gives_the_same_within_its_digits(name):
    pooling, states = make(name), window(3)
    with torch.autocast('cpu', torch.bfloat16):
        coarse = pooling(states)
    torch.testing.assert_close(coarse.float(), pooling(states), atol=0.05, rtol=0.05)


@every
def test_one_exported_program_takes_any_batch(name):
    pooling, batch = make(name), torch.export.Dim('batch', min=2, max=4096)
    program = torch.export.export(pooling, (window(3),), dynamic_shapes=({0: batch},)).module()
    torch.testing.assert_close(program(window(7)), pooling(window(7)))


@pytest.mark.parametrize(('name', 'dim', 'options', 'message'), [
    ('identity', 3, {}, 'pooling identity keeps the 4 numbers of a state: dim 3 needs conv, gru or attention'),
    ('mean', 8, {}, 'pooling mean keeps the 4 numbers of a state: dim 8 needs conv, gru or attention'),
    ('attend', 4, {}, r"unknown pooling 'attend' \(did you mean attention\?\)"),
    ('conv', 4, dict(kernal=3), r"pooling conv has no option 'kernal' \(did you mean kernel\?\); it has width, depth"),
    ('conv', 4, dict(kernel=1), r'pooling conv: kernel: Input should be greater than or equal to 2 \(got 1\)'),
    ('attention', 4, dict(width=10), 'pooling attention: width 10 is no multiple of its 4 heads'),
])
def test_what_is_wrong_in_a_configuration_is_named_in_one_line(name, dim, options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        build_pooling(name, DIM, dim, options)
    assert '\n' not in str(caught.value)
