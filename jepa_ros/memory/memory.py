"""The memory organ: stores what was felt where and when, and answers queries (LeCun §2, §3.3, §4.9)."""
from collections.abc import Sequence
import math
from pathlib import Path
import threading

import numpy as np
import torch
from torch import Tensor

from jepa_ros.energy.distance import euclidean
from jepa_ros.errors import ConfigError
from jepa_ros.memory.answers import Recall
from jepa_ros.memory.associative import AssociativeMemory
from jepa_ros.memory.chunks import Contents, Header
from jepa_ros.memory.episodic import EpisodicStore, NO_RUN, Run, Trajectory
from jepa_ros.memory.journal import GROWTH, Journal, open_or_beside, Snapshot
from jepa_ros.memory.labels import Labels
from jepa_ros.memory.named import Named, NamedEntities
from jepa_ros.memory.reader import MemoryReader

ENTITIES_S = 1.0    # between two writes of entities to the file
MAX_GAP_S = 1.0     # between two neighbours in time: between farther ones nothing is interpolated


class Memory:
    """Triplets by time, by state, by association and by label. Any thread may use it."""

    def __init__(self, dim: int, capacity: int = 36_000, slots: int = 1024):
        self.dim = dim
        self.labelled = Labels()
        self.entities = NamedEntities()
        self.warnings: list[str] = []           # what `keep_in` had to say about the file
        self._episodic = EpisodicStore(dim, capacity)
        self._associative = AssociativeMemory(dim, dim + 1, slots)
        self._run = NO_RUN
        self._lock = threading.RLock()
        self._journal: Journal | None = None
        self._entities_ns = 0
        self.attended = False       # somebody stores here what is perceived: the memory node does

    def __len__(self) -> int:
        return len(self._episodic)

    @property
    def episodic(self) -> EpisodicStore:
        """The triplets themselves, for a learner."""
        return self._episodic

    @property
    def capacity(self) -> int:
        """Triplets at most."""
        return self._episodic.capacity

    def reader(self) -> MemoryReader:
        """What a predictor, policy or cost reads of experience for a state, differentiably."""
        return MemoryReader(self._associative, self._lock, lambda: self.attended, self.seen)

    def seen(self, count: int) -> Tensor:
        """At most `count` perceived states (n, D), spread evenly over all that is held, the oldest and newest among
        them."""
        with self._lock:
            slots = self._episodic.in_order()
            slots = slots[~self._episodic.imagined[slots]]
            if len(slots) > count:
                slots = slots[np.linspace(0, len(slots) - 1, count).round().astype(np.int64)]
            return self._episodic.states[torch.from_numpy(slots)]

    # ---- writing -------------------------------------------------------------------------------------------------
    def begin(self, episode: str, goal: str = '') -> None:
        """Experience from now on belongs to this episode and goal."""
        with self._lock:
            self._run = self._episodic.begin(Run(episode, goal))
            self._record('begin', self._run, episode, goal)

    @torch.no_grad()
    def store(self, stamp_ns: int, state: Tensor, energy: float, action: np.ndarray | None = None) -> None:
        """Keep a triplet. ConfigError for a state of another model or a non-finite value."""
        state = self._finite(stamp_ns, state, energy)
        with self._lock:
            self._episodic.append(stamp_ns, state, energy, self._run)
            self._associate(state, energy)
            self._record('triplet', stamp_ns, state, energy, self._run)
            if action is not None:
                self.act(stamp_ns, action)

    def know(self, names: Sequence[str], values: Sequence[float], stamp_ns: int) -> bool:
        """What the world is like now: values of entities by name, NaN for what is not seen; whether one changed."""
        with self._lock:
            changed = self.entities.see(names, values, stamp_ns)
            if changed and abs(stamp_ns - self._entities_ns) >= ENTITIES_S * 1e9:
                self._entities_ns = stamp_ns
                self._record('entities', self.entities.about())
        return changed

    def known(self, name: str = '') -> Named:
        """What is known of an entity, or of all; see `NamedEntities.about`."""
        with self._lock:
            return self.entities.about(name)

    def act(self, stamp_ns: int, action: np.ndarray) -> bool:
        """Note what was done (A,) in the state of a time; False where that is not held."""
        action = np.asarray(action, np.float32)
        with self._lock:
            held = bool(np.isfinite(action).all()) and self._episodic.act(stamp_ns, action)
            if held:
                self._record('action', stamp_ns, action)
        return held

    @torch.no_grad()
    def imagine(self, stamps_ns: np.ndarray, states: Tensor, energies: np.ndarray, goal: str = '') -> int:
        """Keep an imagined future, states (H, D) with the times they are foreseen for; how many found room.

        They are no experience: not read by association, not written to the file, first to go when space is short.
        """
        checked = [self._finite(int(t), s, float(e)) for t, s, e in zip(stamps_ns, states, energies, strict=True)]
        with self._lock:
            run = self._episodic.begin(Run('imagined', goal))
            return sum(self._episodic.append(int(stamp), state, float(energy), run, imagined=True)
                       for stamp, state, energy in zip(stamps_ns, checked, energies))

    def foresee(self, stamp_ns: int, states: Tensor, energies: np.ndarray, step_s: float) -> int:
        """`imagine` what follows the percept of a time, one state each `step_s`; as many as have an energy."""
        n = min(len(states), len(energies))
        stamps = stamp_ns + np.rint(np.arange(1, n + 1) * step_s * 1e9).astype(np.int64)
        return self.imagine(stamps, states[:n], np.asarray(energies)[:n])

    @torch.no_grad()
    def remember_label(self, text: str, state: Tensor, stamp_ns: int = 0) -> str:
        """Call a state (D,) by a sentence; returns it as it is kept. ConfigError for one that cannot be kept."""
        state = self._finite(stamp_ns, state, 0.0).clone()
        with self._lock:
            kept = self.labelled.add(text, state, stamp_ns)
            self._record('label', kept, state, stamp_ns)
        return kept

    def label_moment(self, text: str, stamp_ns: int | None = None) -> str:
        """Call what was perceived nearest to a time, or last, by a sentence. ConfigError where nothing was."""
        with self._lock:
            perceived = self._episodic.stamps_ns[self._usable(imagined=False)]
            if not len(perceived):
                raise ConfigError('memory: nothing is remembered yet that could be labelled; give the state')
            nearest = self.by_time(int(perceived.max()) if stamp_ns is None else stamp_ns, 1)
            return self.remember_label(text, nearest.states[0], int(nearest.stamps_ns[0]))

    # ---- reading -------------------------------------------------------------------------------------------------
    @torch.inference_mode()
    def by_state(self, state: Tensor, count: int = 8, imagined: bool = False) -> Recall:
        """The triplets whose states are nearest to `state` (D,); imagined ones too where asked for."""
        state = self._checked(state)
        with self._lock:
            distances = euclidean(self._episodic.states, state).numpy()
            return self._recall(distances, count, state, imagined)

    @torch.inference_mode()
    def by_time(self, stamp_ns: int, count: int = 8, imagined: bool = False) -> Recall:
        """The triplets nearest in time; imagined ones too where asked for."""
        with self._lock:
            distances = np.abs(self._episodic.stamps_ns - stamp_ns) / 1e9
            return self._recall(distances, count, None, imagined)

    @torch.inference_mode()
    def at_time(self, stamp_ns: int, max_gap_s: float = MAX_GAP_S, imagined: bool = False) -> Recall:
        """One triplet, interpolated between its neighbours in time; none where these are further apart or missing."""
        with self._lock:
            held, stamps = self._episodic, self._episodic.stamps_ns
            usable = np.flatnonzero(self._usable(imagined))
            before, after = usable[stamps[usable] <= stamp_ns], usable[stamps[usable] >= stamp_ns]
            if not len(before) or not len(after):
                return self._nothing()
            i, j = int(before[stamps[before].argmax()]), int(after[stamps[after].argmin()])
            gap_ns = int(stamps[j] - stamps[i])
            if gap_ns > max_gap_s * 1e9 or (gap_ns and held.run[i] != held.run[j]):
                return self._nothing()
            share = (stamp_ns - int(stamps[i])) / gap_ns if gap_ns else 0.0
            state = torch.lerp(held.states[i], held.states[j], share)
            energy = (1 - share) * held.energies[i] + share * held.energies[j]
            distance = min(stamp_ns - int(stamps[i]), int(stamps[j]) - stamp_ns) / 1e9
            return self._answer(np.array([stamp_ns]), state[None], np.array([energy]), np.array([distance]), state,
                                np.array([bool(held.imagined[i] or held.imagined[j])]))

    @torch.inference_mode()
    def by_label(self, text: str, count: int = 8) -> Recall:
        """The states of a label, newest first. ConfigError, which lists the labels, for an unknown one."""
        with self._lock:
            found = self.labelled.of(text)[:max(1, count)]
            states = torch.stack([state for _, state in found])
            n = len(found)
            return self._answer(np.array([stamp for stamp, _ in found]), states, np.full(n, np.nan), np.zeros(n),
                                states[0], np.zeros(n, bool))

    def labels(self) -> dict[str, Tensor]:
        """Label -> its states (n, D), newest first."""
        with self._lock:
            return self.labelled.all()

    def trajectories(self, imagined: bool = False, max_gap_s: float | None = None,
                     shortest: int = 2) -> list[Trajectory]:
        """Sequences of consecutive triplets for a learner; see `EpisodicStore.trajectories`."""
        with self._lock:
            return self._episodic.trajectories(imagined, max_gap_s, shortest)

    # ---- the file ------------------------------------------------------------------------------------------------
    def keep_in(self, file: str | Path, model_id: str) -> Path:
        """Take over what a memory file holds and record there from now on, in the background.

        Returns the file that is written: `file`, or one beside it where `file` is of another model or is no memory;
        `warnings` says so. ConfigError where nothing can be written, or another process writes there.
        """
        self.close()
        with self._lock:
            found = open_or_beside(Path(file), Header(model_id, self.dim))
            self.warnings = found.warnings
            if found.contents is not None:
                self._restore(found.contents)
            self._journal = Journal(found, self.snapshot)
        return found.path

    def snapshot(self) -> Snapshot:
        """Everything that is kept in a file, copied, and the records that were on their way to it."""
        with self._lock:
            pending = self._journal.take() if self._journal else []
            held = self._episodic
            slots = held.in_order()
            slots = slots[~held.imagined[slots]]
            contents = Contents(
                held.stamps_ns[slots], held.states.numpy()[slots], held.energies[slots], held.run[slots],
                {number: (held.runs[number].episode, held.runs[number].goal)
                 for number in sorted({*held.run[slots].tolist(), self._run})},
                held.actions[slots], list(self.labelled), self._associative.snapshot(), len(slots),
                self.entities.about())
            return Snapshot(contents, pending, max(GROWTH, self.capacity // 4))

    @property
    def problem(self) -> str:
        """Why the file cannot be written at present, in one line; empty while all is well."""
        return self._journal.problem if self._journal else ''

    def close(self) -> None:
        """Write what is left and let go of the file; what is remembered stays in memory."""
        if self._journal:
            if self.entities.about():
                self._record('entities', self.entities.about())
            self._journal.close()
            self._journal = None

    def resize(self, capacity: int) -> None:
        """Hold `capacity` triplets from now on; of more, the newest stay."""
        with self._lock:
            self._episodic = self._episodic.resized(capacity)

    # ---- within --------------------------------------------------------------------------------------------------
    @torch.no_grad()
    def _restore(self, found: Contents) -> None:
        self._episodic = EpisodicStore(self.dim, self.capacity)
        self._episodic.runs |= {number: Run(*names) for number, names in found.named.items()}
        states, newest = torch.tensor(found.states), slice(max(0, len(found) - self.capacity), None)
        self._episodic.extend(found.stamps[newest], states[newest], found.energies[newest], found.runs[newest],
                              found.actions[newest])
        empty = AssociativeMemory(self.dim, self.dim + 1).snapshot()
        self._associative.restore(**found.slots or empty)
        for i in range(found.written, len(found)):
            self._associate(states[i], float(found.energies[i]))
        self.labelled, self._run, self.entities = Labels(), NO_RUN, NamedEntities(found.entities)
        for text, stamp, state in found.labels:
            self.labelled.add(text, state, stamp)

    def _associate(self, state: Tensor, energy: float) -> None:
        self._associative.write(state, torch.cat([state, state.new_tensor([energy])]))

    def _record(self, kind: str, *values) -> None:
        if self._journal:
            self._journal.put((kind, *values))

    def _usable(self, imagined: bool) -> np.ndarray:
        return np.ones(len(self), bool) if imagined else ~self._episodic.imagined

    def _recall(self, distances: np.ndarray, count: int, query: Tensor | None, imagined: bool) -> Recall:
        held = self._episodic
        usable = np.flatnonzero(self._usable(imagined))
        count = max(1, count)
        if count < len(usable):     # of 36,000, a few are looked for: sorting all would take longer than the distances
            usable = usable[np.sort(np.argpartition(distances[usable], count - 1)[:count])]
        order = usable[np.argsort(distances[usable], kind='stable')]
        slots = torch.from_numpy(order)
        if query is None and len(order):
            query = held.states[int(order[0])]
        return self._answer(held.stamps_ns[order], held.states[slots], held.energies[order], distances[order], query,
                            held.imagined[order])

    def _answer(self, stamps: np.ndarray, states: Tensor, energies: np.ndarray, distances: np.ndarray,
                query: Tensor | None, imagined: np.ndarray) -> Recall:
        if query is None or len(self._associative) == 0:
            value, sure = torch.zeros(self.dim + 1), torch.zeros(())
        else:
            value, sure = self._associative.read_sure(query)
        return Recall(stamps, states, energies, distances, value, imagined, float(sure))

    def _nothing(self) -> Recall:
        return self._answer(np.zeros(0, np.int64), torch.zeros(0, self.dim), np.zeros(0), np.zeros(0), None,
                            np.zeros(0, bool))

    def _finite(self, stamp_ns: int, state: Tensor, energy: float) -> Tensor:
        state = self._checked(state)
        if not (math.isfinite(energy) and bool(torch.isfinite(state).all())):
            raise ConfigError(f'memory: triplet at {stamp_ns / 1e9:.3f} s is not finite, not stored')
        return state

    def _checked(self, state: Tensor) -> Tensor:
        if state.shape != (self.dim,):
            raise ConfigError(f'memory: state has shape {tuple(state.shape)}, this model has ({self.dim},)')
        return state.detach().to('cpu', torch.float32)
