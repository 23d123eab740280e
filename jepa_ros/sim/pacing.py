"""Simulated time against wall time. No ROS here; the `sim` node uses it."""


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
