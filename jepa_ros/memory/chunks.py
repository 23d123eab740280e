"""The bytes of a memory file: a header that says whose memory it is, then chunks with a checksum each.

header: MAGIC, length of a JSON object, its CRC-32, the object {format, model_id, dim}. chunk: MARK, kind, length of the
payload, CRC-32 of kind and payload, payload. All numbers little endian. Only what is perceived is here, no imagination.
"""
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
import json
import struct
import zlib

import numpy as np
import torch
from torch import Tensor

from jepa_ros.memory.named import Named, NOTHING

MAGIC, MARK = b'JEPAMEM\n', b'\xb5MEM'
FORMAT = 1
HEADER, CHUNK = struct.Struct('<II'), struct.Struct('<4sBII')
TRIPLETS, ACTIONS, BEGIN, LABEL, SLOTS, ENTITIES = range(1, 7)
KINDS = ('<f4', '<i8', '<i8')   # of what is known of entities: values, changed, seen
PER_CHUNK = 1000        # records: what one damaged byte can cost when the file was written anew


@dataclass(frozen=True)
class Header:
    """Whose memory it is: states of two models have nothing to do with each other."""

    model_id: str
    dim: int

    def packed(self) -> bytes:
        said = json.dumps({'format': FORMAT, 'model_id': self.model_id, 'dim': self.dim}).encode()
        return MAGIC + HEADER.pack(len(said), zlib.crc32(said)) + said


@dataclass(frozen=True)
class Contents:
    """What a file holds, in the order in which it was stored."""

    stamps: np.ndarray                          # (n,) int64
    states: np.ndarray                          # (n, D) float32
    energies: np.ndarray                        # (n,)
    runs: np.ndarray                            # (n,) number of each triplet's run …
    named: dict[int, tuple[str, str]]           # … and episode and goal of each number
    actions: np.ndarray                         # (n, A) float32, NaN where unknown
    labels: list[tuple[str, int, Tensor]]
    slots: dict[str, Tensor] | None             # of the associative memory …
    written: int                                # … when it held this many of the triplets
    entities: Named = field(default=NOTHING)    # the newest of the file; files from before there were any have none

    def __len__(self) -> int:
        return len(self.stamps)

    @property
    def beyond(self) -> int:
        """Triplets that came after the slots were written: association has to go through them again."""
        return len(self) - self.written


def header_problem(data: bytes, wanted: Header) -> tuple[str, int]:
    """Why a file cannot be taken over, empty if it can; and where its chunks begin."""
    start = len(MAGIC) + HEADER.size
    if data[:len(MAGIC)] != MAGIC or len(data) < start:
        return 'this is no memory file', 0
    length, checksum = HEADER.unpack_from(data, len(MAGIC))
    said = data[start:start + length]
    if zlib.crc32(said) != checksum:
        return 'the header of the file is damaged', 0
    found = json.loads(said)
    if found.get('format') != FORMAT:
        return f'the file has format {found.get("format")}, this program reads {FORMAT}', 0
    if (found.get('model_id'), found.get('dim')) != (wanted.model_id, wanted.dim):
        return (f'the memory is of model {found.get("model_id")} (states of {found.get("dim")}), this is model '
                f'{wanted.model_id} ({wanted.dim})'), 0
    return '', start + length


def is_cut_short(rest: bytes) -> bool:
    """Whether no further chunk begins in what cannot be read."""
    return MARK not in rest[1:]


# ---- writing -------------------------------------------------------------------------------------------------------
def packed(records: Iterable[tuple], dim: int) -> bytes:
    """Records as `Memory` makes them, (kind, values …), in their order; neighbours of a kind share a chunk."""
    return b''.join(_chunk(kind, payload) for name, group in groupby(records, key=lambda record: record[0])
                    for kind, payload in _payloads(name, list(group), dim))


