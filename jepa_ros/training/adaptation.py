"""A world model that adapts while the robot drives (LeCun §4.10: surprise says what to learn).

Only dynamics change, never the encoder: goals, memories and readouts stay valid. When predictions have been wrong for a
while, the versions that were in force before are tried first, as the world may have gone back to what it was (paired
models: Wolpert & Kawato 1998). If none fits, what actions do is fitted anew, an affine map of them in front of the
predictor: few numbers, known after few steps (a wheel that turns half as far, two cables swapped). Only where that is
not enough is the predictor itself tuned, with as much of what was usual as of what is new, so that it is not forgotten.
A version is taken only if it is clearly better on transitions it was not fitted to. All are kept and can be recalled.

The first steps after a change may tell little (a robot that is pushed along a wall moves one way only): a version is
fitted again when there are twice as many, and all steps since the change are asked before one that was in force a
moment ago is recalled. Else two half right ones would take turns.
"""
from collections import deque
from collections.abc import Iterator
import copy
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from jepa_ros.energy.distance import squared
from jepa_ros.errors import TrainingError
from jepa_ros.world_model.hjepa import HJEPA
from jepa_ros.world_model.jepa import JEPA, unchanged

MAP = 'levels.0.action_map'
PREDICTOR = 'levels.0.predictor.'
MAP_STEPS, MAP_RATE, RIDGE = 150, 0.05, 1e-3
MOST_GAIN, MOST_OFFSET = 2.0, 0.5       # of what an action may be found to do, in −1…1
MOST_SIGNS = 4                          # actions up to which every combination of reversed ones is tried
TUNE_RATE, TUNE_BATCH = 3e-4, 64
MOST_FORGOTTEN = 1.1                    # error on what was usual, over the one before
HELD_OUT = 4                            # every fourth transition judges, the others teach
SETTLED = 100                           # transitions that a version must have served to have fitted the world
RECALLED = 0.35                         # a known version is recalled at this share of the error: bursts are no change


@dataclass(frozen=True)
class AdaptationSettings:
    """When to adapt, and how far. Errors are in units of the mean error in training: 1 is usual."""

    trigger: float = 3.0        # mean error over `window` transitions from which the model counts as wrong
    window: int = 8             # transitions
    least: int = 24             # wrong transitions before anything is fitted to them
    most: int = 240             # newest ones that are fitted to
    better: float = 0.7         # a version is taken whose error is at most this share of the one in force
    pause: int = 10             # transitions between two changes, at least
    versions: int = 4           # kept besides that of the checkpoint; the one longest out of use goes first
    tune_steps: int = 200       # gradient steps on the predictor; 0: only what actions do is fitted
    usual: int = 2000           # transitions without surprise that are kept for replay


@dataclass(frozen=True)
class Transition:
    """s (D,), action (A,) in −1…1, next state (D,)."""

    before: Tensor
    action: Tensor
    after: Tensor


@dataclass
class Version:
    """Dynamics of the world model, its tensors by their names."""

    number: int
    tensors: dict[str, Tensor]
    reason: str
    used: int = 0                       # transition at which it was last in force


