"""A picture of drawn futures over what happened: one column per kind of latent, one row per test episode."""
from pathlib import Path

import matplotlib
import numpy as np
from stochastic_runs import episode_set, STEPS
from stochastic_worlds import WORLDS
import torch

from jepa_ros.training.states import encode_all
from jepa_ros.world_model.hjepa import HJEPA

matplotlib.use('Agg')
import matplotlib.pyplot as plt  # noqa: E402

EPISODES, DRAWN, HORIZON = 3, 64, 4
SEED = 11


@torch.no_grad()
def draw(file: Path, world: str, models: dict[str, HJEPA]) -> None:
    """Draws, read out in pixels, over the image HORIZON steps after the last one that was seen."""
    episodes = WORLDS[world](40, STEPS, SEED)
    crossing = (episodes.side[:, 1:] != 0).argmax(1)        # 0 with an obstacle
    chosen = np.flatnonzero(crossing + HORIZON < STEPS)[:EPISODES]
    start = np.maximum(crossing[chosen], 1)
    figure, axes = plt.subplots(EPISODES, len(models), figsize=(2 * len(models), 2.1 * EPISODES), squeeze=False)
    for column, (kind, model) in enumerate(models.items()):
        s = encode_all(model, episode_set(episodes)).unflatten(0, episodes.actions.shape[:2])
        path = start[:, None] + np.arange(HORIZON)
        drawn = model.levels[0].imagine(s[chosen, start], torch.from_numpy(episodes.actions[chosen[:, None], path]),
                                        DRAWN, torch.Generator().manual_seed(0))[:, :, -1]
        places = model.readouts(drawn).numpy()              # (EPISODES, DRAWN, 2)
        for row, (episode, step) in enumerate(zip(chosen, start)):
            axis = axes[row, column]
            axis.imshow(episodes.images[episode, step + HORIZON])
            axis.plot(*episodes.place[episode, step], 'x', color='white', markersize=5)
            axis.plot(*places[row].T, '.', color='lime', markersize=3, alpha=0.6)
            axis.set(xlim=(-0.5, 31.5), ylim=(31.5, -0.5), xticks=[], yticks=[])
        axes[0, column].set_title(kind.replace('_', ' '), fontsize=8)
    figure.suptitle(f'{world}: seen last at ×, {HORIZON} steps later; {DRAWN} drawn futures', fontsize=9)
    figure.tight_layout()
    figure.savefig(file, dpi=120)
    plt.close(figure)
