"""Reads checkpoints of format 1: one image sensor, whose encoder stood alone, and levels that share its states."""
from typing import Any

import torch
from torch import Tensor

FORMAT = 1
_ENCODER = 'world_model.encoder.'


def card(data: dict) -> dict:
    """The card with its architecture as format 2 says it; what is damaged is left for the card's own checks."""
    old = data.get('architecture')
    observations = data['contract'].get('observations') if isinstance(data.get('contract'), dict) else None
    if not isinstance(old, dict) or not isinstance(old.get('levels'), list) or not observations:
        return data
    sensor = {'encoder': old.get('encoder'), 'options': {'channels': old.get('channels')}}
    new: dict[str, Any] = {
        'perception': {'dim': old.get('dim'), 'sensors': {observations[0].get('key'): sensor}},
        'action_dim': old.get('action_dim'), 'readouts': old.get('readouts'), 'levels': old['levels']}
    return data | {'architecture': new}


def tensors(card: Any, old: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights under the names of format 2; a lone sensor that is never missing needs no missing token."""
    key = card.contract['observations'][0]['key']
    sensor = f'{_ENCODER}sensors.sensor_{key}.'
    new = {f'{sensor}encoder.{name.removeprefix(_ENCODER)}' if name.startswith(_ENCODER) else name: value
           for name, value in old.items()}
    return new | {f'{sensor}missing.token': torch.zeros(card.architecture['perception']['dim'])}
