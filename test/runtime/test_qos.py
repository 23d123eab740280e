"""The named profiles promise what the table of topics says."""
import pytest
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy

from jepa_ros.runtime import qos


@pytest.mark.parametrize('name, reliable, latched, depth', [
    ('sensor', False, False, 1), ('stream', True, False, 5), ('latched', True, True, 1), ('events', True, True, 10),
    ('heartbeats', True, False, 64)])
def test_profiles(name, reliable, latched, depth):
    profile = qos.PROFILES[name]
    assert (profile.reliability == ReliabilityPolicy.RELIABLE) == reliable
    assert (profile.durability == DurabilityPolicy.TRANSIENT_LOCAL) == latched
    assert profile.depth == depth
