"""Leads to a far goal over landmarks: which subgoal comes next, and what happens when one fails (LeCun §6, §4.7).

The next subgoal is the farthest landmark on the way that the planner's horizon still covers. One that is not reached in
time makes its edges dearer, and another way is sought from where the robot is then.
"""
from collections.abc import Callable
import math
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from jepa_ros.configurator.landmarks import LandmarkGraph, Way
from jepa_ros.energy.distance import squared
from jepa_ros.world_model.world_model import WorldModel

SEQUENCES = 64          # random action sequences that say what is near
CORRELATION = 0.9       # of their actions from step to step
CANDIDATES = 16         # landmarks around the goal that are tried as the last one
AHEAD = 0.5             # share of the horizon that the next subgoal lies ahead: plans are better near than far
SLACK, LEAST_S = 3.0, 3.0       # a subgoal may take this many times its seconds, and these besides
AGAIN_S = 2.0           # seconds after which a way is sought again where there was none


class Reach(Protocol):
    """Says what is near."""

    def __call__(self, states: Tensor, targets: Tensor, near: float) -> np.ndarray:
        """Seconds (P, G) from states (P, D) to within `near` of targets (G, D); inf where it does not get there."""


class Recollection(Protocol):
    """What remembers trajectories; `Memory` does."""

    def trajectories(self) -> list:
        """Each with `stamps_ns` (T,) and `states` (T, D), one after the other in time."""


class Imagined:
    """Near is what the world model gets to by one of some random action sequences of its level 0."""

    def __init__(self, world: WorldModel, horizon_s: float, seed: int = 0):
        self._world = world
        steps = max(2, round(horizon_s / world.control_period_s))
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn((SEQUENCES, steps, len(world.action_names)), generator=generator)
        for t in range(1, steps):
            noise[:, t] = CORRELATION * noise[:, t - 1] + math.sqrt(1 - CORRELATION ** 2) * noise[:, t]
        self._actions = (1.5 * noise).clamp(-1, 1).to(world.device)        # (N, H, A)

    @torch.inference_mode()
    def __call__(self, states: Tensor, targets: Tensor, near: float) -> np.ndarray:
        """See `Reach`."""
        actions, period_s = self._actions, self._world.control_period_s
        rows = []
        for state in states.to(actions.device):
            s = self._world.model.levels[0].rollout(state.expand(len(actions), -1), actions)        # (N, H, D)
            apart = torch.cdist(s.float().flatten(0, 1), targets.to(s))                             # (N · H, G)
            there = (apart.square() / s.shape[-1] <= near ** 2).unflatten(0, s.shape[:2]).any(0)    # (H, G)
            first = there.float().argmax(0) + 1
            rows.append(torch.where(there.any(0), first * period_s, math.inf))
        return torch.stack(rows).cpu().numpy() if rows else np.zeros((0, len(targets)), np.float32)


