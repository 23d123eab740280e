"""One level of the hierarchy: a joint-embedding predictive architecture (LeCun §4.4, Fig. 12).

A level has an encoder of the states below it (above level 0), an action encoder, a predictor, a latent where its
future is not decided, an inverse-dynamics head (training only) and readout heads (LeCun §4.5.2). Level 0 acts with the
robot's own actions, a higher level with macro-actions encoded from the actions of one period (LeCun §4.6).
"""
from functools import partial

import torch
from torch import nn, Tensor
from torch.nn.functional import linear

from jepa_ros.energy.distance import squared
from jepa_ros.errors import ConfigError
from jepa_ros.memory.slots import Slots
from jepa_ros.world_model.config import LevelConfig
from jepa_ros.world_model.ensemble import Ensemble
from jepa_ros.world_model.latent_model import LatentModel
from jepa_ros.world_model.numerics import EXACT, Numerics
from jepa_ros.world_model.pooling import build_pooling
from jepa_ros.world_model.predictors import build_predictor, Memory, mlp, Predictor
from jepa_ros.world_model.recall import Recalling


class ActionEncoder(nn.Module):
    """Actions of one period (..., K, A) in −1…1 -> what the predictor is conditioned on (..., macro_dim).

    Level 0 (`macro_dim` None) passes the one action through. Above, a small MLP makes a macro-action ω; its
    training percentiles bound what a planner may sample: far from them the predictor was never trained.
    """

    def __init__(self, action_dim: int, period: int, macro_dim: int | None, width: int = 64):
        super().__init__()
        self.period = period
        self.dim = action_dim if macro_dim is None else macro_dim
        self.net = None if macro_dim is None else mlp(action_dim * period, width, macro_dim)
        self.register_buffer('low', -torch.ones(self.dim))
        self.register_buffer('high', torch.ones(self.dim))
        self.register_buffer('prior_mean', torch.zeros(self.dim))
        self.register_buffer('prior_std', torch.ones(self.dim) * 0.5)

    def forward(self, actions: Tensor) -> Tensor:
        return actions.flatten(-2) if self.net is None else self.net(actions.flatten(-2))

    def fit_prior(self, macro_actions: Tensor) -> None:
        """Set bounds (2nd–98th percentile) and the Gaussian prior from training macro-actions (N, dim)."""
        sample = macro_actions[:100_000].float()
        self.low.copy_(torch.quantile(sample, 0.02, 0))
        self.high.copy_(torch.quantile(sample, 0.98, 0))
        self.prior_mean.copy_(sample.mean(0))
        self.prior_std.copy_(sample.std(0))

    def sample(self, shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
        """Macro-actions (*shape, dim) drawn from the prior, within the bounds."""
        noise = torch.randn((*shape, self.dim), device=self.low.device, generator=generator)
        return torch.clamp(self.prior_mean + self.prior_std * noise, self.low, self.high)

    def strangeness(self, macro_actions: Tensor) -> Tensor:
        """How far macro-actions (..., dim) are from those of training: mean squared deviation in prior units, (...).

        1 on average over the training macro-actions. Where it is large the predictor was never trained, and a planner
        that goes there is worse than none (HWM; the fault of naive hierarchies).
        """
        return ((macro_actions - self.prior_mean) / self.prior_std.clamp_min(1e-6)).square().mean(-1)


def unchanged(actions: int) -> Tensor:
    """[I | 0], (A, A + 1): actions do what they did in training."""
    return torch.cat([torch.eye(actions), torch.zeros(actions, 1)], 1)


class JEPA(nn.Module):
    """Predicts states one period of `period` control steps ahead. `below` is the size of a state one level down."""

    def __init__(self, config: LevelConfig, below: int, action_dim: int, readouts: int = 0, task_dim: int = 0):
        """`task_dim`: numbers of the task token, which a level takes where its configuration says so."""
        super().__init__()
        self.config, self.period = config, config.period
        self.dim = config.dim or below
        self.pooling = build_pooling(config.encoder, below, self.dim, config.encoder_options)
        self.action_encoder = ActionEncoder(action_dim, config.period, config.macro_dim)
        latent = LatentModel(config.latent, self.dim, self.action_encoder.dim)
        self.latent = latent if latent.latent.dim else None
        # zeros, like FiLM's: a predictor that never saw a task does not mind one
        self.task_weight = nn.Parameter(torch.zeros(task_dim, task_dim)) if config.task else None
        condition = self.action_encoder.dim + latent.latent.dim + (task_dim if config.task else 0)

        def make() -> Predictor:
            inner = build_predictor(config.predictor, self.dim, condition + config.recalled, config.width, config.depth,
                                    config.options)
            return inner if config.recall is None else Recalling(config.recall, inner)
        self.predictor = make() if config.ensemble == 1 else Ensemble(make, config.ensemble)
        self.inverse = mlp(2 * self.dim, 128, action_dim * (1 if config.macro_dim is None else config.period))
        self.readout = mlp(self.dim, 128, readouts, depth=1) if readouts else None
        # mean one-step prediction error in training: the unit of surprise
        self.register_buffer('typical_error', torch.ones(()))
        # (A, A + 1), [M | b]: actions do what M a + b did in training, as adaptation finds; level 0 only
        self.register_buffer('action_map', None if config.macro_dim else unchanged(self.action_encoder.dim))

    def _load_from_state_dict(self, state_dict, prefix, *rest) -> None:
        if self.action_map is not None:     # checkpoints made before there was one
            state_dict.setdefault(f'{prefix}action_map', unchanged(self.action_encoder.dim))
        super()._load_from_state_dict(state_dict, prefix, *rest)

    @property
    def context(self) -> int:
        """Most states the predictor looks back on, the present one included."""
        return self.predictor.context

    def condition(self, s: Tensor, a: Tensor, z: Tensor | None = None, task: Tensor | None = None) -> Tensor:
        """What the predictor gets beside s (..., D): a (..., A), z (..., Z), the most probable one if not given, and
        the task token (task_dim,) or (..., task_dim), none is zeros. A level that takes no token ignores it.
        """
        if self.action_map is not None:
            a = a @ self.action_map[:, :-1].T + self.action_map[:, -1]
        parts = [a]
        if self.latent is not None:
            parts.append(self.latent.most_probable(s, a) if z is None else z)
        if self.task_weight is not None:
            parts.append(self._token(task, a))
        return torch.cat(parts, -1) if len(parts) > 1 else a

    def _token(self, task: Tensor | None, a: Tensor) -> Tensor:
        size = len(self.task_weight)
        if task is None:
            return a.new_zeros(*a.shape[:-1], size)
        if task.shape[-1] != size:
            raise ConfigError(f'task token has {task.shape[-1]} numbers, this predictor takes {size}')
        return linear(task.to(a), self.task_weight.to(a)).expand(*a.shape[:-1], size)

    def predict(self, s: Tensor, a: Tensor, z: Tensor | None = None, memory: Memory | None = None,
                task: Tensor | None = None) -> Tensor:
        """One step: s (..., D), a (..., A) encoded action or macro-action -> ŝ (..., D) (LeCun eq. 10, 12)."""
        return self.predictor.step(s, self.condition(s, a, z, task), memory)[0]

    def remember(self, s: Tensor, a: Tensor, task: Tensor | None = None) -> Memory | None:
        """States s (..., T, D) before the present one and the actions a (..., T, A) taken there, for `rollout`."""
        return self.predictor.begin(s, self.condition(s, a, task=task)) if self.context > 1 and s.shape[-2] else None

    def known(self, s: Tensor, memory: Memory | None) -> Tensor | None:
        """What memory says of states s (..., D), and how sure that is: (..., R), for a policy (LeCun §4.9).

        `memory` as in `rollout`. None for a level that does not recall. Of an ensemble, what its first member reads.
        """
        if self.config.recall is None:
            return None
        member = self.predictor
        if isinstance(member, Ensemble):
            memory, member = (None if memory is None else member.memories_of(memory)[0]), member.predictors[0]
        return member.recall.read(s, None if memory is None else Slots(*memory))

    def recollect(self, at: Tensor, what: Tensor) -> Memory | None:
        """What memory holds, for `rollout`: `what` (..., T, D) was seen in states `at` (..., T, D), oldest first.

        None for a level that does not recall.
        """
        if self.config.recall is None or not at.shape[-2]:
            return None
        return self.predictor.recollect(at, what)

    def rollout(self, s: Tensor, a: Tensor, z: Tensor | None = None, memory: Memory | None = None,
                numerics: Numerics = EXACT, task: Tensor | None = None) -> Tensor:
        """Start s (..., D), actions a (..., H, A), latents z (..., H, Z) -> states (..., H, D), the start excluded.

        `numerics`: how a predictor that has a form for planners computes it when no gradient is asked for. `task`
        (task_dim,) holds for all.
        """
        if self.latent is None or z is not None:
            return self.predictor.rollout(s, self.condition(s, a, z, task), memory, numerics)
        states = []
        for step in range(a.shape[-2]):     # the most probable latent of a step depends on the state it starts from
            s, memory = self.predictor.step(s, self.condition(s, a[..., step, :], task=task), memory)
            states.append(s)
        return torch.stack(states, -2)

    def imagine(self, s: Tensor, a: Tensor, count: int, generator: torch.Generator | None = None) -> Tensor:
        """`count` futures with latents drawn on the way: s (B, D), a (B, H, A) -> (B, count, H, D) (LeCun Fig. 17)."""
        s = s.unsqueeze(-2).expand(*s.shape[:-1], count, -1)
        a = a.unsqueeze(-3).expand(*a.shape[:-2], count, -1, -1)
        if self.latent is None:
            return self.rollout(s, a)
        states, memory = [], None
        for step in range(a.shape[-2]):
            z = self.latent.sample(s, a[..., step, :], 1, generator=generator).squeeze(-2)
            s, memory = self.predictor.step(s, self.condition(s, a[..., step, :], z), memory)
            states.append(s)
        return torch.stack(states, -2)

    def energy(self, s: Tensor, a: Tensor, target: Tensor, memory: Memory | None = None,
               task: Tensor | None = None) -> Tensor:
        """Energy (N,) of pairs s, target (N, D) under a (N, A): D(target, ŝ); with a latent, the least D + R over z.

        LeCun eq. 5. The same pairs have the same energy: what noise a latent is read with is drawn from a fixed seed.
        `memory` of all pairs has leading dimensions (N,), or (1,) where all share one; a latent goes with none.
        """
        if self.latent is None:
            return squared(self.predict(s, a, memory=memory, task=task), target)
        with torch.inference_mode(False), torch.no_grad():
            generator = torch.Generator(s.device).manual_seed(0)
            predict = partial(self.predict, task=None if task is None else task.clone())
            pairs = self.latent.energy(predict, s.clone(), a.clone(), target.clone(), generator)
            return self.latent.infer(pairs).energy

    def disagreement(self, s: Tensor, a: Tensor, task: Tensor | None = None) -> Tensor:
        """Variance (...) of what the ensemble predicts after a (..., A) in s (..., D); 0 for a single predictor."""
        if not isinstance(self.predictor, Ensemble):
            return s.new_zeros(s.shape[:-1])
        return self.predictor.disagreement(s, self.condition(s, a, task=task))
