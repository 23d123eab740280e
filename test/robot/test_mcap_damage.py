"""MCAP files that are damaged somewhere: what can still be read is saved, nothing passes for whole."""
from pathlib import Path
import shutil

from hypothesis import given, HealthCheck, Phase, settings
from hypothesis import strategies as st
from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter
import numpy as np
import pytest
from rosbags.rosbag2 import Reader
import zstandard

from jepa_ros.cli.main import main
from jepa_ros.errors import BagError
from jepa_ros.robot.bag_metadata import FileSpan, metadata, Topic, write_metadata
from jepa_ros.robot.bag_open import open_bag
from jepa_ros.robot.bag_repair import repaired
from jepa_ros.robot.bag_types import typestore

KIND = 'std_msgs/msg/Float64MultiArray'
COUNT = 400
NUMBERS = 20        # of one message: some 200 bytes


def message(n: int) -> bytes:
    store = typestore()
    layout = store.types['std_msgs/msg/MultiArrayLayout']([], 0)
    return bytes(store.serialize_cdr(store.types[KIND](layout, np.full(NUMBERS, float(n))), KIND))


def make(folder: Path, compression=CompressionType.NONE, crcs: bool = False, chunking: bool = True, pack=bytes,
         times=range(COUNT)) -> Path:
    """A bag as `ros2 bag record` writes it: chunks without checksums, here of 8 KB."""
    folder.mkdir(parents=True)
    definition, _ = typestore().generate_msgdef(KIND, ros_version=2)
    with (folder / 'x.mcap').open('wb') as stream:
        writer = McapWriter(stream, chunk_size=8192, compression=compression, enable_crcs=crcs, use_chunking=chunking)
        writer.start(profile='ros2', library='test')
        schema = writer.register_schema(KIND, 'ros2msg', definition.encode())
        channel = writer.register_channel('/numbers', 'cdr', schema)
        for n in times:
            writer.add_message(channel, 10**9 + n, pack(message(n)), 10**9 + n)
        writer.finish()
    span = FileSpan('x.mcap', {'/numbers': COUNT}, 10**9, 10**9 + COUNT - 1)
    write_metadata(folder, metadata([span], [Topic('/numbers', KIND)], {}))
    return folder


def overwrite(bag: Path, share: float, junk: bytes) -> None:
    file = bag / 'x.mcap'
    data = bytearray(file.read_bytes())
    at = int(len(data) * share)
    data[at:at + len(junk)] = junk
    file.write_bytes(data)


def numbers(bag: Path) -> list[float]:
    """Messages of a bag; garbled ones show up as other numbers."""
    with open_bag(bag) as opened:
        found = [m.data for _, _, m in opened.messages(['/numbers'])]
    assert all((data == data[0]).all() and len(data) == NUMBERS for data in found)
    return [data[0] for data in found]


@pytest.fixture(scope='module')
def plain_bag(tmp_path_factory):
    return make(tmp_path_factory.mktemp('plain') / 'bag')


def copy_of(bag: Path, tmp_path: Path) -> Path:
    shutil.rmtree(tmp_path / 'bag', ignore_errors=True)
    return Path(shutil.copytree(bag, tmp_path / 'bag'))


@pytest.mark.parametrize('junk', [bytes(2000), b'\x5a' * 2000])
def test_a_bag_that_reads_short_is_refused_with_the_repair(plain_bag, tmp_path, junk):
    bag = copy_of(plain_bag, tmp_path)
    overwrite(bag, 0.5, junk)
    with pytest.raises(BagError, match=rf'damaged.*jepa-ros bag repair {bag}'):
        numbers(bag)
    with open_bag(bag) as opened, pytest.raises(BagError, match='damaged'):
        list(opened.raw_messages(['/numbers']))


def test_messages_in_front_of_a_damage_and_behind_it_are_saved(plain_bag, tmp_path, capsys):
    bag = copy_of(plain_bag, tmp_path)
    overwrite(bag, 0.5, bytes(2000))
    before = (bag / 'x.mcap').read_bytes()
    assert main(['bag', 'repair', str(bag)]) == 0
    said = capsys.readouterr().out
    saved = numbers(bag)
    assert len(saved) > COUNT - 13 and saved == sorted(set(saved)) and {0.0, COUNT - 1.0} < set(saved)
    assert f'{COUNT - len(saved)} messages are lost' in said and 'x.mcap.damaged' in said
    assert (bag / 'x.mcap.damaged').read_bytes() == before
    assert repaired(bag).was_whole


@pytest.mark.parametrize('opcode', [0x80, 0xac, 0xff])
def test_a_chunk_that_looks_like_a_record_of_another_program_is_saved(plain_bag, tmp_path, opcode):
    """One byte decides; the index at the end of the file knows better."""
    bag = copy_of(plain_bag, tmp_path)
    data = bytearray((bag / 'x.mcap').read_bytes())
    at, chunks = 8, []
    while len(chunks) < 2:
        chunks += [at] * (data[at] == 6)
        at += 9 + int.from_bytes(data[at + 1:at + 9], 'little')
    data[chunks[1]] = opcode
    (bag / 'x.mcap').write_bytes(data)
    assert repaired(bag).messages >= COUNT - 1      # the one next to the damage does not count


