"""Exports: what other projects' readers find in them.

LeRobot's own reader (0.4.4, codebase v3.0) was run on such folders by hand; here each field it reads is looked at.
"""
import json

import h5py
import imageio_ffmpeg
import numpy as np
import pyarrow.parquet as parquet
import pytest

from jepa_ros.errors import DatasetError
from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.dataset import export_hdf5, export_lerobot
from jepa_ros.robot.dataset.build import build
from jepa_ros.robot.dataset.export_lerobot import features
from jepa_ros.robot.dataset.lerobot_files import DataFiles, VideoFiles
from jepa_ros.robot.dataset.lerobot_stats import of_numbers, Pictures
from jepa_ros.robot.dataset.store import Store

from .conftest import picture, record


def quiet(_stage: str, _share: float) -> None:
    """No progress bar."""


@pytest.fixture(scope='module')
def lerobot(tmp_path_factory, built):
    folder = tmp_path_factory.mktemp('exports') / 'lerobot'
    export_lerobot.export(Store(built), folder, 'drive around', quiet)
    return folder


@pytest.fixture(scope='module')
def steps(lerobot) -> dict:
    return parquet.read_table(lerobot / 'data/chunk-000/file-000.parquet').to_pydict()


def test_lerobot_info_describes_what_is_there(lerobot, contract):
    info = json.loads((lerobot / 'meta/info.json').read_text())
    assert (info['codebase_version'], info['fps'], info['total_episodes'], info['total_frames'], info['total_tasks'],
            info['splits'], info['robot_type']) == ('v3.0', 10, 5, 168, 1, {'train': '0:5'}, 'scout')
    found = info['features']
    assert found['action'] == {'dtype': 'float32', 'shape': [2], 'names': ['vx_mps', 'wz_radps']}
    assert found['observation.state']['names'] == ['motion.twist.twist.linear.x', 'motion.twist.twist.angular.z', 'x_m']
    assert found['observation.images.front']['shape'] == [40, 48, 3]
    assert found['observation.images.front']['info']['video.fps'] == 10
    assert found['observation.rear_valid'] == {'dtype': 'bool', 'shape': [1], 'names': None}
    for place in (info['data_path'].format(chunk_index=0, file_index=0),
                  *(info['video_path'].format(video_key=f'observation.images.{key}', chunk_index=0, file_index=0)
                    for key in ('front', 'rear'))):
        assert (lerobot / place).is_file()


def test_lerobot_steps_are_those_of_the_store(lerobot, built, steps):
    episodes = list(Store(built).read_all())
    assert np.array_equal(np.array(steps['action'], np.float32), np.concatenate([e.actions for e in episodes]))
    state = np.concatenate([np.concatenate([e.percepts['motion'], e.readouts], axis=1) for e in episodes])
    assert np.array_equal(np.array(steps['observation.state'], np.float32), state)
    assert steps['observation.rear_valid'] == np.concatenate([e.valid['rear'] for e in episodes]).tolist()
    assert steps['index'] == list(range(168)) and steps['task_index'] == [0] * 168
    assert steps['episode_index'] == [i for i, e in enumerate(episodes) for _ in range(len(e))]
    assert steps['frame_index'] == [t for e in episodes for t in range(len(e))]
    assert np.allclose(steps['timestamp'], np.array(steps['frame_index']) / 10, atol=1e-6)


def test_lerobot_columns_have_the_types_of_the_features(lerobot, built):
    schema = parquet.read_schema(lerobot / 'data/chunk-000/file-000.parquet')
    low = [name for name, f in features(Store(built)).items() if f['dtype'] != 'video']
    assert schema.names == low
    assert str(schema.field('action').type) == 'fixed_size_list<element: float>[2]'
    types = [str(schema.field(name).type) for name in ('timestamp', 'index', 'observation.rear_valid')]
    assert types == ['float', 'int64', 'bool']


