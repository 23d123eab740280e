"""Learned weights on their way from the organ that learns to all that use them: the topic `model_update` (design §3).

Who learns (the critic in cost/node.py, the adaptation of the world model, a policy) does, in the executor's thread:

    message = pack(agent, 'critic', tensors, note='validation error 0.12 -> 0.10')    # the next version number
    if apply(agent, message): publisher.publish(message)    # topic `model_update`, profile EVENTS

and to take the last one back: `message = roll_back(agent, 'critic')`, then the same two lines. History only grows: what
was before comes back under a new number, so a bag tells which weights acted when (fields of Action and Plan).

`tensors`: names as in `agent.networks.<organ>.state_dict()`. Critic and policy come whole. An update of the world model
may hold some of its tensors, but always all that updates of it ever changed: one that was missed on the way then does
no harm. What learns works on a copy of its own and never touches `agent.networks`.

Who uses them puts an `Inbox` behind a subscription of that topic with the same profile (each publisher's newest come
to late joiners) and calls `work` a few times a second; `OrganNode` does both. `apply` copies under
`agent.weights_lock`, which the planner's thread holds while it plans. Organs of one process share the weights: applying
twice is harmless.
"""
from collections.abc import Mapping
import hashlib
import re
from typing import TYPE_CHECKING

from ..errors import ContractError
from ..msg import ModelUpdate

if TYPE_CHECKING:       # torch is loaded by a configuring organ and by nothing else
    from torch import Tensor

    from ..agent import Agent

TOPIC = 'model_update'
PATIENCE_S = 0.002      # an executor waits so long for a plan to end; then it tries again at the next beat
PARTIAL = ('world_model',)      # organs of which an update may hold some of the tensors
# Never updated: goals, memories and messages are states as the encoder made them, and guardrails read the readouts.
FIXED = re.compile(r'encoder\.|levels\.\d+\.readout\.')


class UpdateError(ContractError):
    """An update that is refused: organ, version and reason in one line. Nothing has changed."""


def pack(agent: 'Agent', organ: str, tensors: Mapping[str, 'Tensor'], note: str = '', at_least: int = 0) -> ModelUpdate:
    """The next version of an organ's weights as a message, checked as a receiver would.

    `at_least`: a version that others are known to have; a learner that was started again must not fall behind them.
    """
    from safetensors.torch import save
    import torch
    data = save({name: value.detach().to('cpu', copy=True).contiguous() for name, value in tensors.items()})
    newest = max(agent.in_force[organ].version if organ in agent.in_force else 0, at_least)
    message = ModelUpdate(model_id=agent.model_id, organ=organ, version=newest + 1,
                          sha256=hashlib.sha256(data).hexdigest(), note=note)
    message.data.frombytes(data)
    with torch.no_grad():
        check(agent, message)
    return message


def check(agent: 'Agent', message: ModelUpdate) -> dict[str, 'Tensor']:
    """The tensors of an update that may be applied; UpdateError says why one may not."""
    from safetensors import SafetensorError
    from safetensors.torch import load
    if message.organ not in agent.in_force:
        _refuse(message, f'no such organ learns; known are {", ".join(agent.in_force)}')
    if message.model_id != agent.model_id:
        _refuse(message, f"it belongs to model '{message.model_id}', here runs '{agent.model_id}'; start all organs "
                         'with the same checkpoint')
    state = agent.in_force[message.organ]
    if message.version <= state.version:
        _refuse(message, f'version {state.version} is in force already; an update must be newer')
    data = bytes(message.data)
    if hashlib.sha256(data).hexdigest() != message.sha256:
        _refuse(message, 'sha256 does not match its data (cut short or changed on the way)')
    try:
        tensors = load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        _refuse(message, f'its data are no safetensors ({" ".join(str(error).split())[:100]})')
    _check_tensors(agent, message, tensors)
    return tensors


