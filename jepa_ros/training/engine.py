"""Where and how a training runs: one process or many, on CPUs or GPUs, through lightning Fabric.

One Engine lives as long as its process; every stage (optimise.py) runs on it. Started by torchrun, it joins that
group of processes, else it is alone. Two strategies share a batch: `ddp` keeps all weights on every rank, `fsdp`
(PyTorch's fully_shard) shards weights, gradients and optimiser state and gathers the weights for each update.

Random numbers: what `sample` draws is drawn alike on every rank, which then takes its rows, so that any number of
processes sees the data of one; torch's global generator, for what a module draws in its forward, differs from rank to
rank (`own_random_numbers`), and a loss that needs the same numbers everywhere asks losses/parallel.py for them.
"""
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
import copy
from dataclasses import dataclass
from datetime import timedelta
import logging
import math
import os
import sys
from typing import TypeVar

import torch
from torch import distributed, nn, Tensor

from jepa_ros.errors import JepaRosError, TrainingError
from jepa_ros.training.losses.parallel import alone
from jepa_ros.training.sharding import shard, whole

T = TypeVar('T')
STRATEGIES = ('auto', 'ddp', 'fsdp')
PRECISIONS = {'32': '32-true', 'bf16': 'bf16-mixed'}


class SaidByFirst(TrainingError):
    """What every rank knows; rank 0 says it, the others only end."""


@dataclass(frozen=True)
class Settings:
    """How to run; only precision, accumulate and clip change the numbers."""

    device: str = 'cpu'                 # cpu or cuda
    strategy: str = 'auto'              # auto: ddp with several processes
    precision: str = 'auto'             # 32, bf16 (mixed), or auto: bf16 where the hardware has it
    accumulate: int = 1                 # parts of a batch that are computed one after the other, to save memory
    clip: float = 1.0                   # largest norm of the gradient; 0: not clipped
    checkpoint_minutes: float = 2.0
    tensorboard: bool = False
    sharded: bool = False               # each rank holds its own episodes only, and draws from them
    timeout_s: float = 1800.0           # a rank that is silent for longer is lost

    def __post_init__(self) -> None:
        for name, value, known in (('strategy', self.strategy, STRATEGIES),
                                   ('precision', self.precision, ('auto', *PRECISIONS))):
            if value not in known:
                raise TrainingError(f'{name} {value!r} is unknown: choose {", ".join(known[:-1])} or {known[-1]}')
        if self.accumulate < 1:
            raise TrainingError(f'accumulate is {self.accumulate}: a batch has at least one part')
        if not self.clip >= 0:
            raise TrainingError(f'clip is {self.clip}: give a norm, or 0 for none')

    def fabric_precision(self) -> str:
        """bfloat16 is several times quicker where the processor has it, and slower where it has not."""
        if self.precision != 'auto':
            return PRECISIONS[self.precision]
        return PRECISIONS['bf16' if self.device == 'cuda' or torch.cpu._is_avx512_bf16_supported() else '32']


def processes() -> tuple[int, int]:
    """Processes per machine, and machines, that torchrun started; (1, 1) without it."""
    if not (distributed.is_available() and distributed.is_torchelastic_launched()):
        return 1, 1
    local = int(os.environ['LOCAL_WORLD_SIZE'])
    return local, int(os.environ['WORLD_SIZE']) // local


