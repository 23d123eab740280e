"""The model's goal tolerance: which goal energy means "there"."""
import torch
from torch import Tensor

from jepa_ros.energy.distance import squared
from jepa_ros.training.data import EpisodeSet

PAIRS = 200_000
CONFIDENCE = 0.99       # share of the pairs below the tolerance that are really within the radius


@torch.no_grad()
def goal_tolerance(data: EpisodeSet, s: Tensor, radius: float, seed: int = 0) -> float:
    """Largest goal energy at which 99 % of state pairs of one episode are within `radius` of each other.

    `radius` is in the readouts' unit. Without readouts: the median energy of one control step's motion.
    """
    generator = torch.Generator(s.device).manual_seed(seed)
    device = s.device
    episode = torch.randint(len(data.starts), (PAIRS,), generator=generator, device=device)
    length = data.lengths[episode]
    first = (torch.rand(PAIRS, generator=generator, device=device) * length).long()
    apart = torch.randint(1, 16, (PAIRS,), generator=generator, device=device)
    i, j = data.starts[episode] + first, data.starts[episode] + torch.minimum(first + apart, length - 1)
    energy = squared(s[i], s[j])
    if data.readouts.shape[1] == 0:
        return float(energy[apart == 1].median())
    near = (data.readouts[i] - data.readouts[j]).norm(dim=1) <= radius
    order = energy.argsort()
    share = near[order].double().cumsum(0) / torch.arange(1, PAIRS + 1, device=device)
    good = (share >= CONFIDENCE).nonzero()
    last = int(good.max()) if len(good) else PAIRS // 1000
    return float(energy[order[last]].clamp_min(1e-6))
