"""Model-predictive path integral control (Williams et al. 2017): the mean follows the Gibbs distribution."""
import torch
from torch import Tensor

from jepa_ros.actor.planners.config import PLANNERS
from jepa_ros.actor.planners.sampling import lowest, moments, SamplingPlanner
from jepa_ros.energy.free_energy import gibbs


@PLANNERS.register('mppi')
class MPPI(SamplingPlanner):
    """Weights the best `elites` candidates by exp(−E/T); T is a share of their spread, so units do not matter."""

    def refit(self, candidates: Tensor, energies: Tensor) -> tuple[Tensor, Tensor]:
        elites, ranks = lowest(candidates, energies, self.config.elites)
        finite = ranks.masked_fill(~torch.isfinite(ranks), torch.nan)
        spread = (finite.nanmean(1, keepdim=True) - finite[:, :1]).nan_to_num(1.0).clamp_min(1e-9)
        # all refused: equal weights, so that the mean stays a mean
        relative = torch.where(torch.isinf(ranks[:, :1]), torch.zeros_like(ranks), ranks - ranks[:, :1])
        return moments(elites, gibbs(relative / spread, 1 / self.config.temperature))
