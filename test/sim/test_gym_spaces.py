"""Spaces as topics and commands: whatever is commanded, the environment gets what its space allows."""
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from jepa_ros.errors import WorldError
from jepa_ros.sim.gym_spaces import Actions, leaves, MOST_ONE_HOT

SIDES = st.integers(1, 4)


@st.composite
def boxes(draw):
    low, high = sorted(draw(st.lists(st.floats(-50, 50, width=32), min_size=2, max_size=2, unique=True)))
    low, high = draw(st.sampled_from([(low, high), (-np.inf, high), (low, np.inf), (-np.inf, np.inf)]))
    return spaces.Box(low, high, tuple(draw(st.lists(SIDES, max_size=2))), np.float32)


SIMPLE = st.one_of(
    boxes(), st.builds(lambda n, start: spaces.Discrete(n, start=start), st.integers(1, 9), st.integers(-5, 5)),
    st.builds(spaces.MultiDiscrete, st.lists(st.integers(1, 5), min_size=1, max_size=3)),
    st.builds(spaces.MultiBinary, st.integers(1, 4)),
    st.builds(lambda n: spaces.Box(-n, 3 * n, (2,), np.int32), st.integers(1, 20)))
SPACES = st.recursive(SIMPLE, lambda part: st.one_of(
    st.builds(lambda parts: spaces.Tuple(parts), st.lists(part, min_size=1, max_size=3)),
    st.builds(lambda parts: spaces.Dict(parts), st.dictionaries(st.text('aB_- 9', min_size=1, max_size=5), part,
                                                               min_size=1, max_size=3))), max_leaves=4)


@settings(max_examples=200, deadline=None)
@given(space=SPACES, data=st.data())
def test_any_command_becomes_an_action_of_the_space(space, data):
    actions = Actions(space, 'gym:test')
    command = data.draw(st.lists(st.floats(-1e6, 1e6), min_size=len(actions.fields), max_size=len(actions.fields)))
    assert space.contains(actions.decode(np.array(command)))
    assert all(field.low <= 0 <= field.high for field in actions.fields)
    names = [field.name for field in actions.fields]
    assert len(set(names)) == len(names)


@settings(max_examples=200, deadline=None)
@given(space=SPACES, seed=st.integers(0, 1000))
def test_an_observation_comes_apart_into_named_numbers(space, seed):
    space.seed(seed)
    parts, sample = leaves(space, 'gym:test'), space.sample()
    for leaf in parts:
        vector = leaf.vector(sample)
        assert vector.dtype == np.float64 and vector.shape == (leaf.size,) == (len(leaf.names),)
    assert len({leaf.key for leaf in parts}) == len(parts)
    numbers = np.concatenate([leaf.vector(sample) for leaf in parts])
    np.testing.assert_array_equal(numbers, np.asarray(spaces.flatten(space, sample), float))


def test_choices_are_rounded_to_the_nearest_and_start_where_the_space_starts():
    actions = Actions(spaces.Discrete(3, start=5), 'gym:test')
    decoded = [actions.decode(np.array([value])) for value in (-1.0, 0.49, 0.5, 1.5, 9.0)]
    assert decoded == [5, 5, 6, 7, 7]
    assert [(f.name, f.low, f.high, f.whole) for f in actions.fields] == [('choice', 0.0, 2.0, True)]


def test_parts_keep_their_places_in_a_nested_action():
    space = spaces.Dict(arm=spaces.Box(-1, 1, (2,), np.float64), gripper=spaces.Tuple([spaces.Discrete(2)]))
    actions = Actions(space, 'gym:test')
    assert [field.name for field in actions.fields] == ['arm_0', 'arm_1', 'gripper_0']
    action = actions.decode(np.array([0.25, -3.0, 0.9]))
    assert action['arm'].tolist() == [0.25, -1.0] and action['gripper'] == (1,)


@pytest.mark.parametrize(('shape', 'seen'), [((9, 12, 3), (9, 12, 3)), ((9, 12), (9, 12, 3)), ((9, 12, 1), (9, 12, 3)),
                                            ((3, 9, 12), (9, 12, 3))])
def test_bytes_that_look_like_a_picture_are_one(shape, seen):
    leaf, = leaves(spaces.Box(0, 255, shape, np.uint8), 'gym:test')
    array = np.arange(np.prod(shape)).reshape(shape).astype(np.uint8)
    picture = leaf.picture(array)
    assert leaf.image and picture.shape == seen and picture.dtype == np.uint8
    first = array[0, 0] if shape[0] == 9 else array[:, 0, 0]
    np.testing.assert_array_equal(picture[0, 0], np.broadcast_to(first, 3))


@pytest.mark.parametrize('shape', [(4, 84, 84), (7,), (2, 3), (5, 5, 3)])
def test_bytes_that_do_not_look_like_a_picture_are_numbers(shape):
    leaf, = leaves(spaces.Box(0, 255, shape, np.uint8), 'gym:test')
    assert not leaf.image and leaf.size == np.prod(shape)


def test_a_choice_is_one_hot_and_one_of_very_many_its_index():
    few, = leaves(spaces.Discrete(4, start=1), 'gym:test')
    many, = leaves(spaces.Discrete(MOST_ONE_HOT + 1), 'gym:test')
    assert few.vector(3).tolist() == [0.0, 0.0, 1.0, 0.0]
    assert many.vector(1000).tolist() == [1000.0]


@pytest.mark.parametrize('space', [spaces.Text(5), spaces.Sequence(spaces.Discrete(2)),
                                   spaces.Graph(spaces.Discrete(2), None)])
def test_a_space_without_a_fixed_size_is_refused_in_one_line(space):
    with pytest.raises(WorldError, match=f'observation task is a {type(space).__name__} space'):
        leaves(spaces.Dict(task=space), 'gym:test')
    with pytest.raises(WorldError, match=f'a {type(space).__name__} space cannot be a command'):
        Actions(space, 'gym:test')