def packed_all(contents: Contents, dim: int) -> bytes:
    """A whole memory."""
    rows = np.zeros(len(contents), _triplet(dim))
    rows['stamp'], rows['state'], rows['energy'], rows['run'] = (
        contents.stamps, contents.states, contents.energies, contents.runs)
    acted = np.zeros(len(contents), _action(contents.actions.shape[1]))
    acted['stamp'], acted['action'] = contents.stamps, contents.actions
    acted = acted[:0] if not contents.actions.shape[1] else acted
    unknown = np.isnan(acted['action']).any(1)
    parts = [packed([('begin', number, *names) for number, names in contents.named.items()], dim)]
    for first in range(0, len(rows), PER_CHUNK):
        part = slice(first, first + PER_CHUNK)
        parts.append(_chunk(TRIPLETS, rows[part].tobytes()))
        if not unknown[part].all():
            parts.append(_actions_chunk(acted[part][~unknown[part]]))
    parts.append(packed([('label', text, state, stamp) for text, stamp, state in contents.labels], dim))
    if contents.entities:
        parts.append(packed([('entities', contents.entities)], dim))
    if contents.slots is not None:
        slots = contents.slots
        parts.append(_chunk(SLOTS, struct.pack('<III', *slots['keys'].shape, slots['values'].shape[1]) + b''.join(
            slots[name].numpy().tobytes() for name in ('keys', 'values', 'written'))))
    return b''.join(parts)


def _actions_chunk(rows: np.ndarray) -> bytes:
    return _chunk(ACTIONS, struct.pack('<I', rows['action'].shape[1]) + rows.tobytes())


def _chunk(kind: int, payload: bytes) -> bytes:
    return CHUNK.pack(MARK, kind, len(payload), zlib.crc32(payload, kind)) + payload


def _payloads(name: str, group: list[tuple], dim: int) -> Iterator[tuple[int, bytes]]:
    if name == 'triplet':
        rows = np.zeros(len(group), _triplet(dim))
        for row, (_, stamp, state, energy, run) in zip(rows, group):
            row['stamp'], row['state'], row['energy'], row['run'] = stamp, state.numpy(), energy, run
        yield TRIPLETS, rows.tobytes()
    elif name == 'action':
        for width, same in groupby(group, key=lambda record: len(record[2])):
            rows = np.array([(stamp, action) for _, stamp, action in same], _action(width))
            yield ACTIONS, struct.pack('<I', width) + rows.tobytes()
    elif name == 'begin':
        for _, number, episode, goal in group:
            yield BEGIN, json.dumps([number, episode, goal]).encode()
    elif name == 'entities':
        known: Named = group[-1][1]     # the newest
        said = json.dumps(list(known.names)).encode()
        columns = zip((known.values, known.changed_ns, known.seen_ns), KINDS)
        yield ENTITIES, struct.pack('<I', len(said)) + said + b''.join(
            values.astype(kind).tobytes() for values, kind in columns)
    else:
        for _, text, state, stamp in group:
            said = json.dumps([text, stamp]).encode()
            yield LABEL, struct.pack('<I', len(said)) + said + state.numpy().astype('<f4').tobytes()


# ---- reading -------------------------------------------------------------------------------------------------------
def read(data: bytes, start: int, dim: int) -> tuple[Contents, int, str]:
    """What the chunks from byte `start` hold, the end of the last good one, and what is wrong there; empty: nothing."""
    reading, at, problem = _Reading(dim), start, ''
    while at < len(data) and not problem:
        payload = b''
        if len(data) - at >= CHUNK.size:
            mark, kind, length, checksum = CHUNK.unpack_from(data, at)
            payload = data[at + CHUNK.size:at + CHUNK.size + length]
            problem = 'damaged' if mark != MARK else 'cut short' if len(payload) < length else ''
        else:
            problem = 'cut short'
        if not problem and not (zlib.crc32(payload, kind) == checksum and reading.take(kind, payload)):
            problem = 'damaged'
        at += 0 if problem else CHUNK.size + len(payload)
    return reading.contents(), at, problem