class Engine:
    """`note(line)` shows a line to the user: progress bars need another way than print. `single`: join no group."""

    def __init__(self, settings: Settings | None = None, note: Callable[[str], None] | None = None,
                 single: bool = False):
        self.settings = settings or Settings()
        local, nodes = (1, 1) if single else processes()
        self.world = local * nodes
        self._note = note
        self.sharded_weights = self.world > 1 and self.settings.strategy == 'fsdp'
        self.fabric = self._fabric(local, nodes)
        self.rank = self.fabric.global_rank if self.world > 1 else 0
        self.is_first = self.rank == 0
        self.device: torch.device = self.fabric.device

    def _fabric(self, local: int, nodes: int):
        from lightning_fabric import Fabric  # here: it imports the compiler, which takes seconds
        for chatty in ('lightning_fabric', 'lightning_utilities'):
            logging.getLogger(chatty).setLevel(logging.WARNING)
        device = self.settings.device
        if device == 'cuda' and torch.cuda.device_count() < local:
            raise TrainingError(f'{local} processes were started on a machine with {torch.cuda.device_count()} GPUs: '
                                'start one per GPU, or choose --device cpu')
        fabric = Fabric(accelerator=device, devices=local, num_nodes=nodes, strategy=self._strategy(),
                        plugins=[_precision(self.settings)])
        if self.world > 1:
            if nodes == 1 and sys.platform == 'linux':
                os.environ.setdefault('GLOO_SOCKET_IFNAME', 'lo')   # the machine's own name may not resolve
            try:
                fabric.launch()
            except (RuntimeError, OSError) as error:
                raise TrainingError(f'the {self.world} processes did not find each other '
                                    f'({str(error).splitlines()[0]}): check MASTER_ADDR and MASTER_PORT') from None
        return fabric

    def _strategy(self):
        from lightning_fabric.strategies import DDPStrategy, ModelParallelStrategy, SingleDeviceStrategy
        timeout = timedelta(seconds=self.settings.timeout_s)
        if self.world == 1:
            cuda = self.settings.device == 'cuda'
            return SingleDeviceStrategy(torch.device('cuda', torch.cuda.current_device()) if cuda else 'cpu')
        if self.settings.strategy == 'fsdp':
            return ModelParallelStrategy(shard, data_parallel_size=self.world, tensor_parallel_size=1,
                                         timeout=timeout)
        # a stage may leave parameters of its module out, those of the levels above for one
        return DDPStrategy(find_unused_parameters=True, timeout=timeout)

    def note(self, line: str, warning: bool = False) -> None:
        """Show `line` once, not on every rank; without a listener warnings go to stderr and the rest nowhere."""
        if not self.is_first:
            return
        if self._note:
            self._note(line)
        elif warning:
            print(line, file=sys.stderr)

    # weights

    def setup(self, module: nn.Module, compiled: bool) -> nn.Module:
        """What to call instead of `module`. With FSDP a sharded copy: `module` itself stays whole, see `refresh`."""
        if self.sharded_weights:
            module = copy.deepcopy(module)
        return self.fabric.setup_module(torch.compile(module) if compiled else module)

    @torch.no_grad()
    def refresh(self, module: nn.Module, call: nn.Module) -> None:
        """Bring the weights of `module` up to date with those of `call`; all ranks together."""
        if self.sharded_weights:
            mine = module.state_dict()
            for name, tensor in call.state_dict().items():
                mine[name].copy_(whole(tensor))

    def no_sync(self, call: nn.Module, enabled: bool) -> AbstractContextManager:
        """Keep gradients on this rank, for all but the last part of a batch."""
        return self.fabric.no_backward_sync(call) if enabled and self.world > 1 else nullcontext()

    def clip(self, call: nn.Module, optimiser) -> Tensor:
        """Norm of the gradient of all ranks, before it is clipped; a scalar on the device, maybe not finite."""
        norm = self.fabric.clip_gradients(call, optimiser, max_norm=self.settings.clip or math.inf,
                                          error_if_nonfinite=False)
        return whole(norm.detach())

    # ranks

    def share(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """This rank's rows of a batch that all ranks have drawn alike."""
        rows, ranks = len(batch[0]), 1 if self.settings.sharded else self.world
        if rows < ranks * self.settings.accumulate:
            self.fail(f'a batch of {rows} cannot be shared by {ranks} processes in {self.settings.accumulate} parts '
                      'each: raise batch, lower --accumulate or start fewer processes')
        if ranks == 1:
            return batch
        mine = slice(self.rank * rows // self.world, (self.rank + 1) * rows // self.world)
        return tuple(t[mine] for t in batch)

    def rows(self, batch: int) -> int:
        """How many rows `sample` draws on this rank: all, unless each rank has its own episodes."""
        if not self.settings.sharded:
            return batch
        return (self.rank + 1) * batch // self.world - self.rank * batch // self.world

    def agree(self, *flags: bool) -> tuple[bool, ...]:
        """Each flag, true when it is on any rank."""
        if self.world == 1:
            return flags
        joined = torch.tensor(flags, dtype=torch.int32, device=self.device)
        distributed.all_reduce(joined, distributed.ReduceOp.MAX)
        return tuple(map(bool, joined.tolist()))

    def mean(self, figures: dict[str, float]) -> dict[str, float]:
        """Each figure averaged over the ranks."""
        if self.world == 1:
            return figures
        joined = torch.tensor(list(figures.values()), dtype=torch.float64, device=self.device)
        distributed.all_reduce(joined)
        return dict(zip(figures, (joined / self.world).tolist()))

    def gather(self, value: T) -> list[T]:
        """The values of all ranks, in their order."""
        values = [value] * self.world
        if self.world > 1:
            distributed.all_gather_object(values, value)
        return values

    def first(self, work: Callable[[], T]) -> T:
        """What `work` returns, or the JepaRosError it raises, on rank 0: on every rank."""
        if self.world == 1:
            return work()
        result, error = None, None
        if self.is_first:
            try:
                with alone():
                    result = work()
            except JepaRosError as raised:
                error = raised
        result, failed = self.fabric.broadcast((result, error is not None))
        if error:
            raise error
        if failed:
            raise SaidByFirst('rank 0 has refused')
        return result

    def alike(self, work: Callable[[], T]) -> T:
        """What `work` returns on this rank; the JepaRosError that all ranks come to is said by rank 0 alone."""
        try:
            return work()
        except JepaRosError as error:
            if self.is_first:
                raise
            raise SaidByFirst(str(error)) from None

    @contextmanager
    def first_then_others(self) -> Iterator[None]:
        """Rank 0 does it first, a cache for one, the other ranks then, who find what it has left."""
        if self.world == 1:
            yield
        elif self.is_first:
            try:
                yield
            except BaseException:
                self.fabric.broadcast(False)
                raise
            self.fabric.broadcast(True)
        else:
            if not self.fabric.broadcast(None):
                raise SaidByFirst('rank 0 has failed')
            yield

    def broadcast(self, tensors: dict[str, Tensor] | None) -> dict[str, Tensor]:
        """Rank 0's tensors on every rank, one at a time."""
        if self.world == 1:
            return tensors
        kinds = self.fabric.broadcast({k: (v.shape, v.dtype) for k, v in tensors.items()} if self.is_first else None)
        received = {}
        for name, (shape, dtype) in kinds.items():
            t = tensors[name].to(self.device) if self.is_first else torch.empty(shape, dtype=dtype, device=self.device)
            distributed.broadcast(t, 0)
            received[name] = t.cpu()
        return received

    def fail(self, line: str):
        """Raise what all ranks have found together."""
        raise (TrainingError if self.is_first else SaidByFirst)(line)

    @contextmanager
    def own_random_numbers(self, seed: int) -> Iterator[None]:
        """Another state of torch's global generators on each rank, afterwards again that of rank 0 on all."""
        if self.rank:
            torch.manual_seed(seed + 1_000_003 * self.rank)
        yield
        if self.world > 1:
            set_random_state(self.fabric.broadcast(random_state(self.device)))


def _precision(settings: Settings):
    from lightning_fabric.plugins.precision import MixedPrecision, Precision
    if settings.fabric_precision() == '32-true':
        return Precision()

    class Mixed(MixedPrecision):
        """Fabric rounds what goes into a module to bfloat16, and that is targets too: actions, readouts, states."""

        def convert_input(self, data):
            return data
    return Mixed('bf16-mixed', settings.device)


def random_state(device: torch.device) -> dict[str, Tensor]:
    """State of torch's global generators."""
    cuda = {'cuda': torch.cuda.get_rng_state(device)} if device.type == 'cuda' else {}
    return {'cpu': torch.get_rng_state(), **cuda}


def set_random_state(state: dict[str, Tensor]) -> None:
    torch.set_rng_state(state['cpu'])
    if 'cuda' in state:
        torch.cuda.set_rng_state(state['cuda'])