def test_lerobot_episodes_say_where_their_steps_and_frames_are(lerobot, built):
    rows = parquet.read_table(lerobot / 'meta/episodes/chunk-000/file-000.parquet').to_pylist()
    lengths = [e.length for e in Store(built).episodes]
    assert [r['length'] for r in rows] == lengths and [r['episode_index'] for r in rows] == list(range(5))
    ends = np.cumsum(lengths)
    assert [r['dataset_to_index'] for r in rows] == ends.tolist()
    assert [r['dataset_from_index'] for r in rows] == [0, *ends[:-1]]
    for row, first, end in zip(rows, [0, *ends[:-1]], ends):
        assert row['tasks'] == ['drive around'] and row['data/chunk_index'] == row['data/file_index'] == 0
        video = 'videos/observation.images.rear'
        assert (row[f'{video}/chunk_index'], row[f'{video}/file_index']) == (0, 0)
        assert row[f'{video}/from_timestamp'] == pytest.approx(first / 10)
        assert row[f'{video}/to_timestamp'] == pytest.approx(end / 10)
        assert row['stats/action/count'] == [row['length']]
        assert np.shape(row['stats/observation.images.front/mean']) == (3, 1, 1)


def test_lerobot_tasks_have_the_task_as_index(lerobot):
    table = parquet.read_table(lerobot / 'meta/tasks.parquet')
    assert table.to_pydict() == {'task_index': [0], 'task': ['drive around']}
    assert json.loads(table.schema.metadata[b'pandas'])['index_columns'] == ['task']


def test_lerobot_statistics_cover_every_feature(lerobot, built):
    found = json.loads((lerobot / 'meta/stats.json').read_text())
    assert set(found) == set(features(Store(built)))
    actions = np.concatenate([e.actions for e in Store(built).read_all()])
    assert np.allclose(found['action']['mean'], actions.mean(0), atol=1e-6) and found['action']['count'] == [168]
    assert set(found['action']) == {'min', 'max', 'mean', 'std', 'count', 'q01', 'q10', 'q50', 'q90', 'q99'}
    assert np.shape(found['observation.images.front']['q50']) == (3, 1, 1)


def test_lerobot_videos_show_the_frames_in_their_order(lerobot, built):
    frames = imageio_ffmpeg.read_frames(str(lerobot / 'videos/observation.images.front/chunk-000/file-000.mp4'))
    about = next(frames)
    assert about['size'] == (48, 40) and about['fps'] == 10
    shown = np.stack([np.frombuffer(f, np.uint8).reshape(40, 48, 3) for f in frames]).astype(int)
    stored = np.concatenate([e.percepts['front'] for e in Store(built).read_all()]).astype(int)
    error = np.abs(shown - stored).mean((1, 2, 3))
    shifted = np.abs(shown[1:] - stored[:-1]).mean((1, 2, 3))
    assert shown.shape == stored.shape and error.max() < 6 < 3 * error.max() < np.median(shifted)


def test_lerobot_files_begin_anew_when_they_are_large(tmp_path):
    rows = np.stack([picture(i) for i in range(30)])
    video = VideoFiles(tmp_path, 'cam', 10, (40, 48), megabytes=0.001, chunks_size=2)
    places = []
    for _ in range(4):
        places.append(video.add(rows))
        while not video.is_full:
            video.add(rows)
    video.close()
    numbers = [(p['videos/cam/chunk_index'], p['videos/cam/file_index']) for p in places]
    assert numbers == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert all(p['videos/cam/from_timestamp'] == 0.0 for p in places)
    with DataFiles(tmp_path, {'a': {'dtype': 'float32', 'shape': [2, 3]}}, 1e-5, 2) as data:
        where = [data.add({'a': np.full((4, 2, 3), i, np.float32)}) for i in range(3)]
    assert [w['data/file_index'] for w in where] == [0, 1, 0] and where[2]['data/chunk_index'] == 1
    assert np.shape(parquet.read_table(tmp_path / 'data/chunk-001/file-000.parquet')['a'].to_pylist()) == (4, 2, 3)


