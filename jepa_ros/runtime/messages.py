"""The organs' values as messages and back. The only place where tensors meet the wire.

Messages are filled with `frombytes` and read with `numpy.frombuffer`: lists would cost milliseconds.
Every reading function checks shape, type and finiteness, and raises ContractError naming the field.
"""
from collections.abc import Mapping, Sequence
import math

from builtin_interfaces.msg import Time
import numpy as np

from ..errors import ContractError
from ..msg import Action, Configuration, Energy, EnergyTerm, Plan, Prediction, Region, State, Tensor

DTYPES = ('float32', 'float64', 'int8', 'int16', 'int32', 'int64', 'uint8', 'uint16', 'uint32', 'uint64', 'bool')
SPEED = 'actor.speed'   # among the modulation: the share of the range of the robot's actions that may be used


def tensor_message(values) -> Tensor:
    """Pack a numpy array or a torch tensor of any shape. Raises ContractError for another dtype than DTYPES."""
    array = _array(values)
    if array.dtype.name not in DTYPES:
        raise ContractError(f'a Tensor message cannot carry {array.dtype.name}; it can carry {", ".join(DTYPES)}')
    little_endian = np.asarray(array, dtype=array.dtype.newbyteorder('<'), order='C')
    message = Tensor(dtype=array.dtype.name, shape=[int(n) for n in array.shape])
    message.data.frombytes(little_endian.tobytes())
    return message


def tensor_array(message: Tensor, field: str, shape: Sequence[int | None] | None = None,
                 finite: bool = True) -> np.ndarray:
    """Unpack without a copy (read-only). `shape` may hold None for a free length.

    Raises ContractError naming `field` for an unknown dtype, data that do not fill the shape, another shape, or
    (with `finite`) NaN and infinity.
    """
    if message.dtype not in DTYPES:
        raise ContractError(f"{field}: dtype '{message.dtype}' is unknown; use one of {', '.join(DTYPES)}")
    dtype = np.dtype(message.dtype).newbyteorder('<')
    dims = tuple(int(n) for n in message.shape)
    expected = math.prod(dims) * dtype.itemsize
    if len(message.data) != expected:
        raise ContractError(f'{field}: {len(message.data)} bytes, but shape {dims} of {message.dtype} needs {expected}')
    if shape is not None and (len(dims) != len(shape) or any(w is not None and w != n for w, n in zip(shape, dims))):
        wanted = ', '.join('any' if n is None else str(n) for n in shape)
        raise ContractError(f'{field}: shape {dims}, expected ({wanted})')
    array = np.frombuffer(message.data, dtype).reshape(dims)
    if finite and array.dtype.kind == 'f' and not np.isfinite(array).all():
        raise ContractError(f'{field}: holds NaN or infinity')
    return array


def time_message(stamp_ns: int) -> Time:
    """Nanoseconds as a Time message."""
    seconds, nanoseconds = divmod(int(stamp_ns), 10**9)
    return Time(sec=seconds, nanosec=nanoseconds)


def named(names: Sequence[str], values: Sequence[float], field: str) -> dict[str, float]:
    """Pair the names and values of a message. Raises ContractError for different lengths or a non-finite value."""
    if len(names) != len(values):
        raise ContractError(f'{field}: {len(names)} names but {len(values)} values')
    for name, value in zip(names, values):
        if not math.isfinite(value):
            raise ContractError(f'{field}: {name} is {value}')
    return dict(zip(names, (float(v) for v in values)))


# ---- state and goal --------------------------------------------------------------------------------------------
def state_message(state, model_id: str, header) -> State:
    """Pack an EncodedState under the header of its percept."""
    return State(
        header=header, model_id=model_id, levels=[tensor_message(level) for level in state.levels],
        readout_names=list(state.readouts), readout_values=[float(v) for v in state.readouts.values()])


