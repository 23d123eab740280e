"""An agent from an imported LeWM: its encoder and predictor as level 0, for a robot with one camera.

What no LeWM checkpoint holds must be said: the mean and standard deviation of its training actions. What it does not
have stays untrained: policy and critic; there are no readouts, and one level.
"""
from collections.abc import Sequence
import dataclasses
from pathlib import Path

import numpy as np
import torch

from jepa_ros import checkpoint
from jepa_ros.actor.planners import PlannerConfig
from jepa_ros.agent import Agent
from jepa_ros.configurator.for_agent import configurator_for
from jepa_ros.errors import ConfigError
from jepa_ros.interop.lewm import LeWM
from jepa_ros.perception.config import PerceptionConfig, SensorConfig
from jepa_ros.robot.adapters import tensor_spec
from jepa_ros.robot.contract import Observation, RobotContract
from jepa_ros.training.calibrate import goal_tolerance
from jepa_ros.training.data import EpisodeSet
from jepa_ros.training.states import encode_all
from jepa_ros.world_model.hjepa import LevelConfig, ModelConfig

# Five steps, as LeWM plans; of its search (300 samples, 30 times) a thirtieth, which a CPU can do.
PLANNER = PlannerConfig(method='cem', samples=64, iterations=4, horizon=5, elites=8, correlation=0.0)


@dataclasses.dataclass(frozen=True)
class ActionStatistics:
    """Mean and standard deviation (A,) of the actions a model was trained on, in the units of the contract."""

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def of(cls, mean: Sequence[float], std: Sequence[float], actions: int) -> 'ActionStatistics':
        """Checked; one number counts for all actions. `ConfigError` in one line."""
        made = {}
        for name, values in (('mean', mean), ('std', std)):
            found = np.asarray(values, np.float64).reshape(-1)
            if found.size not in (1, actions) or not np.isfinite(found).all() or (name == 'std' and (found <= 0).any()):
                raise ConfigError(f'action {name} {list(values)}: give {actions} numbers, one for each action of the '
                                  'contract, or one for all; deviations above 0')
            made[name] = np.broadcast_to(found, (actions,)).copy()
        return cls(made['mean'], made['std'])

    @classmethod
    def measured(cls, path: str | Path, actions: int) -> 'ActionStatistics':
        """Of the actions (N, A) in a `.npy` file, or in the column `action` of a LeWM dataset (HDF5).

        Rows with NaN, the ends of episodes, are left out, as LeWM's training does.
        """
        values = _actions(Path(path))
        if values.ndim != 2 or values.shape[1] != actions:
            raise ConfigError(f'{path}: actions have shape {values.shape}: expected (N, {actions}), the actions of the '
                              'contract')
        values = values[~np.isnan(values).any(1)].astype(np.float64)
        if len(values) < 2:
            raise ConfigError(f'{path}: holds {len(values)} actions: give those the model was trained on')
        return cls.of(values.mean(0).tolist(), values.std(0).tolist(), actions)


def make_agent(lewm: LeWM, contract: RobotContract, statistics: ActionStatistics, name: str) -> Agent:
    """An agent whose level 0 is the LeWM. `ConfigError` in one line where model and contract do not fit.

    Its goal tolerance is a guess, and surprise has no unit, until it is calibrated.
    """
    camera, repeat = _camera(lewm, contract), _repeat(lewm, contract)
    config = ModelConfig(
        perception=PerceptionConfig(dim=lewm.dim, sensors={
            camera.key: SensorConfig(encoder='lewm_vit', options=lewm.encoder)}),
        action_dim=len(contract.action_names), readouts=0, levels=(_level(lewm, repeat),))
    agent = Agent.create(contract, name=name, config=config, planners=(PLANNER,))
    model = agent.networks.world_model
    encoder, predictor = model.encoder.encoder(camera.key), model.levels[0].predictor
    ours = {'mean': encoder.mean, 'std': encoder.std}
    encoder.load_state_dict(lewm.encoder_state | ours)
    predictor.load_state_dict(lewm.predictor_state | _scaling(contract, statistics))
    agent.card = agent.card.model_copy(update={
        'normalisation': {'image_mean': encoder.mean.flatten().tolist(), 'image_std': encoder.std.flatten().tolist(),
                          'action_mean': statistics.mean.tolist(), 'action_std': statistics.std.tolist()}})
    return agent