class Adaptation:
    """Watches transitions; `step` gives a version to be put into force, or None. Seeded; leaves the model alone."""

    def __init__(self, model: HJEPA, settings: AdaptationSettings | None = None, seed: int = 0):
        self.settings = settings or AdaptationSettings()
        self._jepa: JEPA = copy.deepcopy(model.levels[0]).cpu().requires_grad_(False)
        self._generator = torch.Generator().manual_seed(seed)
        self.active = Version(0, tensors_of(model), 'as trained')
        self.versions = [self.active]
        self._newest: deque[Transition] = deque(maxlen=self.settings.window)
        self._wrong: deque[Transition] = deque(maxlen=self.settings.most)
        self._lived: deque[Transition] = deque(maxlen=self.settings.most)       # since the world changed
        self._usual: deque[Transition] = deque(maxlen=self.settings.usual)
        self._seen, self._changed, self._made = 0, 0, 0
        self._again = 0                 # transitions since the world changed at which the version is fitted again
        self.error = 1.0                # mean over the newest transitions

    def see(self, before: Tensor, action: Tensor, after: Tensor) -> None:
        """Note a transition: s (D,), action (A,) in −1…1 that was applied, next state (D,). Not finite: left out."""
        transition = Transition(*(x.detach().cpu().float() for x in (before, action, after)))
        if not all(bool(torch.isfinite(x).all()) for x in (before, action, after)):
            return
        self._seen += 1
        self._newest.append(transition)
        errors = self._errors(list(self._newest))
        self.error = float(errors.mean())
        if self.error > self.settings.trigger:
            if self._wrong:
                self._wrong.append(transition)
            else:                       # it began within the window
                self._wrong.extend(t for t, e in zip(self._newest, errors.tolist()) if e > self.settings.trigger)
                if not self._made or self._seen - self._changed > SETTLED:
                    self._lived.clear()
                    self._lived.extend(list(self._wrong)[:-1])
        else:
            self._wrong.clear()
            if self.active.number == 0:
                self._usual.append(transition)
        self._lived.append(transition)

    def step(self) -> Version | None:
        """The version to put into force now; None while the one in force serves. Takes up to some seconds."""
        c = self.settings
        if len(self._newest) < c.window or self._seen - self._changed < c.pause:
            return None
        if 0 < self._again <= len(self._lived) and 0 < self.active.number == self._made:
            self._again = 2 * self._again if 2 * self._again <= c.most else 0
            return self._refined()
        if not self._wrong:
            return None
        known = self._known()
        if known is None:
            return self._fitted()
        if self._seen - known.used < SETTLED and (version := self._refined()) is not None:
            return version
        self.force(known)
        return known

    def force(self, version: Version) -> None:
        """Act and judge by this version from now on."""
        self.active.used = self._seen
        self.active, self._changed = version, self._seen
        _put(self._jepa, version.tensors)
        self._wrong.clear()
        self._newest.clear()

    def _known(self) -> Version | None:
        """An older version that explains the newest transitions."""
        newest = list(self._newest)
        errors = {version.number: float(self._errors(newest, version).mean())
                  for version in self.versions if version is not self.active}
        best = min(self.versions, key=lambda v: errors.get(v.number, torch.inf))
        if not errors or errors[best.number] > min(RECALLED * self.error, self.settings.trigger):
            return None
        return best

    def _refined(self) -> Version | None:
        """A new version, fitted to all since the world changed; None where an older one is nearly as good."""
        c, lived = self.settings, list(self._lived)
        if len(lived) < 2 * c.least:
            return None
        judges, teachers = _split(lived)
        before = min(float(self._errors(judges, version).mean()) for version in self.versions)
        version = Version(self._made + 1, dict(self.active.tensors) | {MAP: self._map(teachers)}, 'what actions do')
        error = float(self._errors(judges, version).mean())
        # a mean of two worlds fits neither of them
        return None if error > c.trigger else self._taken(version, before, error)

    def _fitted(self) -> Version | None:
        """A new version, fitted to what the one in force gets wrong."""
        c, wrong = self.settings, list(self._wrong)
        if len(wrong) < c.least:
            return None
        judges, teachers = _split(wrong)
        self._changed = self._seen      # whatever comes of it: not again at once
        before = float(self._errors(judges).mean())
        tensors = dict(self.active.tensors) | {MAP: self._map(teachers)}
        version = Version(self._made + 1, tensors, 'what actions do')
        error = float(self._errors(judges, version).mean())
        if error > c.trigger and c.tune_steps and len(wrong) >= 4 * c.least:
            tuned = self._tuned(version if error < before else self.active, teachers)
            tuned_error = float(self._errors(judges, tuned).mean())
            if tuned_error < error and self._forgotten(tuned) <= MOST_FORGOTTEN:
                version, error = tuned, tuned_error
        self._again = 2 * len(wrong)
        return self._taken(version, before, error)

    def _taken(self, version: Version, before: float, error: float) -> Version | None:
        """Put a version into force and keep it, if it is clearly better than what was `before`."""
        c = self.settings
        if error > c.better * before:
            return None
        self._made += 1
        version.reason += f': error {before:.1f} → {error:.1f} times the usual'
        self.versions.append(version)
        self.force(version)
        while len(self.versions) > c.versions + 1:
            self.versions.remove(min((v for v in self.versions[1:] if v is not version), key=lambda v: v.used))
        return version

    def _errors(self, transitions: list[Transition], version: Version | None = None) -> Tensor:
        """(N,) of predictions by a version, the one in force if not given, over their mean in training."""
        jepa = self._jepa if version is None else self._with(version)
        s, a, after = _stacked(transitions)
        with torch.inference_mode():
            return squared(jepa.predict(s, a), after) / jepa.typical_error

    def _with(self, version: Version) -> JEPA:
        jepa = copy.deepcopy(self._jepa)
        _put(jepa, version.tensors)
        return jepa

    def _map(self, teachers: list[Transition]) -> Tensor:
        """[M | b] (A, A + 1) with which the predictor in force explains the transitions best."""
        jepa = self._with(self.active)
        s, a, after = _stacked(teachers)

        def error(trial: Tensor) -> Tensor:
            jepa.action_map = trial
            return squared(jepa.predict(s, a), after).mean() / jepa.typical_error
        starts = [start for start in _maps(a.shape[-1]) if bool(torch.isfinite(error(start)))]
        if not starts:
            return unchanged(a.shape[-1])
        start = min(starts, key=lambda m: float(error(m)))
        found = start.clone().requires_grad_()
        optimiser = torch.optim.Adam([found], lr=MAP_RATE)
        for _ in range(MAP_STEPS):
            optimiser.zero_grad()
            (error(found) + RIDGE * (found - start).square().sum()).backward()
            optimiser.step()
            with torch.no_grad():
                found[:, :-1].clamp_(-MOST_GAIN, MOST_GAIN)
                found[:, -1].clamp_(-MOST_OFFSET, MOST_OFFSET)
        return found.detach()

    def _tuned(self, start: Version, teachers: list[Transition]) -> Version:
        """The predictor after gradient steps on new and usual transitions, half of each."""
        jepa = self._with(start).requires_grad_(False)
        weights = [p.requires_grad_() for p in jepa.predictor.parameters()]
        usual = list(self._usual) or teachers
        optimiser = torch.optim.AdamW(weights, lr=TUNE_RATE, weight_decay=0)
        for _ in range(self.settings.tune_steps):
            optimiser.zero_grad()
            for pool in (teachers, usual):
                drawn = torch.randint(len(pool), (TUNE_BATCH,), generator=self._generator).tolist()
                s, a, after = _stacked([pool[i] for i in drawn])
                (squared(jepa.predict(s, a), after).mean() / jepa.typical_error).backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimiser.step()
        tensors = dict(start.tensors) | {PREDICTOR + name: p.detach().clone()
                                         for name, p in jepa.predictor.state_dict().items()}
        return Version(self._made + 1, tensors, 'the predictor')

    def _forgotten(self, version: Version) -> float:
        """Error on what was usual before, over that of the trained model, whose map belongs to that time."""
        usual = list(self._usual)
        if not usual:
            return 1.0
        plain = Version(0, version.tensors | {MAP: self.versions[0].tensors[MAP]}, '')
        trained = self._errors(usual, self.versions[0]).mean()
        return float(self._errors(usual, plain).mean() / trained.clamp_min(1e-9))


