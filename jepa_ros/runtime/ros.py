"""The one way into ROS: what the environment can have wrong is said in one line, and Ctrl-C stays ours."""
import os
import re
import shutil

import rclpy
from rclpy.context import Context
from rclpy.signals import SignalHandlerOptions

from ..errors import ConfigError
from ..paths import share_dir

LAST_DOMAIN = 232  # above, the ports of DDS would be larger than 65535 (RTPS 9.6.1.1)
# An image of 640×480 does not fit Fast DDS's shared memory of 0.5 MB: it takes ten times longer, and best effort loses
# most of them. This makes it 17 MB a process. The sender's counts: camera drivers want it in their environment too.
# rmw_fastrtps ignores it with discovery range LOCALHOST, where config/dds/one_machine.xml helps.
TRANSPORTS = 'FASTDDS_BUILTIN_TRANSPORTS'
LARGE_MESSAGES = 'DEFAULT?max_msg_size=64KB&sockets_size=8MB'
PROFILES = ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE')  # with these the user decides
SHARED_MEMORY, ROOM_BYTES = '/dev/shm', 512 << 20   # a container may have only 64 MB of it


def domain_id() -> int:
    """Number in ROS_DOMAIN_ID, 0 without; ConfigError when no domain can have it."""
    text = os.environ.get('ROS_DOMAIN_ID', '').strip() or '0'
    if not text.isdecimal() or int(text) > LAST_DOMAIN:
        raise ConfigError(f'ROS_DOMAIN_ID is {text!r}: it must be a number from 0 to {LAST_DOMAIN}')
    return int(text)


def tune_dds() -> None:
    """Let this process and its children find others soon and send images quickly, unless the user has set DDS up."""
    if any(name in os.environ for name in (TRANSPORTS, *PROFILES)):
        return
    if os.environ.get('ROS_AUTOMATIC_DISCOVERY_RANGE') == 'LOCALHOST':
        os.environ[PROFILES[-1]] = str(share_dir() / 'config' / 'dds' / 'localhost.xml')
    elif os.path.isdir(SHARED_MEMORY) and shutil.disk_usage(SHARED_MEMORY).free >= ROOM_BYTES:
        os.environ[TRANSPORTS] = LARGE_MESSAGES


def init(args: list[str] | None = None, context: Context | None = None) -> None:
    """`rclpy.init` without its signal handlers, which would shut the context down at once. Raises ConfigError."""
    domain_id()  # DDS would end the process without a Python error
    tune_dds()
    try:
        rclpy.init(args=args, context=context, signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:  # rclpy raises several unrelated types for unusable --ros-args
        reason = re.sub(r', at \S+:\d+', '', ' '.join(str(error).split()))  # places in the source of rcl
        raise ConfigError(f'ROS cannot be initialised: {reason}') from error
