"""Open-loop figures of a world model on held-out episodes, and the test that refuses a collapsed one."""
from collections.abc import Mapping
import math

import torch
from torch import Tensor

from jepa_ros.errors import TrainingError
from jepa_ros.training.config import Collapse
from jepa_ros.training.data import EpisodeSet
from jepa_ros.training.imagined import past_of
from jepa_ros.training.losses.regularisers import effective_rank
from jepa_ros.world_model.hjepa import HJEPA

HORIZON = 16    # control steps that level 0 is judged over
PERIODS = 4     # periods that a level above is judged over


@torch.no_grad()
def representation(model: HJEPA, data: EpisodeSet, s: Tensor, horizon: int = HORIZON,
                   trained_inverse: bool = True) -> dict[str, float]:
    """Figures of level 0 on windows of `horizon` steps.

    effective_rank and std of s; prediction_k: k-step error as a share of the variance of s *within* episodes;
    persistence_k: the same for "nothing changes"; inverse_error: share of the action variance that inverse
    dynamics misses, where it was trained; readout_rmse: root mean squared error of the readout heads in their own
    unit.
    """
    jepa = model.levels[0]
    past = past_of(jepa)
    index = data.all_windows(past + horizon + 1, horizon)
    written, index = s[index[:, :past]], index[:, past:]
    states, actions = s[index], data.actions[index]
    scale = (states - states.mean(1, keepdim=True)).square().mean()
    predicted = jepa.rollout(states[:, 0], actions[:, :-1], memory=jepa.recollect(written, written))
    figures = {'effective_rank': effective_rank(states.flatten(0, 1)), 'std': float(states.flatten(0, 1).std(0).mean())}
    if trained_inverse:
        inverse = jepa.inverse(torch.cat([states[:, :-1], states[:, 1:]], -1))
        figures['inverse_error'] = float((inverse - actions[:, :-1]).square().mean() / actions[:, :-1].var())
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
    """Prediction of a level above, `periods` periods ahead, as a share of the variance of its states (N, D_l) within
    episodes; and the effective rank of these where they are the level's own.
    """
    jepa = model.levels[level]
    past = past_of(jepa) * jepa.period
    index = data.all_windows(past + periods * jepa.period + 1, jepa.period)
    written, index = s[index[:, :past:jepa.period]], index[:, past:]
    states = s[index[:, ::jepa.period]]
    omega = jepa.action_encoder(data.actions[index[:, :-1]].unflatten(1, (periods, jepa.period)))
    predicted = jepa.rollout(states[:, 0], omega, memory=jepa.recollect(written, written))
    scale = (s[index] - s[index].mean(1, keepdim=True)).square().mean()
    own = {f'level{level}_effective_rank': effective_rank(states.flatten(0, 1))} if jepa.config.pooled else {}
    errors = (predicted - states[:, 1:]).square().mean((0, 2)) / scale
    return own | {f'level{level}_prediction_{k}': float(error) for k, error in enumerate(errors, 1)}


@torch.no_grad()
def ego(model: HJEPA, data: EpisodeSet, horizon: int = HORIZON) -> dict[str, float]:
    """Error of the ego model `horizon` steps ahead and that of persistence, in units of the vector's deviation."""
    index = data.all_windows(horizon + 1, horizon)
    taken = data.take(index)
    x = taken.percepts[model.config.ego.observation]
    scale = x.flatten(0, 1).var(0).clamp_min(1e-12)
    predicted = model.ego.rollout(x[:, 0], taken.actions[:, :-1])
    return {f'ego_prediction_{horizon}': float(((predicted[:, -1] - x[:, -1]).square() / scale).mean()),
            f'ego_persistence_{horizon}': float(((x[:, 0] - x[:, -1]).square() / scale).mean())}


def collapse_problems(figures: Mapping[str, float], limits: Collapse) -> list[str]:
    """What is wrong with a representation of these figures, a phrase for each; empty where nothing is."""
    problems = []
    if not all(math.isfinite(v) for v in figures.values()):
        problems.append('a figure is not finite')
    if figures['effective_rank'] < limits.min_effective_rank:
        problems.append(f'effective rank of s is {figures["effective_rank"]:.1f} < {limits.min_effective_rank}')
    if figures['std'] < limits.min_std:
        problems.append(f'standard deviation of s is {figures["std"]:.3f} < {limits.min_std}')
    if figures.get('inverse_error', 0) > limits.max_inverse_error:
        problems.append(f'inverse dynamics misses {figures["inverse_error"]:.0%} of the actions '
                        f'(> {limits.max_inverse_error:.0%}): s does not show what the robot does')
    return problems


def refuse_collapse(figures: Mapping[str, float], limits: Collapse) -> None:
    """TrainingError that says which figures show the collapse, where such a model is to be refused."""
    problems = collapse_problems(figures, limits)
    if problems and limits.refuse:
        raise TrainingError(f'the representation has collapsed, no checkpoint written: {"; ".join(problems)}; '
                            f'raise the within, inverse or variance coefficient, or train longer')
