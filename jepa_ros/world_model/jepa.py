"""One level of the hierarchy: a joint-embedding predictive architecture (LeCun §4.4, Fig. 12).

A level has an action encoder, a predictor, an inverse-dynamics head (training only) and readout heads
(LeCun §4.5.2). Level 0 acts with the robot's own actions, a higher level with macro-actions encoded from the
actions of one period (LeCun §4.6); its encoder is the identity, so all levels share one state space.
"""
import torch
from torch import nn, Tensor

from jepa_ros.world_model.predictors import mlp, PREDICTORS


class ActionEncoder(nn.Module):
    """Actions of one period (..., K, A) in −1…1 -> what the predictor is conditioned on (..., macro_dim).

    Level 0 (`macro_dim` None) passes the one action through. Above, a small MLP makes a macro-action ω; its
    training percentiles bound what a planner may sample: far from them the predictor was never trained.
    """

    def __init__(self, action_dim: int, period: int, macro_dim: int | None, width: int = 64):
        super().__init__()
        self.period = period
        self.dim = action_dim if macro_dim is None else macro_dim
        self.net = None if macro_dim is None else mlp(action_dim * period, width, macro_dim)
        self.register_buffer('low', -torch.ones(self.dim))
        self.register_buffer('high', torch.ones(self.dim))
        self.register_buffer('prior_mean', torch.zeros(self.dim))
        self.register_buffer('prior_std', torch.ones(self.dim) * 0.5)

    def forward(self, actions: Tensor) -> Tensor:
        return actions.flatten(-2) if self.net is None else self.net(actions.flatten(-2))

    def fit_prior(self, macro_actions: Tensor) -> None:
        """Set bounds (2nd–98th percentile) and the Gaussian prior from training macro-actions (N, dim)."""
        sample = macro_actions[:100_000].float()
        self.low.copy_(torch.quantile(sample, 0.02, 0))
        self.high.copy_(torch.quantile(sample, 0.98, 0))
        self.prior_mean.copy_(sample.mean(0))
        self.prior_std.copy_(sample.std(0))


class JEPA(nn.Module):
    """Predicts states of dimension `dim` one period of `period` control steps ahead."""

    def __init__(self, dim: int, action_dim: int, period: int = 1, macro_dim: int | None = None,
                 predictor: str = 'residual_mlp', width: int = 256, depth: int = 2, readouts: int = 0):
        super().__init__()
        self.dim, self.period = dim, period
        self.action_encoder = ActionEncoder(action_dim, period, macro_dim)
        self.predictor = PREDICTORS.get(predictor)(dim, self.action_encoder.dim, width, depth)
        self.inverse = mlp(2 * dim, 128, self.action_encoder.dim if macro_dim is None else action_dim * period)
        self.readout = mlp(dim, 128, readouts, depth=1) if readouts else None
        # mean one-step prediction error in training: the unit of surprise
        self.register_buffer('typical_error', torch.ones(()))

    def predict(self, s: Tensor, a: Tensor) -> Tensor:
        """One step: s (..., D), a (..., A) encoded action or macro-action -> ŝ (..., D) (LeCun eq. 12)."""
        return self.predictor(s, a)

    def rollout(self, s: Tensor, a: Tensor) -> Tensor:
        """Start s (..., D), actions a (..., H, A) -> states (..., H, D), the start excluded."""
        states = []
        for step in range(a.shape[-2]):
            s = self.predictor(s, a[..., step, :])
            states.append(s)
        return torch.stack(states, -2)
