"""Rounds of learning from what was lived, in which Mode-1 drives as it is then (`lived.py`); called by dagger.py.

What was driven is kept on disk with the state of the learner: an interrupted run goes on after its last whole round.
"""
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from jepa_ros.agent import Agent
from jepa_ros.training import checkpointing
from jepa_ros.training.lived import Lived, LivedLearner
from jepa_ros.training.optimise import Report

STATE = 'lived.safetensors'     # in the work folder, after each round

# An agent as it is now and the number of the round -> what Mode-1 drove in the world.
Driving = Callable[[Agent, int], Sequence[Lived]]


class LivedRounds:
    """Teaches policy and critic of an agent, in place."""

    def __init__(self, agent: Agent, learner: LivedLearner, rounds: int, updates: int, batch: int,
                 driving: Driving | None = None, state_file: Path | None = None,
                 identity: Mapping[str, Any] | None = None):
        """updates: of a round; what is in the learner's replay was known before."""
        self._agent, self._learner, self._driving = agent, learner, driving
        self._rounds, self._updates, self._batch = rounds, updates, batch
        self._file, self._identity = state_file, {**(identity or {}), 'lived_steps': learner.replay.steps}
        self.driven: list[list[Lived]] = []     # by Mode-1, round by round; the last ones only judge
        self._done = 0
        self._figures: dict[str, float] = {}    # of the last round

    def run(self, report: Report | None = None) -> dict[str, float]:
        """All rounds that are left; the figures of the last one."""
        self._resume()
        for number in range(self._done, self._rounds + (self._driving is not None)):
            if self._driving is not None:
                self.driven.append(list(self._driving(self._agent, number)))
                self._learner.replay.add(self.driven[-1])
            if number < self._rounds:
                self._figures = self._learner.learn(self._updates, self._batch)
                self._done = number + 1
                self._save()
                if report:
                    report('what was lived', self._done, self._rounds,
                           {**self._figures, 'steps': self._learner.replay.steps})
        return self._figures

    def _save(self) -> None:
        if self._file is None:
            return
        tensors: dict[str, Tensor] = {f'model.{k}': v for k, v in self._learner.modules.state_dict().items()}
        tensors |= {f'learner.{k}': v for k, v in self._learner.state().items()}
        for number, drives in enumerate(self.driven):
            for at, drive in enumerate(drives):
                tensors |= {f'drive.{number}.{at}.{name}': value for name, value in vars(drive).items()}
        checkpointing.write(self._file, tensors, self._identity, {
            'done': self._done, 'figures': self._figures, 'drives': [len(drives) for drives in self.driven]})

    def _resume(self) -> None:
        if self._file is None or not self._file.is_file():
            return
        tensors, rest = checkpointing.read(self._file, self._identity, self._learner.modules.state_dict())
        self._learner.modules.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith('model.')})
        self._learner.load_state({k[8:]: v for k, v in tensors.items() if k.startswith('learner.')})
        device = self._agent.device
        for number, count in enumerate(rest['drives']):
            self.driven.append([Lived(**{name: tensors[f'drive.{number}.{at}.{name}'].to(device)
                                         for name in ('states', 'actions', 'goal')}) for at in range(count)])
            self._learner.replay.add(self.driven[-1])
        self._done, self._figures = rest['done'], rest['figures']
