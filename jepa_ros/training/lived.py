"""Mode-1 learns from what really happened: drives of the robot, with the goals that it had and those it could have had.

Imagination is too hopeful at walls; what was lived is not. A critic learns from true transitions what reaching a goal
costs when one does the better of what was done there (expectile regression: Kostrikov et al. 2021), for the goal of the
drive, for states that came later in it (hindsight: Andrychowicz et al. 2017) and for others of the same place. Mode-1
learns to do what turned out better than expected (advantage weighting: Peng et al. 2019), of whoever drove, Mode-2 or
itself, and follows the energy of its own chunk through the world model, closed by that critic. Called by dagger.py.
"""
from collections.abc import Iterable, Mapping
import copy
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn, Tensor

from jepa_ros.actor.policy import Policy
from jepa_ros.cost.critic import Critic
from jepa_ros.energy.distance import squared
from jepa_ros.errors import TrainingError
from jepa_ros.training import checkpointing
from jepa_ros.training.before import chosen, memory_at
from jepa_ros.training.data import EpisodeSet
from jepa_ros.training.practice import STEP_DISCOUNT
from jepa_ros.world_model.jepa import JEPA
from jepa_ros.world_model.predictors import Memory

EXPECTILE = 0.8         # weight of what came cheaper than expected, against what came dearer
MOST_WEIGHT = 10.0      # of one lesson, times the usual one
DRIVEN, LATER = 0.35, 0.4   # shares of goals: that of the drive, a state later in it; the rest: any state of it
EXPLORED = 0.4          # share of the lessons that come from exploration, where there are drives to goals as well
POLYAK = 0.02           # share of the critic that its target takes over per update
ENERGY = 3.0            # weight of the energy of Mode-1's own chunk against imitation
LEAST_RATE = 0.02       # share of the rate that is left at the end
FIRST = 3.0             # weight of the first action of a chunk, the one that is taken, against the mean of the others


class Lesson(NamedTuple):
    """B moments of drives."""

    s: Tensor           # (B, D)
    goal: Tensor        # (B, D)
    actions: Tensor     # (B, n, A) that followed
    following: Tensor   # (B, n, D) the states after them
    steps: Tensor       # (B,) how many of them count: at the end of a drive the last one is repeated
    rows: Tensor        # (B,) where s is among all states of the replay …
    first: Tensor       # (B,) … and where its drive begins


@dataclass(frozen=True)
class Lived:
    """One drive: states (T + 1, D), the actions (T, A) in −1…1 between them, and the goal (D,) it was for."""

    states: Tensor
    actions: Tensor
    goal: Tensor


