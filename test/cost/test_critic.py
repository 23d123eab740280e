"""The trainable critic."""
import tiny
import torch

from jepa_ros.cost.critic import Critic


def test_foresees_one_energy_that_is_never_negative_for_each_state():
    """LeCun §3.3: it predicts intrinsic energy, which is not negative."""
    torch.manual_seed(0)
    critic = Critic(tiny.model_config().dim, 8)
    energy = critic(100 * torch.randn(3, 4, 6), torch.randn(6))
    assert energy.shape == (3, 4)
    assert bool((energy >= 0).all())


def test_can_be_trained_to_foresee_energies():
    torch.manual_seed(0)
    critic, s, goal = Critic(2, 16), torch.randn(64, 2), torch.randn(64, 2)
    truth = (s - goal).square().mean(1)
    optimiser = torch.optim.Adam(critic.parameters(), 1e-2)
    errors = []
    for _ in range(60):
        error = (critic(s, goal) - truth).square().mean()
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
        errors.append(float(error))
    assert errors[-1] < 0.3 * errors[0]
