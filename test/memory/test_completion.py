"""Images whose hidden parts are filled in from memory, on their way to perception."""
import numpy as np
import pytest
import tiny
import torch

from jepa_ros.errors import ConfigError
from jepa_ros.memory.completion import Scene, Scenes

GREY = (128, 128, 128)
BEAM = np.zeros((16, 16), bool)
BEAM[:, 6:10] = True


def view(seed: int = 0) -> np.ndarray:
    image = tiny.image(seed)
    image[(image == GREY).all(-1)] = 0
    return image


def marked(image: np.ndarray, hidden: np.ndarray = BEAM) -> np.ndarray:
    image = image.copy()
    image[hidden] = GREY
    return image


def scene(**changes) -> Scene:
    return Scene((16, 16, 3), **{'hidden_colour': GREY, 'patch': 4} | changes)


def test_what_is_hidden_is_filled_in_with_what_was_last_seen_there():
    made, first, second = scene(), view(0), view(1)
    made.see(first, 100)
    made.see(marked(second), 200)
    whole = made.complete(marked(second))
    expected = np.where(BEAM[..., None], first, second)
    assert np.array_equal(whole.image, expected)
    assert (whole.hidden, whole.filled) == (64, 64)


def test_a_mask_tells_of_what_is_hidden_where_its_look_does_not():
    made, first, second = scene(hidden_colour=None), view(0), view(1)
    made.see(first, 100)
    made.see(second, 200, BEAM)
    assert np.array_equal(made.complete(second, BEAM).image, np.where(BEAM[..., None], first, second))
    assert np.array_equal(made.complete(second).image, second)


def test_what_was_never_seen_stays_as_it_is():
    made = scene()
    made.see(marked(view()), 100)
    whole = made.complete(marked(view()))
    assert np.array_equal(whole.image, marked(view())) and (whole.filled, whole.oldest_ns) == (0, None)


def test_a_whole_image_passes_untouched():
    made, image = scene(), view()
    assert made.complete(image).image is image


def test_the_age_of_what_was_filled_in_is_told():
    made = scene()
    left = np.zeros((16, 16), bool)
    left[:, :8] = True
    made.see(view(), 100)
    made.see(marked(view(), left), 200)
    assert made.complete(marked(view(), left)).oldest_ns == 100
    assert made.complete(marked(view(), ~left)).oldest_ns == 200


def test_only_patches_that_changed_are_written():
    made, image = scene(), view()
    assert made.see(image, 100).all()
    moved = image.copy()
    moved[4:8, 8:12] = 255 - moved[4:8, 8:12]
    changed = made.see(moved, 200)
    assert changed.nonzero().tolist() == [[1, 2]]


@pytest.mark.parametrize('make, word', [
    (lambda: scene(patch=5), 'patches of 5 pixels do not fill'),
    (lambda: scene(hidden_colour=(1, 2)), 'needs 3 numbers'),
    (lambda: scene(hidden_colour=(1, 2, 300)), 'from 0 to 255'),
    (lambda: scene().see(np.zeros((8, 8, 3), np.uint8), 1), r'this scene is uint8 \(16, 16, 3\)'),
    (lambda: scene().complete(view().astype(np.float32)), 'image is float32'),
    (lambda: scene().see(view(), 1, np.zeros((4, 4), bool)), 'mask of hidden pixels'),
    (lambda: Scenes.of(tiny.agent().perception.specs, 'grey'), "give 'r,g,b'"),
    (lambda: Scenes.of({}, '1,2,3'), 'no observation of this model is an image')])
def test_what_does_not_fit_is_refused_in_one_line(make, word):
    with pytest.raises(ConfigError, match=word) as refused:
        make()
    assert '\n' not in str(refused.value)


def test_perception_sees_the_hidden_part_as_it_was():
    """Percept -> completed percept -> state, with the weights as they are; the planner gets the state of the whole."""
    agent, first, second = tiny.agent(), view(0), view(1)
    plain = agent.perception.encode({'overhead': np.where(BEAM[..., None], first, second)}).levels[0]
    agent.perception.completion = Scenes.of(agent.perception.specs, '128,128,128')
    agent.perception.observe({'overhead': first}, stamp_ns=100)
    observed = agent.perception.observe({'overhead': marked(second)}, stamp_ns=200)
    assert torch.equal(observed.levels[0], plain)
    assert torch.equal(agent.perception.encode({'overhead': marked(second)}).levels[0], plain)


def test_an_image_that_is_only_imagined_or_wished_for_is_not_remembered():
    agent, first = tiny.agent(), view(0)
    agent.perception.completion = scenes = Scenes.of(agent.perception.specs, '128,128,128')
    agent.perception.observe({'overhead': first}, stamp_ns=100)
    agent.perception.encode({'overhead': view(1)})
    assert np.array_equal(scenes({'overhead': marked(view(2))})['overhead'][BEAM], first[BEAM])


def test_without_completion_perception_is_what_it_was():
    agent = tiny.agent()
    assert agent.perception.completion is None
    assert torch.equal(agent.perception.observe({'overhead': view()}, stamp_ns=5).levels[0],
                       agent.perception.encode({'overhead': view()}).levels[0])
