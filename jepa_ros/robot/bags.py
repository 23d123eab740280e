"""Reading recorded bags: episodes on the control grid for training, single percepts for goals.

Messages go through the same `Ingest` as live ones, so both give identical tensors (design §7). Needs no ROS.
"""
from collections.abc import Callable, Iterator
import hashlib
import logging
from pathlib import Path

import numpy as np

from ..errors import BagError
from .adapters import to_array
from .bag_open import check_contract, open_bag
from .bag_reading import Reading
from .bag_repair import repair
from .bag_writer import BagWriter
from .contract import RobotContract
from .episode import Episode
from .ingest import Ingest, Percept
from .intake import Convert

__all__ = ['BagWriter', 'Episode', 'Percept', 'bag_duration_s', 'bag_sha256', 'iter_episodes', 'iter_percepts',
           'read_episodes', 'read_percept', 'repair']

Progress = Callable[[float], None]
Report = Callable[[str], None]
NEAR_S = 2.0        # how far the log of a sample is from its stamp, usually
_SECOND_NS = 1_000_000_000


def read_episodes(bag: Path | str, contract: RobotContract, progress: Progress | None = None,
                  report: Report | None = None) -> list[Episode]:
    """All episodes of a bag; see `iter_episodes`."""
    return list(iter_episodes(bag, contract, progress, report))


def iter_episodes(bag: Path | str, contract: RobotContract, progress: Progress | None = None,
                  report: Report | None = None, convert: Convert = to_array) -> Iterator[Episode]:
    """Episodes of a bag one by one; memory holds one of them and some seconds more.

    They are split where the topic `episode` says START and STOP, SUCCESS or FAILURE; a bag without that topic is one
    episode, named after the bag. Each is cut where ticks are missing: lost or withheld percepts, stale readouts. An
    episode without an end (a killed recorder) ends with the bag. Rows without a known command are left out at the ends.

    `progress` is called with the share done, 0 … 1; `report` with one line for each thing in the bag that could not
    be used, by default logged as a warning; `convert` stands in for the adapters of observations. `BagError` in one
    line for a bag that is missing, damaged, of another contract, or without a single episode.
    """
    with open_bag(Path(bag)) as opened:
        contract = check_contract(opened, contract)
        yield from Reading(opened, contract, report or logging.getLogger(__name__).warning).episodes(progress, convert)


def iter_percepts(bag: Path | str, contract: RobotContract, ingest: Ingest | None = None,
                  start_ns: int | None = None, stop_ns: int | None = None) -> Iterator[Percept]:
    """Percepts of a bag one by one, as a live agent would have got them; log times within [start, stop).

    Give an `ingest` of the same contract to look at its counters or to convert in another way.
    """
    with open_bag(Path(bag)) as opened:
        contract = check_contract(opened, contract)
        yield from Reading(opened, contract).percepts(ingest or Ingest(contract), start_ns, stop_ns)


def read_percept(bag: Path | str, contract: RobotContract, time_s: float) -> dict[str, np.ndarray]:
    """Percept in force `time_s` seconds after the first one: observation key -> array of its tensor_spec.

    `BagError` for a time before the start or past the end, naming the bag's length.
    """
    with open_bag(Path(bag)) as opened:
        contract = check_contract(opened, contract)
        reading = Reading(opened, contract)
        first, last = reading.percept_span_ns()
        if not 0 <= time_s <= (last - first) * 1e-9 + contract.control_period_s / 2:
            raise BagError(f'{bag}: {time_s:g} s is outside the bag, which is {(last - first) * 1e-9:.1f} s long')
        moment = first + round(time_s * 1e9) + 500   # half a microsecond absorbs the rounding of seconds
        near_ns = round(NEAR_S * _SECOND_NS)
        for start, stop in ((moment - near_ns, moment + near_ns), (None, None)):
            held = None
            for percept in reading.percepts(Ingest(contract), start, stop):
                if percept.stamp_ns <= moment and (held is None or percept.stamp_ns >= held.stamp_ns):
                    held = percept
            if held is not None:
                return held.values
    raise BagError(f'{bag}: no percept up to {time_s:g} s')


def bag_duration_s(bag: Path | str, contract: RobotContract) -> float:
    """Seconds from the first to the last percept."""
    with open_bag(Path(bag)) as opened:
        contract = check_contract(opened, contract)
        first, last = Reading(opened, contract).percept_span_ns()
        return (last - first) * 1e-9


def bag_sha256(bag: Path | str) -> str:
    """Hash over the bag's recorded data: its storage files in the order of metadata.yaml."""
    with open_bag(Path(bag)) as opened:
        files = opened.files
    digest = hashlib.sha256()
    for file in files:
        with file.open('rb') as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
