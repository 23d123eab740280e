"""What config/dds promises: late joiners have what is kept for them soon, also when the first exchange is lost."""
from pathlib import Path
import subprocess
import sys

import pytest

PROFILES = Path(__file__).parents[2] / 'config' / 'dds'
LOST_S = 6      # a first exchange that comes so late counts as lost
SOON_S = 2.0
KEEPS = """
import rclpy, time
from std_msgs.msg import String
from jepa_ros.runtime.qos import LATCHED
rclpy.init()
kept = rclpy.create_node('keeps').create_publisher(String, 'kept', LATCHED)
kept.publish(String(data='kept'))
print('kept', flush=True)
time.sleep(60)
"""
JOINS = """
import rclpy, time
from std_msgs.msg import String
from jepa_ros.runtime.qos import LATCHED
rclpy.init()
node, heard, found_s = rclpy.create_node('joins'), [], None
node.create_subscription(String, 'kept', heard.append, LATCHED)
while not heard:
    rclpy.spin_once(node, timeout_sec=0.02)
    if found_s is None and node.count_publishers('kept'):
        found_s = time.monotonic()
print(time.monotonic() - found_s)
"""


@pytest.mark.parametrize('name, discovery', [('localhost.xml', 'LOCALHOST'), ('one_machine.xml', 'SUBNET')])
def test_a_late_joiner_hears_what_was_kept_soon_after_a_lost_first_exchange(name, discovery, ros_domain, tmp_path):
    lossy = tmp_path / name
    text = (PROFILES / name).read_text()
    late = f'<initialHeartbeatDelay><sec>{LOST_S}</sec></initialHeartbeatDelay>'
    reader = ('<data_reader profile_name="lossy" is_default_profile="true"><times><initialAcknackDelay>'
              f'<sec>{LOST_S}</sec></initialAcknackDelay></times></data_reader>')
    assert '<times>' in text
    lossy.write_text(text.replace('<times>', '<times>' + late).replace('</profiles>', reader + '</profiles>'))
    env = ros_domain | {'FASTRTPS_DEFAULT_PROFILES_FILE': str(lossy), 'ROS_AUTOMATIC_DISCOVERY_RANGE': discovery}
    with subprocess.Popen([sys.executable, '-c', KEEPS], env=env, stdout=subprocess.PIPE, text=True) as keeper:
        try:
            assert keeper.stdout.readline() == 'kept\n'
            joined = subprocess.run([sys.executable, '-c', JOINS], env=env, capture_output=True, text=True, timeout=30)
        finally:
            keeper.kill()
    assert float(joined.stdout) < SOON_S, joined.stderr
