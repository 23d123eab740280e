"""The stack of levels."""
import pytest
import tiny
import torch

from jepa_ros.errors import ConfigError


def test_a_window_of_images_is_encoded_like_its_images_one_by_one():
    model = tiny.model()
    images = torch.randint(0, 256, (2, 3, 16, 16, 3), dtype=torch.uint8)
    s = model.encode({'overhead': images})
    assert s.shape == (2, 3, 6)
    assert torch.allclose(s[1, 2], model.encode({'overhead': images[1, 2][None]})[0], atol=1e-5)


def test_levels_share_one_state_space_and_only_level_zero_reads_out():
    model = tiny.model(3)
    assert [jepa.dim for jepa in model.levels] == [6, 6, 6]
    assert [jepa.readout is not None for jepa in model.levels] == [True, False, False]


def test_levels_above_are_slower():
    """LeCun §4.6, Fig. 15: higher levels predict further ahead."""
    assert [jepa.period for jepa in tiny.model(3).levels] == [1, 4, 8]


def test_a_model_without_readouts_reads_out_nothing():
    assert tiny.model(readouts=0).readouts(torch.zeros(4, 6)).shape == (4, 0)


def test_the_same_seed_builds_the_same_network():
    one, other = tiny.model(seed=3).state_dict(), tiny.model(seed=3).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def pooled(kind: str = 'mean', dim: int | None = None):
    """Three levels: the second pools four states, the third two of the second's."""
    return (tiny.LevelConfig(width=16), tiny.LevelConfig(period=4, macro_dim=3, width=16, encoder=kind, dim=dim),
            tiny.LevelConfig(period=8, macro_dim=2, width=16, encoder=kind, dim=dim))


def test_a_level_with_an_encoder_of_its_own_has_states_and_readouts_of_its_own():
    """LeCun §4.6, Fig. 15."""
    model = tiny.model(pooled('gru', 5))
    assert [jepa.dim for jepa in model.levels] == [6, 5, 5] and model.windows == (1, 4, 2)
    assert model.pool(1, torch.randn(2, 4, 6)).shape == (2, 5)
    assert model.readouts(torch.randn(2, 5), level=1).shape == (2, 2)


def test_where_the_world_stands_still_every_level_sees_that():
    model = tiny.model(pooled())
    s = torch.randn(3, 6)
    assert all(torch.allclose(each, s, atol=1e-6) for each in model.still(s))


def test_a_configuration_that_does_not_fit_the_robot_is_one_line():
    for changes, words in (({'ego': {'observation': 'joints'}}, "ego: the contract has no observation 'joints'"),
                           ({'ego': {'observation': 'overhead'}}, "ego: observation 'overhead' is no vector")):
        with pytest.raises(ConfigError, match=words):
            tiny.model(**changes)
