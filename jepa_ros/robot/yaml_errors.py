"""YAML files to one-line errors that name file, line and field; used where pydantic checks a file."""
from pathlib import Path
from types import UnionType
from typing import Any, get_args, TypeVar

from pydantic import BaseModel, ValidationError
import yaml

from ..errors import ConfigError, ContractError
from ..registry import nearest

Model = TypeVar('Model', bound=BaseModel)

_UNKNOWN = ('extra_forbidden', 'unexpected_keyword_argument')       # of a model, of a dataclass


class KeyTwiceError(yaml.MarkedYAMLError):
    """One key twice in a mapping: YAML forbids it, PyYAML silently takes the last one."""


class _Loader(yaml.SafeLoader):
    """Looks at the keys before merge keys (`<<`) bring more of them, which the mapping's own may override."""

    def compose_mapping_node(self, anchor):
        node = super().compose_mapping_node(anchor)
        first: dict[tuple[str, str], yaml.Mark] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            mark = first.setdefault((key.tag, key.value), key.start_mark)
            if mark is not key.start_mark:
                name = key.value if key.value.isprintable() and key.value else repr(key.value)
                raise KeyTwiceError(problem=f'key {name} is there twice, first in line {mark.line + 1}: leave one out',
                                    problem_mark=key.start_mark)
        return node


def load_yaml(text: str) -> Any:
    """What a YAML text says, plain types only. yaml.YAMLError, also for a key that a mapping has twice; ValueError."""
    return yaml.load(text, _Loader)


def read_yaml(text: str, source: str) -> dict:
    """Mapping at the top of a YAML text; `ContractError` names `source` and line."""
    try:
        data = load_yaml(text)
    except (ValueError, yaml.YAMLError) as error:       # ValueError: a date that is none
        raise ContractError(unreadable(error, source)) from error
    if not isinstance(data, dict):
        raise ContractError(f'{source}: a mapping of keys to values is expected, not {type(data).__name__}')
    return data


def load_validated(path: Path, model: type[Model]) -> Model:
    """A configuration file as what it describes; `ConfigError` names file, line and field in one line."""
    try:
        text = path.read_text(encoding='utf-8')
        data = load_yaml(text) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:      # ValueError: not UTF-8, or a date that is none
        raise ConfigError(unreadable(error, str(path))) from None
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ConfigError(first_error(error, text, str(path), model)) from None
    except ConfigError as error:    # of a part that checks itself
        raise ConfigError(f'{path}: {error}') from None


def unreadable(error: Exception, source: str) -> str:
    """Why a YAML file could not be read, or is none, as one line: `file, line 12: not YAML: …`."""
    if isinstance(error, OSError):
        return f'{source}: cannot be read: {error.strerror}'
    mark = getattr(error, 'problem_mark', None)
    problem = getattr(error, 'problem', None) or str(error).splitlines()[0]
    what = '' if isinstance(error, KeyTwiceError) else 'not YAML: '
    return f'{source}{f", line {mark.line + 1}" if mark else ""}: {what}{problem}'


def first_error(error: ValidationError, text: str, source: str, model: type[BaseModel]) -> str:
    """First complaint of pydantic about `model` as one line: `file, line 12: actions.0.fields.1.min: …`.

    An unknown key comes first: a misspelt key is also one that is missing.
    """
    problems = error.errors()
    problem = next((p for p in problems if p['type'] in _UNKNOWN), problems[0])
    line = _line(text, problem['loc'])
    message = problem['msg'].removeprefix('Value error, ')
    if problem['type'] in _UNKNOWN:
        known = _keys(model, problem['loc'][:-1])
        message = f'unknown key{nearest(str(problem["loc"][-1]), known)}; known: {", ".join(known)}'
    elif problem['type'] == 'missing':
        message = 'is missing'
    elif problem['type'] in ('model_type', 'dict_type'):
        message = 'a mapping of keys to values is expected'
    elif isinstance(problem['input'], (str, int, float)) and problem['type'] != 'value_error':
        message += f' (got {problem["input"]!r})'
    field = '.'.join(part if (part := str(each)).isprintable() else repr(part) for each in problem['loc'])
    more = f' (and {error.error_count() - 1} more)' if error.error_count() > 1 else ''
    return f'{source}{f", line {line}" if line else ""}: {f"{field}: " if field else ""}{message}{more}'


def _keys(model: type[BaseModel], location: tuple) -> list[str]:
    """Keys that the mapping at `location` may have."""
    kind: object = model
    for part in location:
        inner = get_args(kind)[:1] if isinstance(part, int) else [_fields(kind).get(part)]
        kind = getattr(inner[0], 'annotation', getattr(inner[0], 'type', inner[0])) if inner else None
    return list(_fields(kind))


def _fields(kind: object) -> dict:
    """Of a model or a dataclass, or of one that may be missing (`Model | None`), by name."""
    for each in (kind, *(get_args(kind) if isinstance(kind, UnionType) else ())):
        found = getattr(each, 'model_fields', None) or getattr(each, '__dataclass_fields__', {})
        if found:
            return found
    return {}


def _line(text: str, location: tuple) -> int | None:
    """Line of the deepest part of `location` that is in the text, counted from 1."""
    node, line = yaml.compose(text, Loader=yaml.SafeLoader), None
    for part in location:
        if isinstance(node, yaml.MappingNode):
            pair = next(((k, v) for k, v in node.value if k.value == str(part)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            pair = (node.value[part], node.value[part])
        else:
            pair = None
        if pair is None:
            break
        line, node = pair[0].start_mark.line + 1, pair[1]
    return line
