"""What one level makes of a recorded sequence, for the losses: rollouts, actions, readouts (LeCun Fig. 12–15)."""
from dataclasses import dataclass

import torch
from torch import Tensor

from jepa_ros.energy.distance import squared
from jepa_ros.training.losses import Embedded
from jepa_ros.training.losses.parallel import mean_over_ranks
from jepa_ros.training.losses.prediction import targets, unroll, windows
from jepa_ros.world_model.ensemble import Ensemble
from jepa_ros.world_model.jepa import JEPA
from jepa_ros.world_model.predictors import expand_memory, Memory


@dataclass(frozen=True)
class Sequence:
    """States of one level with what was done between them."""

    s: Tensor               # (B, T, D)
    condition: Tensor       # (B, T−1, C): actions, or macro-actions
    actions: Tensor         # (B, T−1, A) in −1…1, all of a period side by side: what inverse dynamics infers
    readouts: Tensor        # (B, T, R), standardised

    def after(self, past: int) -> 'Sequence':
        """The same without its first `past` states."""
        return Sequence(self.s[:, past:], self.condition[:, past:], self.actions[:, past:], self.readouts[:, past:])


def past_of(jepa: JEPA) -> int:
    """States before a window that a level which recalls writes to its memory."""
    return 0 if jepa.config.recall is None else jepa.config.recall.past


def embed(jepa: JEPA, sequence: Sequence, horizon: int = 0, stride: int = 1) -> tuple[Embedded, dict[str, Tensor]]:
    """What the losses of this level look at, and the parts of the loss that belong to the level's own kind.

    horizon: steps imagined from every `stride`-th state; 0: the whole sequence, from its first state. Readout heads see
    detached states: they teach the encoder nothing (LeCun §4.5.2). Parts, each with coefficient 1:
    `latent` and `amortisation` of a latent, `next` of a predictor that looks back, `members` of an ensemble.

    Of a level that recalls, the first `past_of` states are only written to its memory: what is looked at comes after.
    """
    whole, past = sequence, past_of(jepa)
    sequence = whole.after(past)
    s, c = sequence.s, sequence.condition
    horizon = horizon or s.shape[1] - 1
    memory = jepa.recollect(whole.s[:, :past], whole.s[:, :past])
    z, parts = _inferred(jepa, s, c)
    predicted = _rollouts(jepa, jepa.predictor, s, c, z, horizon, stride, memory)
    embedded = Embedded(
        s, predicted, stride, sequence.actions, jepa.inverse(torch.cat([s[:, :-1], s[:, 1:]], -1)),
        sequence.readouts, *(None, None) if jepa.readout is None else
        (jepa.readout(s.detach()), jepa.readout(predicted.detach())))
    if jepa.context > 1 and not past:       # what is recalled is there in the rollouts already
        given = c if jepa.latent is None and jepa.task_weight is None else jepa.condition(s[:, :-1], c, z)
        following = jepa.predictor.sequence(s[:, :-1], given)
        parts['next'] = mean_over_ranks(squared(following.float(), s[:, 1:].float()))
    if isinstance(jepa.predictor, Ensemble):
        parts['members'] = _members(jepa, s.detach(), c, z, horizon, stride, memory)
    return embedded, parts


def _rollouts(jepa: JEPA, predictor, s: Tensor, c: Tensor, z: Tensor | None, horizon: int, stride: int,
              memory: Memory | None = None) -> Tensor:
    """ŝ (B, S, H, D) of one predictor; see `losses.prediction.unroll`. `memory` (B, …) is that of all S starts."""
    memory = expand_memory(memory, len(range(0, s.shape[1] - horizon, stride)))

    def step(state: Tensor, action: Tensor, *latent: Tensor) -> Tensor:
        nonlocal memory
        state, memory = predictor.step(state, jepa.condition(state, action, *latent), memory)
        return state
    return unroll(step, s, c, horizon, stride, None if z is None else windows(z, horizon, stride))


def _members(jepa: JEPA, s: Tensor, c: Tensor, z: Tensor | None, horizon: int, stride: int,
             memory: Memory | None) -> Tensor:
    """Prediction errors of all members of an ensemble, each on its own way, on states that they do not shape."""
    errors = []
    for member, own in zip(jepa.predictor.predictors, jepa.predictor.memories_of(memory)):
        predicted = _rollouts(jepa, member, s, c.detach(), None if z is None else z.detach(), horizon, stride,
                              own).float()
        errors.append(mean_over_ranks(squared(predicted, targets(Embedded(s.float(), predicted, stride)))))
    return torch.stack(errors).mean()


def _inferred(jepa: JEPA, s: Tensor, c: Tensor) -> tuple[Tensor | None, dict[str, Tensor]]:
    """Latents (B, T−1, Z) that explain each recorded step, and what training them costs (LeCun eq. 10–13)."""
    if jepa.latent is None:
        return None, {}
    loss = jepa.latent.loss(jepa.predict, s[:, :-1], c, s[:, 1:])
    parts = {'latent': loss.energy, 'amortisation': loss.amortisation}
    return jepa.latent.read(loss.code), {k: mean_over_ranks(v.float()) for k, v in parts.items()}
