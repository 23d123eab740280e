"""Encoder of LeWorldModel: a ViT whose class token a projector makes the state (Maes et al. 2026, LeWM, §3).

Here to run imported checkpoints (`interop/lewm.py`) to the last digit, and to train the same network on a robot's own
recordings. PLDM as stable-worldmodel trains it is the same network.
"""
from pydantic import NonNegativeInt, PositiveInt
import torch
from torch import nn, Tensor

from jepa_ros.errors import ConfigError
from jepa_ros.perception.base import ENCODERS
from jepa_ros.perception.modulation import token
from jepa_ros.perception.vit import ViTEncoder
from jepa_ros.registry import nearest

# pixel statistics of ImageNet on a 0…1 scale, with which LeWM normalises images
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_EPS = 1e-12        # of its layer norms, as in transformers' ViTModel: ours would differ in the fifth digit
_NORMS = {'batch': nn.BatchNorm1d, 'layer': nn.LayerNorm, 'none': nn.Identity}


class Projector(nn.Module):
    """One hidden layer, normalised: x (..., inputs) -> (..., outputs); a hidden size of 0 leaves x as it is.

    With `norm` batch, training normalises over all rows of x together, as LeWM does.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int, norm: str = 'batch'):
        super().__init__()
        if norm not in _NORMS:
            raise ConfigError(f'projector norm {norm!r} is unknown{nearest(norm, _NORMS)}; known: {", ".join(_NORMS)}')
        if not hidden and inputs != outputs:
            raise ConfigError(f'without a projector the state has the {inputs} numbers of the network, not {outputs}')
        self.net = nn.Sequential(nn.Linear(inputs, hidden), _NORMS[norm](hidden), nn.GELU(),
                                 nn.Linear(hidden, outputs)) if hidden else nn.Sequential()

    def forward(self, x: Tensor) -> Tensor:
        y = self.net(x.reshape(-1, x.shape[-1]))
        return y.reshape(*x.shape[:-1], y.shape[-1])


@ENCODERS.register('lewm_vit')
class LeWMEncoder(ViTEncoder):
    """images (B, H, W, C) uint8 -> s (B, dim). The defaults are ViT-tiny, as published.

    The shorter side of an image becomes `size` pixels. Positions were learned on a square of `size`; on another form
    they are interpolated. `projector` is the size of its hidden layer (0: none), `norm` what normalises it.
    A task token modulates every block (AdaLN), as in ViTEncoder.
    """

    def __init__(self, shape: tuple[int, int, int], dim: int, size: PositiveInt = 224, patch: PositiveInt = 14,
                 width: PositiveInt = 192, depth: PositiveInt = 12, heads: PositiveInt = 3,
                 projector: NonNegativeInt = 2048, norm: str = 'batch', task_dim: int = 0):
        side, inputs = size // patch, shape[2]
        if not side:
            raise ConfigError(f'lewm_vit: an image of {size} pixels has no patch of {patch}')
        super().__init__((side * patch, side * patch, inputs), dim, patch, width, depth, heads, task_dim=task_dim)
        self.side = side        # patches along one side of what it was trained on
        self.shape, self.size = tuple(shape), size
        for module in (*self.blocks.modules(), self.norm.norm):
            if isinstance(module, nn.LayerNorm):
                module.eps = _EPS
        self.head = Projector(width, projector, dim, norm)
        if inputs == 3:
            self.mean.copy_(torch.tensor(_IMAGENET_MEAN).view_as(self.mean))
            self.std.copy_(torch.tensor(_IMAGENET_STD).view_as(self.std))

    def forward(self, images: Tensor, task: Tensor | None = None) -> Tensor:
        x = self._resized(self.pixels(images, torch.float32)).to(self.embed.weight.dtype)
        rows, columns = x.shape[-2] // self.patch, x.shape[-1] // self.patch
        x = self.embed(self._patches(x))
        task = token(task, self.task_dim, x.shape[0], x)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1).to(x.dtype), x], 1) + self._positions(rows, columns)
        for block in self.blocks:
            x = block(x, task)
        x, _ = self.norm(x, None)
        return self.head(x[:, 0])

    def _resized(self, x: Tensor) -> Tensor:
        """(B, C, H, W) with the shorter side `size`, the longer cut to a whole pixel, as torchvision's Resize."""
        height, width = x.shape[-2:]
        if min(height, width) == self.size:
            return x
        shorter, longer = min(height, width), max(height, width)
        longer = self.size * longer // shorter
        form = (self.size, longer) if height <= width else (longer, self.size)
        return nn.functional.interpolate(x, form, mode='bilinear', antialias=True, align_corners=False)

    def _positions(self, rows: int, columns: int) -> Tensor:
        """(1, 1 + rows · columns, width), the class token's first."""
        if rows == columns == self.side:
            return self.positions
        own = self.positions[:, 1:].transpose(1, 2).unflatten(2, (self.side, self.side))
        grid = nn.functional.interpolate(own, (rows, columns), mode='bicubic', align_corners=False)
        return torch.cat([self.positions[:, :1], grid.flatten(2).transpose(1, 2)], 1)
