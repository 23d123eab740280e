"""Inverse dynamics, temporal smoothness and readouts."""
import pytest
import torch

from jepa_ros.errors import TrainingError
from jepa_ros.training.losses import build, Embedded, Sizes


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def parts(name: str, batch: Embedded, **settings) -> dict[str, float]:
    loss, values = build({name: settings}, Sizes(state=batch.s.shape[-1]))(batch)
    return {'loss': float(loss), **{k: float(v) for k, v in values.items()}}


def test_inverse_dynamics_is_the_mean_squared_error_of_the_actions():
    inferred, actions = random(3, 4, 2), random(3, 4, 2, seed=1)
    expected = sum(float((inferred[b, t, i] - actions[b, t, i]) ** 2)
                   for b in range(3) for t in range(4) for i in range(2)) / 24
    values = parts('inverse', Embedded(random(3, 5, 4), actions=actions, inferred_actions=inferred), weight=3.0)
    assert values == {'inverse': pytest.approx(expected), 'loss': pytest.approx(3 * expected)}


def test_from_constant_states_no_action_can_be_inferred():
    """The best a head can do is the mean: what is left is the variance of the actions."""
    actions = random(64, 4, 2)
    best = actions.mean((0, 1)).expand_as(actions)
    s = torch.ones(64, 5, 4, dtype=torch.float64)
    values = parts('inverse', Embedded(s, actions=actions, inferred_actions=best))
    assert values['inverse'] == pytest.approx(float(actions.flatten(0, 1).var(0, correction=0).mean()))


def test_inverse_dynamics_teaches_the_encoder():
    s = random(3, 5, 4).requires_grad_()
    head = torch.nn.Linear(8, 2).double()
    batch = Embedded(s, actions=random(3, 4, 2), inferred_actions=head(torch.cat([s[:, :-1], s[:, 1:]], -1)))
    build({'inverse': {}}, Sizes(state=4))(batch)[0].backward()
    assert s.grad.any() and head.weight.grad.any()


def test_smoothness_is_the_mean_squared_step():
    s = torch.tensor([[[0.0], [1.0], [3.0]]])
    assert parts('smoothness', Embedded(s)) == {'smoothness': 2.5, 'loss': 2.5}


def test_smoothness_alone_is_content_with_a_collapse():
    """PLDM, eb_jepa: it only helps next to losses that hold variance up."""
    assert parts('smoothness', Embedded(torch.ones(3, 4, 2)))['loss'] == 0


def test_readouts_are_compared_where_they_are_known_and_where_they_are_imagined():
    true, known, imagined = random(2, 5, 3), random(2, 5, 3, seed=1), random(2, 3, 2, 3, seed=2)
    came = torch.stack([true[:, i + 1:i + 3] for i in range(3)], 1)
    batch = Embedded(random(2, 5, 4), readouts=true, known_readouts=known, imagined_readouts=imagined)
    values = parts('readouts', batch, imagined=0.5)
    assert values['readout'] == pytest.approx(float((known - true).square().mean()))
    assert values['imagined_readout'] == pytest.approx(float((imagined - came).square().mean()))
    assert values['loss'] == pytest.approx(values['readout'] + 0.5 * values['imagined_readout'])


def test_a_model_that_imagines_no_readouts_can_still_train_the_known_ones():
    true = random(2, 5, 3)
    values = parts('readouts', Embedded(random(2, 5, 4), readouts=true, known_readouts=true + 1), imagined=0.0)
    assert values == {'readout': pytest.approx(1), 'loss': pytest.approx(1)}


@pytest.mark.parametrize('name, missing', [('prediction', 'predicted'), ('inverse', 'inferred_actions'),
                                           ('readouts', 'readouts'), ('barlow_twins', 'predicted'),
                                           ('info_nce', 'predicted')])
def test_what_a_loss_needs_and_a_level_does_not_have_is_named(name, missing):
    with pytest.raises(TrainingError, match=f"loss '{name}' needs `{missing}`.*remove losses.{name}"):
        parts(name, Embedded(random(2, 3, 4)))
