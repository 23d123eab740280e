"""Leaving an impasse: when, and which way."""
import torch

from jepa_ros.actor.impasse import Impasse, PATIENCE, way_out


def test_falling_energy_is_no_impasse():
    impasse = Impasse()
    assert not any(impasse.stuck(10.0 * 0.9 ** step) for step in range(5 * PATIENCE))


def test_energy_that_stands_still_is_one_after_the_patience():
    impasse = Impasse()
    verdicts = [impasse.stuck(1.0) for _ in range(PATIENCE + 1)]
    assert verdicts == [False] * PATIENCE + [True]


def test_leaving_gives_new_patience():
    impasse = Impasse()
    for _ in range(PATIENCE):
        impasse.stuck(1.0)
    impasse.leave()
    assert not impasse.stuck(1.0)


def test_ways_out_grow_longer_and_begin_again():
    impasse = Impasse()
    assert [impasse.leave() for _ in range(4)] == [1, 2, 3, 1]
    impasse.reset()
    assert impasse.leave() == 1


def test_the_way_out_leads_away_from_a_wall():
    def rollout(s, actions):    # a point that no action moves to the left
        return s[:, None] + torch.cumsum(torch.stack([actions[..., 0].clamp_min(0), actions[..., 1] * 0], -1), 1)

    actions = way_out(torch.zeros(2), rollout, 2, 8, torch.Generator().manual_seed(1))
    assert actions.shape == (8, 2)
    assert (actions[:, 0] > 0).all() and (actions == actions[0]).all()
    assert float(actions.abs().max()) == 1.0


def test_the_same_seed_gives_the_same_way_out():
    def rollout(s, actions):
        return s[:, None] + torch.cumsum(actions, 1)

    a, b = (way_out(torch.zeros(2), rollout, 2, 4, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(a, b)
