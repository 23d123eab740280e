"""Closed loop in any Gymnasium environment, without ROS: percept, plan, command, step, in lockstep.

What counts as success is what the environment says (`info`), else the agent's own judgement: goal energy below its
tolerance. A reward is only counted: nothing in the agent seeks it.
"""
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jepa_ros.actor.actor import MODES
from jepa_ros.agent import Agent
from jepa_ros.configurator.configurator import Progress
from jepa_ros.errors import ConfigError
from jepa_ros.evaluation.closed_loop import GENEROUS_BUDGET_MS
from jepa_ros.evaluation.gym_goals import (
    ahead_goal,
    env_goal,
    GOALS,
    own_goal,
    Recorded,
    recorded_goals,
    Shown,
    store_goal,
)
from jepa_ros.evaluation.gym_robot import make_robot
from jepa_ros.registry import nearest
from jepa_ros.robot.explore import Exploration

RANDOM = 'random'               # a mode beside the agent's: correlated random actions, to compare with
SUCCESSES = ('env', 'energy')
MOST_STEPS = 300                # where the environment sets no limit


@dataclass(frozen=True)
class GymSettings:
    """What is measured; '' and 0 let the environment decide."""

    model: str
    env_id: str
    goal: str = ''                      # env, ahead, store or none; '': env where there is one, else ahead
    goal_from: tuple[Path, ...] = ()    # stores or bags, for goal store
    start_option: tuple[str, str] | None = None     # name in reset's options, observation key that it is set to
    ahead: int = 25                     # control steps from start to goal, for ahead and store
    success: str = ''                   # env or energy; '': env where the goal is its own and it says so, else energy
    task: str = 'reach'
    mode: str = ''                      # planned, auto, reactive or random; '': the task's
    budget_ms: float = GENEROUS_BUDGET_MS
    most_steps: int = 0                 # control steps of an episode
    arguments: Mapping[str, Any] = field(default_factory=dict)      # of the environment

    def __post_init__(self) -> None:
        goal = self.goal or ('store' if self.goal_from else '')
        object.__setattr__(self, 'goal', goal)
        for what, value, known in (('goal', goal, GOALS), ('success', self.success, SUCCESSES),
                                   ('mode', self.mode, (*MODES, RANDOM))):
            if value and value not in known:
                raise ConfigError(f'{what} {value!r} is unknown{nearest(value, known)}; known: {", ".join(known)}')
        if (goal == 'store') != bool(self.goal_from):
            raise ConfigError('goals from a recording need both: --goal store and --goal-from STORE or BAG')
        if self.start_option and goal != 'store':
            raise ConfigError('--start-option puts the environment into a recorded start: it needs --goal-from')


@dataclass(frozen=True)
class GymEpisode:
    """One episode, from reset until success, the environment's end or the last step."""

    index: int
    seed: int
    success: bool | None            # by the criterion in force; None without one
    env_success: bool | None        # the environment said so at some step; None where it never says
    judged: bool | None             # goal energy fell below the tolerance; None without a goal
    energy_left: float | None       # share of the first goal energy that was left at the end
    reward: float                   # summed: the return, without discount
    steps: int
    ending: str                     # success, terminated, truncated, steps
    goal_error: dict[str, float]    # by readout: distance to the goal at the end, in truth
    latencies_ms: tuple[float, ...]


class GymRunner:
    """Agent and environment of one evaluation; calling it with a number and a seed drives that episode."""

    def __init__(self, settings: GymSettings, episodes: int, seed: int):
        """CheckpointError, WorldError, ConfigError, DatasetError or BagError say what does not fit, in one line."""
        torch.set_num_threads(1)    # quickest for models this small, and the same sums everywhere
        self.agent = Agent.load(settings.model, device='cpu')
        self.robot = make_robot(settings.env_id, self.agent.contract, settings.arguments)
        self.settings = settings
        self.goal = settings.goal or ('env' if own_goal(self.robot) else 'ahead')
        self._recorded: list[Recorded] = recorded_goals(
            self.agent, settings.goal_from, settings.ahead, episodes, seed) if self.goal == 'store' else []
        self.most_steps = settings.most_steps or self.robot.most_steps or MOST_STEPS
        self.seeds = [int(s) for s in np.random.SeedSequence(seed).generate_state(episodes)]
        self.notes: list[str] = []
        self._check()

    def _check(self) -> None:
        """One episode's start, before hours of work: what the environment says of success, and whether a plan fits."""
        self._shown(0)
        self.robot.step(np.clip(0.0, self.agent.contract.action_low, self.agent.contract.action_high))
        says = self.robot.succeeded is not None     # some say it after a step only
        # what the environment says is of its own goal, not of one that it was never told
        self.success = self.settings.success or ('energy' if self.goal in ('ahead', 'store') else 'env' if says
                                                 else '' if self.goal == 'none' else 'energy')
        if self.success == 'energy' and self.goal == 'none':
            raise ConfigError('--success energy needs a goal: without one there is no goal energy')
        if self.success == 'env' and not says:
            self.notes.append('the environment did not say after its first step whether its task is done: an episode '
                              'in which it never does counts as failed')
        if self.success == '':
            self.notes.append('neither the environment nor a goal says what success is: only the return is told')
        self.agent.warm_up()

    def __call__(self, index: int) -> GymEpisode:
        shown = self._shown(index)
        self.notes += [note for note in shown.notes if note not in self.notes]
        return _Drive(self, index, shown).run()

    def _shown(self, index: int) -> Shown:
        """Reset to the start of an episode and show its goal."""
        seed = self.seeds[index]
        if self.goal == 'ahead':
            return ahead_goal(self.agent, self.robot, seed, self.settings.ahead)
        if self.goal == 'store':
            return store_goal(self.agent, self.robot, seed, self._recorded[index], self.settings.start_option)
        self.robot.reset(seed)
        return Shown(None) if self.goal == 'none' else env_goal(self.agent, self.robot)


