"""Mode-1 when actions do something else than in training."""
import acting
import torch

from jepa_ros.actor.reflex import Reflex
from jepa_ros.world_model.jepa import unchanged


def reflex(*chunk: tuple[float, float]) -> tuple[Reflex, torch.nn.Module]:
    """Of a policy that always asks for the same, over the dynamics of the integrator."""
    import tiny
    jepa = tiny.integrator_model(1).levels[0]
    return Reflex(acting.reflex(*chunk), jepa), jepa


S, GOAL = torch.zeros(2), torch.tensor([0.2, -0.2])
CHUNK = ((0.5, -0.25), (0.1, 0.2), (0.0, 0.0), (0.9, 0.9))


def test_as_in_training_it_asks_for_what_the_policy_says_bit_for_bit():
    made, jepa = reflex(*CHUNK)
    assert torch.equal(made(S, GOAL), acting.reflex(*CHUNK)(S, GOAL)) and made.chunk == 4
    jepa.action_map.copy_(unchanged(2))
    assert torch.equal(made(S, GOAL), acting.reflex(*CHUNK)(S, GOAL))


def test_what_is_asked_does_what_was_wanted_under_the_map_in_force():
    made, jepa = reflex(*CHUNK)
    wanted = made(S, GOAL)
    for new in (-unchanged(2), torch.tensor([[0.0, 1.0, 0.05], [-1.0, 0.0, 0.0]])):
        jepa.action_map.copy_(new)      # in place, as an update of the world model comes into force
        done = made(S, GOAL) @ new[:, :-1].T + new[:, -1]
        torch.testing.assert_close(done, wanted)
    jepa.action_map.copy_(unchanged(2))
    assert torch.equal(made(S, GOAL), wanted)


def test_a_weak_wheel_is_asked_for_more_within_its_limits_and_a_dead_one_for_nothing():
    made, jepa = reflex(*CHUNK)
    jepa.action_map.copy_(torch.tensor([[0.5, 0.0, 0.0], [0.0, 0.01, 0.0]]))
    asked = made(S, GOAL)
    torch.testing.assert_close(asked[:, 0], torch.tensor([1.0, 0.2, 0.0, 1.0]))
    assert torch.equal(asked[:, 1], torch.zeros(4))


def test_it_goes_by_another_map_put_in_the_place_of_the_old_one():
    made, jepa = reflex(*CHUNK)
    wanted = made(S, GOAL)
    jepa.action_map = -unchanged(2)
    torch.testing.assert_close(made(S, GOAL), -wanted)
