"""Warnings about data from which little can be learned."""
import dataclasses

import numpy as np
import pytest

from jepa_ros.errors import TrainingError
from jepa_ros.training import data_notes
from jepa_ros.training.data import from_episodes

from . import rover


def notes(*episodes) -> tuple[str, ...]:
    return from_episodes(episodes, rover.contract(), {'a': '00'}).notes


def test_data_in_which_everything_moves_has_no_notes():
    assert notes(rover.episode(200, missing=True), rover.episode(9, 1)) == ()


@pytest.mark.parametrize('key', ['scan', 'camera'])
def test_a_sensor_that_never_changes_is_noted(key):
    episodes = [rover.episode(6, 0, missing=True), rover.episode(6, 1)]
    for episode in episodes:
        episode.percepts[key][episode.valid[key]] = episodes[0].percepts[key][0]
    line, = notes(*episodes)
    assert line.startswith(f'observation {key} never changes: the sensor of {key}')


def test_numbers_of_a_sensor_that_never_change_are_noted_by_name():
    episode = rover.episode(6)
    episode.percepts['odom'][:, 1] = 0.5
    assert notes(episode) == ('observation odom: twist.twist.angular.z never changes',)


def test_a_change_in_the_last_row_of_many_is_seen():
    episode = rover.episode(5000)
    episode.percepts['scan'][:-1] = episode.percepts['scan'][0]
    assert notes(episode) == ()


def test_a_sensor_that_was_never_there_is_noted():
    episode = rover.episode(6)
    episode.valid['camera'][:] = False
    assert notes(episode) == ('observation camera is missing at every step: camera may not have been recorded',)


def still(values: dict[int, float]):
    episode = rover.episode(6)
    actions = episode.actions.copy()
    for i, value in values.items():
        actions[:, i] = value
    return dataclasses.replace(episode, actions=actions)


def test_an_action_that_never_changes_is_noted_with_its_value():
    assert notes(still({0: 0.25})) == (
        'action vx_mps is 0.25 at every step: the model cannot learn what it does',)


def test_commands_beyond_the_limits_are_noted():
    episode = still({})
    episode.actions[3, 1] = 2.5
    assert notes(episode) == ('action wz_radps is outside its limits in 16.7% of the steps: check min and max in the '
                              'contract',)


def test_a_readout_that_never_changes_is_noted():
    episode = rover.episode(6)
    assert notes(dataclasses.replace(episode, readouts=np.ones_like(episode.readouts))) == (
        'readout x_m never changes',)


def test_data_without_a_single_change_of_action_are_refused():
    data = from_episodes([still({0: 0.25, 1: -1.0})], rover.contract(), {'a': '00'})
    with pytest.raises(TrainingError, match=r'the actions never change \(vx_mps 0.25, wz_radps -1\).* from a; record'):
        data_notes.refuse_still(data, rover.contract())
    data_notes.refuse_still(from_episodes([still({0: 0.25})], rover.contract(), {}), rover.contract())
