"""The one way into ROS: what the environment can have wrong is said in one line, and Ctrl-C stays ours."""
import os
import re

import rclpy
from rclpy.context import Context
from rclpy.signals import SignalHandlerOptions

from ..errors import ConfigError

LAST_DOMAIN = 232  # above, the ports of DDS would be larger than 65535 (RTPS 9.6.1.1)


def domain_id() -> int:
    """Number in ROS_DOMAIN_ID, 0 without; ConfigError when no domain can have it."""
    text = os.environ.get('ROS_DOMAIN_ID', '').strip() or '0'
    if not text.isdecimal() or int(text) > LAST_DOMAIN:
        raise ConfigError(f'ROS_DOMAIN_ID is {text!r}: it must be a number from 0 to {LAST_DOMAIN}')
    return int(text)


def init(args: list[str] | None = None, context: Context | None = None) -> None:
    """`rclpy.init` without its signal handlers, which would shut the context down at once. Raises ConfigError."""
    domain_id()  # DDS would end the process without a Python error
    try:
        rclpy.init(args=args, context=context, signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:  # rclpy raises several unrelated types for unusable --ros-args
        reason = re.sub(r', at \S+:\d+', '', ' '.join(str(error).split()))  # places in the source of rcl
        raise ConfigError(f'ROS cannot be initialised: {reason}') from error
