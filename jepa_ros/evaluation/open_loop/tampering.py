"""Sequences that cannot have happened, made from recorded ones (design §11; LeCun §8.2.2): what a model should notice.

A window of a recording is changed at its last period alone, so that every step of the judged episodes can be tampered
with in turn. Where the encoder sees one percept at a time, changing which rows are seen is all there is to do.
"""
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from jepa_ros.evaluation.open_loop.level import batched, Level

FAR = 0.1               # of an episode: a teleport goes at least that far along it


@dataclass(frozen=True)
class Windows:
    """M windows of W control steps of a level; the period that is judged is the last one, after step `before`.

    rows of the data (M, W), actions (M, W − 1, A), states of level 0 (M, W, D_0), episodes (M,).
    """

    level: Level
    s0: Tensor              # (N, D_0) of the whole data
    owner: Tensor
    before: int
    rows: Tensor
    actions: Tensor
    s: Tensor

    def seen(self, rows: Tensor) -> 'Windows':
        """The same actions with other percepts."""
        return replace(self, rows=rows, s=self.s0[rows])


def windows(level: Level, s0: Tensor, judged: Tensor, most: int) -> Windows:
    """All windows of the judged episodes from which a teleport is possible, at most `most`."""
    before = level.look_back + level.past * level.period
    t, owner = level.windows(judged, before, level.period, most)
    below, above, _ = _places(level, t, owner)
    t, owner = t[below + above > 0], owner[below + above > 0]
    rows = t[:, None] + torch.arange(-before, level.period + 1, device=t.device)
    return Windows(level, s0, owner, before, rows, level.data.actions[rows[:, :-1]], s0[rows])


def teleport(w: Windows, generator: torch.Generator) -> Windows:
    """The robot is suddenly where it was, or will be, at another time of the episode."""
    t = w.rows[:, w.before]
    below, above, far = _places(w.level, t, w.owner)
    pick = (torch.rand(len(t), generator=generator).to(t.device) * (below + above)).long()
    place = torch.where(pick < below, w.level.data.starts[w.owner] + pick, t + 1 + far + pick - below)
    rows = w.rows.clone()
    rows[:, w.before + 1:] = place[:, None] + torch.arange(w.level.period, device=t.device)
    return w.seen(rows)


def reversed_time(w: Windows, generator: torch.Generator) -> Windows:
    """Steps are played backwards, each with the action that was taken in it."""
    return replace(w.seen(w.rows.flip(1)), actions=w.actions.flip(1))


def blocked_wheels(w: Windows, generator: torch.Generator) -> Windows:
    """All sensors go on showing the present while actions go on."""
    rows = w.rows.clone()
    rows[:, w.before + 1:] = rows[:, w.before, None]
    return w.seen(rows)


def other_actions(w: Windows, generator: torch.Generator) -> Windows:
    """The actions of the last period are those of another window: something else moves the robot."""
    other = torch.randperm(len(w.rows), generator=generator).to(w.rows.device)
    actions = w.actions.clone()
    actions[:, w.before:] = actions[other, w.before:]
    return replace(w, actions=actions)


def frozen_sensor(w: Windows, generator: torch.Generator, key: str) -> Windows:
    """One sensor goes on showing the present while the others and the actions go on."""
    def encode(rows: Tensor, now: Tensor) -> Tensor:
        later = w.level.data.take(rows)
        held = w.level.data.take(now.expand_as(rows))
        percepts = later.percepts | {key: held.percepts[key]}
        valid = later.valid | ({key: held.valid[key]} if key in held.valid else {})
        return w.level.model.encode(percepts, valid).float()
    ahead, now = w.rows[:, w.before + 1:], w.rows[:, w.before, None]
    with torch.no_grad():
        frozen = batched(encode, ahead, now, size=max(1, 1024 // ahead.shape[1]))
    return replace(w, s=torch.cat([w.s[:, :w.before + 1], frozen], 1))


@dataclass(frozen=True)
class Kind:
    """A way of tampering."""

    name: str
    tamper: Callable[[Windows, torch.Generator], Windows]
    in_motion: bool         # it shows only where something moves: at rest it changes nothing


def kinds(level: Level) -> Iterator[Kind]:
    """All that this robot's percepts allow; a sensor that is the only one freezes as with blocked wheels."""
    yield Kind('teleport', teleport, False)
    yield Kind('reversed time', reversed_time, True)
    yield Kind('blocked wheels', blocked_wheels, True)
    yield Kind('other actions', other_actions, True)
    if len(level.data.percepts) > 1:
        for key in level.data.percepts:
            yield Kind(f'frozen {key}', partial(frozen_sensor, key=key), True)


def _places(level: Level, t: Tensor, owner: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How many places a teleport from steps t (M,) can go to before and after them, and how far away they begin."""
    first, length = level.data.starts[owner], level.data.lengths[owner]
    far = (FAR * length).long().clamp_min(2 * level.period)
    return ((t + 2 - far - first).clamp_min(0), (first + length - level.period - t - far).clamp_min(0), far)