class Guide:
    """Keeps the graph, and the way to the goal of now."""

    def __init__(self, graph: LandmarkGraph, horizon_s: float, reach: Reach | None = None):
        """`horizon_s`: how far the planner looks ahead. `reach` None: only what was seen is near."""
        self.graph, self._horizon_s, self._reach = graph, horizon_s, reach
        self._backlog: list[tuple[np.ndarray, Tensor]] = []     # times and states still to learn from
        self._piece: tuple | None = None    # where in the trajectory of which a piece has been learned from
        self._version = 0           # of the graph
        self._checked = 0           # landmarks whose surroundings have been imagined
        self.failures = 0           # subgoals that failed, over all goals
        self.rest()

    def rest(self) -> None:
        """Forget the goal; the graph stays."""
        self._goal: Tensor | None = None
        self._forbidden: Callable[[Tensor], Tensor] | None = None
        self._way: Way | None = None
        self._index = 0                     # of the next subgoal in the way; its length: the goal itself
        self._subgoal: Tensor | None = None
        self._until_s = math.inf
        self._entry_dearer: dict[int, float] = {}       # last landmarks from which the goal was not reached

    @property
    def left(self) -> int:
        """Landmarks still to pass before the goal."""
        return 0 if self._way is None else len(self._way.nodes) - self._index

    # ---- growing -------------------------------------------------------------------------------------------------
    def see(self, state: Tensor, now_s: float) -> None:
        """Learn from the newest state (D,)."""
        self.graph.see(state, now_s)

    def remember(self, memory: Recollection) -> None:
        """Take the trajectories of a memory as a backlog, which `work` goes through."""
        self._backlog = [(trajectory.stamps_ns * 1e-9, trajectory.states) for trajectory in memory.trajectories()]

    def work(self, landmarks: int = 1, states: int = 200) -> bool:
        """A bounded piece of what is left: `states` of the backlog, what is near `landmarks` further ones.

        Some 10 ms each time. False when nothing was left.
        """
        if self._backlog:
            self._grow(states)
            return True
        return self._imagine(landmarks) > 0

    def _grow(self, most: int) -> None:
        times_s, states = self._backlog.pop()
        live = self.graph.past()
        self.graph.go_on(self._piece)
        for now_s, state in zip(times_s[:most], states[:most]):
            self.graph.see(state, float(now_s))
        self._piece = None
        if len(states) > most:
            self._backlog.append((times_s[most:], states[most:]))
            self._piece = self.graph.past()
        self.graph.go_on(live)

    def _imagine(self, most: int) -> int:
        if self._reach is None:
            return 0
        if self._version != self.graph.version:     # landmarks have other numbers
            self._version, self._checked = self.graph.version, 0
        nodes = range(self._checked, min(self._checked + most, len(self.graph)))
        for node in nodes:
            state = self.graph.states[node]
            self.graph.imagined(node, self._reach(state[None], self.graph.states, self.graph.radius / 2)[0])
        self._checked += len(nodes)
        return len(nodes)

    # ---- leading -------------------------------------------------------------------------------------------------
    @torch.no_grad()
    def lead(self, state: Tensor, goal: Tensor, now_s: float,
             forbidden: Callable[[Tensor], Tensor] | None = None) -> Tensor | None:
        """The subgoal (D,) to go to from `state` (D,); None: to the goal itself. The same tensor while it holds.

        forbidden: which of the states (n, D) no way may pass, (n,) bool.
        """
        state, goal = state.detach().cpu().float(), goal.detach().cpu().float()
        if self._goal is None or not torch.equal(goal, self._goal):
            self.rest()
            self._goal, self._forbidden = goal, forbidden
            self._seek(state, now_s)
        elif self._way is None:
            if now_s >= self._until_s:
                self._seek(state, now_s)
        elif now_s >= self._until_s:
            self._fail()
            self._seek(state, now_s)
        else:
            self._pass(state, now_s)
        return self._subgoal

    def _seek(self, state: Tensor, now_s: float) -> None:
        """Find the way from here, and its first subgoal."""
        n, graph = len(self.graph), self.graph
        entries, exits = np.full(n, np.inf), np.full(n, np.inf)
        self._way, self._subgoal, self._until_s = None, None, now_s + AGAIN_S
        if not n:
            return
        direct = math.inf
        if self._reach is not None:
            near = self._reach(state[None], torch.cat([graph.states, self._goal[None]]), graph.radius / 2)[0]
            entries, direct = near[:-1].astype(float), float(near[-1])
            closest = squared(graph.states, self._goal).argsort()[:CANDIDATES]
            exits[closest.numpy()] = self._reach(graph.states[closest], self._goal[None], graph.radius / 2)[:, 0]
        if math.isfinite(direct) and direct <= AHEAD * self._horizon_s:
            return
        for costs, place in ((entries, state), (exits, self._goal)):
            if not np.isfinite(costs).any():
                costs[graph.nearest(place)[0]] = 0.0
        for node, dearer in self._entry_dearer.items():
            if node < n:
                exits[node] += dearer
        closed = None if self._forbidden is None else self._forbidden(graph.states).cpu().numpy()
        self._way = graph.way(entries, exits, closed)
        self._way_version = graph.version
        if self._way is None:
            return
        if self._way.seconds[-1] <= AHEAD * self._horizon_s and not self._entry_dearer:
            self._way = None        # near: no subgoals
            self._until_s = now_s + SLACK * self._horizon_s
            return
        here = graph.states[self._way.nodes[0]]
        self._aim(int(float(squared(here, state)) <= (graph.radius / 2) ** 2), 0.0, now_s)    # not to where it is

    def _aim(self, index: int, done_s: float, now_s: float) -> None:
        """Take the farthest landmark from way point `index` on that lies ahead no more than the planner sees well."""
        way = self._way
        while index + 1 <= len(way.nodes) and way.seconds[index + 1] - done_s <= AHEAD * self._horizon_s:
            index += 1
        self._index = min(index, len(way.nodes))
        last = self._index == len(way.nodes)
        self._subgoal = None if last else self.graph.states[way.nodes[self._index]].clone()
        ahead_s = way.seconds[self._index] - done_s
        self._until_s = now_s + SLACK * min(ahead_s, 2 * self._horizon_s) + LEAST_S
        self._from_s = done_s

    def _pass(self, state: Tensor, now_s: float) -> None:
        """Go on when the subgoal, or a landmark behind it, is reached: to pass by is enough."""
        way = self._way
        if self.graph.version != self._way_version:
            self._seek(state, now_s)        # the landmarks have other numbers now
            return
        if self._index == len(way.nodes):
            return
        ahead = self.graph.states[list(way.nodes[self._index:])]
        there = (squared(ahead, state) <= (self.graph.radius / 2) ** 2).nonzero()
        if len(there):
            reached = self._index + int(there[-1])
            self._aim(min(reached + 1, len(way.nodes)), way.seconds[reached], now_s)

    def _fail(self) -> None:
        """The subgoal was not reached in time: what led to it gets dearer."""
        way = self._way
        self.failures += 1
        if self._index == len(way.nodes):
            last = way.nodes[-1]
            self._entry_dearer[last] = 3 * self._entry_dearer.get(last, self._horizon_s)
        if self.graph.version != self._way_version:
            return
        for before, after, at_s in zip(way.nodes, way.nodes[1:], way.seconds[1:]):
            if at_s > self._from_s and at_s <= way.seconds[self._index]:
                self.graph.blame(before, after)
        if self._index == 0:
            self._entry_dearer.setdefault(way.nodes[0], 0.0)
