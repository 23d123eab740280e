"""Multi-step prediction: the energy D(s_y, Pred(s_x, a)) of what happened (LeCun §4.4–4.5, Fig. 13, criterion 3).

`unroll` imagines H steps from every start of a window, feeding predictions back; `multi_step` compares them with the
states that came. Both branches get gradients (no target network): what keeps them from collapsing are other losses.
"""
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
import torch
from torch import Tensor

from jepa_ros.energy.distance import DISTANCES
from jepa_ros.errors import ConfigError, TrainingError
from jepa_ros.training.losses.base import Embedded, Loss, LOSSES, Weighted
from jepa_ros.training.losses.parallel import mean_over_ranks


def windows(x: Tensor, horizon: int, stride: int = 1) -> Tensor:
    """x (B, T, ...) -> (B, S, H, ...): the `horizon` entries from every `stride`-th on; TrainingError if too short."""
    if horizon > x.shape[1]:
        raise TrainingError(f'a prediction over {horizon} steps needs sequences of {horizon + 1} states at least: '
                            f'these have {x.shape[1] + 1}; raise window or lower the prediction horizon')
    return x.unfold(1, horizon, stride).movedim(-1, 2)


def unroll(predict: Callable[..., Tensor], s: Tensor, a: Tensor, horizon: int, stride: int = 1,
           z: Tensor | None = None) -> Tensor:
    """ŝ (B, S, H, D): `horizon` steps ahead from every `stride`-th state of s (B, T, D) with actions a (B, T−1, A).

    `predict(s, a)` maps (B, S, D), (B, S, A) to (B, S, D); with latents z (B, S, H, Z) it is `predict(s, a, z)`.
    """
    actions = windows(a, horizon, stride)                                   # (B, S, H, A)
    state = s[:, :-horizon:stride]                                          # (B, S, D)
    states = []
    for k in range(horizon):
        latent = () if z is None else (z[:, :, k],)
        state = predict(state, actions[:, :, k], *latent)
        states.append(state)
    return torch.stack(states, 2)


def targets(batch: Embedded, term: str = 'prediction') -> Tensor:
    """The states (B, S, H, D) that `batch.predicted` foresees: of the first S starts, when there could be more."""
    predicted = batch.need('predicted', term)
    return following(batch.s, predicted, batch.stride)


def following(x: Tensor, predicted: Tensor, stride: int = 1) -> Tensor:
    """What x (B, T, ...) becomes after each start of `predicted` (B, S, H, ...): (B, S, H, ...)."""
    starts, horizon = predicted.shape[1:3]
    what_came = windows(x[:, 1:], horizon, stride)[:, :starts]
    if what_came.shape[:3] != predicted.shape[:3]:
        raise TrainingError(f'predictions from {starts} starts over {horizon} steps with stride {stride} do not fit '
                            f'{len(predicted)} sequences: there are {len(x)} of {x.shape[1]} states')
    return what_came


def multi_step(predicted: Tensor, target: Tensor, distance: str = 'squared', discount: float = 1.0) -> Tensor:
    """Σ_k γ^k D(ŝ_k, s_k) / Σ_k γ^k, mean over starts and the batch of all ranks (LeCun eq. 10); (B, S, H, D) both."""
    energy = DISTANCES.get(distance)(predicted, target)                     # (B, S, H)
    weights = discount ** torch.arange(energy.shape[-1], dtype=energy.dtype, device=energy.device)
    return mean_over_ranks((energy * (weights / weights.sum())).sum(-1))


def _known_distance(name: str) -> str:
    try:
        DISTANCES.get(name)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return name


DistanceName = Annotated[str, AfterValidator(_known_distance)]


class PredictionSettings(Weighted):
    distance: DistanceName = 'squared'
    discount: float = Field(1.0, gt=0, le=1, description='weight of a step ahead relative to the one before')
    steps: Literal['all', 'last'] = Field('all', description='which steps of a rollout are compared')
    train_target: bool = Field(True, description='false: the target branch gets no gradient from this loss')


@LOSSES.register('prediction')
class Prediction(Loss):
    """Predicted states against those that came."""

    Settings = PredictionSettings

    def coefficients(self) -> dict[str, float]:
        return {'prediction': self.settings.weight}

    def parts(self, batch: Embedded) -> dict[str, Tensor]:
        c = self.settings
        if not c.weight:
            return {}
        predicted, target = batch.need('predicted', 'prediction'), targets(batch)
        if not c.train_target:
            target = target.detach()
        if c.steps == 'last':
            predicted, target = predicted[:, :, -1:], target[:, :, -1:]
        return {'prediction': multi_step(predicted, target, c.distance, c.discount)}
