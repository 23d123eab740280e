"""Libraries of exports, which are not installed with jepa_ros itself."""
import importlib
from types import ModuleType

from ...errors import ConfigError


def extra(module: str, package: str = '') -> ModuleType:
    """Import a library of the extra `export`; `ConfigError` in one line when it is missing."""
    try:
        return importlib.import_module(module)
    except ImportError:
        package = package or module.partition('.')[0]
        raise ConfigError(f"this export needs {package}: pip install 'jepa_ros[export]'") from None
