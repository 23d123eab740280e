"""YAML files to one-line errors that name file, line and field; used where pydantic checks a file."""
from pydantic import ValidationError
import yaml

from ..errors import ContractError


def read_yaml(text: str, source: str) -> dict:
    """Mapping at the top of a YAML text; `ContractError` names `source` and line."""
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, 'problem_mark', None)
        where = f', line {mark.line + 1}' if mark else ''
        problem = getattr(error, 'problem', None) or str(error).splitlines()[0]
        raise ContractError(f'{source}{where}: not YAML: {problem}') from error
    if not isinstance(data, dict):
        raise ContractError(f'{source}: a mapping of keys to values is expected, not {type(data).__name__}')
    return data


def first_error(error: ValidationError, text: str, source: str) -> str:
    """First complaint of pydantic as one line: `file, line 12: actions.0.fields.1.min: …`."""
    problem = error.errors()[0]
    line = _line(text, problem['loc'])
    message = problem['msg'].removeprefix('Value error, ')
    if problem['type'] == 'extra_forbidden':
        message = 'unknown key; remove it or correct its spelling'
    elif problem['type'] == 'missing':
        message = 'is missing'
    elif isinstance(problem['input'], (str, int, float)) and problem['type'] != 'value_error':
        message += f' (got {problem["input"]!r})'
    field = '.'.join(str(part) for part in problem['loc'])
    more = f' (and {error.error_count() - 1} more)' if error.error_count() > 1 else ''
    return f'{source}{f", line {line}" if line else ""}: {f"{field}: " if field else ""}{message}{more}'


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
