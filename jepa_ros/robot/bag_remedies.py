"""What is odd about bags of others, and what to do about it. Used by `bag_open.py` and `bag_repair.py`."""
from pathlib import Path

from rosbags.rosbag2 import Reader
from rosbags.rosbag2.reader import DirectoryReader
from rosbags.rosbag2.storage_mcap import McapReader, Schema
import yaml

_ROS1_MAGIC = b'#ROSBAG V'
_ROS1_PROFILE = b'\x04\x00\x00\x00ros1'
_PROFILE_AT = 17            # in an MCAP file, behind its magic and the head of its first record
_WAL_HEADER_BYTES = 32     # of sqlite's write-ahead log


def ros1_line(path: Path) -> str:
    """What to do about a ROS 1 bag, or a folder of them; empty for anything else."""
    inside = sorted(path.glob('*.bag')) if path.is_dir() and not (path / 'metadata.yaml').exists() else []
    if inside and not any(f.suffix in ('.mcap', '.db3') for f in path.iterdir()) and (line := ros1_line(inside[0])):
        return line if len(inside) == 1 else f'{path}: holds {len(inside)} ROS 1 bags; {line.partition("; ")[2]}'
    if not path.is_file():
        return ''
    with path.open('rb') as file:
        head = file.read(_PROFILE_AT + len(_ROS1_PROFILE))
    if path.suffix == '.mcap' and head[_PROFILE_AT:] == _ROS1_PROFILE:
        return f'{path}: is a ROS 1 recording: convert it to ROS 2 first'
    if not head.startswith(_ROS1_MAGIC):
        return ''
    return (f'{path}: is a ROS 1 bag; convert it first: '
            f'rosbags-convert --src {path} --dst {path.with_suffix("")}')


class _Schemas(dict[int, Schema]):
    """Schemas of an MCAP file; those of Foxglove's JSON, of protobuf and the like are kept by their names only."""

    def __setitem__(self, number: int, schema: Schema) -> None:
        known = schema.encoding in ('ros2msg', 'ros2idl', 'omgidl', '')
        super().__setitem__(number, schema if known else schema._replace(encoding='', data=''))


class _McapReader(McapReader):
    """rosbags' reader refuses a whole file for one channel that is not of ROS 2."""

    def __init__(self, path: Path):
        super().__init__(path)
        self.schemas = _Schemas()


class _DirectoryReader(DirectoryReader):
    STORAGE_PLUGINS = {**DirectoryReader.STORAGE_PLUGINS, 'mcap': _McapReader}


class BagReader(Reader):
    """rosbags' reader, which also takes files with channels that are not of ROS 2."""

    STORAGE_PLUGINS = {**Reader.STORAGE_PLUGINS, 'dir': _DirectoryReader, '.mcap': _McapReader}


def journal(file: Path) -> str:
    """Name of the journal beside a .db3 file that holds messages the file itself does not have yet; empty without.

    It stays behind when a recorder is killed, or a bag is copied while it is recorded. rosbags does not look into it.
    """
    beside = file.with_name(f'{file.name}-wal')
    return beside.name if beside.exists() and beside.stat().st_size > _WAL_HEADER_BYTES else ''


def unpacking(file: Path) -> str:
    """How to unpack a file that rosbag2 compressed as a whole, also one that was cut off."""
    return f'unpack it first: zstd -dc {file} > {file.with_suffix("")}'


def missing(path: Path) -> str:
    """The first of the files that metadata.yaml names and the folder lacks, and how many they are."""
    try:
        info = yaml.safe_load((path / 'metadata.yaml').read_text(encoding='utf-8'))['rosbag2_bagfile_information']
        names = [Path(name).name for name in info['relative_file_paths']]
    except Exception:  # noqa: BLE001  it is damaged in as many ways as text has; the caller says which
        return ''
    missing = [name for name in names if not (path / name).exists()]
    more = f' and {len(missing) - 1} more' if len(missing) > 1 else ''
    return f'metadata.yaml names {missing[0]}{more}, not to be found' if missing else ''


def agree(reader: Reader) -> None:
    """Give types their long names, and the files of a folder the type and QoS that metadata.yaml gives a topic.

    rosbags silently leaves out what differs in these.
    """
    storage = reader.storage
    for owner in {id(o): o for o in (storage, *getattr(storage, 'storages', []))}.values():
        for index, c in enumerate(owner.connections):
            package, slash, name = c.msgtype.partition('/')
            if slash and '/' not in name:
                owner.connections[index] = c._replace(msgtype=f'{package}/msg/{name}')
    parts = getattr(storage, 'storages', [])
    own = {c.msgtype: c.msgdef for part in parts for c in part.connections if c.msgdef.data}
    for index, c in enumerate(storage.connections):
        if not c.msgdef.data and c.msgtype in own:
            storage.connections[index] = c._replace(msgdef=own[c.msgtype])
    named = {(c.topic, c.msgtype): c for c in reversed(storage.connections)}
    exact = {(c.topic, c.msgtype, str(c.ext), c.digest) for c in storage.connections}
    for part in parts:
        for index, c in enumerate(part.connections):
            same = named.get((c.topic, c.msgtype))
            if same is not None and (c.topic, c.msgtype, str(c.ext), c.digest) not in exact:
                part.connections[index] = c._replace(ext=same.ext, digest=same.digest)
