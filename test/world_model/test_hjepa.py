"""The stack of levels."""
import tiny
import torch


def test_a_window_of_images_is_encoded_like_its_images_one_by_one():
    model = tiny.model()
    images = torch.randint(0, 256, (2, 3, 16, 16, 3), dtype=torch.uint8)
    s = model.encode(images)
    assert s.shape == (2, 3, 6)
    assert torch.allclose(s[1, 2], model.encode(images[1, 2][None])[0], atol=1e-5)


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