class Replay:
    """All drives end to end, the longest ago first; what was only explored comes before what was driven to goals."""

    def __init__(self, explored: Iterable[Lived] = (), drives: Iterable[Lived] = ()):
        """explored: drives that had no goal, of which there may be many more than of those that had one."""
        self._drives: list[Lived] = []
        self._columns: tuple[Tensor, ...] | None = None
        self.add(explored)
        self._explored = self.steps + len(self._drives)     # states
        self.add(drives)

    def add(self, drives: Iterable[Lived]) -> None:
        """Keep drives; one of no step teaches nothing. TrainingError for one that does not fit together."""
        for drive in drives:
            if len(drive.states) != len(drive.actions) + 1 or drive.goal.shape != drive.states.shape[1:]:
                raise TrainingError(f'a drive of {len(drive.states)} states {tuple(drive.states.shape[1:])}, '
                                    f'{len(drive.actions)} actions and a goal {tuple(drive.goal.shape)}: it must have '
                                    'one state more than actions, and a goal that is a state')
            if len(drive.actions):
                self._drives.append(drive)
        self._columns = None

    @property
    def steps(self) -> int:
        """Transitions that were lived through."""
        return sum(len(drive.actions) for drive in self._drives)

    def lessons(self, count: int, ahead: int, generator: torch.Generator) -> Lesson:
        """Moments of drives, and what came in the next n = `ahead` steps."""
        s, actions, goals, first, last = self._all()
        device = s.device

        def share() -> Tensor:
            return torch.rand(count, generator=generator, device=device)
        def drawn(start: int, end: int) -> Tensor:
            return torch.randint(start, end, (count,), generator=generator, device=device)
        row = drawn(0, len(s))
        if 0 < self._explored < len(s):     # neither may drown the other
            row = torch.where(share() < EXPLORED, drawn(0, self._explored), drawn(self._explored, len(s)))
        row = torch.where(row == last[row], row - 1, row)       # nothing follows the end
        length = last[row] - row
        later = torch.minimum(row + 1 + (share() * length).long(), last[row])
        other = first[row] + (share() * (last[row] - first[row] + 1)).long()
        kind = share()
        goal = torch.where((kind < DRIVEN)[:, None], goals[row],
                           s[torch.where(kind < DRIVEN + LATER, later, other)])
        steps = torch.arange(ahead, device=device)
        done = torch.minimum(row[:, None] + steps, last[row][:, None] - 1)
        return Lesson(s[row], goal, actions[done], s[done + 1], length.clamp_max(ahead), row, first[row])

    @property
    def states(self) -> Tensor:
        """(N, D) of all drives."""
        return self._all()[0]

    def _all(self) -> tuple[Tensor, ...]:
        if self._columns is None:
            self._columns = self._joined()
        return self._columns

    def _joined(self) -> tuple[Tensor, ...]:
        """states (N, D), actions (N, A), goals (N, D), first and last row of the drive (N,)."""
        if not self._drives:
            raise TrainingError('no drive to learn from: give episodes of two or more steps')
        rows, columns = 0, []
        for drive in self._drives:
            count = len(drive.states)
            here = torch.ones(count, dtype=torch.int64, device=drive.states.device)
            columns.append((drive.states, torch.cat([drive.actions, drive.actions[-1:]]),
                            drive.goal.expand(count, -1), rows * here, (rows + count - 1) * here))
            rows += count
        return tuple(torch.cat(column) for column in zip(*columns))


def recorded(data: EpisodeSet, s: Tensor) -> list[Lived]:
    """Recorded episodes as drives, from their states (N, D): where an episode ended is taken for its goal."""
    drives = []
    for start, length in zip(data.starts.tolist(), data.lengths.tolist()):
        end = start + length
        drives.append(Lived(s[start:end], data.actions[start:end - 1], s[end - 1]))
    return drives


