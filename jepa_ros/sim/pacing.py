"""Simulated time against wall time. No ROS here; the `sim` node uses it."""
from jepa_ros.errors import ConfigError
from jepa_ros.sim.worlds.base import World

CLOCK_RATE_HZ = 50   # or the next lower one that the world's steps allow
SECOND_NS = 10**9


def substep_ns(world: World, rate_hz: int) -> int:
    """Nanoseconds between two clock messages: whole physics steps, a whole number of them in a control period.

    `rate_hz` 0 chooses. ConfigError lists the rates that the world allows.
    """
    period_s, period_ns = world.control_period_s, round(world.control_period_s * SECOND_NS)
    steps = round(period_s / world.physics_step_s)
    allowed = {round(n / period_s, 6): n for n in range(1, steps + 1) if steps % n == 0 and period_ns % n == 0}
    rate = rate_hz or max((r for r in allowed if r <= CLOCK_RATE_HZ), default=min(allowed))
    if rate not in allowed:
        raise ConfigError(f'parameter clock_rate_hz = {rate_hz}: must be one of '
                          f'{", ".join(f"{r:g}" for r in allowed)}, or 0')
    return period_ns // allowed[rate]


class Pacer:
    """Tells when a moment of simulated time is due on the wall clock.

    Deadlines are absolute, counted from one start, so that lateness of single steps does not add up to drift. Only a
    lag of more than `max_lag_s` (a suspended or overloaded machine) moves the start; `lost_s` adds these lags up.
    """

    def __init__(self, factor: float, sim_ns: int, now_s: float, max_lag_s: float = 0.25):
        self.max_lag_s = max_lag_s
        self.lost_s = 0.0
        self.restart(factor, sim_ns, now_s)

    def restart(self, factor: float, sim_ns: int, now_s: float) -> None:
        """From now on simulated time runs `factor` (> 0) times as fast as the wall clock."""
        self.factor, self._sim_ns, self._start_s = factor, sim_ns, now_s

    def due_s(self, sim_ns: int, now_s: float) -> float:
        """Wall time (s, of the clock that gave `now_s`) at which simulated time `sim_ns` is to be reached."""
        due_s = self._start_s + (sim_ns - self._sim_ns) * 1e-9 / self.factor
        lag_s = now_s - due_s
        if lag_s > self.max_lag_s:
            self.lost_s += lag_s
            self._start_s += lag_s
            due_s = now_s
        return due_s
