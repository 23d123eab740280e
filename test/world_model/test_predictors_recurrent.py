"""The recurrent predictor: the state is the hidden state."""
import pytest
import tiny
import torch

from jepa_ros.world_model.predictors import build_predictor
from jepa_ros.world_model.predictors_recurrent import Cell

DIM, CONDITION = 5, 2


def make(depth=2, seed=0, **options):
    torch.manual_seed(seed)
    return build_predictor('gru', DIM, CONDITION, 8, depth, options)


def data(*leading, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*leading, DIM, generator=generator), torch.randn(*leading, CONDITION, generator=generator)


def test_the_cell_is_torch_s_own():
    torch.manual_seed(0)
    cell, x, h = Cell(3, 4), torch.randn(6, 3), torch.randn(6, 4)
    torch.testing.assert_close(cell(x, h), torch.nn.GRUCell.forward(cell, x, h))
    assert list(cell.state_dict()) == list(torch.nn.GRUCell(3, 4).state_dict())


def test_a_scaled_cell_is_torch_s_own_in_units_of_its_scale():
    torch.manual_seed(0)
    cell, x, h = Cell(3, 4, scale=5.0), torch.randn(6, 3), torch.randn(6, 4)
    torch.testing.assert_close(cell(x, h), 5 * torch.nn.GRUCell.forward(cell, x, h / 5))


def test_without_layers_of_its_own_it_is_a_gru_whose_input_is_the_action_and_whose_hidden_state_is_the_state():
    """FAIR's eb_jepa, RNNPredictor with one layer."""
    predictor, (s, c) = make(depth=0, scale=1), data(3)
    torch.testing.assert_close(predictor(s, c), torch.nn.GRUCell.forward(predictor.cell, c, s))


@pytest.mark.parametrize('scale', [1.0, 4.0])
def test_what_it_writes_stays_within_its_scale(scale):
    predictor, (s, c) = make(scale=scale), data(200)
    with torch.no_grad():
        predictor.cell.bias_ih[:2 * DIM].fill_(-20)     # both gates shut: all of a state is written anew
        predictor.cell.bias_ih[2 * DIM:].fill_(9)
    written = predictor(s, c).detach()
    torch.testing.assert_close(written, torch.full_like(written, scale), atol=1e-3 * scale, rtol=0)


def test_an_open_update_gate_leaves_the_state_as_it_was():
    predictor, (s, c) = make(), data(3)
    with torch.no_grad():
        predictor.cell.bias_ih[DIM:2 * DIM].fill_(40)
    torch.testing.assert_close(predictor(s, c), s)


def test_its_layer_norm_gives_every_prediction_mean_0_and_deviation_1():
    s = make(norm=True)(*data(4)).detach()
    torch.testing.assert_close(s.mean(-1), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(s.std(-1, correction=0), torch.ones(4), atol=1e-3, rtol=0)


def test_without_memory_of_its_own_a_rollout_carries_nothing():
    predictor, (s, c) = make(), data(3)
    assert predictor.context == 1 and predictor.step(s, c, None)[1] is None and predictor.begin(*data(3, 4)) is None


def test_with_memory_the_same_state_goes_on_as_its_past_says():
    predictor, (s, c) = make(memory=4), data(3)
    pasts = [predictor.begin(*data(3, 6, seed=seed)) for seed in (2, 3)]
    one, other = (predictor.step(s, c, past)[0].detach() for past in pasts)
    assert pasts[0][0].shape == (3, 4) and float((one - other).abs().max()) > 1e-3


def test_memory_learns_the_speed_that_one_state_does_not_show():
    """Points that coast on at a speed of their own: ŝ = s is the best guess from one state alone."""
    torch.manual_seed(0)
    predictor = build_predictor('gru', 2, 1, 16, 1, dict(memory=8, context=6))
    optimiser = torch.optim.Adam(predictor.parameters(), 1e-2)
    for update in range(500):
        for group in optimiser.param_groups:
            group['lr'] = 1e-2 * (1 - update / 500)
        s, c = tiny.coasting(64)
        loss = (predictor.sequence(s[:, :-1], c) - s[:, 1:])[:, 1:].square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    s, c = tiny.coasting(500)
    error = (predictor.sequence(s[:, :-1], c) - s[:, 1:])[:, 1:].detach().square().mean()
    assert float(error / (s[:, 2:] - s[:, 1:-1]).square().mean()) < 0.3