class LivedLearner:
    """Teaches `policy` and `critic`, in place, from a replay."""

    def __init__(self, jepa: JEPA, policy: Policy, critic: Critic, replay: Replay, rate: float, updates: int,
                 generator: torch.Generator):
        """`updates`: of the whole training; the rate falls to zero over them."""
        self._jepa, self._policy, self._critic, self._generator = jepa, policy, critic, generator
        self.replay = replay
        self._target = copy.deepcopy(critic).requires_grad_(False)
        self._optimisers = [torch.optim.Adam(module.parameters(), lr=rate) for module in (policy.net, critic)]
        self._rate, self._updates, self._updated = rate, updates, 0
        self.modules = nn.ModuleDict({'policy': policy, 'critic': critic, 'target': self._target})

    def learn(self, updates: int, batch: int) -> dict[str, float]:
        """Some updates; errors of the last one."""
        figures: dict[str, float] = {}
        for _ in range(updates):
            for optimiser in self._optimisers:
                optimiser.param_groups[0]['lr'] = self._rate * max(LEAST_RATE, 1 - self._updated / self._updates)
            figures = self._update(batch)
            self._updated += 1
        return figures

    def state(self) -> dict[str, Tensor]:
        """What goes on from here needs beside the weights: moments and steps of the optimisers, the random sequence."""
        tensors = {'generator': self._generator.get_state(), 'updates': torch.tensor(self._updated)}
        for which, optimiser in enumerate(self._optimisers):
            tensors |= checkpointing.moments(optimiser, f'adam{which}')
        return tensors

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from a state."""
        self._generator.set_state(tensors['generator'].cpu())
        self._updated = int(tensors['updates'])
        for which, optimiser in enumerate(self._optimisers):
            checkpointing.set_moments(optimiser, tensors, f'adam{which}')

    def _update(self, batch: int) -> dict[str, float]:
        lesson = self.replay.lessons(batch, self._policy.chunk, self._generator)
        s, goal, actions, following, steps, *_ = lesson
        cost = self._came(goal, following, steps)
        self._critic.requires_grad_(True)
        foreseen = self._critic(s, goal)
        surplus = cost - foreseen
        dear = torch.where(surplus < 0, EXPECTILE, 1 - EXPECTILE)
        self._step(1, (dear * surplus.square()).mean(), self._critic)
        self._critic.requires_grad_(False)
        with torch.no_grad():
            for slow, quick in zip(self._target.parameters(), self._critic.parameters()):
                slow.lerp_(quick, POLYAK)
        self._policy.net.requires_grad_(True)
        with torch.no_grad():
            memory = memory_at(self._jepa, self.replay.states, lesson.rows, lesson.first)
        chunk = self._policy(s, goal, known=self._jepa.known(s, memory))
        imitation = self._imitation(chunk, actions, surplus.detach(), steps)
        half = batch // 2       # the energy takes most of the time, and has less noise
        held = chosen(memory, torch.arange(half, device=s.device))
        energy = self.energy(s[:half], chunk[:half], goal[:half], held)
        self._step(0, imitation + ENERGY * energy, self._policy.net)
        self._policy.net.requires_grad_(False)
        return {'imitation': float(imitation.detach()), 'energy': float(energy.detach()),
                'critic_r2': 1 - float(surplus.detach().square().mean() / cost.var())}

    @torch.no_grad()
    def _came(self, goal: Tensor, following: Tensor, steps: Tensor) -> Tensor:
        """(B,) discounted mean of what came in the next steps, and of what the target foresees from there on."""
        ahead = torch.arange(following.shape[1], device=goal.device)
        faded = STEP_DISCOUNT ** ahead * (ahead < steps[:, None])
        return (1 - STEP_DISCOUNT) * (faded * squared(following, goal[:, None])).sum(1) + \
            STEP_DISCOUNT ** steps * self._target(following[:, -1], goal)

    @staticmethod
    def _imitation(chunk: Tensor, actions: Tensor, surplus: Tensor, steps: Tensor) -> Tensor:
        """Error of a chunk (B, n, A) to what was done, weighted by how much better than expected that was."""
        weight = torch.exp(-surplus / surplus.abs().mean().clamp_min(1e-9)).clamp_max(MOST_WEIGHT)
        which = torch.arange(chunk.shape[1], device=chunk.device)
        share = torch.where(which == 0, FIRST, 1.0) * (which < steps[:, None])      # (B, n)
        share = share / (FIRST + chunk.shape[1] - 1) * chunk.shape[1]
        return ((weight / weight.mean())[:, None] * share * (chunk - actions).square().mean(-1)).mean()

    def energy(self, s: Tensor, chunk: Tensor, goal: Tensor, memory: Memory | None = None) -> Tensor:
        """What following a chunk (B, n, A) from s (B, D) costs, mean over B: the energy on the way and what is left."""
        total, weight = s.new_zeros(()), 1.0
        for step in range(chunk.shape[1]):
            s = self._jepa.predict(s, chunk[:, step], memory=memory)
            total = total + (1 - STEP_DISCOUNT) * weight * squared(s, goal).mean()
            weight *= STEP_DISCOUNT
        return total + weight * self._critic(s, goal).mean()

    def _step(self, which: int, loss: Tensor, module: nn.Module) -> None:
        if not bool(torch.isfinite(loss)):
            raise TrainingError('learning from drives: the loss is not finite: lower --rate')
        self._optimisers[which].zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        self._optimisers[which].step()

