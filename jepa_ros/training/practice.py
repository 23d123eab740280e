"""Mode-1 practises in imagination: it drives in the world model, and learns from what its driving costs.

Nothing here moves a robot. Two ways to learn from a state that Mode-1 itself came to: Mode-2 says what it would have
done (DAgger, Ross et al. 2011; LeCun §3.1.3, Fig. 5), and the energy that follows says through the world model, which
is differentiable, how to act better: what Mode-2 finds by search, a policy amortises (LeCun §3.1.3, "amortized
inference"). The critic closes both horizons. `dagger.py` goes through the rounds.
"""
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn, Tensor

from jepa_ros.actor.hierarchy import Hierarchy
from jepa_ros.actor.planners import PlannerConfig
from jepa_ros.actor.policy import Policy
from jepa_ros.cost.cost import Cost
from jepa_ros.cost.critic import Critic, critic_loss
from jepa_ros.energy.distance import squared
from jepa_ros.training.before import chosen, memory_at
from jepa_ros.training.data import EpisodeSet
from jepa_ros.training.distill import DISCOUNT
from jepa_ros.world_model.hjepa import HJEPA
from jepa_ros.world_model.predictors import expand_memory, Memory

STEP_DISCOUNT = DISCOUNT ** (1 / 8)     # per control step, for macro-periods of 8
TRACE = 0.95            # λ of the critic's returns
EFFORT = 0.002          # weight of the mean squared action, as the cost has it
CANDIDATES = 8          # pairs drawn for one hard problem
NOISE, NOISE_LASTS = 0.3, 0.8   # of actions while practising, and its correlation from step to step
TARGET_EVERY = 50       # updates of the critic between two copies to its target
PLANNED_AT_ONCE = 128   # problems: more fit no CPU's cache


@dataclass(frozen=True)
class Problems:
    """B starts and goals, each pair of one episode."""

    start: Tensor       # (B, D)
    goal: Tensor        # (B, D)
    memory: Memory | None = None    # (B, …) of a robot at the start


@dataclass(frozen=True)
class Drive:
    """B imagined drives of T steps."""

    states: Tensor      # (B, T + 1, D), the start included
    goal: Tensor        # (B, D)
    memory: Memory | None = None    # (B, …) what was known at the start: what is imagined is no experience

    @property
    def energies(self) -> Tensor:
        """(B, T + 1) distance to the goal."""
        return squared(self.states, self.goal[:, None])


