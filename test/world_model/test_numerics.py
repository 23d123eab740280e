"""Precision, threads, and how changed weights are noticed."""
import pytest
import torch
from torch import nn

from jepa_ros.errors import ConfigError
from jepa_ros.world_model import numerics
from jepa_ros.world_model.numerics import fingerprint, Numerics, threads

CPU = torch.device('cpu')


def test_an_unknown_precision_is_named_in_one_line_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"'bf61' is unknown \(did you mean bf16\?\); known: fp32, bf16, auto"):
        Numerics('bf61')


@pytest.mark.parametrize('quick', [True, False])
def test_auto_is_bf16_only_where_the_processor_has_instructions_for_it(monkeypatch, quick):
    monkeypatch.setattr(torch.cpu, '_is_avx512_bf16_supported', lambda: quick, raising=False)
    monkeypatch.setattr(torch.cpu, '_is_amx_tile_supported', lambda: False, raising=False)
    assert Numerics('auto').dtype(CPU) is (torch.bfloat16 if quick else torch.float32)
    assert Numerics('bf16').dtype(CPU) is torch.bfloat16 and Numerics().dtype(CPU) is torch.float32


def test_a_version_of_torch_that_cannot_tell_gets_fp32(monkeypatch):
    for name in ('_is_avx512_bf16_supported', '_is_amx_tile_supported'):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert Numerics('auto').dtype(CPU) is torch.float32


def test_other_devices_get_fp32():
    assert Numerics('auto').dtype(torch.device('mps')) is torch.float32


def test_small_models_plan_on_one_thread_and_large_ones_on_all():
    assert threads(nn.Linear(384, 384), 8) == 1 and threads(nn.Linear(1024, 1024), 8) == 8
    assert threads(nn.Linear(1024, 1024)) == len(numerics.os.sched_getaffinity(0))


def test_every_change_of_a_parameter_or_buffer_shows():
    module, seen = nn.BatchNorm1d(3), set()
    seen.add(fingerprint(module))
    assert fingerprint(module) in seen
    changes = (lambda: module.running_mean.add_(1), lambda: module.load_state_dict(nn.BatchNorm1d(3).state_dict()),
               lambda: module.weight.detach().mul_(2), lambda: setattr(module, 'weight', nn.Parameter(torch.ones(3))))
    for change in changes:
        change()
        assert fingerprint(module) not in seen
        seen.add(fingerprint(module))


def test_parameters_made_in_inference_mode_have_a_fingerprint():
    with torch.inference_mode():
        module = nn.Linear(2, 2)
    assert fingerprint(module) == fingerprint(module)
