"""From a joystick's axes, or keys that imitate one, to the actions of a robot contract. Pure."""
from collections.abc import Sequence

import numpy as np

from ..errors import ConfigError
from .contract import RobotContract

DEADZONE = 0.05         # of an axis: a stick that is let go does not stand exactly at 0
STEP = 0.25             # of an axis, for one press of a key
KEY_AXES = {'up': (1, 1.0), 'down': (1, -1.0), 'left': (0, 1.0), 'right': (0, -1.0)}  # as sensor_msgs/Joy has them
HELP = 'arrows drive, space stops'


def axes_from(text: str) -> list[tuple[int, float]]:
    """`1,0,-3` -> [(axis, sign)] of the contract's first action numbers: axis 1, axis 0, axis 3 the other way round."""
    out = []
    for entry in filter(None, (part.strip() for part in text.split(','))):
        number = entry.lstrip('+-')
        if not number.isdecimal():
            raise ConfigError(f'parameter axes: {entry!r} is no number of an axis; give for example 1,0')
        out.append((int(number), -1.0 if entry.startswith('-') else 1.0))
    if not out:
        raise ConfigError('parameter axes is empty: give the axes of the first action numbers, for example 1,0')
    return out


class Sticks:
    """Actions (A,) in SI units from axes in −1…1."""

    def __init__(self, contract: RobotContract, axes: Sequence[tuple[int, float]]):
        self._low, self._high = contract.action_low, contract.action_high
        if len(axes) > len(self._low):
            raise ConfigError(f'parameter axes names {len(axes)} axes, robot {contract.name} has only {len(self._low)} '
                              f'action numbers ({", ".join(contract.action_names)})')
        self._axes = list(axes)
        # Where 0 is out of reach, and for what holds its value, the middle of the range is where a stick at rest is.
        self._rest = np.where((self._low <= 0) & (self._high >= 0), 0.0, (self._low + self._high) / 2)

    def action(self, axes: Sequence[float]) -> np.ndarray:
        """An axis at 1 is the upper limit, at −1 the lower one; an axis the joystick does not have is at rest."""
        out = self._rest.copy()
        for index, (axis, sign) in enumerate(self._axes):
            value = sign * float(axes[axis]) if axis < len(axes) else 0.0
            if not abs(value) > DEADZONE:       # NaN is at rest too
                continue
            value = float(np.clip(value, -1.0, 1.0))
            limit = self._high[index] if value > 0 else self._low[index]
            out[index] = self._rest[index] + abs(value) * (limit - self._rest[index])
        return out

    def rest(self) -> np.ndarray:
        """The action of a joystick that is let go."""
        return self._rest.copy()


class KeyStick:
    """Keys as a joystick: an arrow moves an axis by a step and leaves it there, space lets go."""

    def __init__(self):
        self.axes = [0.0, 0.0]

    def press(self, key: str) -> bool:
        """Take a key; False when it means nothing here."""
        if key == ' ':
            self.axes = [0.0, 0.0]
            return True
        if key not in KEY_AXES:
            return False
        axis, sign = KEY_AXES[key]
        self.axes[axis] = round(min(max(self.axes[axis] + sign * STEP, -1.0), 1.0), 6)
        return True