@torch.no_grad()
def calibrate(agent: Agent, data: EpisodeSet, radius: float, batch: int = 64) -> None:
    """Measure on the robot's own episodes what near (a goal) and usual (a step) are in the states of the model.

    `radius` is in the unit of the contract's readouts; without readouts, near is what one step moves.
    """
    model = agent.networks.world_model
    s = encode_all(model, data, batch)
    index = data.all_windows(2, 1)
    energies = [model.levels[0].energy(s[rows[:, 0]], data.actions[rows[:, 0]], s[rows[:, 1]])
                for rows in index.split(batch)]
    model.levels[0].typical_error.copy_(torch.cat(energies).mean())
    tolerance = goal_tolerance(data, s, radius)
    agent.configurator = configurator_for(agent, tolerance)
    agent.card = agent.card.model_copy(update={'goal_tolerance': tolerance, 'bags': data.bags})


def save_imported(agent: Agent, folder: str | Path, source: str | Path, command: str = '') -> None:
    """Write the checkpoint; its card says which file it came from."""
    source = Path(source)
    agent.card = agent.card.model_copy(update={
        'commands': [command] if command else [],
        'training': {'imported_from': source.name, 'imported_sha256': checkpoint.sha256(source),
                     'untrained': ['policy', 'critic']}})
    agent.save(folder)


def _level(lewm: LeWM, repeat: int) -> LevelConfig:
    options = {key: value for key, value in lewm.predictor.items() if key not in ('width', 'depth')}
    return LevelConfig(predictor='lewm', width=lewm.predictor['width'], depth=lewm.predictor['depth'],
                       options=options | {'repeat': repeat})


def _camera(lewm: LeWM, contract: RobotContract) -> Observation:
    """The one observation, a camera of as many colours."""
    if len(contract.observations) != 1:
        raise ConfigError(f'robot {contract.name!r} has the observations '
                          f'{", ".join(o.key for o in contract.observations)}: LeWM sees one camera; write a contract '
                          'with that one alone')
    spec = tensor_spec(contract.observations[0])
    if spec.dtype != np.uint8 or len(spec.shape) != 3 or spec.shape[2] != lewm.inputs:
        raise ConfigError(f'observation {contract.observations[0].key!r} of robot {contract.name!r} has shape '
                          f'{tuple(spec.shape)}: this LeWM sees images (H, W, {lewm.inputs})')
    return contract.observations[0]


def _repeat(lewm: LeWM, contract: RobotContract) -> int:
    """Steps of its training for which an action is held."""
    actions = len(contract.action_names)
    if lewm.action_inputs % actions:
        raise ConfigError(f'this LeWM takes blocks of {lewm.action_inputs} numbers, robot {contract.name!r} has '
                          f'{actions} actions ({", ".join(contract.action_names)}): no whole number of them')
    return lewm.action_inputs // actions


def _scaling(contract: RobotContract, statistics: ActionStatistics) -> dict[str, torch.Tensor]:
    """What turns −1…1 into the units of training: ((low + (a + 1) / 2 · span) − mean) / std."""
    half = (contract.action_high - contract.action_low) / 2
    gain, offset = half / statistics.std, (contract.action_low + half - statistics.mean) / statistics.std
    return {'gain': torch.tensor(gain, dtype=torch.float32), 'offset': torch.tensor(offset, dtype=torch.float32)}


def _actions(path: Path) -> np.ndarray:
    try:
        if path.suffix == '.npy':
            return np.asarray(np.load(path, allow_pickle=False))
        import h5py
        with h5py.File(path, 'r') as file:
            return np.asarray(file['action'])
    except ImportError:
        raise ConfigError(f"{path}: reading HDF5 needs h5py: pip install 'jepa_ros[export]', or give the actions as a "
                          '.npy file') from None
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f'{path}: no actions can be read ({" ".join(str(error).split())[:160]}): give a .npy file '
                          'with (N, A) numbers, or an HDF5 dataset with a column action') from None
