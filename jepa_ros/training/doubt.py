"""How Mode-1 learns to doubt: from which states it does not arrive alone (LeCun §3.1.3), and which doubt is too much.

By its own drives: those in the world, where there are any, else those it imagines. A doubt is calibrated on drives that
it did not learn from. Called by dagger.py.
"""
from collections.abc import Sequence
from dataclasses import dataclass
import math

import torch
from torch import nn, Tensor

from jepa_ros.actor.policy import Policy
from jepa_ros.cost.critic import Critic
from jepa_ros.energy.distance import squared
from jepa_ros.training.before import chosen, memory_at
from jepa_ros.training.lived import Lived
from jepa_ros.training.practice import Drive, Practice
from jepa_ros.world_model.jepa import JEPA

UPDATES = 600           # of the net that foresees where Mode-1 fails
LEAST_AUROC = 0.65      # of an uncertainty that is worth asking
JUDGED = 1024           # problems of held-out episodes …
RANKED = 8192           # … and states of their drives that are compared
MOSTLY = 0.9            # a Mode-1 that arrives so often may try even where its uncertainty tells nothing
HELD_OUT = 5            # every so manieth drive judges the doubt


@dataclass(frozen=True)
class Calibration:
    """How well uncertainty tells where Mode-1 fails, on problems of episodes it never practised on."""

    threshold: float    # uncertainty up to which it may act; 0: never, 1: always
    solved: float       # share of the problems
    share: float        # of the states that lie below the threshold
    auroc: float        # of uncertainty for not arriving; NaN where it never, or always, does


@torch.no_grad()
def outcomes(practice: Practice, policy: Policy, critic: Critic, tolerance: float, ticks: int, hard: float,
             count: int, generator: torch.Generator) -> tuple[Drive, Tensor]:
    """What Mode-1 drives alone, and where it is at its goal (count, 2 T): within `tolerance` of it.

    It is given twice as long as its states are looked at.
    """
    drives = practice.drive(policy, practice.problems(critic, count, hard, generator), 2 * ticks)
    return drives, drives.energies[:, :2 * ticks] <= tolerance


@dataclass(frozen=True)
class Outcome:
    """States on the way (M, D), their goals (M, D), whether Mode-1 arrived from there (M,), and what it knew (M, R)."""

    s: Tensor
    goal: Tensor
    arrived: Tensor
    known: Tensor | None = None


def imagined(practice: Practice, policy: Policy, critic: Critic, tolerance: float, ticks: int, hard: float, count: int,
             generator: torch.Generator) -> tuple[Outcome, float]:
    """From `count` drives in imagination; and the share of them that arrived."""
    drives, there = outcomes(practice, policy, critic, tolerance, ticks, hard, count, generator)
    row, step = (~there.cummax(1).values[:, :ticks]).nonzero().unbind(1)    # once it is there nothing is asked
    arrives = there.any(1)
    s = drives.states[row, step]
    known = practice.model.levels[0].known(s, chosen(drives.memory, row))
    return Outcome(s, drives.goal[row], arrives[row], known), float(arrives.double().mean())


@torch.no_grad()
def driven(drives: Sequence[Lived], tolerance: float, jepa: JEPA) -> tuple[Outcome, float]:
    """From drives of Mode-1 in the world, as `imagined`."""
    columns, arrivals = [], 0
    for drive in drives:
        there = (squared(drive.states, drive.goal) <= tolerance).nonzero()
        arrivals += bool(len(there))
        s = drive.states[:int(there[0])] if len(there) else drive.states
        rows = torch.arange(len(s), device=s.device)
        known = jepa.known(s, memory_at(jepa, s, rows, 0 * rows))
        columns.append((s, drive.goal.expand_as(s), torch.full((len(s),), bool(len(there)), device=s.device),
                        s[:, :0] if known is None else known))
    return Outcome(*(torch.cat(column) for column in zip(*columns))), arrivals / len(drives)


def teach(policy: Policy, known: Outcome, batch: int, seed: int) -> None:
    """Let the policy foresee from which states it does not arrive."""
    generator = torch.Generator(known.s.device).manual_seed(seed)
    policy.doubt.requires_grad_(True)
    optimiser = torch.optim.AdamW(policy.doubt.parameters(), lr=1e-3, weight_decay=1e-2)
    for _ in range(UPDATES):
        row = torch.randint(len(known.s), (batch,), generator=generator, device=known.s.device)
        loss = nn.functional.binary_cross_entropy_with_logits(
            policy.doubt_logit(known.s[row], known.goal[row], known=_of(known.known, row)),
            (~known.arrived[row]).float())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    policy.doubt.requires_grad_(False)


@torch.no_grad()
def calibrated(policy: Policy, known: Outcome, solved: float, seed: int) -> Calibration:
    """Judge the uncertainty, state by state, on drives that it did not learn from; `solved`: share that arrived.

    The threshold makes the fewest mistakes. One either way is as dear as the other: who is stopped for nothing costs a
    plan, who should have been stopped is, by the arbiter, as soon as it makes no progress.
    """
    generator = torch.Generator(known.s.device).manual_seed(seed)
    some = torch.randperm(len(known.s), generator=generator, device=known.s.device)[:RANKED]
    arrived = known.arrived[some]
    doubt = policy.uncertainty(known.s[some], known.goal[some], known=_of(known.known, some))
    ranked = auroc(doubt, ~arrived)
    if not ranked >= LEAST_AUROC:       # or NaN: it always arrives, or never
        alone = solved >= MOSTLY
        return Calibration(1.0 if alone else 0.0, solved, float(alone), ranked)
    order = doubt.argsort()
    right = torch.where(arrived[order], 1, -1).cumsum(0)    # by letting the first ones pass, and no other
    best = int(right.argmax())
    if right[best] <= 0:
        return Calibration(0.0, solved, 0.0, ranked)
    share = (best + 1) / len(order)
    return Calibration(1.0 if share == 1 else float(doubt[order[best]]), solved, share, ranked)


def _of(known: Tensor | None, rows: Tensor) -> Tensor | None:
    return None if known is None else known[rows]


def auroc(score: Tensor, positive: Tensor) -> float:
    """Chance that a positive has a higher score than a negative (Mann-Whitney), ties count half; NaN without both."""
    high, low = score[positive], score[~positive]
    if not len(high) or not len(low):
        return math.nan
    return float(((high[:, None] > low).double() + 0.5 * (high[:, None] == low).double()).mean())