def test_picture_statistics_are_those_of_the_pixels():
    rows = np.random.default_rng(0).integers(0, 200, (5, 16, 16, 3)).astype(np.uint8)
    seen, part = Pictures(), rows[:, ::4, ::4].reshape(-1, 3) / 255
    seen.add(rows)
    found = seen.statistics()
    assert np.allclose(found['mean'].ravel(), part.mean(0)) and np.allclose(found['std'].ravel(), part.std(0))
    assert np.allclose(found['min'].ravel(), part.min(0)) and np.allclose(found['max'].ravel(), part.max(0))
    assert np.allclose(found['q50'].ravel(), np.quantile(part, 0.5, axis=0, method='inverted_cdf'))
    assert of_numbers(np.arange(5))['q50'].tolist() == [2.0]


def test_a_control_rate_that_lerobot_cannot_say_is_refused(tmp_path, contract):
    odd = RobotContract.parse(contract.to_yaml().replace('control_period_s: 0.1', 'control_period_s: 0.15'))
    store = build([record(tmp_path / 'bag', odd, {'a': 8})], tmp_path / 'store', odd, workers=1).store
    with pytest.raises(DatasetError, match='LeRobot takes whole frames per second.*--hdf5'):
        export_lerobot.export(store, tmp_path / 'out', '', quiet)
    assert sorted(p.name for p in tmp_path.iterdir()) == ['bag', 'store']


def test_hdf5_has_a_group_for_each_episode(tmp_path, built, contract):
    store, file = Store(built), tmp_path / 'new/data.hdf5'
    export_hdf5.export(store, file, quiet)
    with h5py.File(file) as data:
        assert data['data'].attrs['total'] == 168 and len(data['data']) == 5
        assert json.loads(data['data'].attrs['env_args'])['env_name'] == 'scout'
        assert RobotContract.parse(data['data'].attrs['contract']) == contract
        for stored, read in zip(store.episodes, store.read_all()):
            demo = data[f'data/demo_{stored.index}']
            assert demo.attrs['num_samples'] == stored.length and demo.attrs['sha256'] == stored.sha256
            assert demo.attrs['bag_sha256'] == stored.bag.sha256 and demo.attrs['episode_id'] == stored.episode_id
            for key, rows in read.percepts.items():
                assert demo['obs'][key].dtype == rows.dtype and np.array_equal(demo['obs'][key], rows)
                assert np.array_equal(demo['valid'][key], read.valid[key])
            assert np.array_equal(demo['actions'], read.actions) and np.array_equal(demo['obs/readouts'], read.readouts)
            assert list(demo['actions'].attrs['names']) == ['vx_mps', 'wz_radps']
            assert np.array_equal(demo['stamps_ns'], read.stamps_ns)
            assert demo['dones'][:].tolist() == [0] * (stored.length - 1) + [1] and not demo['rewards'][:].any()
        assert [name.decode() for name in data['mask/train']] == [f'demo_{i}' for i in range(5)]
        assert len(data['mask/valid']) == 0


@pytest.mark.parametrize('how', ['hdf5', 'lerobot'])
def test_an_export_that_fails_leaves_nothing_behind(tmp_path, store, how):
    (store.path / 'observations/front/4.0.0.0').unlink()
    with pytest.raises(DatasetError, match='the chunk is missing'):
        if how == 'hdf5':
            export_hdf5.export(Store(store.path), tmp_path / 'out', quiet)
        else:
            export_lerobot.export(Store(store.path), tmp_path / 'out', '', quiet)
    assert [p.name for p in tmp_path.iterdir()] == ['store']


@pytest.mark.parametrize('export', [lambda s, p: export_hdf5.export(s, p, quiet),
                                    lambda s, p: export_lerobot.export(s, p, '', quiet)])
def test_an_unwritable_output_is_one_line(tmp_path, built, export):
    (tmp_path / 'file').write_text('')
    with pytest.raises(DatasetError, match='cannot be written') as caught:
        export(Store(built), tmp_path / 'file' / 'out')
    assert '\n' not in str(caught.value)
