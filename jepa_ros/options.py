"""Options of a part that is chosen by name, from YAML: checked against its constructor before anything is built."""
from collections.abc import Mapping
import inspect
from typing import Any

from pydantic import TypeAdapter, ValidationError

from jepa_ros.errors import ConfigError
from jepa_ros.registry import nearest


def checked_options(what: str, part: type, options: Mapping[str, Any], own: tuple[str, ...]) -> dict[str, Any]:
    """The options as the types that the constructor of `part` names; `own` are parameters that no option may give.

    `what` names the part in messages ('encoder vit'). `ConfigError` in one line: unknown or ill-typed options.
    """
    parameters = inspect.signature(part, eval_str=True).parameters
    known = [p for p in parameters if p not in own]
    checked = {}
    for option, value in options.items():
        if option not in known:
            raise ConfigError(f'{what} has no option {option!r}{nearest(option, known)}; it has '
                              f'{", ".join(known) or "none"}')
        try:
            annotation = parameters[option].annotation
            checked[option] = TypeAdapter(Any if annotation is inspect.Parameter.empty else annotation).validate_python(
                value)
        except ValidationError as error:
            problem = error.errors()[0]
            where = '.'.join(str(key) for key in (option, *problem['loc']))
            raise ConfigError(f'{what}: {where}: {problem["msg"]} (got {problem["input"]!r})') from error
    return checked
