"""Vision transformer for images (Dosovitskiy et al. 2021), and the transformer block that sensor fusion uses too."""
import math

from pydantic import PositiveInt
import torch
from torch import nn, Tensor

from jepa_ros.errors import ConfigError
from jepa_ros.perception.base import ENCODERS, ImageEncoder
from jepa_ros.perception.modulation import AdaLN, token


class Block(nn.Module):
    """Pre-norm attention and MLP (Dosovitskiy et al. 2021, eq. 2–3); a task token modulates both (AdaLN).

    x (B, N, width), task (B, task_dim) or None -> (B, N, width).
    """

    def __init__(self, width: int, heads: int, task_dim: int = 0, ratio: int = 4):
        super().__init__()
        if width % heads:
            raise ConfigError(f'a transformer of width {width} cannot have {heads} heads: heads must divide the width')
        self.heads = heads
        self.attention_norm, self.mlp_norm = AdaLN(task_dim, width), AdaLN(task_dim, width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, ratio * width), nn.GELU(), nn.Linear(ratio * width, width))

    def forward(self, x: Tensor, task: Tensor | None = None) -> Tensor:
        y, gate = self.attention_norm(x, task)
        x = x + gate * self._attend(y)
        y, gate = self.mlp_norm(x, task)
        return x + gate * self.mlp(y)

    def _attend(self, x: Tensor) -> Tensor:
        # each (B, heads, N, width / heads)
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.out(nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


@ENCODERS.register('vit')
class ViTEncoder(ImageEncoder):
    """ViT with learned positions: images (B, H, W, C) uint8 -> s (B, dim).

    `patch` pixels a side (images it does not divide are padded right and below), `width` per token, `depth` blocks.
    `pool` cls reads the class token, mean the patches' average. The defaults are a third of ViT-tiny; that is patch 16,
    depth 12.
    """

    def __init__(self, shape: tuple[int, int, int], dim: int, patch: PositiveInt = 8, width: PositiveInt = 192,
                 depth: PositiveInt = 4, heads: PositiveInt = 3, pool: str = 'cls', task_dim: int = 0):
        super().__init__(shape, dim, task_dim)
        if pool not in ('cls', 'mean'):
            raise ConfigError(f'vit: pool {pool!r} is neither cls nor mean')
        height, width_px, inputs = shape
        self.patch, self.pool = patch, pool
        rows, columns = math.ceil(height / patch), math.ceil(width_px / patch)
        self.padding = (0, columns * patch - width_px, 0, rows * patch - height)
        self.embed = nn.Linear(inputs * patch * patch, width)
        # the class token is there only where it is read
        self.positions = nn.Parameter(torch.randn(1, rows * columns + (pool == 'cls'), width) * 0.02)
        self.cls = nn.Parameter(torch.randn(1, 1, width) * 0.02) if pool == 'cls' else None
        self.blocks = nn.ModuleList(Block(width, heads, task_dim) for _ in range(depth))
        self.norm = AdaLN(0, width)
        self.head = nn.Linear(width, dim)

    def forward(self, images: Tensor, task: Tensor | None = None) -> Tensor:
        x = self.embed(self._patches(self.pixels(images, self.head.weight.dtype)))
        task = token(task, self.task_dim, x.shape[0], x)
        if self.cls is not None:
            x = torch.cat([self.cls.expand(x.shape[0], -1, -1).to(x.dtype), x], 1)
        x = x + self.positions
        for block in self.blocks:
            x = block(x, task)
        x, _ = self.norm(x, None)
        return self.head(x[:, 0] if self.cls is not None else x.mean(1))

    def _patches(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, N, C · patch · patch), row by row."""
        x = nn.functional.pad(x, self.padding)
        x = x.unfold(2, self.patch, self.patch).unfold(3, self.patch, self.patch)    # (B, C, rows, columns, p, p)
        return x.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)
