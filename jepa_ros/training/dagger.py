"""From Mode-2 to a Mode-1 that knows when it is enough: a new policy and critic for an existing world model.

Rounds of practice (`practice.py`): Mode-1 drives in imagination from recorded states, the critic learns what that
costs, Mode-2 relabels some of the states Mode-1 came to (DAgger, Ross et al. 2011), and Mode-1 learns from both, labels
and energy. Then both learn from what was lived through (`lived.py`), where Mode-1 can drive in rounds of its own. At
the end the uncertainty below which Mode-1 is enough is calibrated on what it never learned from (`doubt.py`). The world
model stays as it is, bit for bit. Seeded; resumes after the last whole round.
"""
from collections.abc import Mapping, Sequence
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
from jepa_ros.training import checkpointing, doubt
from jepa_ros.training.before import chosen
from jepa_ros.training.data import EpisodeSet
from jepa_ros.training.lived import Lived, LivedLearner, recorded, Replay
from jepa_ros.training.lived_rounds import Driving, LivedRounds
from jepa_ros.training.lived_rounds import STATE as LIVED_STATE
from jepa_ros.training.optimise import Report
from jepa_ros.training.practice import Practice
from jepa_ros.training.states import encode_all
from jepa_ros.world_model.predictors import Memory

STATE = 'distill.safetensors'       # in the work folder, after each round
IMITATION = 1.0         # weight of Mode-2's labels against the energy
DOUBT_ROUNDS = 4        # the last ones: what Mode-1 drove before was another Mode-1


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
    lived_rounds: int = 8       # of learning from what was lived through, Mode-1 driving between them; 0: none
    lived_updates: int = 400    # of such a round
    world: str = ''             # simulated world in which Mode-1 drives between those rounds; empty: it does not drive
    drives: int = 60            # of such a round
    afresh: bool = False        # begin with a policy and a critic that know nothing
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if isinstance(value, str | bool):
                continue
            least = {'rate': 1e-9, 'hard': 0, 'critic_weight': 0, 'seed': 0, 'labels': 0, 'lived_rounds': 0}
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
                             for shape in ((dim,), (dim,), chunk, (policy.recalled,)))
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
        problems = practice.problems(self.critic, settings.problems, settings.hard, self._generator)
        drives = practice.drive(self.policy, problems, settings.ticks, self._generator)
        self.critic.requires_grad_(True)
        r2 = practice.teach_critic(self.critic, drives, settings.critic_updates, 4 * settings.batch, 1e-3,
                                   self._generator)
        self.critic.requires_grad_(False)
        states = drives.states.shape[1]
        s, goals = drives.states.flatten(0, 1), problems.goal.repeat_interleave(states, 0)
        better = self._relabel(s, goals, problems.memory, states)
        loss = math.nan
        for _ in range(settings.updates):
            rows = torch.randint(len(s), (settings.batch,), generator=self._generator, device=s.device)
            loss = self._update(s[rows], goals[rows], chosen(problems.memory, rows // states))
        if not math.isfinite(loss):
            raise TrainingError(f'distillation: the loss of round {self.done + 1} is not finite: lower --rate')
        return {'energy': float(drives.energies[:, -1].mean()), 'loss': loss, 'critic_r2': r2, 'mode2_better': better}

    def _relabel(self, s: Tensor, goal: Tensor, memory: Memory | None = None, states: int = 1) -> float:
        """Add Mode-2's labels where they are better; returns the share of such states.

        `states` that follow one another in s (M, D) belong to one problem, and share its memory (M / states, …).
        """
        count = self.settings.labels
        if not count:
            return math.nan
        rows = torch.randint(len(s), (count,), generator=self._generator, device=s.device)
        held = chosen(memory, rows // states)
        actions, better = self.practice.relabel(self.policy, self.settings.critic_weight, s[rows], goal[rows],
                                                self._generator, held)
        said = self.practice.model.levels[0].known(s[rows], held) if self.policy.recalled else s[rows, :0]
        missing = self.policy.chunk - actions.shape[1]
        if missing > 0:     # plans of another file may be shorter
            actions = torch.cat([actions, actions[:, -1:].expand(-1, missing, -1)], 1)
        new = (s[rows], goal[rows], actions[:, :self.policy.chunk], said)
        kept = max(1, self.settings.rounds // 2) * count    # labels of old rounds answer an older Mode-1
        self._labels = tuple(torch.cat([old, each[better]])[-kept:] for old, each in zip(self._labels, new))
        return float(better.float().mean())

    def _update(self, s: Tensor, goal: Tensor, memory: Memory | None = None) -> float:
        with torch.autocast(s.device.type, torch.bfloat16):
            loss = self.practice.amortise(self.policy, self.critic, s, goal, self.settings.horizon, memory)
        labelled = self._labels[0]
        if len(labelled):
            rows = torch.randint(len(labelled), (len(s),), generator=self._generator, device=s.device)
            s, goal, actions, known = (column[rows] for column in self._labels)
            loss = loss + IMITATION * (self.policy(s, goal, known=known) - actions).square().mean()
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
        tensors |= checkpointing.moments(self._optimiser)
        tensors |= {f'labels.{i}': column for i, column in enumerate(self._labels)}
        tensors['generator'] = self._generator.get_state()
        checkpointing.write(self._file, tensors, self._identity, {'done': self.done, 'figures': self.figures})

    def _resume(self) -> None:
        if self._file is None or not self._file.is_file():
            return
        tensors, rest = checkpointing.read(self._file, self._identity, self._modules().state_dict())
        self._modules().load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith('model.')})
        checkpointing.set_moments(self._optimiser, tensors)
        device = self.practice.s.device
        self._labels = tuple(tensors[f'labels.{i}'].to(device) for i in range(len(self._labels)))
        self._generator.set_state(tensors['generator'])
        self.done, self.figures = rest['done'], rest['figures']

    def _modules(self) -> nn.ModuleDict:
        return nn.ModuleDict({'policy': self.policy, 'critic': self.critic})


def redistilled(agent: Agent, data: EpisodeSet, settings: DaggerSettings, work_dir: Path | None = None,
                report: Report | None = None, lived: Sequence[Lived] = (), driving: Driving | None = None) -> Agent:
    """A new agent with the same world model and a Mode-1 and critic distilled anew; `agent` stays as it is.

    lived: drives that are known, of Mode-2 for one; they and the episodes of `data` are what happened in the world.
    driving: lets Mode-1 drive there, as it is after each round; None where that is not possible.
    """
    fresh = _that_doubts(agent, settings)
    s = encode_all(fresh.networks.world_model, data)
    training, held_out = data.split()
    hierarchy = Hierarchy(fresh.networks.world_model, fresh.cost, fresh.card.planner_settings(),
                          fresh.world_model.max_change)
    policy, critic = fresh.networks.policy, fresh.networks.critic
    practice, judge = (Practice(fresh.networks.world_model, fresh.cost, hierarchy, part, s)
                       for part in (training, held_out))
    identity = {'world_model': agent.card.sha256, 'data': data.bags, 'steps': data.steps}
    rounds = Dagger(practice, policy, critic, settings, work_dir / STATE if work_dir else None, identity)
    figures = dict(rounds.run(report))
    fresh.networks.requires_grad_(False)
    rounds_lived = _lived(fresh, Replay(recorded(training, s), lived), settings, driving,
                          work_dir / LIVED_STATE if work_dir else None, identity)
    figures |= rounds_lived.run(report)
    found = _doubts(fresh, practice, judge, rounds_lived.driven, settings)
    fresh.networks.requires_grad_(False)
    metrics = {k: v for k, v in fresh.card.metrics.items() if k not in ('policy_error', 'critic_r2')}
    metrics |= {'critic_r2': figures['critic_r2'], 'policy_solved': found.solved, 'policy_auroc': found.auroc,
                'policy_alone': found.share}
    card = fresh.card.model_copy(update={
        'policy_threshold': found.threshold,
        'metrics': {k: round(v, 5) for k, v in metrics.items() if math.isfinite(v)},
        'training': {**fresh.card.training, 'distill': asdict(settings)}})
    return Agent(fresh.networks, card, fresh.contract, fresh.device)


def _lived(agent: Agent, replay: Replay, settings: DaggerSettings, driving: Driving | None, state_file: Path | None,
           identity: Mapping[str, Any]) -> LivedRounds:
    """Rounds of learning from what was lived through."""
    networks = agent.networks
    learner = LivedLearner(networks.world_model.levels[0], networks.policy, networks.critic, replay, settings.rate,
                           max(1, settings.lived_rounds * settings.lived_updates),
                           torch.Generator(agent.device).manual_seed(settings.seed + 2))
    return LivedRounds(agent, learner, settings.lived_rounds, settings.lived_updates, 2 * settings.batch,
                       driving, state_file, {**identity, 'settings': asdict(settings)})


def _doubts(agent: Agent, practice: Practice, judge: Practice, driven: list[list[Lived]],
            settings: DaggerSettings) -> doubt.Calibration:
    """Teach the policy its doubt, and calibrate it: on drives in the world where there are any, of the last rounds."""
    policy, critic, tolerance, seed = agent.networks.policy, agent.networks.critic, agent.card.goal_tolerance, \
        settings.seed
    if driven:
        known, unseen = ([drive for drives in driven[-DOUBT_ROUNDS:] for at, drive in enumerate(drives)
                          if (at % doubt.HELD_OUT == 0) == judging] for judging in (False, True))
        jepa = agent.networks.world_model.levels[0]
        learned, judged = (doubt.driven(drives, tolerance, jepa) for drives in (known, unseen))
    else:
        learned, judged = (doubt.imagined(each, policy, critic, tolerance, settings.ticks, settings.hard, count,
                                          torch.Generator(agent.device).manual_seed(seed + 1 - at))
                           for at, (each, count) in enumerate(((practice, 4 * settings.problems),
                                                               (judge, doubt.JUDGED))))
    doubt.teach(policy, learned[0], 2 * settings.batch, seed + 1)
    return doubt.calibrated(policy, *judged, seed)


def _that_doubts(agent: Agent, settings: DaggerSettings) -> Agent:
    """The same agent with a fresh policy that doubts, unless it has one; the critic goes on learning. Or both new."""
    forgotten = ('policy.', 'critic.') if settings.afresh else () if agent.card.policy_doubts else ('policy.',)
    recalled = agent.networks.world_model.levels[0].config.recalled if forgotten else agent.card.policy_recalled
    card = agent.card.model_copy(update={'policy_doubts': True, 'policy_threshold': 0.0, 'policy_recalled': recalled})
    torch.manual_seed(settings.seed)
    networks = Networks(card.model_settings(), agent.contract.observations, card)
    own = {name: value for name, value in agent.networks.state_dict().items() if not name.startswith(forgotten)}
    networks.load_state_dict(own, strict=False)
    return Agent(networks, card, agent.contract, agent.device)
