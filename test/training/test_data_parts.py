"""Episodes made ready for training: scaled, joined, and refused where nothing could be learned from them."""
import dataclasses

import numpy as np
import pytest
import tiny
import torch

from jepa_ros.errors import TrainingError
from jepa_ros.training.data import from_episodes
from jepa_ros.training.data_parts import check_fit

from . import rover


def test_episodes_are_joined_end_to_end_with_actions_scaled_by_the_contract():
    parts = [tiny.episode(5, 0, 'a'), tiny.episode(3, 1, 'b')]
    data = from_episodes(parts, tiny.contract(), {'a': 'ff'})
    assert data.starts.tolist() == [0, 5] and data.lengths.tolist() == [5, 3] and data.steps == 8
    assert torch.equal(data.percepts['overhead'][5:], torch.from_numpy(parts[1].percepts['overhead']))
    expected = 2 * (parts[0].actions - [-0.5, -2.0]) / [1.5, 4.0] - 1
    assert np.allclose(data.actions[:5], expected, atol=1e-6)
    assert [x.dtype for x in (data.percepts['overhead'], data.actions, data.readouts)] == [
        torch.uint8, torch.float32, torch.float32]
    assert (data.readout_names, data.bags) == (('x_m', 'y_m'), {'a': 'ff'})
    assert data.names == ('a: episode a', 'a: episode b')


def test_episodes_of_a_single_step_are_left_out_and_counted():
    data = from_episodes([tiny.episode(1), tiny.episode(4, 1), tiny.episode(0, 2)], tiny.contract(), {})
    assert data.lengths.tolist() == [4]
    assert data.notes == ('2 episode(s) of fewer than two steps were left out',)


@pytest.mark.parametrize('episodes', [[], [tiny.episode(1)]])
def test_nothing_to_train_on_is_refused_and_names_the_bags(episodes):
    with pytest.raises(TrainingError, match='no episode with two or more steps in night, day'):
        from_episodes(episodes, tiny.contract(), {'night': '0', 'day': '1'})


def refused(*episodes, contract=None) -> str:
    with pytest.raises(TrainingError) as error:
        from_episodes(episodes, contract or rover.contract(), {})
    assert '\n' not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize('what', ['action', 'readout'])
@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_is_refused_with_file_episode_and_step(what, bad):
    episode = rover.episode(6, name='e7', source='bags/night')
    values = getattr(episode, what + 's').copy()
    values[4, 0] = bad
    line = refused(rover.episode(4), dataclasses.replace(episode, **{what + 's': values}))
    assert line.startswith(f'bags/night: episode e7, step 4: {what} is not finite; record it again')


@pytest.mark.parametrize('key, where', [('scan', (3, 0, 2)), ('odom', (3, 1))])
def test_a_percept_that_is_not_finite_is_refused_and_named(key, where):
    episode = rover.episode(6, name='e7', source='bags/night')
    episode.percepts[key][where] = np.nan
    assert refused(episode).startswith(f'bags/night: episode e7, step 3: observation {key} is not finite')


def test_what_a_missing_sensor_says_is_not_looked_at_and_kept_as_zero():
    text = rover.CONTRACT.replace('twist.twist.angular.z]}', 'twist.twist.angular.z], required: false}')
    episode = rover.episode(6)
    episode.percepts['odom'][2] = np.nan
    episode.valid['odom'][2] = False
    data = from_episodes([episode], rover.contract(text), {})
    assert data.percepts['odom'][2].tolist() == [0, 0]
    assert data.valid['odom'].tolist() == [True, True, False, True, True, True]


def test_an_episode_read_with_another_contract_is_refused_with_the_stream():
    episode = rover.episode(6, name='e7')
    wide = rover.contract(rover.CONTRACT.replace('beams: 5', 'beams: 8'))
    assert refused(episode, contract=wide).startswith(
        'bags/a: episode e7: percepts/scan has rows (2, 5) float32, robot rover has (2, 8) float32')
    del episode.percepts['odom']
    assert refused(episode).startswith('bags/a: episode e7 has no observation odom')


def test_data_of_another_robot_do_not_fit():
    data = from_episodes([rover.episode(6)], rover.contract(), {})
    check_fit(data, rover.contract())
    for change in (('beams: 5', 'beams: 8'), ('key: camera', 'key: front'), ('{name: x_m', '{name: z_m')):
        with pytest.raises(TrainingError, match="robot 'rover' has") as error:
            check_fit(data, rover.contract(rover.CONTRACT.replace(*change)))
        assert '\n' not in str(error.value)
