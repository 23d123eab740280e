"""stable-worldmodel's LeWM and CEM solver, unmodified, and our predictor with the same weights.

Needs `pip install stable-worldmodel` (tried with 0.1.1) and transformers, from which its LeWM takes the encoder. The
weights are random: only the time and the energies that are found matter. They go through `jepa_ros.interop`, as those
of a trained checkpoint do.
"""
from collections.abc import Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass
import io
from pathlib import Path
import tempfile
from types import SimpleNamespace
from typing import Any
import warnings

import gymnasium
import numpy as np
import torch
from torch import nn, Tensor

from jepa_ros.errors import WorldError
from jepa_ros.interop import lewm
from jepa_ros.world_model.predictors_lewm import LeWMPredictor

# of the modulations, which adaLN-zero begins with zeros: actions would change nothing
MODULATION_STD = 0.1


@dataclass(frozen=True)
class Sizes:
    """Of a LeWM; the defaults are the published ones. Heads have 64 numbers, in the encoder too."""

    dim: int = 192
    depth: int = 6
    heads: int = 16
    mlp: int = 2048
    action: int = 10        # numbers of a block of actions
    image: int = 224
    encoder_depth: int = 12
    encoder_heads: int = 3

    def predictor(self, seed: int = 0) -> LeWMPredictor:
        """Ours of these sizes, with random weights of its own."""
        torch.manual_seed(seed)
        made = LeWMPredictor(self.dim, self.action, self.dim, self.depth, heads=self.heads, mlp=self.mlp)
        _awake(block.modulation for block in made.blocks)
        return made.eval().requires_grad_(False)


@dataclass(frozen=True)
class Search:
    """How both search: the defaults are stable-worldmodel's."""

    samples: int = 300
    iterations: int = 30
    elites: int = 30
    horizon: int = 5


SMALL = Sizes(dim=64, depth=2, heads=1, mlp=64, action=4, image=28, encoder_depth=1, encoder_heads=1)


class Peer:
    """Their LeWM with random weights, and their CEM over it. WorldError without the package."""

    def __init__(self, sizes: Sizes, search: Search, device: torch.device, seed: int = 0):
        modules = _package()
        self._model = _lewm(modules, sizes, seed).to(device)
        self._solver = modules.CEMSolver(self._model, num_samples=search.samples, n_steps=search.iterations,
                                         topk=search.elites, device=device)
        space = gymnasium.spaces.Box(-np.inf, np.inf, (1, sizes.action), np.float32)
        self._solver.configure(action_space=space, n_envs=1, config=SimpleNamespace(
            horizon=search.horizon, action_block=1, receding_horizon=1, history_len=1, warm_start=False))

    def predictor(self) -> LeWMPredictor:
        """Our predictor with their weights, read as a checkpoint of theirs is."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / 'weights.pt'
            torch.save({name: x.cpu() for name, x in self._model.state_dict().items()}, file)
            return lewm.read(file).build_predictor()

    def plan(self, s: Tensor, goal: Tensor, seed: int) -> Tensor:
        """Actions (B, H, A) from states s (B, D) to goals (B, D). Encoding is left out: both are given as states."""
        self._solver.torch_gen.manual_seed(seed)
        with redirect_stdout(io.StringIO()):        # it prints a line per plan
            found = self._solver.solve(self._info(s, goal))
        return found['actions']

    @torch.inference_mode()
    def cost(self, s: Tensor, goal: Tensor, actions: Tensor) -> Tensor:
        """What their planner minimises, (B, N), of actions (B, N, H, A)."""
        info = {key: x[:, None].expand(-1, actions.shape[1], *x.shape[1:]) for key, x in self._info(s, goal).items()}
        return self._model.get_cost(info, actions)

    def _info(self, s: Tensor, goal: Tensor) -> dict[str, Tensor]:
        """With embeddings, which their model then does not compute again; of the pictures only the shape is read."""
        picture = s.new_zeros(len(s), 1, 1)
        return {'pixels': picture, 'goal': picture, 'emb': s[:, None], 'goal_emb': goal[:, None]}


def _package() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')     # about environments of the package that are not installed
            from stable_worldmodel.solver.cem import CEMSolver
            from stable_worldmodel.wm.lewm import LeWM, module
            import transformers
    except ImportError as error:
        raise WorldError(f'the peer cannot be loaded ({error}): pip install stable-worldmodel==0.1.1 transformers') \
            from None
    return SimpleNamespace(CEMSolver=CEMSolver, LeWM=LeWM, parts=module, transformers=transformers)


def _lewm(modules: Any, sizes: Sizes, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    parts, width = modules.parts, 64 * sizes.encoder_heads
    encoder = modules.transformers.ViTModel(modules.transformers.ViTConfig(
        hidden_size=width, num_hidden_layers=sizes.encoder_depth, num_attention_heads=sizes.encoder_heads,
        intermediate_size=4 * width, image_size=sizes.image, patch_size=14), add_pooling_layer=False)
    predictor = parts.Predictor(num_frames=3, depth=sizes.depth, heads=sizes.heads, mlp_dim=sizes.mlp,
                                input_dim=sizes.dim, hidden_dim=sizes.dim)
    _awake(block.adaLN_modulation for block in predictor.transformer.layers)
    projectors = (parts.MLP(inputs, 2048, sizes.dim, norm_fn=nn.BatchNorm1d) for inputs in (width, sizes.dim))
    model = modules.LeWM(encoder, predictor, parts.Embedder(input_dim=sizes.action, emb_dim=sizes.dim), *projectors)
    return model.eval().requires_grad_(False)


def _awake(modulations: Iterable[nn.Module]) -> None:
    for modulation in modulations:
        for parameter in modulation.parameters():
            nn.init.normal_(parameter, std=MODULATION_STD)
