"""A predictor that reads memory: what was seen earlier and is hidden now (LeCun §3, §4.8–4.9, eq. 15–20).

"The world model accesses and updates the short-term memory while temporally predicting future (or past) world states."
States that were perceived are written; each prediction reads what is known for the state it starts from. What is
imagined is no experience and is not written, so that all candidates of a plan share one memory. Reads and writes are
differentiable: what a key is, what is worth keeping and what of it helps are learned with the prediction.
"""
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt
import torch
from torch import nn, Tensor

from jepa_ros.errors import ConfigError
from jepa_ros.memory import slots as memories
from jepa_ros.memory.slots import Slots
from jepa_ros.world_model.predictors_base import Memory, Predictor

WORTH = 2.0         # bias of what is worth keeping: at first nearly all is


class RecallConfig(BaseModel):
    """How a level uses memory."""

    model_config = ConfigDict(extra='forbid', allow_inf_nan=False, frozen=True)

    slots: PositiveInt = Field(32, description='things that are remembered at once')
    key: PositiveInt = Field(8, description='numbers by which what is remembered is found again')
    value: PositiveInt = Field(16, description='numbers that are remembered of a state')
    past: PositiveInt = Field(32, description='periods before a prediction whose states are written, in training and, '
                                              'where no memory organ is at hand, while acting')
    beta: PositiveFloat = Field(4.0, description='sharpness of the match of keys, to begin with')
    gamma: PositiveFloat = Field(0.1, description='match below which something is unknown, to begin with')

    @property
    def width(self) -> int:
        """Numbers of what is known of a state: the value, and how sure it is."""
        return self.value + 1


class Recall(nn.Module):
    """Keys, values and questions made of states, and the memory they are written to and read from."""

    def __init__(self, dim: int, config: RecallConfig):
        super().__init__()
        self.config = config
        self.key = nn.Linear(dim, config.key, bias=False)
        self.query = nn.Linear(dim, config.key)
        with torch.no_grad():       # at first: what was seen at a place like this
            self.query.weight.copy_(self.key.weight)
            self.query.bias.zero_()
        self.value = nn.Linear(dim, config.value, bias=False)
        self.worth = nn.Linear(dim, 1)
        nn.init.constant_(self.worth.bias, WORTH)
        self.log_beta = nn.Parameter(torch.tensor(config.beta).log())
        self.log_gamma = nn.Parameter(torch.tensor(config.gamma).log())

    @property
    def width(self) -> int:
        """Numbers that `read` gives."""
        return self.config.width

    def nothing(self, s: Tensor) -> Slots:
        """Empty memories for states (..., D)."""
        c = self.config
        return Slots.empty(tuple(s.shape[:-1]), c.slots, c.key, c.value, s)

    def write(self, slots: Slots, at: Tensor, what: Tensor) -> Slots:
        """Remember `what` (..., D) was seen in a state `at` (..., D)."""
        written = memories.write(slots, self.key(at), self.value(what), self.log_beta.exp(), self.log_gamma.exp(),
                                 torch.sigmoid(self.worth(what)).squeeze(-1))
        return Slots(*(t.to(old.dtype) for t, old in zip(written, slots)))

    def write_all(self, at: Tensor, what: Tensor) -> Slots:
        """Empty memories with states (..., T, D) written one after the other, oldest first."""
        slots = self.nothing(at[..., 0, :])
        for t in range(at.shape[-2]):
            slots = self.write(slots, at[..., t, :], what[..., t, :])
        return slots

    def read(self, s: Tensor, slots: Slots | None) -> Tensor:
        """What is known for states (..., D), and how sure that is: (..., V + 1), zeros where nothing is."""
        if slots is None:
            return s.new_zeros(*s.shape[:-1], self.width)
        value, sure = memories.read(slots, self.query(s), self.log_beta.exp(), self.log_gamma.exp())
        return torch.cat([value, sure.unsqueeze(-1)], -1)


class Recalling(Predictor):
    """ŝ = Pred(s, (c, r)) with r what memory says for s, and how sure it is (eq. 15–17).

    The memory of a rollout is what was written before it, and stays as it is: `step` only reads. `sequence` writes each
    recorded state after it was predicted from. So ŝ[t] of a sequence is the step from `begin` of all that was before.
    """

    def __init__(self, config: RecallConfig, inner: Predictor):
        """`inner` takes `Recall.width` numbers more in its condition; ConfigError for one that looks back itself."""
        if inner.context > 1:
            raise ConfigError('recall: it goes with a predictor that does not look back itself: residual_mlp, '
                              'adaln_mlp or gru without memory; or leave recall out')
        recall = Recall(inner.dim, config)
        super().__init__(inner.dim, inner.condition_dim - recall.width)
        self.recall, self.inner = recall, inner
        self.context = config.past + 1

    def step(self, s: Tensor, c: Tensor, memory: Memory | None = None) -> tuple[Tensor, Memory | None]:
        """As `Predictor.step`; the memory (`Slots`) is handed on as it is."""
        slots = None if memory is None else Slots(*memory)
        return self.inner(s, torch.cat([c, self.recall.read(s, slots).to(c.dtype)], -1)), memory

    def begin(self, s: Tensor, c: Tensor) -> Memory | None:
        """As `Predictor.begin`: the states that count, written oldest first."""
        s, _ = self.recent(s, c)
        return self.recollect(s, s) if s.shape[-2] else None

    def recollect(self, at: Tensor, what: Tensor) -> Memory:
        """A memory of its own making: `what` (..., T, D) was seen in states `at` (..., T, D), oldest first."""
        return tuple(self.recall.write_all(at, what))

    def sequence(self, s: Tensor, c: Tensor) -> Tensor:
        """As `Predictor.sequence`: reads, then writes, state by state; older states than `context` − 1 stay too."""
        slots, reads = self.recall.nothing(s[..., 0, :]), []
        for t in range(s.shape[-2]):
            reads.append(self.recall.read(s[..., t, :], slots))
            slots = self.recall.write(slots, s[..., t, :], s[..., t, :])
        return self.inner(s, torch.cat([c, torch.stack(reads, -2).to(c.dtype)], -1))
