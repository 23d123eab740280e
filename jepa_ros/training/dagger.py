"""From Mode-2 to a Mode-1 that knows when it is enough: a new policy and critic for an existing world model.

Rounds of practice (`practice.py`): Mode-1 drives in imagination from recorded states, the critic learns what that
costs, Mode-2 relabels some of the states Mode-1 came to (DAgger, Ross et al. 2011), and Mode-1 learns from both, labels
and energy. At the end the uncertainty below which Mode-1 is enough is calibrated on episodes it never practised on. The
world model stays as it is, bit for bit. Seeded; resumes after the last whole round.
"""
from collections.abc import Mapping
from dataclasses import asdict, dataclass
import math
from pathlib import Path
from typing import Any

import torch
from torch import nn, Tensor

from jepa_ros.actor.hierarchy import Hierarchy
from jepa_ros.actor.policy import Policy
from jepa_ros.agent import Agent, Networks
from jepa_ros.cost.critic import Critic
from jepa_ros.errors import ConfigError, TrainingError
from jepa_ros.training import checkpointing
from jepa_ros.training.data import EpisodeSet
from jepa_ros.training.optimise import Report
from jepa_ros.training.practice import Practice
from jepa_ros.training.states import encode_all

STATE = 'distill.safetensors'       # in the work folder, after each round
IMITATION = 1.0         # weight of Mode-2's labels against the energy
DOUBT_UPDATES = 600     # of the net that foresees where Mode-1 fails
LEAST_AUROC = 0.65      # of an uncertainty that is worth asking
JUDGED = 1024           # problems of held-out episodes …
RANKED = 8192           # … and states of their drives that are compared


@dataclass(frozen=True)
class DaggerSettings:
    """How much practice. The defaults take some minutes on a CPU with a model of the shipped size."""

    rounds: int = 12
    problems: int = 768         # of a round, that Mode-1 drives
    ticks: int = 64             # of a drive, control steps
    labels: int = 256           # states of a round that Mode-2 relabels
    updates: int = 150          # of the policy in a round
    critic_updates: int = 200
    batch: int = 256
    horizon: int = 16           # steps that gradients go through
    rate: float = 5e-4
    hard: float = 0.7           # share of hard problems
    critic_weight: float = 1.0  # in the cost of Mode-2 when it relabels
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            least = {'rounds': 1, 'rate': 1e-9, 'hard': 0, 'critic_weight': 0, 'seed': 0, 'labels': 0}
            if not (math.isfinite(value) and value >= least.get(name, 1)):
                raise ConfigError(f'distillation: {name} is {value!r}: it must be at least {least.get(name, 1):g}')