def encoded_state(message: State, model_id: str, device: str = 'cpu'):
    """Unpack a State. Raises ContractError when another model encoded it."""
    from ..perception.perception import EncodedState
    if message.model_id != model_id:
        raise ContractError(f"state: encoded by model '{message.model_id}', but this node runs '{model_id}'; "
                            'start all organs with the same checkpoint')
    levels = tuple(torch_tensor(level, f'state.levels[{i}]', (None,), device) for i, level in enumerate(message.levels))
    return EncodedState(levels=levels, readouts=named(message.readout_names, message.readout_values, 'state.readouts'))


def torch_tensor(message: Tensor, field: str, shape: Sequence[int | None], device: str = 'cpu'):
    """Unpack as a float32 torch tensor, copied; checks as `tensor_array`."""
    import torch
    return torch.tensor(tensor_array(message, field, shape), dtype=torch.float32, device=device)


def fill_goal(message: Configuration, goal) -> None:
    """Write a Goal, or None, into a Configuration."""
    message.goal = [tensor_message(level) for level in goal.levels] if goal else []
    message.goal_readout_names = list(goal.readouts) if goal else []
    message.goal_readout_values = [float(v) for v in goal.readouts.values()] if goal else []


def configured_goal(message: Configuration, device: str = 'cpu'):
    """Read the Goal out of a Configuration; None where it has none."""
    from ..cost.cost import Goal
    levels = tuple(torch_tensor(t, f'configuration.goal[{i}]', (None,), device) for i, t in enumerate(message.goal))
    readouts = named(message.goal_readout_names, message.goal_readout_values, 'configuration.goal_readouts')
    return Goal(levels=levels, readouts=readouts) if levels or readouts else None


def configured_weights(message: Configuration) -> dict[str, float]:
    """Read the weights out of a Configuration."""
    return named(message.weight_names, message.weights, 'configuration.weights')


def fill_regions(message: Configuration, regions) -> None:
    """Write regions to keep out of into a Configuration."""
    message.avoid = [_region(region) for region in regions]


def configured_regions(message: Configuration):
    """Read the regions to keep out of, a tuple, out of a Configuration."""
    return _regions(message.avoid, 'avoid')


def fill_configuration(message: Configuration, settings) -> None:
    """Write what the cost and perception need of a configurator's `Settings` into a Configuration."""
    message.part = settings.part
    message.weight_names, message.weights = mapping_fields(settings.weights)
    fill_goal(message, settings.goal)
    fill_regions(message, settings.regions)
    message.discomfort = [_region(region) for region in settings.discomforts]
    if settings.program is not None:
        message.program = tensor_message(settings.program)
    speed = {SPEED: settings.speed} if settings.speed < 1 else {}
    message.modulation_names, message.modulation = mapping_fields({**settings.modulation, **speed})


def configured_cost(message: Configuration, device: str = 'cpu') -> dict:
    """What a Configuration says to the cost, as keywords of `Cost.make_settings`; only what is there."""
    said = {'goal': configured_goal(message, device), 'weights': configured_weights(message),
            'regions': configured_regions(message)}
    if message.discomfort:
        said['discomfort'] = _regions(message.discomfort, 'discomfort')
    if message.program.shape:
        said['program'] = torch_tensor(message.program, 'configuration.program', (None, None), device)
    modulation = _modulation(message)
    if SPEED in modulation:
        said['speed'] = modulation.pop(SPEED)
    if modulation:
        said['modulation'] = modulation
    return said


def configured_modulation(message: Configuration) -> dict[str, float]:
    """Read the task token out of a Configuration, by name."""
    return {name: value for name, value in _modulation(message).items() if name != SPEED}


def _modulation(message: Configuration) -> dict[str, float]:
    return named(message.modulation_names, message.modulation, 'configuration.modulation')


def _region(region) -> Region:
    return Region(names=list(region.centre), radius=float(region.radius),
                  centre=[0.0 if isinstance(value, str) else float(value) for value in region.centre.values()],
                  follows=[value if isinstance(value, str) else '' for value in region.centre.values()])


