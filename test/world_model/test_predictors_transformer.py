"""The transformer predictor: relative time, sliding window, object tokens."""
import math

import pytest
import tiny
import torch

from jepa_ros.world_model.predictors import build_predictor
from jepa_ros.world_model.predictors_transformer import Attention, RelativeBias

DIM, CONDITION = 6, 2


def make(depth=2, seed=0, width=8, **options):
    torch.manual_seed(seed)
    return build_predictor('transformer', DIM, CONDITION, width, depth, dict(heads=2) | options)


def data(*leading, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*leading, DIM, generator=generator), torch.randn(*leading, CONDITION, generator=generator)


def close(one, other):
    torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-5)


def test_a_bias_begins_as_alibi_s_slopes():
    """Press et al. 2022, §3: 8 heads begin at 1/2 and halve."""
    bias = RelativeBias(8, 3)
    torch.testing.assert_close(bias.weight[:, 1], -0.5 ** torch.arange(1, 9))
    torch.testing.assert_close(bias.weight[:, 2], 2 * bias.weight[:, 1])


def test_a_bias_counts_steps_back_and_hides_the_future_and_what_is_too_old():
    bias = RelativeBias(1, 3)
    with torch.no_grad():
        bias.weight.copy_(torch.tensor([[0.0, 1.0, 2.0]]))
    no = -math.inf
    assert bias.band(4)[0].tolist() == [[0, no, no, no], [1, 0, no, no], [2, 1, 0, no], [no, 2, 1, 0]]
    assert bias.newest().flatten().tolist() == [2, 1, 0]


def test_attention_over_time_is_the_softmax_of_the_paper():
    """Vaswani et al. 2017, eq. 1, written out for each query, with the bias of its keys' ages."""
    torch.manual_seed(0)
    steps, width, heads, window = 5, 6, 2, 3
    attention, x = Attention(width, heads, window), torch.randn(steps, 1, width)
    q, k, v = attention.qkv(x[:, 0]).unflatten(-1, (3, heads, -1)).unbind(1)       # (T, heads, d)
    rows = []
    for i in range(steps):
        seen = range(max(0, i - window + 1), i + 1)
        logits = torch.stack([(q[i] * k[j]).sum(-1) / math.sqrt(3) + attention.bias.weight[:, i - j] for j in seen])
        rows.append(sum(w[:, None] * v[j] for w, j in zip(logits.softmax(0), seen)).flatten())
    close(attention.over_time(x)[0][:, 0], attention.out(torch.stack(rows)))


def test_shifting_time_changes_nothing():
    predictor, (s, c) = make(window=4), data(2, 25)
    assert predictor.context == 7
    close(predictor.sequence(s[:, 9:], c[:, 9:])[:, 6:], predictor.sequence(s, c)[:, 15:])


def test_the_window_slides_over_a_long_rollout_and_cached_keys_stay_exact():
    """Twenty windows on, what a planner cached still gives what the whole past gives."""
    predictor, (s, c) = make(depth=3), data(60)
    memory, sizes = None, set()
    whole = predictor.sequence(s, c)
    for t in range(60):
        predicted, memory = predictor.step(s[t], c[t], memory)
        close(predicted, whole[t])
        sizes.add(tuple(m.shape for m in memory))
    assert sizes == {((2,), *((2, 1, 16),) * 3)}


def test_robots_with_pasts_of_different_length_share_a_batch():
    predictor, (s, c) = make(), data(2, 8)
    memories = [predictor.begin(s[0, :1], c[0, :1]), predictor.begin(s[1, :7], c[1, :7])]
    together = tuple(torch.stack(pair) for pair in zip(*memories))
    now = predictor.step(s[:, 7], c[:, 7], together)[0]
    for robot in range(2):
        close(now[robot], predictor.step(s[robot, 7], c[robot, 7], memories[robot])[0])


def test_a_window_of_one_step_needs_no_memory():
    predictor, (s, c) = make(window=1), data(3, 4)
    assert predictor.context == 1 and predictor.begin(s, c) is None
    predicted, memory = predictor.step(s[:, 0], c[:, 0], None)
    assert memory is None
    close(predicted, predictor.sequence(s, c)[:, 0])


def shuffled(s, order):
    return s.unflatten(-1, (3, 2))[..., order, :].flatten(-2)


def test_permuting_the_objects_permutes_what_is_predicted_of_them():
    """LeCun §4.8.1: equivariant to permutation, with and without a past."""
    predictor, (s, c), order = make(tokens=3), data(4, 7), torch.tensor([2, 0, 1])
    whole = predictor.sequence(s, c)
    close(predictor.sequence(shuffled(s, order), c), shuffled(whole, order))
    memory = predictor.begin(shuffled(s, order)[:, :6], c[:, :6])
    close(predictor.step(shuffled(s, order)[:, 6], c[:, 6], memory)[0], shuffled(whole, order)[:, 6])


def test_numbered_places_tell_objects_apart():
    predictor, (s, c), order = make(tokens=3, numbered=True), data(4), torch.tensor([2, 0, 1])
    with torch.no_grad():
        predictor.places.copy_(torch.randn_like(predictor.places))
    difference = predictor(shuffled(s, order), c) - shuffled(predictor(s, c), order)
    assert float(difference.detach().abs().max()) > 1e-2


@pytest.mark.parametrize('step', [3, 2])
def test_objects_act_on_each_other_now_and_later(step):
    predictor, (s, c) = make(tokens=3), data(4)
    s.requires_grad_()
    first = predictor.sequence(s, c)[3].unflatten(-1, (3, 2))[0]       # object of the last step
    first.square().sum().backward()
    assert bool((s.grad[step].unflatten(-1, (3, 2)).abs().sum(-1) > 0).all())


def test_learns_the_speed_that_one_state_does_not_show():
    """Points that coast on at a speed of their own: ŝ = s is the best guess from one state alone."""
    torch.manual_seed(0)
    predictor = build_predictor('transformer', 2, 1, 16, 1, dict(heads=2, window=2))
    optimiser = torch.optim.Adam(predictor.parameters(), 1e-2)
    for _ in range(150):
        s, c = tiny.coasting(64)
        loss = (predictor.sequence(s[:, :-1], c) - s[:, 1:])[:, 1:].square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    s, c = tiny.coasting(500)
    error = (predictor.sequence(s[:, :-1], c) - s[:, 1:])[:, 1:].detach().square().mean()
    assert float(error / (s[:, 2:] - s[:, 1:-1]).square().mean()) < 0.3
