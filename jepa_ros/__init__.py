"""LeCun's architecture for autonomous machine intelligence in ROS 2."""
__version__ = '0.1.0'

# Running from a source checkout (`python -m pytest`) shadows the installed package:
# the generated jepa_ros.msg/srv/action are then found in the installed one.
__path__ = __import__('pkgutil').extend_path(__path__, __name__)
