"""What the benchmark of latents measures (`stochastic.py`): energies, calibration, information, collapse.

Energies are mean squared differences over the variance of the states, so that 1 is as far as two states usually are.
N test episodes of T states s (N, T, D).
"""
from dataclasses import dataclass
import math

from stochastic_runs import episode_set
from stochastic_worlds import both_ways, CHANCES, coin_bits, Episodes, wandered_std
import torch
from torch import Tensor

from jepa_ros.energy.distance import squared
from jepa_ros.energy.information import verdict
from jepa_ros.training.states import encode_all
from jepa_ros.world_model.hjepa import HJEPA
from jepa_ros.world_model.jepa import JEPA

MEASURED = 2                # to be raised with every change of a figure: kept models are then judged again
HORIZONS = (1, 4, 8)
DRAWS = (1, 4, 16, 64)
MANY = 256                  # draws where a probability is counted
COVERAGES = (0.5, 0.8, 0.95)
ASTRAY = 1 / 16             # of the squared distance between both outcomes: a draw farther than a quarter of the way
                            # from the nearer one is neither
PAIRS = 4096


@dataclass(frozen=True)
class Start:
    """Test states to foresee from: s (M, D), then H actions (M, H, A), and what came of it."""

    episode: Tensor     # (M,)
    step: Tensor        # (M,)
    s: Tensor
    actions: Tensor
    target: Tensor      # (M, D): the state H steps later
    horizon: int


def branches(drawn: Tensor, left: Tensor, right: Tensor, chance: Tensor, came_right: Tensor) -> dict[str, float]:
    """Draws (M, N, D), told apart by the nearer of the two outcomes that were possible (M, D), against their chances.

    chance (M,) is that of the right side, came_right (M,) bool what happened.
    """
    to_left, to_right = squared(drawn, left[:, None]), squared(drawn, right[:, None])
    said = (to_right < to_left).float().mean(1)             # (M,) probability of the right side
    astray = torch.minimum(to_left, to_right) > ASTRAY * squared(left, right)[:, None]
    came = came_right.float()
    groups = [(chance - c).abs() < 1e-6 for c in CHANCES]
    return {'calibration_error': float((said - chance).abs().mean()),
            'expected_calibration_error': float(sum((said[g] - chance[g]).sum().abs() for g in groups) / len(chance)),
            'brier': float((said - came).square().mean()), 'brier_ideal': float((chance - came).square().mean()),
            'astray': float(astray.float().mean()),
            **{f'said_{c}': float(said[g].mean()) for c, g in zip(CHANCES, groups)}}


