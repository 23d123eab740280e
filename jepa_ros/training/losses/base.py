"""What a training loss is: one family per file, registered by name, added up by `Losses` (LeCun §4.5, Fig. 13).

    losses:
      prediction: {weight: 1.0}
      vicreg: {variance: 16, covariance: 8}
      inverse: {weight: 5}

`build` turns such a mapping into one module. Every part it reports is a scalar of the batch of *all* ranks, the same
on each of them (see `parallel.py`). A third party adds a family by the entry-point group `jepa_ros.loss_terms`.
"""
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
import torch
from torch import nn, Tensor

from jepa_ros.errors import ConfigError, TrainingError
from jepa_ros.registry import Registry
from jepa_ros.robot.yaml_errors import first_error
from jepa_ros.world_model.predictors import mlp

Over = Literal['batch', 'batch_time', 'first']


@dataclass(frozen=True)
class Sizes:
    """Dimensions that losses with weights of their own are built for."""

    state: int


@dataclass(frozen=True)
class Embedded:
    """A batch of sequences in representation space; what a loss does not use may be None.

    S starts × H steps of prediction: `predicted[:, i, k]` foresees `s[:, i · stride + k + 1]`.
    """

    s: Tensor                                   # (B, T, D)
    predicted: Tensor | None = None             # (B, S, H, D)
    stride: int = 1
    actions: Tensor | None = None               # (B, T−1, A) in −1…1
    inferred_actions: Tensor | None = None      # (B, T−1, A), of the inverse-dynamics head
    readouts: Tensor | None = None              # (B, T, R), standardised
    known_readouts: Tensor | None = None        # (B, T, R), of the readout head on s
    imagined_readouts: Tensor | None = None     # (B, S, H, R), of the readout head on `predicted`

    def need(self, field: str, term: str) -> Tensor:
        """That tensor; TrainingError where the trainer did not compute what `term` is about."""
        tensor = getattr(self, field)
        if tensor is None:
            raise TrainingError(f'loss {term!r} needs `{field}`, which this level does not have: '
                                f'remove losses.{term} from the configuration')
        return tensor

    def precise(self) -> 'Embedded':
        """In 32 bits at least: covariances and characteristic functions of bfloat16 are mostly rounding."""
        half = (torch.float16, torch.bfloat16)
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{k: v.float() for k, v in values.items() if isinstance(v, Tensor) and v.dtype in half})


def samples(x: Tensor, over: Over) -> Tensor:
    """x (B, ..., D) as (N, G, D): N samples of each of G distributions whose statistics are averaged.

    `batch`: every time step is a distribution of its own over the episodes, which are independent samples. `first`:
    only the first of them (eb_jepa's `first_t_only`). `batch_time`: all steps of all episodes are samples of one.
    """
    x = x.flatten(1, -2)
    if over == 'batch_time':
        return x.flatten(0, 1)[:, None]
    return x[:, :1] if over == 'first' else x


def expander(inputs: int, width: int) -> nn.Module:
    """Maps s to the embedding v on which a loss is computed (LeCun Fig. 14); width 0: v = s.

    Without batch normalisation, whose statistics are of one rank only.
    """
    return mlp(inputs, width, width) if width else nn.Identity()


class LossSettings(BaseModel):
    """Coefficients of one family; values in YAML are checked against it."""

    model_config = ConfigDict(extra='forbid', allow_inf_nan=False, frozen=True)


class Weighted(LossSettings):
    """Settings of a family of one part."""

    weight: float = Field(1.0, ge=0)


class Loss(nn.Module):
    """One family. `parts` gives its terms without their coefficients, `coefficients` those of the same names."""

    Settings: ClassVar[type[LossSettings]]

    def __init__(self, settings: LossSettings, sizes: Sizes):
        super().__init__()
        self.settings: Any = settings

    def coefficients(self) -> dict[str, float]:
        """Part -> coefficient; a part of coefficient 0 is not computed."""
        raise NotImplementedError

    def parts(self, batch: Embedded) -> dict[str, Tensor]:
        """Part -> scalar over all ranks, for the parts of `coefficients` that are not 0."""
        raise NotImplementedError


LOSSES: Registry[type[Loss]] = Registry('loss_term')


class Losses(nn.Module):
    """The weighted sum of several families."""

    def __init__(self, terms: Mapping[str, Loss]):
        super().__init__()
        self.terms = nn.ModuleDict(terms)

    def coefficients(self) -> dict[str, float]:
        """Part -> coefficient, of all families."""
        return {part: weight for term in self.terms.values() for part, weight in term.coefficients().items()}

    def forward(self, batch: Embedded) -> tuple[Tensor, dict[str, Tensor]]:
        """-> loss, its parts without coefficients and gradients."""
        parts: dict[str, Tensor] = {}
        with torch.autocast(batch.s.device.type, enabled=False):
            batch = batch.precise()
            for term in self.terms.values():
                parts |= term.parts(batch)
        weights = self.coefficients()
        loss = sum(weights[name] * value for name, value in parts.items())
        return loss, {name: value.detach() for name, value in parts.items()}


def parse(config: Mapping[str, Any]) -> dict[str, LossSettings]:
    """Names and coefficients as they stand in YAML -> checked settings; ConfigError names key and nearest known."""
    if not config:
        raise ConfigError(f'losses: none given; known: {", ".join(LOSSES.names())}')
    settings = {}
    for name, values in config.items():
        kind = LOSSES.get(name).Settings
        try:
            settings[name] = kind.model_validate({} if values is None else values)
        except ValidationError as error:
            raise ConfigError(first_error(error, '', f'losses.{name}', kind)) from None
    return settings


def build(config: Mapping[str, Any], sizes: Sizes) -> Losses:
    """The losses named in `config` with their coefficients; ConfigError as `parse`, or when all of them are 0."""
    losses = Losses({name: LOSSES.get(name)(settings, sizes) for name, settings in parse(config).items()})
    parts = [part for term in losses.terms.values() for part in term.coefficients()]
    twice = next((part for part in parts if parts.count(part) > 1), None)
    if twice:
        raise ConfigError(f'losses: two of {", ".join(config)} call a part {twice!r}')
    if not any(losses.coefficients().values()):
        raise ConfigError(f'losses: every coefficient of {", ".join(config)} is 0')
    return losses
