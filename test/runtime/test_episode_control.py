"""Which episode runs, whoever began it."""
import pytest

from jepa_ros.errors import ConfigError, JepaRosError
from jepa_ros.msg import EpisodeEvent
from jepa_ros.runtime.episode_control import Buttons, Marks


def test_episodes_are_numbered_and_end_as_they_began():
    marks = Marks('bag')
    assert marks.begin() == marks.running == 'bag-000000' and marks.own
    assert marks.end() == 'bag-000000' and marks.running == ''
    assert marks.begin() == 'bag-000001'


def test_what_cannot_be_is_one_line():
    marks = Marks('bag')
    with pytest.raises(JepaRosError, match='no episode is running'):
        marks.end()
    marks.begin()
    with pytest.raises(JepaRosError, match='bag-000000 is still running'):
        marks.begin()


def test_an_episode_of_another_node_is_left_to_it():
    marks = Marks('bag')
    marks.heard(EpisodeEvent.START, '0-000007')
    assert not marks.own
    with pytest.raises(JepaRosError, match='was begun by another node'):
        marks.end()
    with pytest.raises(JepaRosError, match='0-000007 is still running'):
        marks.begin()
    marks.heard(EpisodeEvent.GOAL, '0-000007')
    marks.heard(EpisodeEvent.FAILURE, '0-000007')
    assert marks.begin() == 'bag-000000'


def test_one_button_cannot_do_two_things():
    Buttons(7, 0, 1).check()
    Buttons(7, -1, -1).check()
    with pytest.raises(ConfigError, match='give each a button of its own'):
        Buttons(7, 0, 7).check()