def spread(said: Tensor, came: Tensor, true_std: float) -> dict[str, float]:
    """Quantiles of draws (M, N, R) in pixels against the outcomes (M, R), which deviate by `true_std`.

    The continuous ranked probability score is ⟨|draw − outcome|⟩ − ⟨|draw − other draw|⟩/2; the least one there is, of
    the true Gaussian, is σ/√π (Gneiting & Raftery 2007, eq. 5 and 20).
    """
    found = {}
    for level in COVERAGES:
        low, high = (torch.quantile(said, q, 1) for q in ((1 - level) / 2, (1 + level) / 2))
        found[f'coverage_{level}'] = float(((came >= low) & (came <= high)).float().mean())
    crps = (said - came[:, None]).abs().mean() - (said - said.roll(said.shape[1] // 2, 1)).abs().mean() / 2
    return found | {
        'coverage_error': sum(abs(found[f'coverage_{level}'] - level) for level in COVERAGES) / len(COVERAGES),
        'crps_px': float(crps), 'crps_ideal_px': true_std / math.sqrt(math.pi),
        'std_px': float(said.std(1).mean()), 'std_true_px': true_std}


class Judge:
    """One model on the test episodes of its world."""

    def __init__(self, model: HJEPA, episodes: Episodes, seed: int = 0):
        self.model, self.jepa, self.episodes = model, model.levels[0], episodes
        data = episode_set(episodes)
        count, steps = episodes.actions.shape[:2]
        self.s = encode_all(model, data).unflatten(0, (count, steps))
        self.actions = torch.from_numpy(episodes.actions)
        self.side, self.chance = torch.from_numpy(episodes.side), torch.from_numpy(episodes.chance)
        self.forks = bool((self.side != 0).any())
        self.scale = self.s.flatten(0, 1).var(0).mean()
        self.generator = torch.Generator().manual_seed(seed)

    @torch.no_grad()
    def figures(self) -> dict[str, float]:
        """All of them, by name."""
        found = self._kept()
        for horizon in HORIZONS:
            start = self.starts(horizon)
            drawn = self.jepa.imagine(start.s, start.actions, MANY, self.generator)[:, :, -1]       # (M, MANY, D)
            own = {**self._energies(start, drawn), **(self._branches if self.forks else self._spread)(start, drawn)}
            found |= {f'{name}_k{horizon}': value for name, value in own.items()}
        return found | self._information()

    def starts(self, horizon: int) -> Start:
        """From where to foresee: the junction is passed on the way, or any place with an obstacle."""
        count, steps = self.side.shape
        if self.forks:
            crossing = (self.side[:, 1:] != 0).int().argmax(1)             # the action that leads behind the junction
            episode = ((self.side[:, -1] != 0) & (crossing + horizon < steps)).nonzero()[:, 0]
            step = crossing[episode]
        else:
            episode, step = torch.arange(count), torch.full((count,), 2)
        path = step[:, None] + torch.arange(horizon)
        return Start(episode, step, self.s[episode, step], self.actions[episode[:, None], path],
                     self.s[episode, step + horizon], horizon)

    def _kept(self) -> dict[str, float]:
        """How much of what moves at random the state still tells."""
        place = torch.from_numpy(self.episodes.place)
        missed = (self.model.readouts(self.s) - place).square().mean((0, 1))
        return {'readout_r2': float((1 - missed / place.flatten(0, 1).var(0)).mean())}

    def _energies(self, start: Start, drawn: Tensor) -> dict[str, float]:
        energy = squared(drawn, start.target[:, None]) / self.scale        # (M, MANY)
        found = {'energy_standstill': float(squared(start.s, start.target).mean() / self.scale),
                 'energy_mean': float(squared(drawn.mean(1), start.target).mean() / self.scale)}
        for count in DRAWS:     # over disjoint groups of draws
            best = energy.unflatten(1, (-1, count)).amin(-1)
            found[f'energy_best_of_{count}'] = float(best.mean())
        return found

    def _branches(self, start: Start, drawn: Tensor) -> dict[str, float]:
        there = start.episode, start.step + start.horizon
        chance = self.chance[start.episode]
        left, right = (self.model.encode({'overhead': torch.from_numpy(images)}).float()
                       for images in both_ways(self.episodes.place[there], chance.numpy()))
        return branches(drawn, left, right, chance, self.side[there] > 0)

    def _spread(self, start: Start, drawn: Tensor) -> dict[str, float]:
        return spread(self.model.readouts(drawn), self.model.readouts(start.target), wandered_std(start.horizon))

    def _information(self) -> dict[str, float]:
        """Of single steps, what the latent carries where something is random and where nothing is; collapse."""
        s, a, target = (x.flatten(0, 1) for x in (self.s[:, :-1], self.actions[:, :-1], self.s[:, 1:]))
        decided = self.side != 0
        random = (decided[:, 1:] & ~decided[:, :-1]).flatten() if self.forks else torch.ones(len(s), dtype=torch.bool)
        found = {'action_contrast': self._action_contrast(s, a, target)}
        if self.jepa.latent is None:
            return found | {'energy_inferred': float(squared(self.jepa.predict(s, a), target)[random].mean()
                                                     / self.scale)}
        return found | self._latent(self.jepa, s, a, target, random)

    def _action_contrast(self, s: Tensor, a: Tensor, target: Tensor) -> float:
        """What a wrong action costs, over how far it moves the prediction: near 0 where z makes up for it."""
        jepa, wrong = self.jepa, a.roll(len(a) // 2, 0)
        if jepa.latent is None:
            right, other = squared(jepa.predict(s, a), target), squared(jepa.predict(s, wrong), target)
            moved = squared(jepa.predict(s, a), jepa.predict(s, wrong))
            return float((other - right).mean() / moved.mean())
        inferred = jepa.latent.infer(jepa.latent.energy(jepa.predict, s, a, target, self.generator))
        other = jepa.latent.infer(jepa.latent.energy(jepa.predict, s, wrong, target, self.generator))
        z = jepa.latent.latent.realise(inferred.code)
        moved = squared(jepa.predict(s, a, z), jepa.predict(s, wrong, z))
        return float((other.energy - inferred.energy).mean() / moved.mean())

    def _latent(self, jepa: JEPA, s: Tensor, a: Tensor, target: Tensor, random: Tensor) -> dict[str, float]:
        model, found = jepa.latent, {}
        for name, which in (('random', random), ('certain', ~random)):
            if bool(which.any()):
                energy = model.energy(jepa.predict, s[which], a[which], target[which], self.generator)
                inferred = model.infer(energy)
                found[f'bits_{name}'] = float(model.latent.bits(inferred.code, energy.prior))
                if name == 'random':
                    found['energy_inferred'] = float(energy.misfit(inferred.code).mean() / self.scale)
        if self.forks:
            found['bits_true'] = float(coin_bits(self.chance.numpy()).mean())
        some = torch.randperm(len(s), generator=self.generator)[:PAIRS]
        usage = model.usage(jepa.predict, s[some], a[some], target[some], generator=self.generator).numbers()
        found |= {f'usage_{name}': value for name, value in usage.items()}
        said = ' '.join(verdict(usage, model.latent.capacity_bits))
        return found | {'said_ignored': float('is ignored' in said), 'said_flat': float('is flat' in said)}
