"""What `dataset check` finds: each kind of damage, named."""
import json
import shutil

import numpy as np
import pytest
import zarr

from jepa_ros.errors import DatasetError
from jepa_ros.robot.dataset.check import check
from jepa_ros.robot.dataset.store import is_store, Store

from .conftest import record


def array(store: Store, name: str):
    return zarr.open_array(str(store.path / name), mode='r+')


def test_a_sound_store_and_its_bags_have_no_problems(built, bags):
    found = check(Store(built), bags, again=True)
    assert (found.problems, found.notes, found.episodes, found.bags) == ([], [], 5, 2)


def test_a_changed_pixel_is_named_with_its_step(store):
    start = store.episodes[1].start
    images = array(store, 'observations/front')
    pixel = images[start + 41]
    pixel[3, 4, 1] ^= 1
    images[start + 41] = pixel
    line, = check(Store(store.path), []).problems
    assert line.endswith('observations/front: episode b of day, step 41: the tensor differs from its hash')


@pytest.mark.parametrize('name, value, words', [
    ('actions', np.nan, 'actions: episode a of night, step 7: not a finite number'),
    ('actions', 0.125, 'episode a of night: its actions, readouts, stamps or small observations differ from its hash'),
    ('readouts', np.inf, 'readouts: episode a of night, step 7: not a finite number'),
    ('observations/motion', 0.125, 'small observations differ from its hash'),
    ('stamps_ns', 5, 'stamps_ns: episode a of night, step 7: the stamp is not later than the one before'),
    ('valid/rear', False, 'differ from its hash')])
def test_a_changed_number_is_named_with_its_episode(store, name, value, words):
    array(store, name)[store.episodes[3].start + 7] = value
    line, = check(Store(store.path), []).problems
    assert words in line


def test_a_lost_chunk_is_named_and_never_read_as_zeros(store):
    (store.path / 'observations/rear/1.0.0.0').unlink()
    problems = check(Store(store.path), []).problems
    words = 'observations/rear/1.0.0.0: the chunk is missing (episode b of day, from step 12)'
    assert any(words in line for line in problems)
    with pytest.raises(DatasetError, match='the chunk is missing'):
        list(Store(store.path).read_all())


def test_a_cut_off_chunk_is_named(store):
    file = store.path / 'observations/front/0.0.0.0'
    file.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(DatasetError, match=r'observations/front/0.0.0.0: the chunk is damaged .*episode a of day'):
        Store(store.path).read(store.episodes[0])
    assert len(check(Store(store.path), []).problems) == 2      # of two episodes


@pytest.mark.parametrize('name', ['starts', 'ids', 'sha256'])
def test_a_lost_table_is_named(store, name):
    next((store.path / 'episodes' / name).glob('0*')).unlink()
    with pytest.raises(DatasetError, match=f'episodes/{name}/0[.0]*: the chunk is missing or cut off'):
        Store(store.path)


@pytest.mark.parametrize('what, words', [
    ('gone', 'array actions is missing or damaged'), ('shape', 'actions: is (173, 3) float32'),
    ('length', 'actions: is (100, 2) float32'), ('overlap', 'episode b of day has rows 10 to 79'),
    ('short', 'the episodes of day have 122 steps, the store says 123')])
def test_wrong_shapes_and_tables_are_named(store, what, words):
    if what == 'gone':
        shutil.rmtree(store.path / 'actions')
    elif what == 'shape':
        zarr.open_array(store=str(store.path / 'actions'), mode='w', shape=(173, 3), dtype='f4', zarr_format=2)
    elif what == 'length':
        array(store, 'actions').resize((100, 2))
    else:
        name, value = {'overlap': ('starts', 10), 'short': ('lengths', 69)}[what]
        array(store, f'episodes/{name}')[1] = value
    assert any(words in line for line in check(Store(store.path), []).problems)


def test_a_bag_that_has_changed_since_is_named(tmp_path, store, bags, contract):
    shutil.copytree(bags[0], tmp_path / 'day')
    file = next((tmp_path / 'day').glob('*.mcap'))
    data = bytearray(file.read_bytes())
    data[2000] ^= 1
    file.write_bytes(data)
    line, = check(store, [tmp_path / 'day', bags[1]]).problems
    assert line.startswith(f'{tmp_path}/day: the bag has changed since the store was built')


def test_bags_that_are_elsewhere_are_noted_and_strangers_named(tmp_path, store, bags, contract):
    shutil.copytree(store.path, tmp_path / 'moved')
    attributes = json.loads((tmp_path / 'moved/.zattrs').read_text())
    attributes['bags'][0]['path'] = '/elsewhere/day'
    (tmp_path / 'moved/.zattrs').write_text(json.dumps(attributes))
    found = check(Store(tmp_path / 'moved'))
    assert found.problems == [] and found.bags == 1
    assert found.notes == ['1 of 2 bags are not where they were (/elsewhere/day): name them to have them checked']
    line, = check(store, [record(tmp_path / 'dusk', contract, {'a': 5})]).problems
    assert line.endswith('dusk: no bag of this name is in the store (day, night)')


@pytest.mark.parametrize('what, words', [
    ('nowhere', 'there is no such store'), ('folder', 'not a training store'), ('bag', 'a bag, not a training store'),
    ('version', 'store of version 99'), ('other zarr', 'not a training store'), ('broken', 'not a training store')])
def test_what_is_no_store_is_one_line(tmp_path, store, bags, what, words):
    path = {'nowhere': tmp_path / 'nowhere', 'folder': tmp_path, 'bag': bags[0]}.get(what, store.path)
    file = store.path / '.zattrs'
    if what == 'version':
        file.write_text(json.dumps(json.loads(file.read_text()) | {'version': 99}))
    elif what in ('other zarr', 'broken'):
        file.write_text('{"format": "diffusion_policy"}' if what == 'other zarr' else '{"format": ')
    with pytest.raises(DatasetError, match=words) as caught:
        Store(path)
    assert '\n' not in str(caught.value) and is_store(path) == (what == 'version')
