"""A made-up tape of one pursuit in two_rooms: straight through the door in 3 s."""
import numpy as np

from jepa_ros.evaluation.tape import Pursuit, Tape

PERIOD_NS = 100_000_000
BEGIN_NS = 5_000_000_000
STEPS = 31
GOAL = (0.9, 0.0)


def pursuit(**changes) -> Pursuit:
    values = {'index': 0, 'values': {'start_x_m': -0.9, 'start_y_m': 0.0, 'door_y_m': 0.0}, 'goal': GOAL,
              'first_ns': BEGIN_NS, 'last_ns': BEGIN_NS + (STEPS - 1) * PERIOD_NS, 'error': 'NONE',
              'message': 'reached', 'elapsed_s': 3.0, 'distance_m': 0.05, 'collisions': 1}
    return Pursuit(**(values | changes))


def tape() -> Tape:
    out = Tape(active_s=[(99.95, 103.15)])
    for step, x in enumerate(np.linspace(-0.9, 0.85, STEPS)):
        stamp = BEGIN_NS + step * PERIOD_NS
        out.poses[stamp] = (float(x), 0.0)
        out.percept_s[stamp] = 100 + step / 10
        out.action_s[stamp] = 100 + step / 10 + 0.03
        out.plan_ms[stamp], out.mode[stamp] = 25.0, 2
        out.energy[stamp] = {'goal': float((x - 0.9) ** 2), 'effort': 0.0}
        out.plan_energy[stamp] = {'goal': float((x - 0.9) ** 2) * 8, 'effort': 0.01}
        out.surprise[stamp] = 1.0
        out.imagined[stamp, 0] = np.array([[x + 0.05 * k, 0] for k in range(1, 9)])
        out.imagined[stamp, 1] = np.array([[x + 0.4, 0], [x + 0.8, 0]])
    return out