def _regions(messages: Sequence[Region], which: str):
    from ..cost.cost import Region as Kept
    regions = []
    for number, region in enumerate(messages):
        field = f'configuration.{which}[{number}]'
        centre: dict[str, float | str] = dict(named(region.names, region.centre, field))
        if len(region.follows) != len(region.names):
            raise ContractError(f'{field}: {len(region.names)} names but {len(region.follows)} of what they follow')
        centre |= {name: other for name, other in zip(region.names, region.follows) if other}
        regions.append(Kept(centre, region.radius))
    return tuple(regions)


# ---- what the organs say ---------------------------------------------------------------------------------------
def prediction_message(imagination, header, model_id: str, level: int, step_period_s: float,
                       surprise: float = math.nan) -> Prediction:
    """Pack an Imagination: predicted states (H, D), readouts (H, R) and latents (H, Z)."""
    return Prediction(
        header=header, model_id=model_id, level=level, step_period=step_period_s, horizon=len(imagination.states),
        states=tensor_message(imagination.states), latents=tensor_message(imagination.latents),
        readouts=tensor_message(imagination.readouts), surprise=float(surprise))


def energy_message(report, header, subject: int, plan_id: int = 0) -> Energy:
    """Pack an EnergyReport term by term; per step (terms, T), unweighted."""
    steps = [_array(term.per_step) for term in report.terms]
    return Energy(
        header=header, subject=subject, plan_id=plan_id, total=float(report.total),
        per_step=tensor_message(np.stack(steps).astype(np.float32) if steps else np.zeros((0, 0), np.float32)),
        terms=[EnergyTerm(name=t.name, intrinsic=t.intrinsic, guardrail=t.guardrail, weight=float(t.weight),
                          value=float(t.value)) for t in report.terms])


def intrinsic_energy(message: Energy) -> float:
    """Weighted sum over the intrinsic terms, Σ u·IC (LeCun §3.2): what memory keeps and the critic learns."""
    return sum(term.weight * term.value for term in message.terms if term.intrinsic)


def intrinsic_energy_per_step(message: Energy) -> np.ndarray:
    """The same for each step of a plan, (T,)."""
    per_step = tensor_array(message.per_step, 'energy.per_step', (len(message.terms), None))
    weights = np.array([term.weight if term.intrinsic else 0.0 for term in message.terms])
    return weights @ per_step


def action_message(values, names: Sequence[str], header, state_stamp: Time, plan_id: int, mode: int,
                   versions: Mapping[str, int] | None = None) -> Action:
    """Pack the action (A,), SI units; `versions`: of the learned weights in force, by organ."""
    return Action(header=header, state_stamp=state_stamp, plan_id=plan_id, mode=mode, names=list(names),
                  values=[float(v) for v in values], **version_fields(versions))


def version_fields(versions: Mapping[str, int] | None) -> dict[str, int]:
    """Versions by organ as the fields of Action and Plan."""
    return {f'{organ}_version': int(version) for organ, version in (versions or {}).items()}


def plan_message(decision, names: Sequence[str], header, state_stamp: Time, plan_id: int, latency_ms: float,
                 budget_ms: float, versions: Mapping[str, int] | None = None) -> Plan:
    """Pack a Decision: actions (H, A) and, per level below the top, subgoals (n, D); `versions` as for an action."""
    return Plan(
        header=header, state_stamp=state_stamp, plan_id=plan_id, mode=int(decision.mode), action_names=list(names),
        actions=tensor_message(np.asarray(decision.actions, np.float32)),
        subgoals=[tensor_message(level) for level in decision.subgoals],
        energies=[float(e) for e in decision.energies], samples=[int(n) for n in decision.samples],
        iterations=[int(n) for n in decision.iterations], latency_ms=float(latency_ms), budget_ms=float(budget_ms),
        deadline_hit=bool(decision.deadline_hit), degradation=decision.degradation or '', why=decision.why,
        **version_fields(versions))


def mapping_fields(values: Mapping[str, float]) -> tuple[list[str], list[float]]:
    """Split a mapping into the names and values of a message."""
    return list(values), [float(v) for v in values.values()]


def _array(values) -> np.ndarray:
    if hasattr(values, 'detach'):
        values = values.detach().cpu().numpy()
    return np.asarray(values)
