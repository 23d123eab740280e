"""ROS message classes by their names in a robot contract. Imported by nodes only."""
import importlib

from ..errors import ContractError


def message_class(type_name: str, topic: str) -> type:
    """Class of `package/msg/Name`; `ContractError` names the topic that needs a package that is not installed."""
    package, _, name = type_name.split('/')
    try:
        return getattr(importlib.import_module(f'{package}.msg'), name)
    except (ImportError, AttributeError):
        raise ContractError(f'topic {topic}: message type {type_name} is not installed; '
                            f'install package {package} or correct the robot contract') from None


def stamp_ns(stamp) -> int:
    """builtin_interfaces/Time -> nanoseconds."""
    return stamp.sec * 1_000_000_000 + stamp.nanosec
