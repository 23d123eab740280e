"""Trainable critic: foresees intrinsic energy beyond the planner's horizon (LeCun §3.3, Fig. 7).

With several quantiles it foresees a distribution (Dabney et al. 2018, QR-DQN): output q is the energy below which a
share (q + ½)/Q of the futures stays. What it says to the planner is their mean. It is taught in training/distill.py,
and while the robot drives by critic_learner.py.
"""
import torch
from torch import nn, Tensor

from jepa_ros.errors import ConfigError
from jepa_ros.world_model.predictors import mlp


class Critic(nn.Module):
    """(s, goal[, task]) -> discounted mean of the energy still to come, ≥ 0; same unit as the `goal` term."""

    def __init__(self, dim: int, width: int = 256, quantiles: int = 1, tokens: int = 0):
        """`quantiles` Q of the distribution, 1 for its mean alone; `tokens`: numbers of a task token, 0 for none."""
        super().__init__()
        self.quantiles, self.tokens = quantiles, tokens
        self.net = mlp(2 * dim + tokens, width, quantiles)

    def distribution(self, s: Tensor, goal: Tensor, task: Tensor | None = None) -> Tensor:
        """s (..., D), goal (..., D), task (..., Z) -> quantiles (..., Q)."""
        x = with_task(torch.cat([s, goal.expand_as(s)], -1), task, self.tokens, 'critic')
        return nn.functional.softplus(self.net(x))

    def forward(self, s: Tensor, goal: Tensor, task: Tensor | None = None) -> Tensor:
        """s (..., D), goal (..., D), task (..., Z) -> (...)."""
        energies = self.distribution(s, goal, task)
        return energies.squeeze(-1) if self.quantiles == 1 else energies.mean(-1)


def with_task(x: Tensor, task: Tensor | None, tokens: int, organ: str) -> Tensor:
    """Inputs (..., N) with the task token (..., Z) appended where the organ takes one; none given is zeros."""
    if not tokens:
        return x
    if task is None:
        task = x.new_zeros(tokens)
    if task.shape[-1] != tokens:
        raise ConfigError(f'{organ}: the task token has {task.shape[-1]} numbers, this checkpoint takes {tokens}')
    return torch.cat([x, task.to(x).expand(*x.shape[:-1], tokens)], -1)


def critic_loss(predicted: Tensor, target: Tensor, kappa: float = 1.0) -> Tensor:
    """Error (...) of quantiles (..., Q) under samples or quantiles of the truth (..., P).

    Q = 1 is the squared error to the mean of the truth, whose minimum is the mean. Else the quantile Huber loss
    (Dabney et al. 2018, eq. 9–10): |τ − 1{u < 0}| · Huber(u) / κ of all differences u.
    """
    if predicted.shape[-1] == 1:
        return (predicted.squeeze(-1) - target.mean(-1)).square()
    u = target.unsqueeze(-2) - predicted.unsqueeze(-1)                          # (..., Q, P)
    share = (torch.arange(predicted.shape[-1], device=u.device) + 0.5) / predicted.shape[-1]
    huber = nn.functional.huber_loss(u, torch.zeros_like(u), reduction='none', delta=kappa) / kappa
    return ((share[:, None] - (u < 0).to(u)).abs() * huber).mean(-1).sum(-1)
