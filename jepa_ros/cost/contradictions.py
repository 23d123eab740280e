"""Goals that cannot be reached, refused before the robot sets off: contradictory ones, and what guardrails forbid."""
from collections.abc import Iterator, Mapping, Sequence

from jepa_ros.cost.context import Region
from jepa_ros.errors import CostError
from jepa_ros.robot.drives import Drives

EXCLUDING = 1.0     # standard deviations of training between two values of a readout that cannot both be meant
# What a goal state reads out is an estimate: it may be this much inside of a region (in radii), or beyond a limit (in
# standard deviations).
ESTIMATED = 0.05


def refuse(asked: Mapping[str, float], read: Sequence[Mapping[str, float]], spread: Mapping[str, float],
           regions: Sequence[Region], drives: Drives | None) -> None:
    """CostError names both of what contradicts each other.

    asked: values of readouts; read: what each goal state reads out; spread: standard deviation of each readout.
    """
    for values in read:
        for name, wanted in asked.items():
            if abs(values[name] - wanted) > EXCLUDING * spread[name]:
                raise CostError(f'the goal state reads {name} = {values[name]:.4g}, but asked is also {name} = '
                                f'{wanted:g}: they exclude each other, give one of them')
        _allowed('the goal state', values, spread, regions, drives, ESTIMATED)
    _allowed('the goal', asked, spread, regions, drives, 0.0)


def _allowed(what: str, values: Mapping[str, float], spread: Mapping[str, float], regions: Sequence[Region],
             drives: Drives | None, margin: float) -> None:
    for number, region in enumerate(regions, 1):
        # where a goal state has what moves, it was when the state was; a goal in values means what it says
        if margin and any(isinstance(value, str) for value in region.centre.values()):
            continue
        distance = _distance(values, region)
        if distance is not None and distance < 1 - margin:
            raise CostError(f'{what} ({_said(values, region.centre)}) lies inside region {number} to avoid (centre '
                            f'{_said(region.centre)}, radius {region.radius:g}): change one of them')
    for kind, name, low, high in _forbidden(drives):
        slack = margin * spread[name] if name in values else 0.0
        if name in values and not low - slack <= values[name] <= high + slack:
            raise CostError(f'{what} ({name} = {values[name]:.4g}) lies outside {low:g} … {high:g}, drives.{kind} of '
                            f'the robot contract for {name}: change one of them')


def _distance(values: Mapping[str, float], region: Region) -> float | None:
    """From the centre, in radii; None where the values do not say."""
    total = 0.0
    for name, centre in region.centre.items():
        if name not in values or isinstance(centre, str) and centre not in values:
            return None
        total += (values[name] - (values[centre] if isinstance(centre, str) else centre)) ** 2
    return total ** 0.5 / region.radius


def _forbidden(drives: Drives | None) -> Iterator[tuple[str, str, float, float]]:
    """Kind, readout, least and largest value of each guardrail of the robot."""
    for kind in ('collision', 'limits') if drives else ():
        for each in getattr(drives, kind):
            yield (kind, each.readout, float('-inf') if each.low is None else each.low,
                   float('inf') if each.high is None else each.high)


def _said(values: Mapping[str, float | str], names: Mapping[str, object] | None = None) -> str:
    return ', '.join(f'{name} = {value if isinstance(value, str) else format(value, ".4g")}'
                     for name, value in values.items() if names is None or name in names)
