"""Options of a part from YAML."""
from typing import Annotated

from pydantic import Field
import pytest

from jepa_ros.errors import ConfigError
from jepa_ros.options import checked_options


class Part:
    def __init__(self, size: int, heads: Annotated[int, Field(gt=0)] = 4, channels: tuple[int, ...] = (1,), free=None):
        pass


def check(**options):
    return checked_options('encoder x', Part, options, ('size',))


def test_options_become_the_types_of_the_constructor():
    assert check(heads='2', channels=[3, 4], free='as it is') == {'heads': 2, 'channels': (3, 4), 'free': 'as it is'}


@pytest.mark.parametrize(('options', 'message'), [
    (dict(head=2), r"encoder x has no option 'head' \(did you mean heads\?\); it has heads, channels, free"),
    (dict(size=2), r"encoder x has no option 'size'"),
    (dict(heads=0), r'encoder x: heads: Input should be greater than 0 \(got 0\)'),
    (dict(channels=[1, 'a']), r'encoder x: channels.1: Input should be a valid integer.* \(got .a.\)'),
])
def test_what_does_not_fit_is_named_in_one_line(options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        check(**options)
    assert '\n' not in str(caught.value)


def test_a_part_without_options_says_so():
    with pytest.raises(ConfigError, match="encoder y has no option 'a'; it has none"):
        checked_options('encoder y', object, dict(a=1), ())
