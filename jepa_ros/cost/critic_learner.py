"""The critic learns from memory, triplets (time, state, intrinsic energy), while the robot drives (LeCun §3.3, Fig. 7).

TD(λ) with a target network (Sutton & Barto 2018, §12.1; Mnih et al. 2015). In the critic's unit, the discounted mean of
the energy to come, a return is G_t = (1 − γ) e_{t+1} + γ [(1 − λ) v̄(s_{t+1}) + λ G_{t+1}]. Every few episodes are held
out; a round of learning that raises the error on them is undone, weights, optimiser and target. No ROS, no clock: the
same episodes and seed give the same critic.
"""
from collections import deque
from collections.abc import Callable, Sequence
import copy
from dataclasses import dataclass
import math

import torch
from torch import nn, Tensor

from jepa_ros.cost.critic import Critic, critic_loss, with_task
from jepa_ros.errors import ConfigError

LEAST_STEPS = 2         # of an episode that something can be learned from
LONGEST = 2000          # steps of an episode; a longer one counts as several
JUDGED = 4096           # held-out steps a round is judged on, at most
LEAST_GAIN = 1e-3       # share by which a new unit must lower the error: one that is right already is left alone
RESCALED, RESCALE_STEPS = 8192, 300     # steps that the unit is fitted to, at most, and in how many updates


@dataclass(frozen=True)
class LearnerSettings:
    """How the critic learns. `discount` is per control step: 0.987 is 0.9 per macro-period of 8, as in distillation."""

    rate: float = 3e-4          # of Adam
    discount: float = 0.987     # γ
    trace: float = 0.9          # λ: 0 believes the target network alone, 1 what happened alone
    polyak: float = 0.02        # share of the weights that the target network takes over per update
    clip: float = 1.0           # most that the norm of a gradient may be
    updates: int = 50           # of a round
    windows: int = 16           # of an update, from as many episodes
    window: int = 64            # steps of a window
    hold_out: int = 5           # every so manieth episode is for judging only
    capacity: int = 36_000      # steps kept, the newest; one hour at 10 Hz
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ('rate', 'clip'):
            self._refuse(name, not getattr(self, name) > 0, 'be positive')
        for name in ('trace', 'polyak'):
            self._refuse(name, not 0 <= getattr(self, name) <= 1, 'lie in [0, 1]')
        self._refuse('discount', not 0 <= self.discount < 1, 'lie in [0, 1)')
        for name, least in (('updates', 1), ('windows', 1), ('window', 1), ('hold_out', 2), ('capacity', 2 * LONGEST)):
            self._refuse(name, getattr(self, name) < least, f'be at least {least}')

    def _refuse(self, name: str, wrong: bool, must: str) -> None:
        if wrong:
            raise ConfigError(f'critic learner: {name} is {getattr(self, name)!r}: it must {must}')


@dataclass(frozen=True)
class Trajectory:
    """An episode towards one goal: states (T, D), the intrinsic energy of each (T,), goal (D,), task token (Z,)."""

    states: Tensor
    energies: Tensor
    goal: Tensor
    task: Tensor | None = None      # None: zeros
    finished: bool = False      # the robot stays where it is: the last energy lasts for ever; else it was cut off


@dataclass(frozen=True)
class Round:
    """What a round of learning did to the error on held-out episodes (mean squared, of the discounted mean)."""

    number: int
    kept: bool                  # false: the error rose, and all is as before the round
    before: float
    after: float
    r2: float                   # of the critic that is kept, on the held-out episodes
    episodes: int
    held_out: int


