"""What the environment says about ROS, and what this project adds to it."""
import os

import pytest

from jepa_ros.errors import ConfigError
from jepa_ros.runtime.ros import domain_id, LARGE_MESSAGES, make_room_for_images, PROFILES, TRANSPORTS


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for name in (TRANSPORTS, *PROFILES):
        monkeypatch.setenv(name, '')        # so that it is put back after the test
        monkeypatch.delenv(name)
    monkeypatch.setenv('ROS_DOMAIN_ID', '7')


def test_large_messages_get_shared_memory():
    make_room_for_images()
    assert os.environ[TRANSPORTS] == LARGE_MESSAGES


@pytest.mark.parametrize('name', [TRANSPORTS, *PROFILES])
def test_what_the_user_set_stays(monkeypatch, name):
    monkeypatch.setenv(name, 'UDPv4')
    make_room_for_images()
    assert os.environ.get(TRANSPORTS) == ('UDPv4' if name == TRANSPORTS else None)


@pytest.mark.parametrize('text', ['x', '-1', '233'])
def test_a_domain_that_cannot_be_is_one_line(monkeypatch, text):
    monkeypatch.setenv('ROS_DOMAIN_ID', text)
    with pytest.raises(ConfigError, match='must be a number from 0 to 232'):
        domain_id()
