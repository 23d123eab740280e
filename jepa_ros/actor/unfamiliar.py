"""A goal outside what the model has seen is said, not hidden (LeCun §8.2.2: its energy tells)."""
from jepa_ros.cost.cost import Goal
from jepa_ros.world_model.world_model import WorldModel

# A goal in which standing still costs this many times the usual error is not one that the model knows. Goals of the
# shipped agent stay below 2, noise, a covered or overexposed lens and inverted images lie between 2.4 and 280.
UNFAMILIAR = 4.0


def goal_warning(world: WorldModel, goal: Goal | None) -> str:
    """What is odd about a goal that the model does not know, in one line; '' for one that it knows, or none."""
    if goal is None or not goal.levels:
        return ''
    times = world.unfamiliarity(goal.levels[0])
    if times <= UNFAMILIAR:
        return ''
    return (f'the goal is unlike what the model was trained on: its energy is {times:.0f} times the usual one; '
            'check the goal image, the camera and the light, or train on more of this place')
