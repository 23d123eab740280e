"""Task tokens modulate perception: the configurator tells encoders what matters (LeCun §2, configurator).

Both forms are zero-initialised and without bias: a new encoder, and one given the zero token, is as if unmodulated.
"""
import torch
from torch import nn, Tensor
from torch.nn.functional import linear

from jepa_ros.errors import ConfigError


def _silent(task_dim: int, outputs: int) -> nn.Parameter:
    """Weights (outputs, task_dim) of a linear map that is zero; not nn.Linear, which would draw random numbers: with a
    token and without, the same seed gives the same encoder."""
    return nn.Parameter(torch.zeros(outputs, task_dim))


class FiLM(nn.Module):
    """Feature-wise linear modulation x · (1 + γ(task)) + β(task) (Perez et al. 2018, eq. 1–2).

    x (B, C, …), task (B, task_dim) or None -> the shape of x; channels in dimension 1.
    """

    def __init__(self, task_dim: int, channels: int):
        super().__init__()
        self.weight = _silent(task_dim, 2 * channels)

    def forward(self, x: Tensor, task: Tensor | None) -> Tensor:
        if task is None:
            return x
        scale, shift = (t.view(*t.shape, *(1,) * (x.dim() - 2)) for t in linear(task, self.weight).chunk(2, -1))
        return x * (1 + scale) + shift


class AdaLN(nn.Module):
    """Layer norm whose scale and shift, and the gate after the branch it feeds, come from the task token.

    Peebles & Xie 2023 §3.2 (adaLN), with the gate as 1 + α so that zero leaves the branch as it is.
    x (B, N, D), task (B, task_dim) or None -> normalised x (B, N, D) and the gate, a factor that broadcasts against it.
    """

    def __init__(self, task_dim: int, dim: int):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.task_weight = _silent(task_dim, 3 * dim) if task_dim else None

    def forward(self, x: Tensor, task: Tensor | None) -> tuple[Tensor, Tensor | float]:
        x = self.norm(x)
        if task is None or self.task_weight is None:
            return x, 1.0
        scale, shift, gate = linear(task, self.task_weight).unsqueeze(-2).chunk(3, -1)
        return x * (1 + scale) + shift, 1 + gate


def films(task_dim: int, channels: tuple[int, ...]) -> nn.ModuleList:
    """One FiLM per stage; empty where there is no task token, so that a state dict has nothing of it."""
    return nn.ModuleList(FiLM(task_dim, c) for c in channels if task_dim)


def modulated(films_: nn.ModuleList, index: int, x: Tensor, task: Tensor | None) -> Tensor:
    """x after stage `index`, modulated where there is a task token."""
    return x if task is None else films_[index](x, task)


def token(task: Tensor | None, task_dim: int, batch: int, like: Tensor) -> Tensor | None:
    """(batch, task_dim) of the type of `like`, from (task_dim,), (1, task_dim) or (batch, task_dim); None stays None.

    `ConfigError` where the encoder takes no token, or one of another size.
    """
    if task is None:
        return None
    if not task_dim:
        raise ConfigError('this encoder takes no task token: it was built with task_dim 0')
    if task.shape[-1] != task_dim or task.dim() > 2 or (task.dim() == 2 and task.shape[0] not in (1, batch)):
        raise ConfigError(f'task token of shape {tuple(task.shape)}: this encoder takes ({task_dim},) or '
                          f'({batch}, {task_dim})')
    return torch.broadcast_to(task.to(like.dtype), (batch, task_dim))