@given(share=st.floats(0.0, 0.75), junk=st.binary(min_size=40, max_size=3000) | st.integers(40, 3000).map(bytes))
@settings(max_examples=25, deadline=None, phases=[Phase.generate],
          suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_wherever_a_file_is_damaged_most_is_saved_and_nothing_invented(plain_bag, tmp_path, share, junk):
    bag = copy_of(plain_bag, tmp_path)
    overwrite(bag, share, junk)
    done = repaired(bag)
    with Reader(bag) as reader:
        found = [raw for _, _, raw in reader.messages()]
    assert done.messages == len(found) >= COUNT - 2 - len(junk) // 150
    good = {message(n) for n in range(COUNT)}
    assert sum(raw not in good for raw in found) <= 1    # a damage within one message shows nowhere without checksums
    assert repaired(bag).was_whole


@pytest.mark.parametrize('compression', list(CompressionType))
def test_a_cut_in_the_first_chunk_keeps_its_messages_and_the_old_bytes(tmp_path, compression):
    noise = np.random.default_rng(0)
    bag = tmp_path / 'bag'
    make(bag)
    with (bag / 'x.mcap').open('wb') as stream:     # one chunk of 2 MB that does not compress
        writer = McapWriter(stream, chunk_size=1 << 24, compression=compression)
        writer.start(profile='ros2')
        channel = writer.register_channel('/noise', 'cdr', writer.register_schema(KIND, 'ros2msg', b'float64[] data'))
        for n in range(COUNT):
            writer.add_message(channel, n + 1, noise.bytes(5000), n + 1)
        writer.finish()
    old = (bag / 'x.mcap').read_bytes()[:1_000_000]
    (bag / 'x.mcap').write_bytes(old)
    done = repaired(bag)
    assert done.messages == done.salvaged > 100 and done.files == ('x.mcap',)
    with Reader(bag) as reader:
        assert [time for _, time, _ in reader.messages()] == list(range(1, done.messages + 1))
    assert old.endswith((bag / 'x.mcap.damaged').read_bytes()) and done.kept == ('x.mcap.damaged',)


def test_where_no_message_can_be_saved_nothing_is_changed(plain_bag, tmp_path, capsys):
    bag = copy_of(plain_bag, tmp_path)
    file = bag / 'x.mcap'
    file.write_bytes(file.read_bytes()[:100])
    before = {p.name: p.read_bytes() for p in bag.iterdir()}
    assert main(['bag', 'repair', str(bag)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert 'nothing to save; it is left as it is' in line
    assert {p.name: p.read_bytes() for p in bag.iterdir()} == before


def test_the_bytes_an_earlier_repair_kept_stay(plain_bag, tmp_path):
    bag = copy_of(plain_bag, tmp_path)
    (bag / 'x.mcap.damaged').write_text('of an earlier repair')
    overwrite(bag, 0.3, bytes(500))
    assert repaired(bag).kept == ('x.mcap.damaged.2',)
    assert (bag / 'x.mcap.damaged').read_text() == 'of an earlier repair'


def test_a_chunk_whose_checksum_differs_is_found(tmp_path):
    bag = make(tmp_path / 'bag', crcs=True)
    file = bag / 'x.mcap'
    data = file.read_bytes()
    at = data.index(message(200)) + 100             # inside of one message: its records stay in order
    file.write_bytes(data[:at] + b'\xff' + data[at + 1:])
    with pytest.raises(BagError, match='checksum.*jepa-ros bag repair'):
        numbers(bag)
    done = repaired(bag)
    assert done.messages == COUNT and 30 < done.doubtful == done.salvaged < 60     # which one it is nobody can tell


def test_a_damaged_file_without_chunks_is_saved_on_both_sides(tmp_path):
    bag = make(tmp_path / 'bag', chunking=False)
    overwrite(bag, 0.5, bytes(1000))
    done = repaired(bag)
    assert done.messages == len(set(numbers(bag))) > COUNT - 9 and numbers(bag)[-1] == COUNT - 1


def test_a_file_without_chunks_and_out_of_order_is_put_in_order(tmp_path):
    bag = make(tmp_path / 'bag', chunking=False, times=[1, 0, *range(2, COUNT)])
    with pytest.raises(BagError, match='not in timestamp order.*jepa-ros bag repair'):
        numbers(bag)
    assert repaired(bag).messages == COUNT and numbers(bag) == list(range(COUNT))


def test_messages_compressed_one_by_one_are_read_without_metadata(tmp_path):
    bag = make(tmp_path / 'bag', pack=zstandard.compress)
    assert numbers(bag / 'x.mcap') == list(range(COUNT))
    (bag / 'metadata.yaml').unlink()
    assert repaired(bag).messages == COUNT and numbers(bag) == list(range(COUNT))
    with Reader(bag) as reader:
        assert (reader.compression_mode, reader.compression_format) == ('message', 'zstd')
        assert next(reader.messages())[2] == message(0)
