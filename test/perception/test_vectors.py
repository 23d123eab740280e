"""Plain numbers: normalised, angles wrapped."""
import math

import pytest
import torch

from jepa_ros.perception.statistics import measure
from jepa_ros.perception.vectors import VectorEncoder


def test_numbers_of_any_scale_go_in_normalised():
    x = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1e-2, 1, 1e3]) + 50
    encoder = VectorEncoder((3,), 4)
    encoder.set_statistics(*measure(x))
    normalised = encoder.standardise(x)
    torch.testing.assert_close(normalised.mean(0), torch.zeros(3), atol=1e-3, rtol=0)
    torch.testing.assert_close(normalised.std(0), torch.ones(3), atol=1e-2, rtol=0)


def test_a_number_that_never_changes_is_not_divided_by_zero():
    encoder = VectorEncoder((2,), 4)
    encoder.set_statistics(*measure(torch.full((5, 2), 3.0)))
    assert torch.isfinite(encoder(torch.full((1, 2), 3.0))).all()


def test_an_angle_just_below_pi_is_next_to_minus_pi():
    torch.manual_seed(0)
    encoder, plain = VectorEncoder((2,), 4, angles=(1,)), VectorEncoder((2,), 4)
    below, above = torch.tensor([[0.3, math.pi - 1e-3]]), torch.tensor([[0.3, -math.pi + 1e-3]])
    assert float((encoder(below) - encoder(above)).detach().abs().max()) < 1e-2
    assert float((plain(below) - plain(above)).detach().abs().max()) > 0.1


@pytest.mark.parametrize('depth, angles', [(1, ()), (3, (0, 2))])
def test_depth_and_all_angles(depth, angles):
    assert VectorEncoder((3,), 4, depth=depth, angles=angles)(torch.zeros(2, 3)).shape == (2, 4)


def test_statistics_leave_out_rows_in_which_the_sensor_was_missing():
    x, valid = torch.tensor([[1.0], [3.0], [999.0]]), torch.tensor([True, True, False])
    mean, std = measure(x, valid)
    assert (float(mean), float(std)) == (2, 1)
    mean, std = measure(x, torch.zeros(3, dtype=torch.bool))
    assert (float(mean), float(std)) == (0, 1)


def test_statistics_of_images_are_per_channel_on_a_scale_of_one():
    images = torch.randint(0, 256, (6, 5, 4, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    mean, std = measure(images)
    scaled = images.double() / 255
    torch.testing.assert_close(mean, scaled.mean((0, 1, 2)).float())
    torch.testing.assert_close(std, scaled.std((0, 1, 2), correction=0).float())
