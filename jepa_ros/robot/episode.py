"""One recorded episode as arrays on the control grid: what training and evaluation read.

Row `t` holds the percept at `stamps_ns[t]`, the readouts at that moment, and the action applied from then on.
"""
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Episode:
    """T control steps of one robot, start and end included.

    Raises `ValueError` when the arrays disagree about T.
    """

    episode_id: str
    source: str                        # path of the bag it was read from
    stamps_ns: np.ndarray              # (T,) int64, strictly increasing ticks
    percepts: dict[str, np.ndarray]    # observation key -> (T, *shape of its tensor_spec), e.g. (T, H, W, 3) uint8
    actions: np.ndarray                # (T, A) float32 in the contract's units, applied over [t, t + 1)
    readouts: np.ndarray               # (T, R) float32, units in the contract's readout names
    valid: dict[str, np.ndarray] = field(default_factory=dict)   # observation key -> (T,) bool; False: percept is 0

    def __post_init__(self):
        steps = len(self.stamps_ns)
        everywhere = {key: np.ones(steps, bool) for key in self.percepts}
        object.__setattr__(self, 'valid', everywhere | self.valid)
        for name, rows in [('actions', self.actions), ('readouts', self.readouts), *self.percepts.items(),
                           *((f'valid {key}', rows) for key, rows in self.valid.items())]:
            if len(rows) != steps:
                raise ValueError(f'episode {self.episode_id}: {name} has {len(rows)} rows, stamps_ns has {steps}')

    def __len__(self) -> int:
        return len(self.stamps_ns)