def _check_tensors(agent: 'Agent', message: ModelUpdate, tensors: Mapping[str, 'Tensor']) -> None:
    own = getattr(agent.networks, message.organ).state_dict()
    unknown = sorted(set(tensors) - set(own))
    if unknown:
        _refuse(message, f'tensor {unknown[0]} is not in this model')
    fixed = next(filter(FIXED.match, sorted(tensors)), None) if message.organ == 'world_model' else None
    if fixed:
        _refuse(message, f'tensor {fixed} never changes while the robot runs: goals, memories and guardrails depend on '
                         'it; train a new checkpoint')
    needed = agent.in_force[message.organ].replaced if message.organ in PARTIAL else own
    missing = sorted(set(needed) - set(tensors))
    if missing or not tensors:
        _refuse(message, f'tensor {missing[0]} is missing' if missing else 'it holds no tensor')
    for name, value in tensors.items():
        if value.shape != own[name].shape or value.dtype != own[name].dtype:
            _refuse(message, f'tensor {name} is {tuple(value.shape)} {value.dtype}, this model has '
                             f'{tuple(own[name].shape)} {own[name].dtype}')
        if value.is_floating_point() and not bool(value.isfinite().all()):
            _refuse(message, f'tensor {name} holds NaN or infinity')


def _refuse(message: ModelUpdate, reason: str) -> None:
    raise UpdateError(f'{message.organ} version {message.version} refused: {reason}')


def is_in_force(agent: 'Agent', message: ModelUpdate) -> bool:
    """Whether this very update was the last one applied."""
    state = agent.in_force.get(message.organ)
    return state is not None and (state.version, state.sha256) == (message.version, message.sha256) and \
        message.model_id == agent.model_id


def apply(agent: 'Agent', message: ModelUpdate, timeout_s: float = PATIENCE_S) -> bool:
    """Put an update in force between two plans. False: a plan is under way still, try again. UpdateError refuses it.

    One that is in force already changes nothing, and is True.
    """
    import torch
    if is_in_force(agent, message):
        return True
    tensors, state = check(agent, message), agent.in_force[message.organ]
    if not agent.weights_lock.acquire(timeout=timeout_s):
        return False
    try:
        own = getattr(agent.networks, message.organ).state_dict()
        replaced = {name: own[name].detach().to('cpu', copy=True) for name in tensors}
        with torch.no_grad():
            for name, value in tensors.items():
                own[name].copy_(value)      # in place: graphs captured for a GPU read the same memory
                if agent.host is not None:
                    agent.host[f'{message.organ}.{name}'].copy_(value)
        state.version, state.sha256, state.replaced = int(message.version), message.sha256, replaced
    finally:
        agent.weights_lock.release()
    return True


def roll_back(agent: 'Agent', organ: str) -> ModelUpdate:
    """What the last update replaced, as a message with a new version number; apply and publish it.

    UpdateError where there was none.
    """
    state = agent.in_force.get(organ)
    if state is None or not state.replaced:
        raise UpdateError(f'{organ}: nothing to roll back, no update was applied')
    return pack(agent, organ, state.replaced, f'rolled back from version {state.version}')


class Inbox:
    """Updates of some organs that wait for the end of a plan; of each organ the newest."""

    def __init__(self, agent: 'Agent', organs: tuple[str, ...]):
        self._agent, self._organs = agent, organs
        self._waiting: dict[str, ModelUpdate] = {}

    def offer(self, message: ModelUpdate) -> None:
        """Take in a message and apply it, now or by `work`. UpdateError for one that is refused; others still wait."""
        if message.organ in self._agent.in_force and message.organ not in self._organs:
            return      # not used here
        if is_in_force(self._agent, message):
            return
        check(self._agent, message)
        waiting = self._waiting.get(message.organ)
        if waiting is None or message.version > waiting.version:
            self._waiting[message.organ] = message
        self.work()

    def work(self) -> list[ModelUpdate]:
        """Apply what waits; returns what was applied now."""
        done = []
        for organ, message in list(self._waiting.items()):
            try:
                if not apply(self._agent, message):
                    continue
            except UpdateError:
                del self._waiting[organ]    # another organ of this process was quicker with a newer one
                continue
            del self._waiting[organ]
            done.append(message)
        return done
