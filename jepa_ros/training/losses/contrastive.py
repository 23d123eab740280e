"""Contrastive losses, for comparison: push the energy of what happened down and that of what did not up (LeCun §4.3).

The energy is F = D(ŝ, s) of a prediction and an outcome; contrastive samples ŷ are the outcomes of the other
sequences of the batch of all ranks (and, pooled over time, the other steps of the same sequence). InfoNCE is LeCun
eq. 9 (van den Oord et al. 2018, eq. 4), the hinges are eq. 7 (Dawid eq. 3) and rows 5–7 of LeCun's Table 1.
"""
from typing import Literal

from pydantic import Field
import torch
from torch import nn, Tensor

from jepa_ros.energy.distance import DISTANCES
from jepa_ros.errors import TrainingError
from jepa_ros.training.losses.base import Embedded, expander, Loss, LOSSES, Over, samples, Sizes, Weighted
from jepa_ros.training.losses.parallel import gather_over_ranks, mean_over_ranks
from jepa_ros.training.losses.prediction import DistanceName, targets

Form = Literal['pairwise', 'minimum', 'square']


def energies(a: Tensor, b: Tensor, distance: str) -> Tensor:
    """D of every a with every b: (N, G, D), (M, G, D) -> (G, N, M).

    The two usual distances are matrix products; any other one needs memory for (G, N, M, D).
    """
    a, b = a.transpose(0, 1), b.transpose(0, 1)
    if distance == 'cosine':
        return 1 - nn.functional.normalize(a, dim=-1) @ nn.functional.normalize(b, dim=-1).transpose(1, 2)
    if distance == 'squared':
        origin = b.mean(1, keepdim=True).detach()       # distances do not depend on it, but rounding does
        a, b = a - origin, b - origin
        lengths = a.square().sum(-1).unsqueeze(2) + b.square().sum(-1).unsqueeze(1)
        return (lengths - 2 * a @ b.transpose(1, 2)) / a.shape[-1]
    return DISTANCES.get(distance)(a.unsqueeze(2), b.unsqueeze(1))


def _against_all(predicted: Tensor, target: Tensor, distance: str) -> tuple[Tensor, Tensor, Tensor]:
    """Energies (G, N, M) of this rank's predictions with the outcomes of all, own outcomes (N,), the outcomes."""
    everything, first = gather_over_ranks(target)
    if len(everything) < 2:
        raise TrainingError('a contrastive loss needs at least two sequences in a batch: raise batch')
    own = torch.arange(len(target), device=target.device) + first
    return energies(predicted, everything, distance), own, everything


def info_nce(predicted: Tensor, target: Tensor, distance: str = 'cosine', temperature: float = 0.1) -> Tensor:
    """F(x, y) + log[exp(−F(x, y)) + Σ_k exp(−F(x, ŷ_k))], F = D / temperature (LeCun eq. 9), mean over (N, G, D)."""
    energy, own, _ = _against_all(predicted, target, distance)
    logits = -energy.transpose(0, 1) / temperature                          # (N, G, M)
    label = own[:, None].expand(logits.shape[:2])
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), label.flatten(), reduction='none')
    return mean_over_ranks(loss)


def hinge(predicted: Tensor, target: Tensor, distance: str = 'squared', form: Form = 'pairwise', margin: float = 1.0,
          slope: float = 0.0, hardest: bool = False) -> Tensor:
    """Hinge loss of (N, G, D) both with margin m(y, ŷ) = margin + slope · ‖y − ŷ‖², mean over samples.

    `pairwise` [F⁺ − F⁻ + m]₊ (LeCun eq. 7, Table 1 row 5), `minimum` F⁺ + [m − F⁻]₊ (row 6), `square`
    F⁺² + [m − F⁻]₊² (row 7). `hardest`: only the ŷ with the largest hinge, else the mean over all. The margin gets no
    gradient. With margin 0 and a slope only, a constant representation pays nothing: ‖y − ŷ‖ is taken between states
    (Dawid §4.1: the margin must not vanish, or the energy collapses).
    """
    energy, own, everything = _against_all(predicted, target, distance)     # (G, N, M)
    m: float | Tensor = margin
    if slope:
        with torch.no_grad():
            m = margin + slope * energies(target, everything, 'squared') * target.shape[-1]     # (G, N, M)
    index = own.expand(energy.shape[:2]).unsqueeze(-1)
    up = energy.gather(2, index)                                            # F⁺ (G, N, 1)
    push = torch.relu((up if form == 'pairwise' else 0) - energy + m)
    push = push.square() if form == 'square' else push
    push = push.scatter(2, index, 0.0)                                      # the outcome itself is not contrastive
    push = push.amax(-1) if hardest else push.sum(-1) / (energy.shape[-1] - 1)
    pull = {'pairwise': 0.0, 'minimum': up[..., 0], 'square': up[..., 0].square()}[form]
    return mean_over_ranks(push + pull)


class ContrastiveSettings(Weighted):
    expander: int = Field(0, ge=0, description='width of the projector; 0: none')
    over: Over = 'batch'


class InfoNCESettings(ContrastiveSettings):
    distance: DistanceName = 'cosine'
    temperature: float = Field(0.1, gt=0)


class HingeSettings(ContrastiveSettings):
    distance: DistanceName = 'squared'
    form: Form = 'pairwise'
    margin: float = Field(1.0, ge=0)
    slope: float = Field(0.0, ge=0, description='μ of LeCun eq. 7')
    hardest: bool = Field(False, description='only the most offending sample counts')


class Contrastive(Loss):
    """Prediction and outcome, projected alike."""

    name: str

    def __init__(self, settings: ContrastiveSettings, sizes: Sizes):
        super().__init__(settings, sizes)
        self.expand = expander(sizes.state, settings.expander)

    def coefficients(self) -> dict[str, float]:
        return {self.name: self.settings.weight}

    def parts(self, batch: Embedded) -> dict[str, Tensor]:
        c = self.settings
        if not c.weight:
            return {}
        predicted, target = batch.need('predicted', self.name), targets(batch, self.name)
        a, b = (samples(self.expand(x), c.over) for x in (predicted, target))
        options = c.model_dump(exclude={'weight', 'expander', 'over'})
        return {self.name: self.contrast(a, b, **options)}

    def contrast(self, predicted: Tensor, target: Tensor, **options) -> Tensor:
        """The loss of (N, G, D) both."""
        raise NotImplementedError


@LOSSES.register('info_nce')
class InfoNCE(Contrastive):
    """Which outcome belongs to a prediction?"""

    Settings = InfoNCESettings
    name = 'info_nce'

    def contrast(self, predicted: Tensor, target: Tensor, **options) -> Tensor:
        return info_nce(predicted, target, **options)


@LOSSES.register('hinge')
class Hinge(Contrastive):
    """Other outcomes have an energy higher by a margin."""

    Settings = HingeSettings
    name = 'hinge'

    def contrast(self, predicted: Tensor, target: Tensor, **options) -> Tensor:
        return hinge(predicted, target, **options)
