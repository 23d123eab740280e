"""Every loss on a small world model: in one process, or in several gloo processes that share the batch.

Spawned processes import this module; it must not depend on pytest.
"""
import os
from pathlib import Path
import sys

import torch
from torch import distributed, multiprocessing, nn, Tensor

from jepa_ros.training.losses import build, Embedded, Sizes
from jepa_ros.training.losses.parallel import alone, gather_over_ranks
from jepa_ros.training.losses.prediction import unroll

CASES: dict[str, dict] = {
    'prediction': {'prediction': {'discount': 0.8}},
    'vicreg': {'vicreg': {}},
    'vicreg_expander': {'vicreg': {'expander': 12, 'over': 'batch_time', 'normalise': 'pairs'}},
    'sigreg': {'sigreg': {'slices': 16}},
    'sigreg_projected': {'sigreg': {'slices': 16, 'expander': 6, 'over': 'batch_time', 'seed': 3}},
    'barlow_twins': {'barlow_twins': {}},
    'info_nce': {'info_nce': {}},
    'info_nce_squared': {'info_nce': {'distance': 'squared', 'temperature': 1.0, 'over': 'batch_time', 'expander': 6}},
    'hinge': {'hinge': {'slope': 0.3}},
    'hinge_hardest': {'hinge': {'form': 'square', 'hardest': True, 'distance': 'euclidean'}},
    'inverse': {'inverse': {}},
    'smoothness': {'smoothness': {}},
    'readouts': {'readouts': {}},
}
TOGETHER = {name: CASES[name][name] for name in ('prediction', 'vicreg', 'sigreg', 'barlow_twins', 'info_nce', 'hinge',
                                                 'inverse', 'smoothness', 'readouts')}
SPLIT = (5, 3)      # sequences of each rank: unequal, as at the end of an epoch
HORIZON = 2


class World(nn.Module):
    """Encoder, predictor, heads and losses in one module, as a trainer wraps it."""

    def __init__(self, config: dict, dim: int = 4, seed: int = 0):
        super().__init__()
        torch.manual_seed(seed)
        self.encoder, self.predictor = nn.Linear(5, dim), nn.Linear(dim + 2, dim)
        self.inverse, self.readout = nn.Linear(2 * dim, 2), nn.Linear(dim, 3)
        self.losses = build(config, Sizes(state=dim))
        self.double()

    def forward(self, x: Tensor, a: Tensor, readouts: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """x (B, T, 5), a (B, T−1, 2), readouts (B, T, 3)."""
        s = self.encoder(x)
        predicted = unroll(lambda s, a: s + self.predictor(torch.cat([s, a], -1)), s, a, HORIZON)
        inferred = self.inverse(torch.cat([s[:, :-1], s[:, 1:]], -1))
        return self.losses(Embedded(s, predicted, actions=a, inferred_actions=inferred, readouts=readouts,
                                    known_readouts=self.readout(s), imagined_readouts=self.readout(predicted)))


def data(update: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """The joined batch: the second rank's sequences are of another kind than the first's."""
    g = torch.Generator().manual_seed(100 + update)
    count = sum(SPLIT)
    x = torch.randn(count, 4, 5, generator=g, dtype=torch.float64)
    x[SPLIT[0]:] = 2 * x[SPLIT[0]:] + 1
    return (x, torch.randn(count, 3, 2, generator=g, dtype=torch.float64),
            torch.randn(count, 4, 3, generator=g, dtype=torch.float64))


def share(rank: int | None, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The rows of one rank; None: all."""
    first = 0 if rank is None else sum(SPLIT[:rank])
    return tuple(t[first:None if rank is None else first + SPLIT[rank]] for t in tensors)


def evaluate(config: dict, rank: int | None) -> dict:
    """Loss, parts, and gradients averaged over the ranks as DDP averages them."""
    module = World(config)
    loss, parts = module(*share(rank, data()))
    loss.backward()
    gradients = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
    if rank is not None:
        for gradient in gradients.values():
            distributed.all_reduce(gradient)
            gradient /= len(SPLIT)
    return {'loss': loss.detach(), 'parts': parts, 'gradients': gradients}


def descend(rank: int | None, updates: int = 3) -> dict:
    """A few updates under DistributedDataParallel (rank None: without): losses and final parameters."""
    module = World(TOGETHER)
    call = module if rank is None else nn.parallel.DistributedDataParallel(module)
    optimiser, losses = torch.optim.SGD(module.parameters(), lr=0.003), []
    for update in range(updates):
        loss, _ = call(*share(rank, data(update)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.detach())
    return {'losses': torch.stack(losses), 'parameters': dict(module.state_dict())}


def _rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    if sys.platform == 'linux':
        os.environ['GLOO_SOCKET_IFNAME'] = 'lo'     # the host's own name may not resolve
    distributed.init_process_group('gloo', f'file://{folder}/rendezvous', rank=rank, world_size=len(SPLIT))
    try:
        results = {'cases': {name: evaluate(config, rank) for name, config in CASES.items()}, 'run': descend(rank)}
        with alone():
            results['alone'] = {name: World(config)(*share(rank, data()))[0].detach()
                                for name, config in CASES.items()}
        results['gathered'] = gather_over_ranks(share(rank, data())[0])
        torch.save(results, f'{folder}/{rank}.pt')
        distributed.barrier()
    finally:
        distributed.destroy_process_group()


def run(folder: Path) -> list[dict]:
    """What each rank computed."""
    multiprocessing.spawn(_rank, (str(folder),), nprocs=len(SPLIT))
    return [torch.load(folder / f'{rank}.pt') for rank in range(len(SPLIT))]