class _Reading:
    """Gathers what chunks hold."""

    def __init__(self, dim: int):
        self._dim = dim
        self._parts = [np.zeros(0, _triplet(dim))]
        self._count = self._written = 0
        self._place: dict[int, int] = {}                # stamp -> its newest triplet
        self._actions: dict[int, np.ndarray] = {}       # place of the triplet -> (A,)
        self._named: dict[int, tuple[str, str]] = {}
        self._labels: list[tuple[str, int, Tensor]] = []
        self._slots: dict[str, Tensor] | None = None
        self._entities = NOTHING
        self._takers = {TRIPLETS: self._triplets, ACTIONS: self._act, BEGIN: self._begin, LABEL: self._label,
                        SLOTS: self._associated, ENTITIES: self._known}

    def take(self, kind: int, payload: bytes) -> bool:
        """False for what cannot be understood."""
        try:
            self._takers[kind](payload)
        except (LookupError, ValueError, TypeError, struct.error):
            return False
        return True

    def contents(self) -> Contents:
        """All that was taken."""
        rows = np.concatenate(self._parts)
        width = len(next(reversed(self._actions.values()), ()))
        actions = np.full((len(rows), width), np.nan, np.float32)
        for place, action in self._actions.items():
            if len(action) == width:
                actions[place] = action
        return Contents(rows['stamp'], rows['state'], rows['energy'], rows['run'], self._named, actions, self._labels,
                        self._slots, self._written, self._entities)

    def _triplets(self, payload: bytes) -> None:
        rows = np.frombuffer(payload, _triplet(self._dim))
        self._place |= {stamp: self._count + i for i, stamp in enumerate(rows['stamp'].tolist())}
        self._parts.append(rows)
        self._count += len(rows)

    def _act(self, payload: bytes) -> None:
        width, = struct.unpack_from('<I', payload)
        rows = np.frombuffer(payload, _action(width), offset=4)
        for stamp, action in zip(rows['stamp'].tolist(), rows['action']):
            if stamp in self._place:
                self._actions[self._place[stamp]] = action

    def _begin(self, payload: bytes) -> None:
        number, episode, goal = json.loads(payload)
        self._named[number] = (episode, goal)

    def _label(self, payload: bytes) -> None:
        length, = struct.unpack_from('<I', payload)
        text, stamp = json.loads(payload[4:4 + length])
        state = np.frombuffer(payload, '<f4', offset=4 + length)
        if len(state) != self._dim:
            raise ValueError(self._dim)
        self._labels.append((text, stamp, torch.tensor(state)))

    def _known(self, payload: bytes) -> None:
        length, = struct.unpack_from('<I', payload)
        names, at, columns = json.loads(payload[4:4 + length]), 4 + length, []
        for kind in KINDS:
            columns.append(np.frombuffer(payload, kind, len(names), at).copy())
            at += len(names) * np.dtype(kind).itemsize
        self._entities = Named(tuple(names), *columns)

    def _associated(self, payload: bytes) -> None:
        n, keys, values = struct.unpack_from('<III', payload)
        widths: Sequence[tuple[str, int, str]] = (
            ('keys', keys, '<f4'), ('values', values, '<f4'), ('written', 1, '<i8'))
        at, slots = 12, {}
        for name, width, kind in widths:
            slots[name] = torch.tensor(np.frombuffer(payload, kind, n * width, at)).reshape(n, width)
            at += n * width * np.dtype(kind).itemsize
        slots['written'] = slots['written'][:, 0]
        self._slots, self._written = slots, self._count


def _triplet(dim: int) -> np.dtype:
    return np.dtype([('stamp', '<i8'), ('energy', '<f8'), ('run', '<i8'), ('state', '<f4', (dim,))])


def _action(width: int) -> np.dtype:
    return np.dtype([('stamp', '<i8'), ('action', '<f4', (width,))])
