"""State dicts of other software from disk, without running anything that is in the file."""
from collections.abc import Mapping
from pathlib import Path
import pickle
from typing import Any
import zipfile

from safetensors import SafetensorError
from safetensors.torch import load_file
import torch
from torch import Tensor

from jepa_ros.errors import CheckpointError

# Where training frameworks keep the state dict in what they save (Lightning; many scripts).
_WRAPPERS = ('state_dict', 'model_state_dict', 'model')


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Tensors by name from a `.safetensors` file or one of `torch.save`; `CheckpointError` in one line.

    Only tensors and plain containers are unpickled (`weights_only`): a file that holds a whole object is refused.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f'{path}: no such file: give the file with the weights, as in weights.pt')
    if path.suffix == '.safetensors':
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f'{path}: not a readable safetensors file ({_line(error)}): copy it again') from None
    return _tensors(path, _unpickled(path))


def _unpickled(path: Path) -> Any:
    if not _is_torch_file(path):
        raise CheckpointError(f'{path}: not a file of torch.save, nor .safetensors: give the weights, or copy them '
                              'again')
    try:
        return torch.load(path, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError:
        raise CheckpointError(
            f'{path}: holds a whole pickled object, and loading one runs whatever code it brings; on a machine that '
            f'trusts it: python -c "import torch; o = torch.load(\'{path.name}\', weights_only=False); '
            'torch.save(o[\'state_dict\'] if isinstance(o, dict) else o.state_dict(), \'weights.pt\')", then import '
            'weights.pt') from None
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise CheckpointError(f'{path}: cannot be read as a file of torch.save ({_line(error)}): copy it again') \
            from None


def _is_torch_file(path: Path) -> bool:
    """A zip archive of torch ≥ 1.6, or the bare pickle of those before it."""
    with path.open('rb') as file:
        start = file.read(2)
    return zipfile.is_zipfile(path) or start[:1] == b'\x80'


def _tensors(path: Path, found: Any) -> dict[str, Tensor]:
    """The state dict in what was unpickled."""
    for key in _WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    tensors = {str(k): v for k, v in found.items() if isinstance(v, Tensor)} if isinstance(found, Mapping) else {}
    if not tensors:
        raise CheckpointError(f'{path}: holds no tensors by name but {type(found).__name__}: save the state dict of '
                              'the model, torch.save(model.state_dict(), …)')
    return tensors


def _line(error: Exception) -> str:
    return ' '.join(str(error).split())[:160] or type(error).__name__
