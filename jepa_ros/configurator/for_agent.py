"""The configurator of an agent: its tasks, eyes for what they show, and landmarks for what is far."""
from jepa_ros.configurator.configurator import Configurator
from jepa_ros.configurator.goals import Shown
from jepa_ros.configurator.landmarks import LandmarkGraph
from jepa_ros.configurator.subgoals import Guide, Imagined
from jepa_ros.configurator.tasks import load_tasks, own_names

# Landmarks lie this many goal tolerances (as distances, not squared) apart: far enough to be few, nearer than a wall
# with a robot on either side of it is thick.
APART = 2.5
IMAGINED_STEPS = 20     # control steps that are imagined around a landmark


def configurator_for(agent, goal_tolerance: float, tasks: str = '') -> Configurator:
    """`tasks`: a file or folder of the user's own. ConfigError or CostError in one line where one cannot be."""
    world = agent.world_model
    planners = agent.card.planner_settings()
    top = min(len(planners), world.levels) - 1
    around_s = IMAGINED_STEPS * world.control_period_s
    horizon_s = planners[top].horizon * world.step_period_s(top) if planners else around_s
    guide = Guide(LandmarkGraph(world.model.config.dim, APART * goal_tolerance ** 0.5), horizon_s,
                  Imagined(world, around_s))
    made = Configurator(agent.cost, load_tasks(tasks), goal_tolerance, Shown(agent), guide,
                        world.model.config.perception.token_names)
    for name in own_names(tasks):
        made.check(name)
    return made
