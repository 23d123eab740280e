"""A mode in which reading a tensor's values from Python fails: on a GPU it would make the host wait for the device."""
import torch
from torch.utils._python_dispatch import TorchDispatchMode

WAITS = {torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default,
         torch.ops.aten.masked_select.default, torch.ops.aten.equal.default, torch.ops.aten.multinomial.default}


class NoWaiting(TorchDispatchMode):
    """Counts operations too: a loop over the samples would show in `operations`."""

    operations = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        assert function not in WAITS, f'{function} waits for the device'
        self.operations += 1
        return function(*args, **(kwargs or {}))
