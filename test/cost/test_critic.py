"""The trainable critic."""
import tiny
import torch

from jepa_ros.cost.critic import Critic, critic_loss


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


def test_quantiles_foresee_a_distribution_and_say_their_mean():
    """Dabney et al. 2018, QR-DQN: each output is the energy below which its share of the futures stays."""
    torch.manual_seed(0)
    critic, s, goal = Critic(2, 32, quantiles=8), torch.zeros(512, 2), torch.zeros(2)
    truth = torch.rand(512, 1, generator=torch.Generator().manual_seed(0))      # uniform over 0…1
    optimiser = torch.optim.Adam(critic.parameters(), 1e-2)
    for _ in range(400):
        optimiser.zero_grad()
        critic_loss(critic.distribution(s, goal), truth, kappa=0.01).mean().backward()
        optimiser.step()
    with torch.no_grad():
        quantiles = critic.distribution(s[0], goal)
        assert torch.allclose(quantiles, (torch.arange(8) + 0.5) / 8, atol=0.1)
        assert torch.allclose(critic(s[0], goal), quantiles.mean())


def test_one_quantile_is_the_mean_and_weighs_large_errors_fully():
    assert float(critic_loss(torch.tensor([[1.0]]), torch.tensor([[4.0]]))) == 9.0


def test_quantile_error_weighs_what_lies_above_and_below_by_the_share():
    """Dabney et al. 2018, eq. 9–10, for two quantiles of τ = ¼ and ¾ and a sample of 1 (κ = 1)."""
    loss = critic_loss(torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0]]))
    assert torch.allclose(loss, torch.tensor([0.25 * 0.5 + 0.25 * 0.5]))
