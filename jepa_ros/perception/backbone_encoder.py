"""A frozen pre-trained network and a small trained head as an encoder: less to learn from few bags."""
from typing import Any

from pydantic import PositiveInt
import torch
from torch import nn, Tensor

from jepa_ros.errors import ConfigError
from jepa_ros.perception import backbones
from jepa_ros.perception.base import ENCODERS, ImageEncoder
from jepa_ros.perception.modulation import films, modulated, token

POOLS = ('mean', 'cls', 'cls_mean', 'grid')


@ENCODERS.register('backbone')
class BackboneEncoder(ImageEncoder):
    """Images (B, H, W, C) uint8, 1 or 3 channels -> frozen embedding (B, E) -> trained head -> s (B, dim).

    `pool` of the patches: their mean; cls, the class token; cls_mean, both (DINOv2's linear probe); grid, means over
    `cells` × `cells` fields, which keeps where things are. FiLM on the head's hidden layer. `model`, `weights`,
    `config`, `size` and `download` as in `backbones.load`; give `model` or `config`. The state dict holds the frozen
    weights too: `rebuild_options` builds the same network without them.
    """

    def __init__(self, shape: tuple[int, int, int], dim: int, model: str = '', library: str = 'transformers',
                 weights: str = '', config: dict[str, Any] | None = None, size: PositiveInt = 224,
                 download: bool = True, pool: str = 'grid', cells: PositiveInt = 4, width: PositiveInt = 256,
                 task_dim: int = 0):
        super().__init__(shape, dim, task_dim)
        if pool not in POOLS:
            raise ConfigError(f'backbone: unknown pool {pool!r}; known: {", ".join(POOLS)}')
        if not model and config is None:
            raise ConfigError('backbone: model is missing: a folder or a name on the hub, or config for random weights')
        if shape[2] not in (1, 3):
            raise ConfigError(f'backbone: it was trained on colour images; it takes 1 or 3 channels, not {shape[2]}')
        self.backbone = backbones.load(library, model, weights, config, size, download)
        self.pool, self.cells, self.library = pool, min(cells, self.backbone.side), library
        self.model, self.config = model, config
        if 'cls' in pool and not self.backbone.prefix:
            raise ConfigError(f'backbone {model}: it has no class token; pool can be mean or grid, not {pool}')
        features = self.backbone.width * {'cls_mean': 2, 'grid': self.cells ** 2}.get(pool, 1)
        self.norm, self.hidden = nn.LayerNorm(features), nn.Linear(features, width)
        self.head = nn.Linear(width, dim)
        self.films = films(task_dim, (width,))
        # what the network was trained with; a grey image is three equal channels, normalised by their average
        for buffer, values in ((self.mean, self.backbone.mean), (self.std, self.backbone.std)):
            colours = torch.tensor(values)
            buffer.copy_((colours if shape[2] == 3 else colours.mean()).reshape(buffer.shape))

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Nothing: the frozen network keeps the normalisation it was trained with."""

    def embed(self, images: Tensor) -> Tensor:
        """Images as for `forward` -> frozen embedding (B, E), which may be stored and given to `read`."""
        x = self.pixels(images, torch.float32)
        side = self.backbone.size
        x = nn.functional.interpolate(x, (side, side), mode='bilinear', antialias=True, align_corners=False)
        cls, patches = self.backbone(x.expand(-1, 3, -1, -1))
        if self.pool == 'cls':
            return cls
        if self.pool == 'grid':
            return nn.functional.adaptive_avg_pool2d(patches, self.cells).flatten(1)
        mean = patches.mean((2, 3))
        return mean if self.pool == 'mean' else torch.cat([cls, mean], 1)

    def read(self, embedding: Tensor, task: Tensor | None = None) -> Tensor:
        """Frozen embedding (B, E) -> s (B, dim): the trained part."""
        x = self.hidden(self.norm(embedding.to(self.head.weight.dtype)))
        x = modulated(self.films, 0, x, token(task, self.task_dim, x.shape[0], x))
        return self.head(nn.functional.silu(x))

    def forward(self, images: Tensor, task: Tensor | None = None) -> Tensor:
        return self.read(self.embed(images), task)

    def rebuild_options(self) -> dict[str, Any]:
        """Options of an encoder of this architecture with random frozen weights, to load a state dict into."""
        options: dict[str, Any] = dict(library=self.library, size=self.backbone.size, pool=self.pool, cells=self.cells,
                                       width=self.hidden.out_features)
        if self.library == 'timm':
            return options | dict(model=self.model, config=self.config or {})
        return options | dict(config=self.backbone.network.config.to_diff_dict())