class Dagger:
    """The rounds. Trains `policy` and `critic` in place."""

    def __init__(self, practice: Practice, policy: Policy, critic: Critic, settings: DaggerSettings,
                 state_file: Path | None = None, identity: Mapping[str, Any] | None = None):
        self.practice, self.policy, self.critic, self.settings = practice, policy, critic, settings
        self._file, self._identity = state_file, {'settings': asdict(settings), **(identity or {})}
        self._generator = torch.Generator(practice.s.device).manual_seed(settings.seed)
        self._trained = list(policy.net.requires_grad_(True).parameters())
        self._optimiser = torch.optim.Adam(self._trained, lr=settings.rate)
        dim, chunk = practice.s.shape[1], (policy.chunk, policy.action_dim)
        self._labels = tuple(torch.zeros(0, *shape, device=practice.s.device)
                             for shape in ((dim,), (dim,), chunk))
        self.done = 0
        self.figures: dict[str, float] = {}     # of the last round

    def run(self, report: Report | None = None) -> dict[str, float]:
        """All rounds that are left; the figures of the last one. TrainingError where something is not finite."""
        self._resume()
        while self.done < self.settings.rounds:
            self.figures = self._round()
            self.done += 1
            self._save()
            if report:
                report('practice', self.done, self.settings.rounds, self.figures)
        return self.figures

    def _round(self) -> dict[str, float]:
        settings, practice = self.settings, self.practice
        start, goal = practice.problems(self.critic, settings.problems, settings.hard, self._generator)
        drives = practice.drive(self.policy, start, goal, settings.ticks, self._generator)
        self.critic.requires_grad_(True)
        r2 = practice.teach_critic(self.critic, drives, settings.critic_updates, 4 * settings.batch, 1e-3,
                                   self._generator)
        self.critic.requires_grad_(False)
        s, goals = drives.states.flatten(0, 1), goal.repeat_interleave(settings.ticks + 1, 0)
        better = self._relabel(s, goals)
        loss = math.nan
        for _ in range(settings.updates):
            rows = torch.randint(len(s), (settings.batch,), generator=self._generator, device=s.device)
            loss = self._update(s[rows], goals[rows])
        if not math.isfinite(loss):
            raise TrainingError(f'distillation: the loss of round {self.done + 1} is not finite: lower --rate')
        return {'energy': float(drives.energies[:, -1].mean()), 'loss': loss, 'critic_r2': r2, 'mode2_better': better}

    def _relabel(self, s: Tensor, goal: Tensor) -> float:
        """Add Mode-2's labels where they are better; returns the share of such states."""
        count = self.settings.labels
        if not count:
            return math.nan
        rows = torch.randint(len(s), (count,), generator=self._generator, device=s.device)
        actions, better = self.practice.relabel(self.policy, self.settings.critic_weight, s[rows], goal[rows],
                                                self._generator)
        missing = self.policy.chunk - actions.shape[1]
        if missing > 0:     # plans of another file may be shorter
            actions = torch.cat([actions, actions[:, -1:].expand(-1, missing, -1)], 1)
        new = (s[rows], goal[rows], actions[:, :self.policy.chunk])
        kept = max(1, self.settings.rounds // 2) * count    # labels of old rounds answer an older Mode-1
        self._labels = tuple(torch.cat([old, each[better]])[-kept:] for old, each in zip(self._labels, new))
        return float(better.float().mean())

    def _update(self, s: Tensor, goal: Tensor) -> float:
        with torch.autocast(s.device.type, torch.bfloat16):
            loss = self.practice.amortise(self.policy, self.critic, s, goal, self.settings.horizon)
        labelled = self._labels[0]
        if len(labelled):
            rows = torch.randint(len(labelled), (len(s),), generator=self._generator, device=s.device)
            s, goal, actions = (column[rows] for column in self._labels)
            loss = loss + IMITATION * (self.policy(s, goal) - actions).square().mean()
        self._optimiser.zero_grad(set_to_none=True)
        loss.float().backward()
        nn.utils.clip_grad_norm_(self._trained, 1.0)
        self._optimiser.step()
        return float(loss.detach())

    # the state on disk

    def _save(self) -> None:
        if self._file is None:
            return
        tensors = {f'model.{k}': v for k, v in self._modules().state_dict().items()}
        moments = self._optimiser.state_dict()['state']
        tensors |= {f'adam.{i}.{k}': v for i, each in moments.items() for k, v in each.items()}
        tensors |= {f'labels.{i}': column for i, column in enumerate(self._labels)}
        tensors['generator'] = self._generator.get_state()
        checkpointing.write(self._file, tensors, self._identity, {'done': self.done, 'figures': self.figures})

    def _resume(self) -> None:
        if self._file is None or not self._file.is_file():
            return
        tensors, rest = checkpointing.read(self._file, self._identity, self._modules().state_dict())
        self._modules().load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith('model.')})
        state = self._optimiser.state_dict()
        for name, value in tensors.items():
            if name.startswith('adam.'):
                _, index, key = name.split('.')
                state['state'].setdefault(int(index), {})[key] = value
        self._optimiser.load_state_dict(state)
        device = self.practice.s.device
        self._labels = tuple(tensors[f'labels.{i}'].to(device) for i in range(len(self._labels)))
        self._generator.set_state(tensors['generator'])
        self.done, self.figures = rest['done'], rest['figures']

    def _modules(self) -> nn.ModuleDict:
        return nn.ModuleDict({'policy': self.policy, 'critic': self.critic})


@dataclass(frozen=True)
class Calibration:
    """How well uncertainty tells where Mode-1 fails, on problems of episodes it never practised on."""

    threshold: float    # uncertainty that best tells where it arrives from where it does not; 0: none does
    solved: float       # share of the problems
    share: float        # of the states that lie below the threshold
    auroc: float        # of uncertainty for not arriving; NaN where it never, or always, does


