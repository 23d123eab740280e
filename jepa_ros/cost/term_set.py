"""Which intrinsic terms there are, as one hash: in every checkpoint and every bag (LeCun §3.2: the IC is immutable).

It is made of the code of the files that define the terms: names, default weights, floors, constraints, formulas and the
functions they call. Comments, docstrings and layout do not count. It is the same on every machine and version of
Python. Needs no torch: recorders write it too.
"""
import ast
from collections.abc import Iterable
import hashlib
from importlib.machinery import ModuleSpec
from importlib.metadata import entry_points
from importlib.util import find_spec
import sys

from jepa_ros.errors import ConfigError

FILES = tuple(f'jepa_ros.cost.terms_{kind}' for kind in ('action', 'drives', 'goal', 'readouts', 'regions'))
GROUP = 'jepa_ros.cost_terms'


def term_set_sha256() -> str:
    """Hash over all terms: those that are shipped, those of entry points, and what this process has registered."""
    modules = {*FILES, *(entry.module for entry in entry_points(group=GROUP)), *_registered()}
    return hashlib.sha256('\n'.join(f'{name} {_code(name)}' for name in sorted(modules)).encode()).hexdigest()


def _registered() -> set[str]:
    """Modules of the terms in force, if they have been imported."""
    loaded = sys.modules.get('jepa_ros.cost.terms')
    if loaded is None:
        return set()
    functions = (f for each in loaded.registered().values() for f in (each.function, each.constraint) if f)
    return {function.__module__ for function in functions}


def _code(module: str) -> str:
    """The code of a module, and of the functions of this package that it imports by name."""
    tree, parts = _tree(module), []
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or '').startswith('jepa_ros.') and not node.level:
            parts += _functions(node.module, {alias.name for alias in node.names})
    return ' '.join([_canonical(tree), *sorted(parts)])


def _functions(module: str, names: set[str]) -> list[str]:
    found = [node for node in _tree(module).body if isinstance(node, ast.FunctionDef) and node.name in names]
    return [_canonical(node) for node in found]


def _tree(module: str) -> ast.Module:
    try:
        spec: ModuleSpec | None = find_spec(module)
        with open(spec.origin, encoding='utf-8') as file:
            return ast.parse(file.read())
    except (AttributeError, TypeError, ImportError, OSError, ValueError, SyntaxError):
        raise ConfigError(f'the source of {module}, which defines cost terms, cannot be read: install the package with '
                          'its sources, the term set is part of what is recorded') from None


def _canonical(node: object) -> str:
    """A syntax tree as text, alike in all versions of Python: what is absent or empty is left out."""
    if isinstance(node, ast.Constant):
        return f'Constant({node.value!r})'
    if isinstance(node, ast.AST):
        fields = ((name, getattr(node, name, None)) for name in node._fields)
        parts = (f'{name}={_canonical(value)}' for name, value in fields if value not in (None, []))
        return f'{type(node).__name__}({",".join(parts)})'
    if isinstance(node, list):
        return f'[{",".join(_canonical(each) for each in _without_docstrings(node))}]'
    return repr(node)


def _without_docstrings(nodes: Iterable) -> list:
    """Statements without texts that stand alone."""
    return [node for node in nodes if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
                                           and isinstance(node.value.value, str))]
