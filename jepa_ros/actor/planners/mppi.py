"""Model-predictive path integral control (Williams et al. 2017): the mean follows the Gibbs distribution."""
import torch
from torch import Tensor

from jepa_ros.actor.planners.base import Planner, PLANNERS
from jepa_ros.energy.free_energy import gibbs


@PLANNERS.register('mppi')
class MPPI(Planner):
    """Weights the best `elites` candidates by exp(−E/T); T is a share of their spread, so units do not matter."""

    def refit(self, candidates: Tensor, energies: Tensor) -> tuple[Tensor, Tensor]:
        lowest, index = energies.topk(min(self.config.elites, energies.shape[1]), largest=False)
        elites = torch.gather(candidates, 1, index[..., None, None].expand(-1, -1, *candidates.shape[2:]))
        finite = lowest.masked_fill(~torch.isfinite(lowest), torch.nan)
        spread = (finite.nanmean(1, keepdim=True) - finite[:, :1]).nan_to_num(1.0).clamp_min(1e-9)
        # all refused: equal weights, so that the mean stays a mean
        relative = torch.where(torch.isinf(lowest[:, :1]), torch.zeros_like(lowest), lowest - lowest[:, :1])
        weight = gibbs(relative / spread, 1 / self.config.temperature)[..., None, None]
        mean = (weight * elites).sum(1)
        return mean, (weight * (elites - mean[:, None]).square()).sum(1).sqrt()
