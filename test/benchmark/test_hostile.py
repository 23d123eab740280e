"""Hostile configurations: none leads where a guardrail forbids, and the judge would notice."""
from pathlib import Path
import sys

import numpy as np
import pytest

from jepa_ros.cost.cost import Cost, Region
from jepa_ros.robot.drives import Drives, Range

BENCHMARK = Path(__file__).parents[2] / 'benchmark'


@pytest.fixture(scope='module')
def hostile():
    sys.path.insert(0, str(BENCHMARK))
    try:
        import hostile
    finally:
        sys.path.remove(str(BENCHMARK))
    return hostile


def test_no_plan_breaks_a_guardrail_and_no_floor_is_lowered(hostile):
    tally = hostile.hostile_configurations(60, seed=3)
    assert (tally.configurations, tally.violations, tally.lowered) == (60, 0, 0)
    assert tally.refused > 10 and tally.plans > tally.still > 0 and len(tally.why) > 5


def test_without_constraints_some_would(hostile, monkeypatch):
    monkeypatch.setattr(Cost, 'forbids', lambda *_: False)
    assert hostile.hostile_configurations(80, seed=1).violations > 0


def test_the_same_seed_makes_the_same_configurations(hostile):
    assert hostile.hostile_configurations(10, seed=2).why == hostile.hostile_configurations(10, seed=2).why


RIGHT = np.array([[1.0, 0.0]] * 3)


@pytest.mark.parametrize('region, actions, allowed', [
    (Region({'x_m': 0.5}, 0.15), RIGHT, True), (Region({'x_m': 0.5}, 0.25), RIGHT, False),
    (Region({'x_m': 0.1}, 0.5), RIGHT, False),              # deeper first
    (Region({'x_m': 0.1}, 0.5), -RIGHT, True), (Region({'x_m': 'y_m'}, 0.1), RIGHT * 0, True),
    (Region({'x_m': 9.0}, 0.1), 2 * RIGHT, False)])
def test_the_judge_sees_each_step(hostile, region, actions, allowed):
    assert hostile.Judge([region], None).allows(np.zeros(2), actions) == allowed


def test_the_judge_knows_how_fast_the_robot_may_be(hostile):
    judge = hostile.Judge([], None, 0.3)
    assert judge.allows(np.zeros(2), 0.3 * RIGHT) and not judge.allows(np.zeros(2), 0.31 * RIGHT)


def test_the_judge_knows_the_drives_of_the_robot(hostile):
    judge = hostile.Judge([], Drives(collision=[Range(readout='front_m', low=0.8)]))
    assert judge.allows(np.zeros(2), RIGHT[:2]) and not judge.allows(np.zeros(2), RIGHT)