@torch.no_grad()
def outcomes(practice: Practice, policy: Policy, critic: Critic, tolerance: float, ticks: int, hard: float,
             count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """States that Mode-1 comes to alone (count, T, D), goals (count, D), and where it is at its goal (count, 2 T).

    It is there within `tolerance` of the goal; it is given twice as long as its states are looked at.
    """
    start, goal = practice.problems(critic, count, hard, generator)
    drives = practice.drive(policy, start, goal, 2 * ticks)
    return drives.states[:, :ticks], goal, drives.energies[:, :2 * ticks] <= tolerance


def teach_doubt(practice: Practice, policy: Policy, critic: Critic, tolerance: float, settings: DaggerSettings) -> None:
    """Let the policy foresee from which states it does not arrive, by its own drives."""
    generator = torch.Generator(practice.s.device).manual_seed(settings.seed + 1)
    s, goal, there = outcomes(practice, policy, critic, tolerance, settings.ticks, settings.hard,
                              4 * settings.problems, generator)
    arrives = there.flip(1).cummax(1).values.flip(1)        # from each state on
    policy.doubt.requires_grad_(True)
    optimiser = torch.optim.AdamW(policy.doubt.parameters(), lr=1e-3, weight_decay=1e-2)
    for _ in range(DOUBT_UPDATES):
        row = torch.randint(len(s), (2 * settings.batch,), generator=generator, device=s.device)
        step = torch.randint(s.shape[1], (2 * settings.batch,), generator=generator, device=s.device)
        loss = nn.functional.binary_cross_entropy_with_logits(
            policy.doubt_logit(s[row, step], goal[row]), (~arrives[row, step]).float())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    policy.doubt.requires_grad_(False)


@torch.no_grad()
def calibrate(practice: Practice, policy: Policy, critic: Critic, tolerance: float, ticks: int, hard: float,
              seed: int) -> Calibration:
    """Judge the uncertainty by drives from held-out problems, state by state."""
    generator = torch.Generator(practice.s.device).manual_seed(seed)
    s, goal, there = outcomes(practice, policy, critic, tolerance, ticks, hard, JUDGED, generator)
    arrives = there.any(1)
    chosen = (~there.cummax(1).values[:, :ticks]).nonzero()     # states on the way; once it is there nothing is asked
    chosen = chosen[torch.randperm(len(chosen), generator=generator, device=s.device)[:RANKED]]
    row, step = chosen.unbind(1)
    doubt, arrived = policy.uncertainty(s[row, step], goal[row]), arrives[row]
    ranked = auroc(doubt, ~arrived)
    solved = float(arrives.double().mean())
    if math.isnan(ranked):      # it always arrives, or never
        return Calibration(float(doubt.max()) if bool(arrived.all()) else 0.0, solved, float(arrived.all()), ranked)
    if ranked < LEAST_AUROC:
        return Calibration(0.0, solved, 0.0, ranked)
    order = doubt.argsort()
    passed = arrived[order].double().cumsum(0) / arrived.sum()
    missed = (~arrived[order]).double().cumsum(0) / (~arrived).sum()
    best = int((passed - missed).argmax())      # Youden's J: most of what arrives, least of what does not
    return Calibration(float(doubt[order[best]]), solved, (best + 1) / len(order), ranked)


def auroc(score: Tensor, positive: Tensor) -> float:
    """Chance that a positive has a higher score than a negative (Mann-Whitney), ties count half; NaN without both."""
    high, low = score[positive], score[~positive]
    if not len(high) or not len(low):
        return math.nan
    return float(((high[:, None] > low).double() + 0.5 * (high[:, None] == low).double()).mean())


def redistilled(agent: Agent, data: EpisodeSet, settings: DaggerSettings, work_dir: Path | None = None,
                report: Report | None = None) -> Agent:
    """A new agent with the same world model and a Mode-1 and critic distilled anew; `agent` stays as it is."""
    fresh = _that_doubts(agent, settings)
    s = encode_all(fresh.networks.world_model, data)
    training, held_out = data.split()
    hierarchy = Hierarchy(fresh.networks.world_model, fresh.cost, fresh.card.planner_settings(),
                          fresh.world_model.max_change)
    policy, critic = fresh.networks.policy, fresh.networks.critic
    practice = Practice(fresh.networks.world_model, fresh.cost, hierarchy, training, s)
    identity = {'world_model': agent.card.sha256, 'data': data.bags, 'steps': data.steps}
    rounds = Dagger(practice, policy, critic, settings, work_dir / STATE if work_dir else None, identity)
    figures = rounds.run(report)
    teach_doubt(practice, policy, critic, fresh.card.goal_tolerance, settings)
    fresh.networks.requires_grad_(False)
    judge = Practice(fresh.networks.world_model, fresh.cost, hierarchy, held_out, s)
    found = calibrate(judge, policy, critic, fresh.card.goal_tolerance, settings.ticks, settings.hard, settings.seed)
    metrics = {k: v for k, v in fresh.card.metrics.items() if k not in ('policy_error', 'critic_r2')}
    metrics |= {'critic_r2': figures['critic_r2'], 'policy_solved': found.solved, 'policy_auroc': found.auroc,
                'policy_alone': found.share}
    card = fresh.card.model_copy(update={
        'policy_threshold': found.threshold,
        'metrics': {k: round(v, 5) for k, v in metrics.items() if math.isfinite(v)},
        'training': {**fresh.card.training, 'distill': asdict(settings)}})
    return Agent(fresh.networks, card, fresh.contract, fresh.device)


def _that_doubts(agent: Agent, settings: DaggerSettings) -> Agent:
    """The same agent with a fresh policy that doubts, unless it has one; the critic goes on learning."""
    card = agent.card.model_copy(update={'policy_doubts': True, 'policy_threshold': 0.0})
    torch.manual_seed(settings.seed)
    networks = Networks(card.model_settings(), agent.contract.observations, card)
    own = {name: value for name, value in agent.networks.state_dict().items()
           if agent.card.policy_doubts or not name.startswith('policy.')}
    networks.load_state_dict(own, strict=False)
    return Agent(networks, card, agent.contract, agent.device)
