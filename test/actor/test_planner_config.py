"""Settings of a planner: one line per mistake, and what a method takes where a configuration leaves a value open."""
from dataclasses import asdict
import math

import pytest

from jepa_ros.actor.planners import PlannerConfig, PLANNERS
from jepa_ros.errors import ConfigError


@pytest.mark.parametrize('settings, problem', [
    ({'samples': 0}, 'samples is 0: it must be a whole number from 1 up'),
    ({'samples': True}, 'samples is True: it must be a whole number from 1 up'),
    ({'samples': 64.0}, 'samples is 64.0: it must be a whole number from 1 up'),
    ({'samples': None}, 'samples is None: it must be a whole number from 1 up'),
    ({'iterations': 0}, 'iterations is 0: it must be a whole number from 1 up'),
    ({'iterations': 'many', 'method': 'cem_gradient'}, "iterations is 'many': it must be a whole number from 1 up"),
    ({'horizon': 0}, 'horizon is 0: it must be a whole number from 1 up'),
    ({'horizon': -3}, 'horizon is -3: it must be a whole number from 1 up'),
    ({'elites': 0}, 'elites is 0: it must be a whole number from 1 up'),
    ({'elites': 65}, 'elites is 65: it cannot be more than the 64 samples'),
    ({'precision': 'half'}, "precision is 'half': it must be one of fp32, bf16, auto"),
    ({'refine': 4}, 'refine is 4: it cannot be more than the 3 iterations'),
    ({'refine': -1}, 'refine is -1: it must be a whole number from 0 up'),
    ({'bins': 1}, 'bins is 1: it must be a whole number from 2 up'),
    ({'temperature': math.nan}, 'temperature is nan: it must be positive'),
    ({'temperature': True}, 'temperature is True: it must be positive'),
    ({'temperature': 0}, 'temperature is 0: it must be positive'),
    ({'learning_rate': math.inf}, 'learning_rate is inf: it must be positive'),
    ({'learning_rate': '0.1'}, "learning_rate is '0.1': it must be positive"),
    ({'correlation': 1.0}, 'correlation is 1.0: it must lie in [0, 1)'),
    ({'colour': -1.0}, 'colour is -1.0: it must not be negative'),
    ({'shrink': 0.0}, 'shrink is 0.0: it must lie in (0, 1]'),
    ({'keep_elites': 1.5}, 'keep_elites is 1.5: it must lie in [0, 1]'),
    ({'min_std': math.nan}, 'min_std is nan: it must not be negative'),
    ({'max_change': -0.1}, 'max_change is -0.1: it must not be negative'),
    ({'tolerance': math.nan}, 'tolerance is nan: it must not be negative'),
    ({'penalty': 0.0}, 'penalty is 0.0: it must be positive'),
])
def test_a_setting_that_makes_no_sense_is_refused_in_one_line_that_names_it(settings, problem):
    with pytest.raises(ConfigError) as error:
        PlannerConfig(**{'method': 'cem'} | settings)
    assert str(error.value) == f'planner {settings.get("method", "cem")}: {problem}'


def test_an_unknown_method_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"unknown planner 'mpi' \(did you mean mppi\?\); known: .*cem.*, mppi"):
        PlannerConfig(method='mpi')


def test_what_is_left_open_takes_the_values_of_icem_s_paper_for_icem_and_none_for_the_others():
    def open_ones(method):
        c = PlannerConfig(method=method)
        return c.colour, c.keep_elites, c.shrink
    assert open_ones('icem') == (2.0, 0.3, 0.8)
    assert open_ones('cem') == open_ones('mppi') == (0.0, 0.0, 1.0)


def test_a_value_that_is_given_holds_even_where_it_is_zero():
    c = PlannerConfig(method='icem', colour=0.0, keep_elites=0.0)
    assert (c.colour, c.keep_elites, c.shrink) == (0.0, 0.0, 0.8)


@pytest.mark.parametrize('iterations, refine', [(1, 1), (3, 2), (8, 4)])
def test_half_the_iterations_of_cem_gradient_refine_where_nothing_is_said(iterations, refine):
    assert PlannerConfig(method='cem_gradient', iterations=iterations).refine == refine


@pytest.mark.parametrize('method', PLANNERS.names())
def test_settings_written_to_a_card_say_every_value_and_read_back_the_same(method):
    c = PlannerConfig(method=method)
    assert None not in asdict(c).values()
    assert PlannerConfig(**asdict(c)) == c