class Practice:
    """One world model, one cost, and the states (N, D) of recorded episodes to start from."""

    def __init__(self, model: HJEPA, cost: Cost, hierarchy: Hierarchy, data: EpisodeSet, s: Tensor):
        self.model, self.cost, self.hierarchy, self.data, self.s = model, cost, hierarchy, data, s

    @torch.no_grad()
    def problems(self, critic: Critic, count: int, hard: float, generator: torch.Generator) -> Problems:
        """Start and goal of one episode each.

        A share `hard` of them are the hardest of several: those of which the critic expects most energy to come.
        """
        def draw(episode: Tensor) -> Tensor:
            share = torch.rand(episode.shape, generator=generator, device=device)
            return self.data.starts[episode] + (share * self.data.lengths[episode]).long()
        device = self.s.device
        episodes = torch.randint(len(self.data.starts), (count, CANDIDATES), generator=generator, device=device)
        start, goal = draw(episodes), draw(episodes)                            # (count, CANDIDATES), rows of s
        worst = critic(self.s[start], self.s[goal]).argmax(1)
        is_hard = torch.rand(count, generator=generator, device=device) < hard
        which = torch.where(is_hard, worst, 0)[:, None]
        start, goal, episode = (rows.gather(1, which)[:, 0] for rows in (start, goal, episodes))
        memory = memory_at(self.model.levels[0], self.s, start, self.data.starts[episode])
        return Problems(self.s[start], self.s[goal], memory)

    @torch.no_grad()
    def drive(self, policy: Policy, problems: Problems, ticks: int, generator: torch.Generator | None = None) -> Drive:
        """Mode-1 alone from B starts; with a generator its actions are disturbed."""
        jepa, states, goal, memory = self.model.levels[0], [problems.start], problems.goal, problems.memory
        noise = torch.zeros(len(goal), policy.action_dim, device=goal.device)
        for _ in range(ticks):
            action = policy(states[-1], goal, known=jepa.known(states[-1], memory))[:, 0]
            if generator is not None:
                fresh = torch.randn(noise.shape, generator=generator, device=goal.device)
                noise = NOISE_LASTS * noise + (1 - NOISE_LASTS ** 2) ** 0.5 * fresh
                action = (action + NOISE * noise).clamp(-1, 1)
            states.append(jepa.predict(states[-1], action, memory=memory))
        return Drive(torch.stack(states, 1), goal, memory)

    def teach_critic(self, critic: Critic, drives: Drive, updates: int, batch: int, lr: float,
                     generator: torch.Generator) -> float:
        """TD(λ) on what Mode-1's drives cost; returns R² on the returns it was last taught."""
        optimiser = torch.optim.Adam(critic.parameters(), lr=lr)
        flat, goals = drives.states, drives.goal[:, None].expand_as(drives.states)
        energies = drives.energies
        for update in range(updates):
            if update % TARGET_EVERY == 0:
                with torch.no_grad():
                    returns = _returns(energies, critic.distribution(flat, goals))
            row = torch.randint(energies.shape[0], (batch,), generator=generator, device=flat.device)
            step = torch.randint(energies.shape[1], (batch,), generator=generator, device=flat.device)
            loss = critic_loss(critic.distribution(flat[row, step], goals[row, step]), returns[row, step]).mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(critic.parameters(), 1.0)
            optimiser.step()
        with torch.no_grad():
            error = (critic(flat, goals) - returns.mean(-1)).square().mean()
        return 1 - float(error / returns.mean(-1).var())

    @torch.no_grad()
    def relabel(self, policy: Policy, critic_weight: float, s: Tensor, goal: Tensor, generator: torch.Generator,
                memory: Memory | None = None) -> tuple[Tensor, Tensor]:
        """What Mode-2, seeded by Mode-1, would do in s (M, D): actions (M, chunk, A); and where that is better (M,)."""
        jepa = self.model.levels[0]
        actions, better = [], []
        weights = self.cost.default_weights() | {'critic': critic_weight}
        for rows in torch.arange(len(s), device=s.device).split(PLANNED_AT_ONCE):
            some, goals, held = s[rows], goal[rows], chosen(memory, rows)
            settings = self.cost.make_settings(None, weights)
            settings = type(settings)(settings.weights, goal_levels=self.model.still(goals))
            own = policy(some, goals, known=jepa.known(some, held))
            with torch.autocast(some.device.type, torch.bfloat16):      # a label needs not be exact
                plan = self.hierarchy.plan(self.model.still(some), settings, memory=held, generator=generator,
                                           proposals=partial(_at_level_0, own[:, None]))
            found = plan.searches[0].actions.float()
            both = torch.stack([found, own[:, :found.shape[1]]], 1)     # (B, 2, H, A)
            states = jepa.rollout(some[:, None].expand(-1, 2, -1), both, memory=expand_memory(held, 2))
            energy = self.cost.energy(states, both, settings)
            actions.append(found)
            better.append(energy[:, 0] < energy[:, 1])
        return torch.cat(actions), torch.cat(better)

    def amortise(self, policy: Policy, critic: Critic, s: Tensor, goal: Tensor, horizon: int,
                 memory: Memory | None = None) -> Tensor:
        """Loss of acting from s (B, D) for `horizon` steps: the energy on the way and what the critic sees beyond.

        The rest of the chunk learns to say what will be done next.
        """
        first, done, loss, weight, jepa = None, [], 0.0, 1.0, self.model.levels[0]
        for _ in range(horizon):
            chunk = policy(s, goal, known=jepa.known(s, memory))                # (B, chunk, A)
            first = chunk if first is None else first
            action = chunk[:, 0]
            done.append(action)
            s = jepa.predict(s, action, memory=memory)
            energy = squared(s, goal) + EFFORT * action.square().mean(-1)
            loss = loss + (1 - STEP_DISCOUNT) * weight * energy.mean()
            weight *= STEP_DISCOUNT
        ahead = torch.stack(done[:policy.chunk], 1).detach()
        return loss + weight * critic(s, goal).mean() + (first[:, :ahead.shape[1]] - ahead).square().mean()


def _at_level_0(candidates: Tensor, level: int, config: PlannerConfig) -> Tensor | None:
    """For `Hierarchy.plan`: the same candidates (B, P, H, A) whatever is asked, and none above."""
    return None if level else candidates


def _returns(energies: Tensor, values: Tensor) -> Tensor:
    """λ-returns (B, T, Q) of drives with energies (B, T) and quantiles (B, T, Q) of the critic."""
    out = [values[:, -1]]
    for t in reversed(range(energies.shape[1] - 1)):
        ahead = (1 - TRACE) * values[:, t + 1] + TRACE * out[-1]
        out.append((1 - STEP_DISCOUNT) * energies[:, t + 1, None] + STEP_DISCOUNT * ahead)
    return torch.stack(out[::-1], 1)
