"""docs/cost.md says what is: every term with its default weight and floor, and an example that works."""
from pathlib import Path
import re

import pytest
import torch

from jepa_ros.cost.intrinsic import Context, TERMS

TEXT = (Path(__file__).resolve().parents[2] / 'docs' / 'cost.md').read_text(encoding='utf-8')
ROWS = {row[0]: row[1:] for row in re.findall(
    r'^\| `(\w+)` \| .* \| .* \| ([\d.]+) \| ([\d.]+|–) \| (.*) ?\|$', TEXT, re.MULTILINE)}


def test_every_term_is_described_and_no_other():
    assert sorted(ROWS) == TERMS.names()


@pytest.mark.parametrize('name', TERMS.names())
def test_weight_and_floor_are_the_true_ones(name):
    weight, floor, needs = ROWS[name]
    assert (float(weight), 0.0 if floor == '–' else float(floor)) == (TERMS.get(name).weight, TERMS.get(name).floor)
    assert bool(needs.strip()) == bool(TERMS.get(name).needs) or name == 'agency'     # every model predicts


def test_the_term_of_the_example_works(monkeypatch):
    monkeypatch.setattr(TERMS, '_parts', dict(TERMS._parts))
    exec(re.search(r'```python\n(.*?)```', TEXT, re.DOTALL)[1], names := {'__name__': 'example'})
    states = torch.tensor([[0.0, 0.0, 2.0]])
    assert names['tilt'](states, None, Context(None, None, lambda s: s)).tolist() == [4.0]
    assert TERMS.get('tilt').weight == 0.5
