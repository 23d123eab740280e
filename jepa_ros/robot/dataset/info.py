"""What `jepa-ros dataset info` shows of a store, as plain values."""
from dataclasses import dataclass
from pathlib import Path

from .layout import Stream
from .store import Store

Row = tuple[str, ...]


@dataclass(frozen=True)
class Size:
    """One array on the disk."""

    stream: Stream
    rows: int
    bytes: int

    @property
    def raw_bytes(self) -> int:
        return self.rows * self.stream.row_bytes


def sizes(store: Store) -> list[Size]:
    """Every array with its steps, and what its files take."""
    return [Size(stream, store.steps, folder_bytes(store.path / stream.name)) for stream in store.streams()]


def folder_bytes(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob('*') if file.is_file())


def hours(store: Store) -> float:
    """Robot time in the episodes."""
    return store.steps * store.contract.control_period_s / 3600


def statistics_rows(store: Store) -> list[Row]:
    """(stream, component, mean, std, min, max, valid) for a table."""
    rows: list[Row] = []
    for stream in store.streams():
        found = store.attributes['statistics'].get(stream.name)
        if not found or 'mean' not in found:
            continue
        names = component_names(store, stream, len(found['mean']))
        valid = f'{found["valid_share"]:.1%}'
        if 'valid_beams_share' in found:
            valid += f', beams {found["valid_beams_share"]:.1%}'
        for i, name in enumerate(names):
            numbers = [f'{found[what][i]:.4g}' for what in ('mean', 'std', 'min', 'max')]
            rows.append((stream.name if i == 0 else '', name, *numbers, valid if i == 0 else ''))
    return rows


def component_names(store: Store, stream: Stream, count: int) -> list[str]:
    """Names of the numbers of which a stream has statistics."""
    from .. import adapters
    if stream.name == 'actions':
        return store.contract.action_names
    if stream.name == 'readouts':
        return store.contract.readout_names
    if len(stream.shape) == 3 and count == 3:
        return ['red', 'green', 'blue']
    observation = next(o for o in store.contract.observations if o.key == stream.key)
    names = list(adapters.tensor_spec(observation).names)
    return names if len(names) == count else [''] * count if count == 1 else [str(i) for i in range(count)]
