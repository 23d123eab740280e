"""Monte-Carlo tree search: UCT (Kocsis & Szepesvári 2006) over choices, its leaves evaluated in batches.

A leaf is a path from the root; actions beyond it are drawn at random. Leaves under way count as visits, so that a batch
spreads over the tree (WU-UCT, Liu et al. 2020). A leaf's cost is the share of all plans seen that are better, so the
scale of the energies does not matter, and one that breaks a guardrail costs more than any that does not.
"""
from bisect import bisect_left
from dataclasses import dataclass, field
import math

import torch
from torch import Tensor

from jepa_ros.actor.planners.config import PLANNERS
from jepa_ros.actor.planners.discrete import DiscretePlanner, Sequences

# Weight of UCT's √(ln visits of the parent / visits): costs lie in 0…1.
EXPLORATION = 0.4


@dataclass(slots=True)
class Node:
    """A path from the root; its children are the next action."""

    action: int                 # the choice that leads here
    cost: float                 # what it is judged by; its parent's before one of its leaves is known
    mean: float = 0.0           # of the leaves below that are known
    least: float = math.inf     # of the same
    first: int = 0              # the choice tried first from here; the others follow in turn
    made: int = 0               # children so far
    visits: int = 0             # leaves below, those under way included
    known: int = 0              # of them, those whose cost is known
    children: list['Node'] = field(default_factory=list)    # those with anything left to try

    def learn(self, cost: float) -> None:
        """Half the mean, as UCT has it, half the least: the model is no game of chance, a good plan can be had again.
        """
        self.known += 1
        self.mean += (cost - self.mean) / self.known
        self.least = min(self.least, cost)
        self.cost = (self.mean + self.least) / 2


class Tree:
    """The tree of one problem, C choices over H steps."""

    def __init__(self, choices: int, horizon: int):
        self._choices, self._horizon = choices, horizon
        self.root = Node(-1, 0.5)

    @property
    def closed(self) -> bool:
        """Whether every sequence is tried."""
        return self.root.made == self._choices and not self.root.children

    def grow(self, best: list[int]) -> list[Node]:
        """Adds a leaf; returns the nodes on its path, the root first. `best` (H,): its actions are tried first."""
        node, path = self.root, [self.root]
        for action in best:
            node.visits += 1
            if node.made < self._choices:
                if not node.made:
                    node.first = action
                child = Node((node.first + node.made) % self._choices, node.cost, visits=1)
                node.made += 1
                node.children.append(child)
                path.append(child)
                break
            node = self._choose(node)
            path.append(node)
        if len(path) > self._horizon:
            self._close(path)
        return path

    def _choose(self, node: Node) -> Node:
        reach = EXPLORATION * math.sqrt(math.log(node.visits))
        lowest, chosen = math.inf, node
        for child in node.children:
            bound = child.cost - reach / math.sqrt(child.visits)
            if bound < lowest:
                lowest, chosen = bound, child
        return chosen

    def _close(self, path: list[Node]) -> None:
        """The path is a whole plan: nothing is left to try below it, and maybe below those before it."""
        for parent, node in zip(path[-2::-1], path[:0:-1]):
            parent.children.remove(node)
            if parent.children or parent.made < self._choices:
                return


@dataclass
class Forest(Sequences):
    trees: list[Tree] = field(default_factory=list)             # of each problem
    paths: list[list[list[Node]]] = field(default_factory=list)     # of each problem, of each leaf under way
    seen: list[list[tuple[float, float]]] = field(default_factory=list)     # violation and energy, sorted


@PLANNERS.register('mcts')
class TreeSearch(DiscretePlanner[Forest]):
    """`samples` leaves an iteration."""

    state = Forest

    def sequences(self, state: Forest) -> Tensor:
        batch, horizon = state.first.shape
        if not state.trees:
            state.trees = [Tree(len(state.choices), horizon) for _ in range(batch)]
            state.seen = [[] for _ in range(batch)]
        state.paths = [self._leaves(tree, best) for tree, best in zip(state.trees, state.best.tolist())]
        count = max(len(paths) for paths in state.paths)
        drawn = torch.randint(len(state.choices), (batch, count, horizon), device=state.first.device,
                              generator=state.start.generator)
        known = torch.tensor([[[node.action for node in path[1:]] + [-1] * (horizon + 1 - len(path)) for path in paths]
                              + [[-1] * horizon] * (count - len(paths)) for paths in state.paths], device=drawn.device)
        return torch.where(known < 0, drawn, known)

    def _leaves(self, tree: Tree, best: list[int]) -> list[list[Node]]:
        paths: list[list[Node]] = []
        while len(paths) < self.config.samples and not tree.closed:
            paths.append(tree.grow(best))
        return paths

    def judge(self, state: Forest, energy: Tensor, violation: Tensor, order: Tensor) -> None:
        plans = [list(zip(*both)) for both in zip(violation.tolist(), energy.tolist())]
        for seen, paths, new in zip(state.seen, state.paths, plans):
            seen.extend(new)
            seen.sort()
            for path, plan in zip(paths, new):
                cost = bisect_left(seen, plan) / len(seen)
                for node in path:
                    node.learn(cost)

    def exhausted(self, state: Forest) -> bool:
        return all(tree.closed for tree in state.trees)
