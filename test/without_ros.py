"""Runs Python where neither ROS nor a message package can be imported, as on a machine that has none of them."""
import os
from pathlib import Path
import subprocess
import sys

ROOT = Path(__file__).resolve().parents[1]
# what a ROS installation brings, and this package's own messages and nodes
ROS = ('rclpy', 'rosidl_', 'ament_', 'launch', 'rosbag2_py', 'tf2_', 'rpyutils', 'builtin_interfaces',
       'unique_identifier', 'jepa_ros.msg', 'jepa_ros.srv', 'jepa_ros.action', 'jepa_ros.runtime')

BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        top = name.split('.')[0]
        if name.startswith({names!r}) or top.endswith(('_msgs', '_srvs', '_interfaces')):
            raise ImportError(name + ' is not installed here')
sys.meta_path.insert(0, Block())
"""


def run(code: str, *more: str, cwd: Path = ROOT, path: str = str(ROOT)) -> subprocess.CompletedProcess:
    """`code` in a fresh process without ROS and without modules whose names begin with one of `more`."""
    env = {key: value for key, value in os.environ.items() if key not in ('AMENT_PREFIX_PATH', 'ROS_DISTRO')}
    return subprocess.run([sys.executable, '-c', BLOCK.format(names=(*ROS, *more)) + code], cwd=cwd, text=True,
                          capture_output=True, timeout=100, env=env | {'PYTHONPATH': path, 'OMP_NUM_THREADS': '1'})