class _Drive:
    """One episode under way."""

    def __init__(self, runner: GymRunner, index: int, shown: Shown):
        self.runner, self.index, self.shown = runner, index, shown
        self.agent, self.robot, self.settings = runner.agent, runner.robot, runner.settings
        contract = self.agent.contract
        self.random = Exploration(contract.action_low, contract.action_high, contract.control_period_s,
                                  runner.seeds[index]) if self.settings.mode == RANDOM else None
        if self.random is not None:
            self.random.start(1)    # episode 0 of this seed made the goal
        self.latencies: list[float] = []
        self.said: bool | None = None
        self.judged: bool | None = None if shown.goal is None else False
        self.progress: Progress | None = None

    def run(self) -> GymEpisode:
        period_s = self.agent.contract.control_period_s
        self._configure(self.runner.most_steps * period_s)
        steps, reward, action = 0, 0.0, None
        while True:
            state = self.agent.perception.observe(self.robot.percept())
            self._judge(state, steps * period_s)
            if self._succeeded() or self.robot.world.ending is not None or steps >= self.runner.most_steps:
                break
            action = self._act(state, action)
            reward += self.robot.step(action)
            steps += 1
        if self.shown.goal is not None:
            self.agent.configurator.stop()
        ending = self.robot.world.ending
        how = 'success' if self._succeeded() else 'steps' if ending is None else ending.reason
        return GymEpisode(
            self.index, self.runner.seeds[self.index], self._succeeded(), self.said, self.judged,
            None if self.progress is None else 1 - self.progress.progress, reward, steps, how, self._goal_error(),
            tuple(self.latencies))

    def _configure(self, timeout_s: float) -> None:
        agent, settings = self.agent, self.settings
        agent.perception.reset()
        agent.actor.reset()
        mode = 'planned' if settings.mode == RANDOM else settings.mode
        if self.shown.goal is None:
            agent.actor.configure(goal=None, mode=mode or 'planned', budget_ms=settings.budget_ms)
            return
        configured = agent.configurator.start(self.shown.goal, settings.task, timeout_s, 0.0)
        agent.perception.modulate(configured.modulation)
        agent.actor.configure(mode=mode or configured.mode, budget_ms=settings.budget_ms, **configured.cost_arguments)

    def _judge(self, state, now_s: float) -> None:
        said = self.robot.succeeded
        if said is not None:
            self.said = bool(self.said) or said
        if self.shown.goal is not None:
            self.progress = self.agent.configurator.observe(state, now_s)
            self.judged = bool(self.judged) or self.progress.outcome == 'success'

    def _succeeded(self) -> bool | None:
        if self.runner.success == 'env':
            return bool(self.said)
        return self.judged if self.runner.success == 'energy' else None

    def _act(self, state, previous: np.ndarray | None) -> np.ndarray:
        if self.random is not None:
            return self.random.next()
        decision = self.agent.actor.act(state, previous_action=previous)
        self.latencies.append(decision.latency_ms)
        return decision.action

    def _goal_error(self) -> dict[str, float]:
        now = self.robot.readouts()
        return {name: abs(now[name] - value) for name, value in self.shown.readouts.items()
                if name in now and np.isfinite(value)}


def evaluate(runner: GymRunner, progress: Callable[[GymEpisode], None] = lambda episode: None) -> list[GymEpisode]:
    """All episodes of a runner; `progress` is told each as it comes."""
    results = []
    for index in range(len(runner.seeds)):
        results.append(runner(index))
        progress(results[-1])
    return results