def _split(transitions: list[Transition]) -> tuple[list[Transition], list[Transition]]:
    """Those that judge, and those that teach."""
    return transitions[::HELD_OUT], [t for i, t in enumerate(transitions) if i % HELD_OUT]


def tensors_of(model: HJEPA) -> dict[str, Tensor]:
    """What adaptation may change of a model, copied to the CPU: predictor and map of level 0."""
    jepa = model.levels[0]
    found = {PREDICTOR + name: t.detach().cpu().clone() for name, t in jepa.predictor.state_dict().items()}
    return found | {MAP: jepa.action_map.detach().cpu().clone()}


def install(model: HJEPA, tensors: dict[str, Tensor]) -> None:
    """Put a version into a model. TrainingError when names or shapes do not fit."""
    _put(model.levels[0], tensors)


def _put(jepa: JEPA, tensors: dict[str, Tensor]) -> None:
    own = {PREDICTOR + name: t for name, t in jepa.predictor.state_dict().items()} | {MAP: jepa.action_map}
    for name, value in tensors.items():
        if name not in own or own[name].shape != value.shape:
            raise TrainingError(f'adapted world model: {name} of shape {tuple(value.shape)} does not fit this model')
    with torch.no_grad():
        for name, value in tensors.items():
            own[name].copy_(value)


def _stacked(transitions: list[Transition]) -> tuple[Tensor, Tensor, Tensor]:
    columns = zip(*((t.before, t.action, t.after) for t in transitions))
    s, a, after = (torch.stack(column) for column in columns)
    return s, a, after


def _maps(actions: int) -> Iterator[Tensor]:
    """Where fits begin: as ever, weaker, reversed in some of the actions, and dead."""
    signs = product((1.0, -1.0), repeat=actions) if actions <= MOST_SIGNS else ([1.0] * actions, [-1.0] * actions)
    for sign in signs:
        for gain in (1.0, 0.5):
            yield torch.cat([gain * torch.diag(torch.tensor(sign)), torch.zeros(actions, 1)], 1)
    yield torch.zeros(actions, actions + 1)
