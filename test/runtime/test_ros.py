"""What the environment says about ROS, and what this project adds to it."""
import os
from pathlib import Path

import pytest

from jepa_ros.errors import ConfigError
from jepa_ros.runtime.ros import domain_id, LARGE_MESSAGES, PROFILES, TRANSPORTS, tune_dds


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for name in (TRANSPORTS, *PROFILES):
        monkeypatch.setenv(name, '')        # so that it is put back after the test
        monkeypatch.delenv(name)
    monkeypatch.setenv('ROS_DOMAIN_ID', '7')
    monkeypatch.delenv('ROS_AUTOMATIC_DISCOVERY_RANGE', raising=False)


def test_large_messages_get_shared_memory():
    tune_dds()
    assert os.environ[TRANSPORTS] == LARGE_MESSAGES


def test_processes_that_speak_on_one_machine_only_announce_themselves_more_often(monkeypatch):
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    tune_dds()
    assert Path(os.environ[PROFILES[-1]]).read_text().count('<leaseAnnouncement>') == 1
    assert TRANSPORTS not in os.environ     # rmw_fastrtps would not heed it


@pytest.mark.parametrize('name', [TRANSPORTS, *PROFILES])
def test_what_the_user_set_stays(monkeypatch, name):
    monkeypatch.setenv(name, 'UDPv4')
    tune_dds()
    assert os.environ.get(TRANSPORTS) == ('UDPv4' if name == TRANSPORTS else None)


@pytest.mark.parametrize('text', ['x', '-1', '233'])
def test_a_domain_that_cannot_be_is_one_line(monkeypatch, text):
    monkeypatch.setenv('ROS_DOMAIN_ID', text)
    with pytest.raises(ConfigError, match='must be a number from 0 to 232'):
        domain_id()
