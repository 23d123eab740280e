"""Deep ensemble of predictors (Lakshminarayanan et al. 2017): where they disagree, the data did not decide.

Members differ by their random initialisation alone (ibid. §2.4). The spread between them measures what the model does
not know, for risk in planning and for curiosity (LeCun §4.10); what the world leaves open is the latent's business.
"""
from collections.abc import Callable

import torch
from torch import nn, Tensor

from jepa_ros.errors import ConfigError
from jepa_ros.world_model.predictors_base import Memory, Predictor


class Ensemble(Predictor):
    """`count` predictors, each from a call of `make`; as one predictor it gives their mean.

    A rollout of the ensemble takes one of two forms:
    - the mean one (default): each step, all members start from the mean of the last step, each with a memory of its
      own of that one trajectory. Cheap and smooth, but the members' errors are averaged out at every step, so the
      spread of one step says nothing of how far they would drift apart;
    - `trajectories`: each member goes on from its own last prediction (TS∞ of PETS, Chua et al. 2018 §5), and the
      mean of them is given out. What the members are apart from that mean is carried in the memory, so a state that is
      put in place of the mean, an observed one, moves all members with it.
    `rollouts` returns all members' own trajectories in either case.
    """

    def __init__(self, make: Callable[[], Predictor], count: int, trajectories: bool = False):
        if count < 1:
            raise ConfigError(f'ensemble of {count} predictors: it must have at least 1')
        predictors = [make() for _ in range(count)]
        super().__init__(predictors[0].dim, predictors[0].condition_dim)
        self.predictors, self.trajectories = nn.ModuleList(predictors), trajectories
        self.context = predictors[0].context

    def __len__(self) -> int:
        return len(self.predictors)

    def members(self, s: Tensor, c: Tensor, memory: Memory | None = None) -> Tensor:
        """What each member predicts: s (..., D), c (..., C) -> (E, ..., D)."""
        return torch.stack([predicted for predicted, _ in self._steps(s, c, memory)])

    def disagreement(self, s: Tensor, c: Tensor, memory: Memory | None = None) -> Tensor:
        """Variance over the members, averaged over the numbers of a state: (...). 0 for a single member."""
        return self.members(s, c, memory).var(0, correction=0).mean(-1)

    def rollouts(self, s: Tensor, c: Tensor, memory: Memory | None = None) -> Tensor:
        """Each member's own trajectory: start s (..., D), conditions c (..., H, C) -> (E, ..., H, D)."""
        trajectories = []
        for predictor, now, own in zip(self.predictors, self._starts(s, memory), self.memories_of(memory)):
            states = []
            for step in range(c.shape[-2]):
                now, own = predictor.step(now, c[..., step, :], own)
                states.append(now)
            trajectories.append(torch.stack(states, -2))
        return torch.stack(trajectories)

    def step(self, s: Tensor, c: Tensor, memory: Memory | None = None) -> tuple[Tensor, Memory | None]:
        """As `Predictor.step`: the mean of the members. The memory is that of all members, one after the other; with
        `trajectories` it begins with how far each is from the mean, (..., E, D)."""
        steps = self._steps(s, c, memory)
        each = torch.stack([predicted for predicted, _ in steps], -2)      # (..., E, D)
        mean = each.mean(-2)
        apart = (each - mean.unsqueeze(-2),) if self.trajectories else ()
        return mean, _joined(apart, [own for _, own in steps])

    def begin(self, s: Tensor, c: Tensor) -> Memory | None:
        """As `Predictor.begin`."""
        memories = [predictor.begin(s, c) for predictor in self.predictors]
        if memories[0] is None:
            return None
        together = s.new_zeros(*s.shape[:-2], len(self), self.dim)
        return _joined((together,) if self.trajectories else (), memories)

    def recollect(self, at: Tensor, what: Tensor) -> Memory | None:
        """As `Recalling.recollect`, of members that recall: each has a memory of its own."""
        together = at.new_zeros(*at.shape[:-2], len(self), self.dim)
        return _joined((together,) if self.trajectories else (),
                       [predictor.recollect(at, what) for predictor in self.predictors])

    def sequence(self, s: Tensor, c: Tensor) -> Tensor:
        """As `Predictor.sequence`: the mean of the members, each on the recorded states."""
        return torch.stack([predictor.sequence(s, c) for predictor in self.predictors]).mean(0)

    def _steps(self, s: Tensor, c: Tensor, memory: Memory | None) -> list[tuple[Tensor, Memory | None]]:
        return [predictor.step(start, c, own) for predictor, start, own
                in zip(self.predictors, self._starts(s, memory), self.memories_of(memory))]

    def _starts(self, s: Tensor, memory: Memory | None) -> list[Tensor]:
        """Where each member is when their mean is at s."""
        if memory is None or not self.trajectories:
            return [s] * len(self)
        return [s + apart for apart in memory[0].unbind(-2)]

    def memories_of(self, memory: Memory | None) -> list[Memory | None]:
        """Each member's own memory."""
        own = () if memory is None else memory[int(self.trajectories):]
        each = len(own) // len(self)
        return [own[i * each:(i + 1) * each] or None for i in range(len(self))]


def _joined(first: Memory, memories: list[Memory | None]) -> Memory | None:
    """One memory of all members' memories, which all have as many tensors or none."""
    return first + tuple(tensor for memory in memories for tensor in memory or ()) or None
