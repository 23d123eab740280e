"""Deep ensembles: members, their mean, how far they are apart."""
import pytest
import torch

from jepa_ros.errors import ConfigError
from jepa_ros.world_model.ensemble import Ensemble
from jepa_ros.world_model.predictors import build_predictor, expand_memory

DIM, CONDITION, COUNT = 4, 2, 3
KINDS = {'residual_mlp': {}, 'gru': dict(memory=3), 'transformer': dict(heads=2)}
every = pytest.mark.parametrize('kind', KINDS)


def make(kind='residual_mlp', count=COUNT, **options):
    torch.manual_seed(0)
    return Ensemble(lambda: build_predictor(kind, DIM, CONDITION, 8, 2, KINDS[kind]), count, **options).eval()


def data(*leading, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*leading, DIM, generator=generator), torch.randn(*leading, CONDITION, generator=generator)


def alone(predictor, s, c, memory=None):
    """Trajectory (..., H, D) of one predictor from s (..., D) under c (..., H, C)."""
    states = []
    for t in range(c.shape[-2]):
        s, memory = predictor.step(s, c[..., t, :], memory)
        states.append(s)
    return torch.stack(states, -2)


@every
def test_a_member_is_that_predictor_alone(kind):
    ensemble, (s, c), past = make(kind), data(2, 5), data(2, 5, 3)
    memory = ensemble.begin(*past)
    without, after_past = ensemble.members(s, c), ensemble.members(s, c, memory)
    assert without.shape == (COUNT, 2, 5, DIM)
    for i, predictor in enumerate(ensemble.predictors):
        assert torch.equal(without[i], predictor(s, c))
        assert torch.equal(after_past[i], predictor.step(s, c, predictor.begin(*past))[0])


@every
def test_as_one_predictor_it_is_the_mean_of_its_members(kind):
    ensemble, (s, c) = make(kind), data(2, 6)
    torch.testing.assert_close(ensemble(s, c), ensemble.members(s, c).mean(0))
    each = torch.stack([predictor.sequence(s, c) for predictor in ensemble.predictors])
    torch.testing.assert_close(ensemble.sequence(s, c), each.mean(0))


def test_members_begin_differently():
    members = make().members(*data(5)).detach()
    assert float((members[0] - members[1]).abs().max()) > 1e-2


def test_disagreement_is_the_mean_variance_over_the_members():
    ensemble, (s, c) = make(), data(2, 5)
    members = ensemble.members(s, c)
    assert ensemble.disagreement(s, c).shape == (2, 5)
    torch.testing.assert_close(ensemble.disagreement(s, c), (members - members.mean(0)).square().mean((0, -1)))


def test_a_single_member_or_equal_ones_never_disagree():
    ensemble = make()
    for predictor in ensemble.predictors:
        predictor.load_state_dict(ensemble.predictors[0].state_dict())
    for same in (ensemble, make(count=1)):
        assert float(same.disagreement(*data(3)).detach().abs().max()) < 1e-12


def test_members_disagree_more_where_none_of_them_was_trained():
    torch.manual_seed(1)
    ensemble = make(count=4)
    optimiser = torch.optim.Adam(ensemble.parameters(), 1e-2)
    for _ in range(150):
        s, c = torch.rand(64, DIM), torch.rand(64, CONDITION)
        loss = (ensemble.members(s, c) - (s + 0.3 * torch.sin(3 * s))).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    inside = ensemble.disagreement(torch.rand(200, DIM), torch.rand(200, CONDITION)).detach().mean()
    outside = ensemble.disagreement(4 + torch.rand(200, DIM), torch.rand(200, CONDITION)).detach().mean()
    assert float(outside) > 10 * float(inside)


@every
def test_rollouts_are_each_member_s_own_trajectory(kind):
    ensemble, past = make(kind), data(2, 3)
    (s, _), (_, c) = data(2), data(2, 7)
    for memory in (None, ensemble.begin(*past)):
        rollouts = ensemble.rollouts(s, c, memory)
        assert rollouts.shape == (COUNT, 2, 7, DIM)
        for i, predictor in enumerate(ensemble.predictors):
            expected = alone(predictor, s, c, None if memory is None else predictor.begin(*past))
            assert torch.equal(rollouts[i], expected)


@every
def test_mean_rollouts_start_all_members_from_the_mean_at_every_step(kind):
    ensemble, (s, c) = make(kind), data(3)
    after, memory = ensemble.step(s, c, None)
    own = [predictor.step(s, c, None)[1] for predictor in ensemble.predictors]
    expected = torch.stack([p.step(after, c, m)[0] for p, m in zip(ensemble.predictors, own)]).mean(0)
    torch.testing.assert_close(ensemble.step(after, c, memory)[0], expected)


@every
def test_with_trajectories_the_mean_is_that_of_the_members_own_trajectories(kind):
    ensemble, past = make(kind, trajectories=True), data(2, 3)
    (s, _), (_, c) = data(2), data(2, 7)
    for memory in (None, ensemble.begin(*past)):
        torch.testing.assert_close(alone(ensemble, s, c, memory), ensemble.rollouts(s, c, memory).mean(0),
                                   atol=1e-5, rtol=1e-5)


def test_with_trajectories_an_observed_state_moves_all_members_with_it():
    ensemble, (s, c) = make(trajectories=True), data(3)
    after, memory = ensemble.step(s, c, None)
    moved = ensemble.members(after + 1, c, memory)
    for i, predictor in enumerate(ensemble.predictors):
        torch.testing.assert_close(moved[i], predictor(predictor(s, c) + 1, c))


@pytest.mark.parametrize('trajectories', [False, True])
@every
def test_candidates_share_the_memory_of_their_robot(kind, trajectories):
    ensemble, (s, c) = make(kind, trajectories=trajectories), data(2, 4)
    _, memory = ensemble.step(s[:, 2], c[:, 2], ensemble.begin(s[:, :2], c[:, :2]))
    now, action = data(2, 5, seed=3)
    together = ensemble.step(now, action, expand_memory(memory, 5))[0]
    for candidate in range(5):
        torch.testing.assert_close(together[:, candidate],
                                   ensemble.step(now[:, candidate], action[:, candidate], memory)[0])


def test_looks_back_as_far_as_its_members():
    assert make('gru').context == 8 and make('residual_mlp').context == 1
    assert make('residual_mlp').begin(*data(2, 3)) is None
    assert make('residual_mlp').step(*data(2), None)[1] is None


def test_gradients_reach_the_members_and_the_condition():
    ensemble, (s, c) = make('transformer'), data(3)
    c.requires_grad_()
    (ensemble(s, c).square().sum() + ensemble.disagreement(s, c).sum()).backward()
    assert float(c.grad.abs().min()) > 0
    assert all(float(p.head.weight.grad.abs().max()) > 0 for p in ensemble.predictors)


def test_an_ensemble_of_none_is_refused():
    with pytest.raises(ConfigError, match='ensemble of 0 predictors: it must have at least 1'):
        make(count=0)
