"""Executable `agent`: the six organs in one process, with one copy of the weights and one executor (design §3).

Names, topics, parameters and lifecycle are those of the separate executables.
"""
import sys

from ..actor.node import ActorNode
from ..configurator.node import ConfiguratorNode
from ..cost.node import CostNode
from ..memory.node import MemoryNode
from ..perception.node import PerceptionNode
from ..world_model.node import WorldModelNode
from .organ_node import AgentSource, OrganNode
from .process import run

NODES: tuple[type[OrganNode], ...] = (
    PerceptionNode, ActorNode, WorldModelNode, CostNode, MemoryNode, ConfiguratorNode)


def organs() -> list[OrganNode]:
    """Make the six nodes; the first to be configured loads the agent, the others share it."""
    source = AgentSource()
    return [node(source) for node in NODES]


def main(args: list[str] | None = None) -> int:
    """Entry point of the executable."""
    return run(organs, args)


if __name__ == '__main__':
    sys.exit(main())
