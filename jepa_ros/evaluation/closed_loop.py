"""Closed loop without ROS: simulated robot, perception, actor and configurator in lockstep, in simulated time.

Percepts are made by the adapters that make them from live topics, so what the agent sees is the same as on a robot.
Nothing waits for the wall clock: with a planner budget that is never reached, a seed gives the same episodes anywhere.
"""
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
import math
import multiprocessing
import signal
from types import SimpleNamespace

import numpy as np
import torch

from jepa_ros.actor.actor import Decision, MODES, PLANNED, REACTIVE
from jepa_ros.actor.planners import PlannerConfig
from jepa_ros.agent import Agent
from jepa_ros.cost.cost import Goal
from jepa_ros.errors import ConfigError
from jepa_ros.evaluation.metrics import path_length_m
from jepa_ros.evaluation.paths import shortest_path
from jepa_ros.perception.perception import EncodedState
from jepa_ros.robot.adapters import to_array
from jepa_ros.robot.contract import RobotContract
from jepa_ros.sim.episodes import goal_image, start_goal_pairs, StartGoal
from jepa_ros.sim.worlds import make_planar_world, PlanarWorld

TOLERANCE_M = 0.15          # a goal within this distance is reached
MAX_TIME_S = 60.0           # of simulated time
GENEROUS_BUDGET_MS = 1e4    # never reached: a slow machine changes no plan
FLAT_HORIZON = 40           # steps one level alone needs to look through the door: 4 s
FLAT_CORRELATION = 0.9      # a long horizon needs noise that lasts; 0.7 suits 8 steps


# Is told the goal, each state and what was decided there; at the end, nothing is.
Witness = Callable[[EncodedState, EncodedState, Decision | None], None]


@dataclass(frozen=True)
class Settings:
    """What is measured. `planners` replaces the checkpoint's (level 0 first); None keeps them."""

    model: str = 'two_rooms'
    world: str = 'two_rooms'
    mode: str | None = None             # None takes the task's
    budget_ms: float = GENEROUS_BUDGET_MS
    planners: tuple[PlannerConfig, ...] | None = None
    task: str = 'reach'
    max_time_s: float = MAX_TIME_S
    tasks: str = ''                     # the user's own: a file or a folder
    mode1: bool = True                  # False: no policy seeds Mode-2, or acts in its place


@dataclass(frozen=True)
class EpisodeResult:
    """One start and goal. The episode ends when the configurator judges the goal reached, or with the time."""

    index: int
    success: bool               # within 0.15 m of the goal, in truth, in time
    judged: bool                # the configurator said so
    time_s: float | None        # until the first moment within 0.15 m; None without success
    duration_s: float
    distance_m: float           # to the goal, at the end
    collisions: int
    path_m: float               # driven until reached, and what was left to the goal then
    shortest_m: float
    latencies_ms: tuple[float, ...]     # of the ticks that planned or reacted
    ticks: int
    reactive: int               # ticks decided by Mode-1
    escaping: int               # ticks on a way out of an impasse, which need no plan

    @property
    def judged_right(self) -> bool:
        return self.judged and self.distance_m <= TOLERANCE_M


