"""From Mode-2 to Mode-1: policy and critic learn from plans made in imagination (LeCun §3.1.3, Fig. 5; §3.3, Fig. 7).

Start and goal are two states of the same episode, so they belong to the same world. Mode-2 plans, the world model
follows the plan for one macro-period, Mode-2 plans again from there, and so on: the policy sees the states that its
teacher visits, the critic sees the energy that was still to come.
"""
from dataclasses import dataclass

import torch
from torch import nn, Tensor

from jepa_ros.actor.hierarchy import Hierarchy
from jepa_ros.actor.planners import PlannerConfig
from jepa_ros.actor.policy import Policy
from jepa_ros.cost.cost import Cost, CostSettings
from jepa_ros.cost.critic import Critic
from jepa_ros.energy.distance import squared
from jepa_ros.errors import TrainingError
from jepa_ros.training.before import memory_at
from jepa_ros.training.config import Distillation, Stage
from jepa_ros.training.data import EpisodeSet
from jepa_ros.training.optimise import Optimisation, Report
from jepa_ros.world_model.hjepa import HJEPA
from jepa_ros.world_model.predictors import Memory

PERIODS = 8         # macro-periods an imagined episode lasts
DISCOUNT = 0.9      # per macro-period
AT_ONCE = 512       # problems planned in one batch


@dataclass(frozen=True)
class Lessons:
    """M planned moments."""

    s: Tensor           # (M, D)
    goal: Tensor        # (M, D)
    actions: Tensor     # (M, chunk, A) what Mode-2 would do
    to_come: Tensor     # (M,) discounted mean of the goal energies that followed
    known: Tensor       # (M, R) what memory said, for a policy that asks it; else (M, 0)


def pairs(data: EpisodeSet, s: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Start and goal, rows (count,) of s, both of one episode, and its first row."""
    device = s.device
    episode = torch.randint(len(data.starts), (count,), generator=generator, device=device)

    def pick() -> Tensor:
        share = torch.rand(count, generator=generator, device=device)
        return data.starts[episode] + (share * data.lengths[episode]).long()

    return pick(), pick(), data.starts[episode]


@torch.no_grad()
def lessons(model: HJEPA, cost: Cost, planners: list[PlannerConfig], data: EpisodeSet, s: Tensor, count: int,
            seed: int, report: Report | None = None) -> Lessons:
    """Plan `count` problems for `PERIODS` macro-periods each, in imagination."""
    generator = torch.Generator(s.device).manual_seed(seed)
    hierarchy = Hierarchy(model, cost, planners)
    parts: list[tuple[Tensor, ...]] = []
    for done in range(0, count, AT_ONCE):
        start, goal, first = pairs(data, s, min(AT_ONCE, count - done), generator)
        memory = memory_at(model.levels[0], s, start, first)
        parts.append(_imagined_episode(model, hierarchy, cost, s[start], s[goal], memory, generator))
        if report:
            report('plans', min(count, done + AT_ONCE), count, {})
    return Lessons(*(torch.cat(column) for column in zip(*parts)))


def _imagined_episode(model: HJEPA, hierarchy: Hierarchy, cost: Cost, s: Tensor, goal: Tensor,
                      memory: Memory | None, generator: torch.Generator) -> tuple[Tensor, ...]:
    settings = CostSettings(cost.default_weights(), goal_levels=model.still(goal))
    seen, chosen, energies, known = [], [], [], []
    warm: tuple[Tensor, ...] | None = None
    for _ in range(PERIODS):
        plan = hierarchy.plan(model.still(s), settings, warm_starts=warm, memory=memory, generator=generator)
        seen.append(s)
        said = model.levels[0].known(s, memory)
        known.append(s[:, :0] if said is None else said)
        chosen.append(plan.searches[0].actions)
        energies.append(squared(plan.states[0], goal[:, None]).mean(1))
        s = plan.states[0][:, -1]
        # one macro-period has passed: the levels above move on by one step, level 0 starts afresh
        warm = (torch.zeros_like(chosen[-1]),
                *(torch.cat([x.actions[:, 1:], x.actions[:, -1:]], 1) for x in plan.searches[1:]))
    to_come = [squared(s, goal)]                # the last distance is taken to last for ever
    for energy in reversed(energies):
        to_come.append((1 - DISCOUNT) * energy + DISCOUNT * to_come[-1])
    return (torch.cat(seen), goal.repeat(PERIODS, 1), torch.cat(chosen), torch.cat(to_come[:0:-1]),
            torch.cat(known))


class _Regression(nn.Module):
    """Policy and critic, side by side; they share nothing."""

    def __init__(self, policy: Policy, critic: Critic):
        super().__init__()
        self.policy, self.critic = policy, critic

    def forward(self, s: Tensor, goal: Tensor, actions: Tensor, to_come: Tensor,
                known: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        parts = {'policy': (self.policy(s, goal, known=known) - actions).square().mean(),
                 'critic': (self.critic(s, goal) - to_come).square().mean()}
        return sum(parts.values()), {k: v.detach() for k, v in parts.items()}


def distill(policy: Policy, critic: Critic, taught: Lessons, config: Distillation, seed: int,
            report: Report | None = None) -> dict[str, float]:
    """Train both on all but a tenth of the lessons; figures are on that tenth."""
    if not bool(torch.isfinite(taught.to_come).all()):
        raise TrainingError('distillation: a plan has an energy that is not finite; the world model is unusable')
    held_out = max(1, len(taught.s) // 10)
    columns = (taught.s, taught.goal, taught.actions, taught.to_come, taught.known)
    order = torch.randperm(len(taught.s), generator=torch.Generator().manual_seed(seed)).to(taught.s.device)
    training, rest = order[held_out:], order[:held_out]

    def sample(generator: torch.Generator) -> tuple[Tensor, ...]:
        which = torch.randint(len(training), (config.batch,), generator=generator, device=training.device)
        return tuple(c[training[which]] for c in columns)

    regression = _Regression(policy, critic)
    stage = Stage(updates=config.updates, batch=config.batch, window=2, lr=config.lr, warmup=100)
    Optimisation('policy and critic', regression, stage, seed, taught.s.device.type).run(sample, report)
    with torch.no_grad():
        _, errors = regression(*(c[rest] for c in columns))
    return {'policy_error': float(errors['policy'] / taught.actions.var()),
            'critic_r2': 1 - float(errors['critic'] / taught.to_come.var())}
