"""What terms of the cost may look at besides states and actions: goals, regions, ranges of readouts, the model."""
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from jepa_ros.world_model.ensemble import Ensemble
from jepa_ros.world_model.jepa import JEPA


@dataclass(frozen=True)
class Goal:
    """What to reach: a state at every level, or values of readouts (in the units of their names), or both."""

    levels: tuple[Tensor, ...] = ()                 # each (D_l,)
    readouts: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Region:
    """A ball of states to keep out of, in the units of its readouts.

    `centre` gives for each readout a value, or the name of another readout: what moves is kept away from.
    """

    centre: Mapping[str, float | str]
    radius: float


@dataclass(frozen=True)
class Bounds:
    """Regions as tensors. R readouts, G regions."""

    chosen: Tensor      # (G, R) 1 where a readout counts, else 0
    centre: Tensor      # (G, R) values
    moving: Tensor      # (G, R, R) one-hot: the readout that a readout is compared with, where there is one
    radius: Tensor      # (G,)
    mean: Tensor        # (R,) of the readouts in training
    std: Tensor         # (R,)


@dataclass(frozen=True)
class Ranges:
    """Values between which K of the R readouts are as they should be, in the readouts' own units."""

    index: Tensor       # (K,) which readout
    low: Tensor         # (K,) −inf where there is no lower end
    high: Tensor        # (K,) inf where there is no upper end
    unit: Tensor        # (K,) how far beyond counts as 1
    mean: Tensor        # (R,) of the readouts in training
    std: Tensor         # (R,)


@dataclass(frozen=True)
class Program:
    """A demonstration to follow, at one level."""

    states: Tensor      # (T, D), one per control step
    stride: int         # control steps that one predicted step spans


@dataclass(frozen=True)
class Remembered:
    """States that are not new any more, at one level."""

    states: Tensor      # (M, D)
    unit: Tensor        # () squared distance from the nearest of them at which novelty counts as 1


@dataclass(frozen=True)
class Context:
    """What terms may look at besides states and actions. A term whose part is None is 0."""

    goal_state: Tensor | None                       # (..., 1, D), broadcast over steps
    goal_readouts: Tensor | None                    # (R,) standardised, NaN where nothing is asked
    readouts: Callable[[Tensor], Tensor]            # states (..., D) -> standardised readouts (..., R)
    previous_action: Tensor | None = None           # (A,) in −1…1, the action in force before the first step
    bounds: Bounds | None = None                    # regions that are forbidden
    soft: Bounds | None = None                      # regions that are unpleasant
    clearance: Ranges | None = None                 # distances to obstacles
    contacts: Ranges | None = None                  # beyond which something is touched
    ranges: Ranges | None = None                    # limits of joints, speeds and the like
    battery: Ranges | None = None
    program: Program | None = None
    remembered: Remembered | None = None
    dynamics: JEPA | None = None                    # the world model at the level of the states
    start: Tensor | None = None                     # (..., 1, D), the state before the first step
    moves: Tensor | None = None                     # (..., T, A_l), what the predictor was given at each step

    @property
    def doubt(self) -> JEPA | None:
        """The world model where it can say how much its members disagree about the steps."""
        several = self.dynamics is not None and isinstance(self.dynamics.predictor, Ensemble)
        return self.dynamics if several and self.moves is not None else None

    @property
    def novelty(self) -> JEPA | Remembered | None:
        """What can say how new a state is."""
        return self.doubt or self.remembered
