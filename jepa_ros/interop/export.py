"""A model as programs of torch.export, for a machine that has PyTorch but neither ROS nor this package.

`export_model` writes one `.pt2` per part (see `programs.py`) and `manifest.yaml`, which says what goes in
and comes out. `exported.py`, copied beside them, runs them. With `onnx`, the same parts also as ONNX.
"""
from collections.abc import Callable
import importlib
from importlib import resources
import io
import json
import logging
from pathlib import Path
import re
from typing import Any
import warnings

import torch
from torch import nn, Tensor

from jepa_ros import checkpoint
from jepa_ros.agent import Agent
from jepa_ros.errors import CheckpointError, ConfigError
from jepa_ros.interop.exported import FORMAT, MANIFEST
from jepa_ros.interop.programs import Program, programs
from jepa_ros.paths import write_whole
from jepa_ros.perception.contract_encoder import ContractEncoder
from jepa_ros.world_model.jepa import JEPA

BATCHES = (1, 2, 5)         # sizes at which every program is run against the model, none of them special to it
TOLERANCE = 1e-5            # of a program against the model, relative to the largest output or to 1
ONNX_PACKAGES = ('onnx', 'onnxscript')


def export_model(agent: Agent, folder: str | Path, onnx: bool = False,
                 progress: Callable[[str], None] = lambda name: None) -> dict[str, Any]:
    """Write all programs and the manifest to `folder`; returns the manifest.

    `ConfigError` where a part cannot be exported, or ONNX is asked for without its packages; `CheckpointError` where
    the folder cannot be written. The manifest is written last: a folder without one is not complete.
    """
    folder = Path(folder)
    if onnx:
        _onnx_packages()
    checkpoint.check_writable(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    model = agent.networks.world_model.float().cpu().eval()
    sizes = [programs(model, batch, seed) for seed, batch in enumerate(BATCHES)]
    entries = {}
    for part in sizes[BATCHES.index(2)]:
        progress(part.name)
        same = [next(p for p in made if p.name == part.name) for made in sizes]
        entries[part.name] = _export(part, same, folder, onnx)
    manifest = _manifest(agent, entries)
    try:
        loader = resources.files('jepa_ros.interop').joinpath('exported.py').read_text(encoding='utf-8')
        write_whole(folder / 'exported.py', loader)
        # JSON is YAML too, and Python reads it without a package
        write_whole(folder / MANIFEST, _json(manifest))
    except OSError as error:
        raise CheckpointError(f'{folder}: cannot be written ({error.strerror}): free space and export again') from None
    return manifest


def _export(part: Program, same: list[Program], folder: Path, onnx: bool) -> dict[str, Any]:
    """One program on disk, checked against the model; its entry in the manifest."""
    program = _traced(part)
    difference = max(_difference(program.module(), each) for each in same)
    if difference > TOLERANCE:
        raise ConfigError(f'{part.name}: the exported program differs from the model by {difference:.1g}: this part '
                          'cannot be exported with this version of PyTorch')
    path = folder / f'{part.name}.pt2'
    file = io.BytesIO()
    torch.export.save(program, file)    # to a full disk it would end the process
    try:
        path.write_bytes(file.getbuffer())
    except OSError as error:
        raise CheckpointError(f'{path}: cannot be written ({_line(error)}): free space and export again') from None
    outputs = dict(zip(part.outputs, part.run()))
    entry = {'file': path.name, 'sha256': checkpoint.sha256(path), 'inputs': _described(part.inputs),
             'outputs': _described(outputs), 'largest_difference': difference}
    return entry | ({'onnx': _to_onnx(part, folder)} if onnx else {})


def _traced(part: Program) -> torch.export.ExportedProgram:
    """With the batch free."""
    batch = torch.export.Dim('batch', min=1)
    args = tuple(part.inputs.values())
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter('ignore')
            program = torch.export.export(_Rows(part.module).eval(), args,
                                          dynamic_shapes=(tuple({0: batch} for _ in args),))
    except Exception as error:      # torch.export has no error class of its own: an unsupported operation may be any
        raise ConfigError(f'{part.name}: torch.export refuses it ({_line(error)})') from error
    for node in program.graph.nodes:
        node.meta.pop('stack_trace', None)      # paths of this machine: the same model shall give the same file
    return program


class _Rows(nn.Module):
    """The same module with all inputs in one row, whatever its own are called."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.module(*inputs)


@torch.no_grad()
def _difference(run: nn.Module, part: Program) -> float:
    """Largest difference of a program from the model, relative to the largest output or to 1."""
    found = run(*part.inputs.values())
    pairs = zip(part.run(), found if isinstance(found, tuple) else (found,))
    return max(float((x.float() - y.float()).abs().max() / x.float().abs().max().clamp_min(1)) for x, y in pairs)


def _described(tensors: dict[str, Tensor]) -> list[dict[str, Any]]:
    return [{'name': name, 'shape': ['batch', *t.shape[1:]], 'dtype': str(t.dtype).removeprefix('torch.')}
            for name, t in tensors.items()]


def _manifest(agent: Agent, entries: dict[str, Any]) -> dict[str, Any]:
    model, contract = agent.networks.world_model, agent.contract
    return {
        'format': FORMAT, 'model': agent.card.name, 'model_sha256': agent.card.sha256, 'torch': torch.__version__,
        'robot': contract.name, 'contract_sha256': agent.card.contract_sha256,
        'control_period_s': contract.control_period_s,
        'observations': _observations(model.encoder), 'readouts': list(contract.readout_names)[:model.config.readouts],
        # the predictor of level 0 takes actions of −1…1: 2 · (a − low) / (high − low) − 1
        'actions': {'names': list(contract.action_names), 'low': [float(x) for x in contract.action_low],
                    'high': [float(x) for x in contract.action_high]},
        'levels': [_level(jepa) for jepa in model.levels], 'programs': entries,
    }


def _observations(encoder: ContractEncoder) -> dict[str, Any]:
    """What each sensor gives, and the normalisation that is inside the encoder's program."""
    described = {}
    for key, spec in encoder.specs.items():
        own = encoder.encoder(key)
        described[key] = {
            'shape': list(spec.shape), 'dtype': spec.dtype.name if hasattr(spec.dtype, 'name') else str(spec.dtype),
            'names': list(spec.names), 'optional': key in encoder.optional,
            'normalised_inside': {name: getattr(own, name).flatten().tolist() for name in ('mean', 'std')
                                  if isinstance(getattr(own, name, None), Tensor)}}
    return described


def _level(jepa: JEPA) -> dict[str, Any]:
    actions = jepa.action_encoder
    described = {'period': jepa.period, 'dim': jepa.dim, 'action_dim': actions.dim, 'context': jepa.context,
                 'predictor': jepa.config.predictor, 'latent': None if jepa.latent is None else jepa.config.latent.kind,
                 'pooling': jepa.config.encoder, 'typical_error': float(jepa.typical_error)}
    if jepa.config.macro_dim is None:
        return described
    # of the macro-actions of training: far from them the predictor was never trained
    spread = {name: getattr(actions, name).tolist() for name in ('low', 'high', 'prior_mean', 'prior_std')}
    return described | {'macro_actions': spread}


def _json(manifest: dict[str, Any]) -> str:
    """Indented, with lists of plain values on one line."""
    text = json.dumps(manifest, indent=1, ensure_ascii=False)
    return re.sub(r'\[[^\[\]{}]*\]', lambda found: ' '.join(found[0].split()), text) + '\n'


def _onnx_packages() -> None:
    for name in ONNX_PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ConfigError(f"--onnx needs the package {name} ({error}): pip install 'jepa_ros[onnx]'") \
                from None


def _to_onnx(part: Program, folder: Path) -> str:
    """Name of the file."""
    path = folder / f'{part.name}.onnx'
    talk = logging.getLogger('torch.onnx')      # of packages that are not installed and not needed
    level = talk.level
    talk.setLevel(logging.ERROR)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter('ignore')
            torch.onnx.export(_traced(part), dynamo=True, external_data=False, verbose=False,
                              input_names=list(part.inputs), output_names=list(part.outputs)).save(path)
    except Exception as error:      # as torch.export: any class
        raise ConfigError(f'{part.name}: cannot be written as ONNX ({_line(error)}): leave --onnx out') from error
    finally:
        talk.setLevel(level)
    return path.name


def _line(error: Exception) -> str:
    return ' '.join(str(error).split())[:200] or type(error).__name__
