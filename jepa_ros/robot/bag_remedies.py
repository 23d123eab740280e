"""What is odd about bags of others, and what to do about it. Used by `bag_open.py` and `bag_repair.py`."""
from pathlib import Path

from rosbags.rosbag2 import Reader
import yaml

_ROS1_MAGIC = b'#ROSBAG V'


def ros1_line(path: Path) -> str:
    """What to do about a ROS 1 bag, or a folder of them; empty for anything else."""
    inside = sorted(path.glob('*.bag')) if path.is_dir() and not (path / 'metadata.yaml').exists() else []
    if inside and not any(f.suffix in ('.mcap', '.db3') for f in path.iterdir()) and (line := ros1_line(inside[0])):
        return line if len(inside) == 1 else f'{path}: holds {len(inside)} ROS 1 bags; {line.partition("; ")[2]}'
    if not path.is_file():
        return ''
    with path.open('rb') as file:
        if not file.read(len(_ROS1_MAGIC)) == _ROS1_MAGIC:
            return ''
    return (f'{path}: is a ROS 1 bag; convert it first: '
            f'rosbags-convert --src {path} --dst {path.with_suffix("")}')


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