class CriticLearner:
    """Learns a copy of `critic`; whoever owns the original takes `weights` over when a round was kept."""

    def __init__(self, critic: Critic, settings: LearnerSettings | None = None):
        self.settings = settings or LearnerSettings()
        self.critic = copy.deepcopy(critic).cpu().requires_grad_(True)   # the device is the planner's
        self._target = copy.deepcopy(critic).cpu().requires_grad_(False)
        self._optimiser = torch.optim.Adam(self.critic.parameters(), lr=self.settings.rate)
        self._generator = torch.Generator().manual_seed(self.settings.seed)
        self._taught: deque[Trajectory] = deque()
        self._held_out: deque[Trajectory] = deque()
        self._count = 0
        self.rounds = self.rolled_back = 0

    @property
    def steps(self) -> int:
        """Steps kept."""
        return sum(len(t.states) for t in (*self._taught, *self._held_out))

    def weights(self) -> dict[str, Tensor]:
        """A copy of what was learned, under the names of the critic's own state."""
        return {name: value.detach().clone() for name, value in self.critic.state_dict().items()}

    def add(self, trajectory: Trajectory) -> None:
        """Keep an episode; the oldest ones go where there are too many. One of fewer than two steps teaches nothing.

        ConfigError for one of another model, of energies that do not match, or with a number that is not finite.
        """
        trajectory = self._checked(trajectory)
        for part in _parts(trajectory):
            if len(part.states) >= LEAST_STEPS:
                self._count += 1
                # the second is the first that judges: learning can begin as soon as there are two
                judging = self._count % self.settings.hold_out == 2 % self.settings.hold_out
                (self._held_out if judging else self._taught).append(part)
        while self.steps > self.settings.capacity:
            fuller = max(self._taught, self._held_out, key=len)
            if len(fuller) == 1:
                return      # one to learn from and one to judge by, each of at most LONGEST steps
            fuller.popleft()

    def learn(self, rest: Callable[[], bool] = lambda: True) -> Round | None:
        """One round. None while there is no episode to learn from, or none to judge by.

        `rest` is called between two updates; where it says False the round ends there, undone, and None is returned.
        """
        if not self._taught or not self._held_out:
            return None
        judged = self._judged()
        before = self._error(judged)
        kept_state = self._state()
        for _ in range(self.settings.updates):
            self._update()
            if not rest():
                self._restore(kept_state)
                return None
        after = self._error(judged)
        self.rounds += 1
        kept = math.isfinite(after) and after <= before
        if not kept:
            self._restore(kept_state)
            kept = self.rescale()       # what few episodes cannot teach, their unit may
            after = self._error(judged) if kept else after
            rest()
        self.rolled_back += not kept
        truth = judged[-1]
        variance = float(truth.var(unbiased=False))
        r2 = 1 - (after if kept else before) / variance if variance > 0 else math.nan
        return Round(self.rounds, kept, before, after, r2, len(self._taught) + len(self._held_out), len(self._held_out))

    def rescale(self) -> bool:
        """Fit the unit of the critic, two numbers in front of its last activation, to what the taught episodes cost.

        A critic that was taught elsewhere, in imagination say, ranks states well long before its size is right, and
        two numbers do not learn episodes by heart. Undone where the error on the held-out ones does not fall.
        """
        if not self._taught or not self._held_out:
            return False
        judged, kept_state = self._judged(), self._state()
        before = self._error(judged)
        s, goal, task, came = _columns(self._taught, self.settings.discount)
        stride = -(-len(s) // RESCALED)
        inputs = with_task(torch.cat([s, goal], -1)[::stride], task[::stride], self.critic.tokens, 'critic')
        with torch.no_grad():
            before_last = self.critic.net(inputs)       # (M, Q), what softplus is applied to
        factor, shift = torch.ones((), requires_grad=True), torch.zeros((), requires_grad=True)
        optimiser = torch.optim.Adam([factor, shift], lr=0.05)
        for _ in range(RESCALE_STEPS):
            foreseen = nn.functional.softplus(factor * before_last + shift).mean(-1)
            optimiser.zero_grad(set_to_none=True)
            (foreseen - came[::stride]).square().mean().backward()
            optimiser.step()
        with torch.no_grad():
            last = self.critic.net[-1]
            last.weight.mul_(factor)
            last.bias.mul_(factor).add_(shift)
        self._target.load_state_dict(self.critic.state_dict())
        kept = self._error(judged) < (1 - LEAST_GAIN) * before
        if not kept:
            self._restore(kept_state)
        return kept

    def r2(self, trajectories: Sequence[Trajectory]) -> float:
        """Share of the variance of what really came that the critic foresaw, over episodes it never saw."""
        columns = _columns([self._checked(t) for t in trajectories], self.settings.discount)
        return 1 - self._error(columns) / float(columns[-1].var(unbiased=False))

    def _checked(self, trajectory: Trajectory) -> Trajectory:
        states = torch.as_tensor(trajectory.states, dtype=torch.float32, device='cpu').detach()
        energies = torch.as_tensor(trajectory.energies, dtype=torch.float32, device='cpu').detach()
        goal = torch.as_tensor(trajectory.goal, dtype=torch.float32, device='cpu').detach()
        dim = (self.critic.net[0].in_features - self.critic.tokens) // 2
        if states.dim() != 2 or states.shape[1] != dim or goal.shape != (dim,):
            raise ConfigError(f'critic: an episode of states {tuple(states.shape)} and goal {tuple(goal.shape)}; this '
                              f'model has states of {dim} numbers')
        if energies.shape != states.shape[:1]:
            raise ConfigError(f'critic: {len(states)} states but energies of shape {tuple(energies.shape)}')
        if not all(bool(x.isfinite().all()) for x in (states, energies, goal)):
            raise ConfigError('critic: an episode holds a number that is not finite; not learned from')
        tokens = self.critic.tokens
        task = torch.zeros(tokens) if trajectory.task is None or not tokens else \
            torch.as_tensor(trajectory.task, dtype=torch.float32, device='cpu').detach()
        if task.shape != (tokens,):
            raise ConfigError(f'critic: a task token of shape {tuple(task.shape)}; this checkpoint takes '
                              f'{tokens} numbers')
        return Trajectory(states, energies, goal, task, trajectory.finished)

    def _judged(self) -> tuple[Tensor, ...]:
        columns = _columns(self._held_out, self.settings.discount)
        stride = -(-len(columns[0]) // JUDGED)
        return tuple(c[::stride] for c in columns)

    @torch.no_grad()
    def _error(self, columns: tuple[Tensor, ...]) -> float:
        s, goal, task, truth = columns
        return float((self.critic(s, goal, task) - truth).square().mean())

    def _update(self) -> None:
        s, goal, task, target = self._lesson()
        predicted = self.critic.distribution(s, goal, task)
        self._optimiser.zero_grad(set_to_none=True)
        critic_loss(predicted, target).mean().backward()
        nn.utils.clip_grad_norm_(self.critic.parameters(), self.settings.clip)
        self._optimiser.step()
        with torch.no_grad():
            for slow, quick in zip(self._target.parameters(), self.critic.parameters()):
                slow.lerp_(quick, self.settings.polyak)

    @torch.no_grad()
    def _lesson(self) -> tuple[Tensor, ...]:
        """Windows of some episodes: s (M, D), goal (M, D), task (M, Z), quantiles of the return (M, Q)."""
        settings = self.settings
        lengths = torch.tensor([len(t.states) for t in self._taught], dtype=torch.float32)
        cuts = []       # episode, first step, the step that only closes the window
        for which in torch.multinomial(lengths, settings.windows, True, generator=self._generator).tolist():
            t = self._taught[which]
            first = int(torch.randint(max(1, len(t.states) - settings.window), (1,), generator=self._generator))
            cuts.append((t, first, min(first + settings.window, len(t.states) - 1)))
        s, goal, task = (torch.cat(column) for column in zip(*(_rows(t, a, z + 1) for t, a, z in cuts)))
        foreseen = self._target.distribution(s, goal, task)
        returns, used, begin = [], [], 0
        for t, a, z in cuts:
            v = foreseen[begin:begin + z - a + 1]
            ends = t.finished and z == len(t.states) - 1
            tail = t.energies[z].expand(v.shape[-1]) if ends else v[-1]
            returns.append(lambda_returns(t.energies[a + 1:z + 1], v[1:], tail, settings.discount, settings.trace))
            used.append(torch.arange(begin, begin + z - a))
            begin += z - a + 1
        rows = torch.cat(used)
        return s[rows], goal[rows], task[rows], torch.cat(returns)

    def _state(self) -> tuple[dict, ...]:
        return tuple(copy.deepcopy(each.state_dict()) for each in (self.critic, self._target, self._optimiser))

    def _restore(self, state: tuple[dict, ...]) -> None:
        for each, kept in zip((self.critic, self._target, self._optimiser), state):
            each.load_state_dict(kept)


def lambda_returns(energies: Tensor, values: Tensor, tail: Tensor, discount: float, trace: float) -> Tensor:
    """TD(λ) targets (n, Q) of n steps: `energies` (n,) and v̄ (n, Q) of the states they lead to, `tail` (Q,) at the end.

    Quantiles are mixed one by one: their mean is exactly that of TD(λ), their spread that of QR-DQN for λ = 0 and of
    what happened for λ = 1.
    """
    steps = torch.arange(len(energies))
    behind = steps - steps[:, None]                                             # (n, n), how many steps later
    faded = torch.where(behind >= 0, (discount * trace) ** behind.clamp_min(0).float(), 0.0)
    ahead = torch.cat([(1 - trace) * values[:-1], tail[None]])
    return faded @ ((1 - discount) * energies[:, None] + discount * ahead)


def realised(energies: Tensor, discount: float) -> Tensor:
    """Discounted mean (T,) of the energies (T,) that really followed each state; the last one lasts for ever."""
    came, following = [], float(energies[-1])
    for energy in reversed(energies.tolist()):
        came.append(following)
        following = (1 - discount) * energy + discount * following
    return torch.tensor(came[::-1])


def _rows(t: Trajectory, first: int, end: int) -> tuple[Tensor, Tensor, Tensor]:
    """Steps first … end − 1 of an episode: s (n, D), goal (n, D), task (n, Z)."""
    s = t.states[first:end]
    return s, t.goal.expand_as(s), t.task.expand(len(s), -1)


def _columns(trajectories: Sequence[Trajectory], discount: float) -> tuple[Tensor, ...]:
    """All steps of some episodes: s (M, D), goal (M, D), task (M, Z), what came (M,)."""
    parts = [(*_rows(t, 0, len(t.states)), realised(t.energies, discount)) for t in trajectories]
    return tuple(torch.cat(column) for column in zip(*parts))


def _parts(trajectory: Trajectory) -> list[Trajectory]:
    """The episode in parts of at most LONGEST steps; only the last one may end for good."""
    count = len(trajectory.states)
    starts = range(0, count, LONGEST)
    return [Trajectory(trajectory.states[a:a + LONGEST], trajectory.energies[a:a + LONGEST], trajectory.goal,
                       trajectory.task, trajectory.finished and a + LONGEST >= count) for a in starts]
