"""JSON schema of robot contracts, for editors: it completes keys and marks mistakes while a contract is written.

The first line of a contract in `config/robots/` names it: `# yaml-language-server: $schema=schema.json`. Rules that
need more than one key (limits in order, the keys of a message type) are checked when the contract is read.
Written anew by `python -m jepa_ros.robot.schema`; pure, needs no ROS.
"""
import json
from pathlib import Path
import sys

from ..paths import share_dir
from .contract import RobotContract

DRAFT = 'https://json-schema.org/draft/2020-12/schema'


def contract_schema() -> dict:
    """JSON schema (draft 2020-12) of a robot contract."""
    return {'$schema': DRAFT, 'title': 'jepa_ros robot contract'} | _plain(RobotContract.model_json_schema())


def schema_text() -> str:
    """The schema as it stands in `config/robots/schema.json`."""
    return json.dumps(contract_schema(), indent=1, ensure_ascii=False) + '\n'


def schema_path() -> Path:
    """Where the shipped schema is, next to the shipped contracts."""
    return share_dir() / 'config' / 'robots' / 'schema.json'


def _plain(node):
    """The schema without pydantic's titles, which only repeat the keys; docstrings become single lines."""
    if isinstance(node, list):
        return [_plain(inner) for inner in node]
    if not isinstance(node, dict):
        return node
    kept = {key: _plain(value) for key, value in node.items() if key != 'title' or isinstance(value, dict)}
    if isinstance(kept.get('description'), str):
        kept['description'] = ' '.join(kept['description'].split())
    return kept


def main(arguments: list[str] | None = None) -> int:
    """Write the schema to the shipped file, or to the path that is given."""
    given = sys.argv[1:] if arguments is None else arguments
    path = Path(given[0]) if given else schema_path()
    path.write_text(schema_text(), encoding='utf-8')
    print(path)
    return 0


if __name__ == '__main__':
    sys.exit(main())
