"""Cross-entropy method: mean and standard deviation of the elites."""
import torch
from torch import Tensor

from jepa_ros.actor.planners.base import Planner, PLANNERS


@PLANNERS.register('cem')
class CEM(Planner):
    """Every elite counts the same."""

    def refit(self, candidates: Tensor, energies: Tensor) -> tuple[Tensor, Tensor]:
        lowest, index = energies.topk(min(self.config.elites, energies.shape[1]), largest=False)
        elites = torch.gather(candidates, 1, index[..., None, None].expand(-1, -1, *candidates.shape[2:]))
        # a refused candidate counts only where every one is refused
        counts = torch.isfinite(lowest) | torch.isinf(lowest[:, :1])
        weight = (counts / counts.sum(1, keepdim=True))[..., None, None]
        mean = (weight * elites).sum(1)
        return mean, (weight * (elites - mean[:, None]).square()).sum(1).sqrt()
