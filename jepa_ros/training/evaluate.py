"""Open-loop figures of a world model on held-out episodes, and the test that refuses a collapsed one."""
import math

import torch
from torch import Tensor

from jepa_ros.errors import TrainingError
from jepa_ros.training.config import Collapse
from jepa_ros.training.data import EpisodeSet
from jepa_ros.training.losses.regularisers import effective_rank
from jepa_ros.world_model.hjepa import HJEPA

HORIZON = 16    # control steps that level 0 is judged over
PERIODS = 4     # periods that a level above is judged over


@torch.no_grad()
def encode_all(model: HJEPA, images: Tensor, batch: int = 1024) -> Tensor:
    """States (N, D) float32 of all images (N, H, W, C)."""
    return torch.cat([model.encode(images[i:i + batch]).float() for i in range(0, len(images), batch)])


@torch.no_grad()
def representation(model: HJEPA, data: EpisodeSet, s: Tensor, horizon: int = HORIZON) -> dict[str, float]:
    """Figures of level 0 on windows of `horizon` steps.

    effective_rank and std of s; prediction_k: k-step error as a share of the variance of s *within* episodes;
    persistence_k: the same for "nothing changes"; inverse_error: share of the action variance that inverse
    dynamics misses; readout_rmse: root mean squared error of the readout heads in their own unit.
    """
    index = data.all_windows(horizon + 1, horizon)
    states, actions = s[index], data.actions[index]
    jepa = model.levels[0]
    scale = (states - states.mean(1, keepdim=True)).square().mean()
    predicted = jepa.rollout(states[:, 0], actions[:, :-1])
    inverse = jepa.inverse(torch.cat([states[:, :-1], states[:, 1:]], -1))
    figures = {
        'effective_rank': effective_rank(states.flatten(0, 1)),
        'std': float(states.flatten(0, 1).std(0).mean()),
        'inverse_error': float((inverse - actions[:, :-1]).square().mean() / actions[:, :-1].var()),
    }
    for k in (1, horizon // 2, horizon):
        figures[f'prediction_{k}'] = float((predicted[:, k - 1] - states[:, k]).square().mean() / scale)
        figures[f'persistence_{k}'] = float((states[:, 0] - states[:, k]).square().mean() / scale)
    if jepa.readout is None:
        return figures
    for what, value, truth in (('readout_rmse', states, data.readouts[index]),
                               (f'readout_rmse_predicted_{horizon}', predicted[:, -1],
                                data.readouts[index[:, -1]])):
        figures[what] = float((model.readouts(value) - truth).square().mean().sqrt())
    return figures


@torch.no_grad()
def upper(model: HJEPA, level: int, data: EpisodeSet, s: Tensor, periods: int = PERIODS) -> dict[str, float]:
    """Prediction of a level above, `periods` periods ahead, as a share of the variance within episodes."""
    jepa = model.levels[level]
    index = data.all_windows(periods * jepa.period + 1, jepa.period)
    states = s[index[:, ::jepa.period]]
    omega = jepa.action_encoder(data.actions[index[:, :-1]].unflatten(1, (periods, jepa.period)))
    predicted = jepa.rollout(states[:, 0], omega)
    scale = (s[index] - s[index].mean(1, keepdim=True)).square().mean()
    return {f'level{level}_prediction_{k + 1}': float((predicted[:, k] - states[:, k + 1]).square().mean() / scale)
            for k in range(periods)}


def refuse_collapse(figures: dict[str, float], limits: Collapse) -> None:
    """TrainingError that says which figure shows the collapse."""
    problems = []
    if not all(math.isfinite(v) for v in figures.values()):
        problems.append('a figure is not finite')
    if figures['effective_rank'] < limits.min_effective_rank:
        problems.append(f'effective rank of s is {figures["effective_rank"]:.1f} < {limits.min_effective_rank}')
    if figures['std'] < limits.min_std:
        problems.append(f'standard deviation of s is {figures["std"]:.3f} < {limits.min_std}')
    if figures['inverse_error'] > limits.max_inverse_error:
        problems.append(f'inverse dynamics misses {figures["inverse_error"]:.0%} of the actions '
                        f'(> {limits.max_inverse_error:.0%}): s does not show what the robot does')
    if problems:
        raise TrainingError(f'the representation has collapsed, no checkpoint written: {"; ".join(problems)}; '
                            f'raise the within, inverse or variance coefficient, or train longer')
