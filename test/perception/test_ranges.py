"""Distances: what is masked is not read; statistics; directions."""
import math

import pytest
import torch

from jepa_ros.perception.ranges import RangeImageEncoder, ScanEncoder
from jepa_ros.perception.statistics import measure


def scans(batch=4, beams=24, seed=0):
    generator = torch.Generator().manual_seed(seed)
    valid = (torch.rand(batch, 1, beams, generator=generator) > 0.4).float()
    return torch.cat([torch.rand(batch, 1, beams, generator=generator) * 5 * valid, valid], 1)


def encoders():
    torch.manual_seed(0)
    return [(ScanEncoder((2, 24), 4, channels=(4, 6)), scans()),
            (RangeImageEncoder((2, 4, 6), 4, options=dict(channels=(4, 6))), scans().unflatten(2, (4, 6)))]


@pytest.mark.parametrize('content', [7.5, -1.0, math.inf, math.nan])
def test_what_a_masked_beam_says_changes_nothing(content):
    for encoder, x in encoders():
        other = x.clone()
        other[:, 0][x[:, 1] == 0] = content
        assert torch.equal(encoder(other), encoder(x))


def test_nan_in_a_masked_beam_reaches_no_gradient():
    for encoder, x in encoders():
        x[:, 0][x[:, 1] == 0] = math.nan
        encoder(x).sum().backward()
        assert all(bool(torch.isfinite(p.grad).all()) for p in encoder.parameters())


def test_a_beam_that_measured_the_mean_differs_from_one_that_measured_nothing():
    for encoder, x in encoders():
        x[:, 0], x[:, 1] = float(encoder.mean.flatten()[0]), 1
        blind = x.clone()
        blind[:, 1] = 0
        assert float((encoder(x) - encoder(blind)).detach().abs().max()) > 1e-3


def test_a_scan_without_any_valid_beam_has_a_state():
    for encoder, x in encoders():
        assert bool(torch.isfinite(encoder(torch.zeros_like(x))).all())


def test_statistics_are_of_what_was_measured_only():
    x = scans(batch=200)
    mean, std = measure(x)
    measured = x[:, 0][x[:, 1] == 1]
    torch.testing.assert_close((mean, std), (measured.mean()[None], measured.std(correction=0)[None]))
    encoder = ScanEncoder((2, 24), 4)
    encoder.set_statistics(mean, std)
    normalised = encoder.masked(x, torch.float32)[:, 0][x[:, 1] == 1]
    assert float(normalised.mean()) == pytest.approx(0, abs=1e-4)
    assert float(normalised.std()) == pytest.approx(1, abs=1e-2)


def test_a_circular_scan_sees_the_neighbours_of_the_first_beam_at_the_end():
    """Turned by the encoder's whole stride, a full turn gives the same features, turned."""
    torch.manual_seed(0)
    encoder, x = ScanEncoder((2, 24), 4, channels=(4, 6), circular=True), scans()
    seen = []
    encoder.norms[-1].register_forward_hook(lambda _, inputs, output: seen.append(output))
    encoder(x), encoder(x.roll(4, -1))
    torch.testing.assert_close(seen[1], seen[0].roll(1, -1), atol=1e-5, rtol=1e-5)


def test_a_scan_of_fewer_beams_than_the_kernel_goes_round():
    assert ScanEncoder((2, 2), 3, circular=True, kernel=7)(torch.ones(1, 2, 2)).shape == (1, 3)
