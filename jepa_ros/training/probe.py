"""What the collapse monitor looks at while level 0 is trained: a fixed batch of windows (LeCun §4.5, Fig. 13)."""
from collections.abc import Callable

import torch

from jepa_ros.training.config import TrainingConfig
from jepa_ros.training.data import EpisodeSet
from jepa_ros.training.monitor import Figures, Limits, measure, Monitor
from jepa_ros.world_model.hjepa import HJEPA

WINDOWS = 64


def monitor(model: HJEPA, data: EpisodeSet, config: TrainingConfig, inverse: bool) -> Monitor | None:
    """A monitor for the training of the encoder; None where the configuration takes a collapse as it comes.

    `inverse`: the inverse-dynamics head is trained, so that what it misses says something.
    """
    if not config.collapse.refuse:
        return None
    watch = config.collapse
    limits = Limits(min_effective_rank=watch.min_effective_rank, min_std=watch.min_std,
                    max_inverse_error=max(watch.max_inverse_error, Limits.max_inverse_error))
    return Monitor(probe(model, data, config.level0.window, config.seed, inverse), limits, watch.every, watch.grace,
                   watch.patience)


def probe(model: HJEPA, data: EpisodeSet, window: int, seed: int, inverse: bool) -> Callable[[], Figures]:
    """Measures the model as it is now, in evaluation mode, on windows that stay the same."""
    generator = torch.Generator(data.device).manual_seed(seed)
    fixed = data.take(data.windows(WINDOWS, window, generator))
    jepa = model.levels[0]

    @torch.no_grad()
    def look() -> Figures:
        training = model.training
        model.eval()
        s = model.encode(fixed.percepts, fixed.valid).float()
        actions = fixed.actions[:, :-1]
        inferred = jepa.inverse(torch.cat([s[:, :-1], s[:, 1:]], -1)) if inverse else None
        latent = None
        if jepa.latent is not None:
            pairs = (s[:, :-1].flatten(0, 1), actions.flatten(0, 1), s[:, 1:].flatten(0, 1))
            latent = jepa.latent.usage(jepa.predict, *pairs).numbers()
        model.train(training)
        return measure(s, actions, inferred, latent)    # no capacity: a world may need no latent, which is no collapse
    return look