def flat_planner(planners: list[PlannerConfig], horizon: int, correlation: float = FLAT_CORRELATION) -> PlannerConfig:
    """One level alone with as many samples a tick as all the given levels together."""
    total = sum(p.samples * p.iterations for p in planners)
    iterations = max(p.iterations for p in planners)
    samples = round(total / iterations)
    return replace(planners[0], samples=samples, iterations=iterations, horizon=horizon, correlation=correlation,
                   elites=max(2, samples // 8))


def load(settings: Settings) -> tuple[Agent, PlanarWorld]:
    """Agent and world of the settings, checked. Raises CheckpointError, WorldError or ConfigError in one line."""
    if settings.mode is not None and settings.mode not in MODES:
        raise ConfigError(f'mode {settings.mode!r} is unknown; known: {", ".join(MODES)}')
    world = make_planar_world(settings.world)
    torch.set_num_threads(1)    # quickest for models this small, and the same sums everywhere
    agent = Agent.load(settings.model, device='cpu', tasks=settings.tasks)
    check_drives(agent.contract, settings.model)
    if settings.planners is not None:
        if len(settings.planners) > agent.world_model.levels:
            raise ConfigError(f'model {settings.model} has {agent.world_model.levels} level(s), '
                              f'not {len(settings.planners)}')
        card = agent.card.model_copy(update={'planners': [asdict(p) for p in settings.planners]})
        agent = Agent(agent.networks, card, agent.contract, tasks=settings.tasks)
    if not settings.mode1:
        agent.actor = agent.new_actor(mode1=False)
    agent.warm_up()
    return agent, world


def check_drives(contract: RobotContract, model: str) -> None:
    """ConfigError for a robot that the worlds cannot simulate."""
    if len(contract.observations) != 1 or len(contract.action_names) != 2:
        raise ConfigError(f'model {model}: robot {contract.name} has {len(contract.observations)} '
                          f'observations and {len(contract.action_names)} action values; the worlds have one camera '
                          'and a base with two speeds')


def percept(agent: Agent, image: np.ndarray) -> dict[str, np.ndarray]:
    """Camera image (H, W, 3) uint8 as perception gets it from a topic."""
    observation = agent.contract.observations[0]
    height, width = image.shape[:2]
    message = SimpleNamespace(encoding='rgb8', height=height, width=width, step=3 * width, data=image.tobytes())
    return {observation.key: np.asarray(to_array(observation, message))}


def drive(agent: Agent, world: PlanarWorld, task: StartGoal, settings: Settings, index: int = 0,
          witness: Witness = lambda goal, state, decision: None) -> EpisodeResult:
    """Pursue one goal from one start."""
    world.reset(task.seed, task.values)
    shown = agent.perception.encode(percept(agent, goal_image(world, *task.goal)))
    configured = agent.configurator.start(Goal(levels=shown.levels), settings.task, settings.max_time_s, world.time_s)
    agent.perception.reset()
    agent.actor.reset()
    _configure(agent, settings)
    path, latencies, action, before = [world.pose], [], None, None
    reached_s, reactive, escaping, judged = None, 0, 0, False
    while True:
        if reached_s is None and math.dist(world.pose, task.goal) <= TOLERANCE_M:
            reached_s, reached_at = world.time_s, len(path)
        state = agent.perception.observe(percept(agent, world.image()))
        judged = agent.configurator.observe(state, world.time_s).outcome == 'success'
        if agent.configurator.settings is not configured:     # the next part of a sequence, or the next subgoal
            configured = _configure(agent, settings)
        if judged or world.time_s >= settings.max_time_s - 1e-6:
            witness(shown, state, None)
            break
        if before is not None and agent.actor.heeds_surprise:
            agent.actor.notice(agent.world_model.surprise(before.levels[0], action, state))
        before, decision = state, agent.actor.act(state, previous_action=action)
        witness(shown, state, decision)
        action = decision.action
        if decision.mode == PLANNED and not decision.samples:
            escaping += 1
        else:
            latencies.append(decision.latency_ms)
            reactive += decision.mode == REACTIVE
        world.step(action, agent.contract.control_period_s)
        path.append(world.pose)
    agent.configurator.stop()
    driven = np.array(path[:reached_at] if reached_s is not None else path)
    return EpisodeResult(
        index, reached_s is not None, judged, reached_s, world.time_s, math.dist(world.pose, task.goal),
        world.collisions, path_length_m(driven) + math.dist(driven[-1], task.goal),
        path_length_m(shortest_path(world.free, (float(path[0][0]), float(path[0][1])), task.goal)),
        tuple(latencies), len(path) - 1, reactive, escaping)


def _configure(agent: Agent, settings: Settings):
    """Tell perception and the actor what the configurator asks now; returns it."""
    configured = agent.configurator.settings
    agent.perception.modulate(configured.modulation)
    agent.actor.configure(mode=settings.mode or configured.mode, budget_ms=settings.budget_ms,
                          **configured.cost_arguments)
    return configured


class Runner:
    """Agent, world and the starts and goals of one evaluation; calling it with an index drives that episode."""

    def __init__(self, settings: Settings, episodes: int, seed: int):
        self.agent, self.world = load(settings)
        self._settings = settings
        self._tasks = start_goal_pairs(self.world, episodes, seed)

    def __call__(self, index: int) -> EpisodeResult:
        return drive(self.agent, self.world, self._tasks[index], self._settings, index)


def evaluate(settings: Settings, episodes: int, seed: int = 0, workers: int = 1,
             progress: Callable[[EpisodeResult], None] = lambda result: None) -> list[EpisodeResult]:
    """`episodes` starts and goals in opposite rooms, in their order; `progress` is told each result as it comes.

    More workers are quicker and give the same results, but their latencies share the machine.
    """
    results = []
    for result in _results(settings, episodes, seed, workers):
        progress(result)
        results.append(result)
    return sorted(results, key=lambda r: r.index)


def _results(settings: Settings, episodes: int, seed: int, workers: int) -> Iterator[EpisodeResult]:
    runner = Runner(settings, episodes, seed)       # also says what is wrong before any process is started
    if workers == 1:
        yield from map(runner, range(episodes))
        return
    context = multiprocessing.get_context('spawn')  # a forked torch can hang
    with context.Pool(workers, _prepare, (settings, episodes, seed)) as pool:
        yield from pool.imap_unordered(_run, range(episodes))


_runner: Runner     # of a worker process


def _prepare(settings: Settings, episodes: int, seed: int) -> None:
    global _runner
    signal.signal(signal.SIGINT, signal.SIG_IGN)    # Ctrl-C is the parent's to handle
    _runner = Runner(settings, episodes, seed)


def _run(index: int) -> EpisodeResult:
    return _runner(index)
