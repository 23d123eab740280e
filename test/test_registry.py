"""Names for exchangeable parts."""
from importlib.metadata import EntryPoint

from hypothesis import given
from hypothesis import strategies as st
import pytest
from tiny import invariant

from jepa_ros import registry
from jepa_ros.errors import ConfigError
from jepa_ros.registry import nearest, Registry


@pytest.fixture
def engines() -> Registry:
    made = Registry('engine')
    made.register('steam')(object())
    made.register('diesel')(object())
    return made


def test_a_part_is_found_by_its_name(engines):
    part = object()
    assert engines.register('solar')(part) is part
    assert engines.get('solar') is part
    assert engines.names() == ['diesel', 'solar', 'steam']


def test_a_name_that_is_taken_is_not_replaced(engines):
    before = engines.get('steam')
    with pytest.raises(ConfigError, match="engine 'steam' is there already: choose another name, none is replaced"):
        engines.register('steam')(object())
    assert engines.get('steam') is before


def test_an_unknown_name_is_refused_with_the_nearest_and_all_known(engines):
    with pytest.raises(ConfigError) as refused:
        engines.get('stem')
    assert str(refused.value) == "unknown engine 'stem' (did you mean steam?); known: diesel, steam"


@invariant
@given(st.text(max_size=30))
def test_any_unknown_name_is_refused_in_one_line(name):
    engines = Registry('engine')
    engines.register('steam')(object())
    if name != 'steam':
        with pytest.raises(ConfigError) as refused:
            engines.get(name)
        assert len(str(refused.value).splitlines()) == 1


def test_nothing_is_suggested_for_a_name_unlike_all():
    assert nearest('qqqq', ['steam', 'diesel']) == ''


def test_third_parties_add_parts_through_entry_points(engines, monkeypatch):
    """The part of a real entry point is loaded at its first use; its name is known before."""
    plugin = EntryPoint('fraction', 'fractions:Fraction', 'jepa_ros.engines')

    def entry_points(group: str, name: str | None = None):
        return [plugin] if group == plugin.group and name in (None, plugin.name) else []
    monkeypatch.setattr(registry, 'entry_points', entry_points)
    assert engines.names() == ['diesel', 'fraction', 'steam']
    from fractions import Fraction
    assert engines.get('fraction') is Fraction


def test_a_plugin_that_registers_itself_when_it_is_loaded_keeps_what_it_registered(engines, monkeypatch):
    class Plugin:
        name = 'wind'

        def load(self):
            engines.register('wind')('the part')
            return 'what the decorator gave back'
    monkeypatch.setattr(registry, 'entry_points', lambda group, name=None: [Plugin()])
    assert engines.get('wind') == engines.get('wind') == 'the part'
