"""Shortest way through a world, to compare driven paths with. Asks the world only where its robot can stand."""
from collections.abc import Callable
import heapq
import itertools
import math

import numpy as np

from jepa_ros.errors import WorldError

Point = tuple[float, float]
LATTICE_M = 0.05        # finer than half the slack of any door a robot is meant to pass
SIGHT_M = 0.02          # spacing of the points checked along a straight line
MOVES = [(i, j) for i, j in itertools.product((-1, 0, 1), repeat=2) if (i, j) != (0, 0)]


def shortest_path(free: Callable[[float, float], bool], start: Point, goal: Point) -> np.ndarray:
    """Polyline (N, 2) from start to goal, start and goal included: A* on a lattice, then pulled tight.

    Within about 2 % of the true shortest path. WorldError where there is no way.
    """
    points = _lattice_path(free, start, goal)
    tight = [points[0]]
    while tight[-1] != points[-1]:
        here = points.index(tight[-1])
        tight.append(next(p for i, p in reversed(list(enumerate(points))) if i == here + 1 or
                          i > here and _in_sight(free, tight[-1], p)))
    return np.array(tight)


def _lattice_path(free: Callable[[float, float], bool], start: Point, goal: Point) -> list[Point]:
    def place(node: tuple[int, int]) -> Point:
        return start[0] + node[0] * LATTICE_M, start[1] + node[1] * LATTICE_M

    came: dict[tuple[int, int], tuple[int, int]] = {}
    cost, queue = {(0, 0): 0.0}, [(math.dist(start, goal), (0, 0))]
    known: dict[tuple[int, int], bool] = {}
    done = set()
    while queue:
        _, node = heapq.heappop(queue)
        if math.dist(place(node), goal) <= LATTICE_M:
            nodes = [node]
            while nodes[-1] in came:
                nodes.append(came[nodes[-1]])
            return [place(n) for n in reversed(nodes)] + [goal]
        if node in done:
            continue
        done.add(node)
        for i, j in MOVES:
            to = node[0] + i, node[1] + j
            if to not in known:
                known[to] = free(*place(to))
            length = cost[node] + LATTICE_M * math.hypot(i, j)
            if known[to] and length < cost.get(to, math.inf):
                cost[to], came[to] = length, node
                heapq.heappush(queue, (length + math.dist(place(to), goal), to))
    raise WorldError(f'there is no way from ({start[0]:.2f}, {start[1]:.2f}) to ({goal[0]:.2f}, {goal[1]:.2f})')


def _in_sight(free: Callable[[float, float], bool], a: Point, b: Point) -> bool:
    count = max(2, math.ceil(math.dist(a, b) / SIGHT_M) + 1)
    return all(free(x, y) for x, y in zip(np.linspace(a[0], b[0], count), np.linspace(a[1], b[1], count)))
