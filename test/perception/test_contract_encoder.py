"""The encoder of a whole contract: choice by type, missing sensors, shapes, errors."""
import math

from pydantic import ValidationError
import pytest
import torch

from jepa_ros.errors import ConfigError, ContractError
from jepa_ros.perception.config import PerceptionConfig
from jepa_ros.perception.contract_encoder import ContractEncoder
from jepa_ros.perception.convolutional import ImpalaEncoder
from jepa_ros.perception.encoders import ConvEncoder
from jepa_ros.perception.ranges import RangeImageEncoder, ScanEncoder
from jepa_ros.perception.vectors import VectorEncoder
from jepa_ros.robot.contract import RobotContract

CONTRACT = RobotContract.parse("""
name: every_sensor
control_period_s: 0.1
observations:
  - {key: front, topic: camera/image_raw, type: sensor_msgs/msg/Image, height: 12, width: 16}
  - {key: type, topic: scan, type: sensor_msgs/msg/LaserScan, beams: 24, required: false}
  - {key: cloud, topic: points, type: sensor_msgs/msg/PointCloud2, height: 4, width: 12, elevation_min_rad: -0.4,
     elevation_max_rad: 0.4, range_max_m: 20.0, required: false}
  - {key: odom, topic: odom, type: nav_msgs/msg/Odometry, required: false,
     fields: [twist.twist.linear.x, pose.pose.orientation.yaw]}
actions:
  - key: base
    topic: cmd_vel
    type: geometry_msgs/msg/Twist
    fields: [{name: vx_mps, field: linear.x, min: -1.0, max: 1.0, max_rate: 10.0}]
""")
CONFIG = dict(dim=6, fusion_width=8, sensors=dict(
    front=dict(encoder='impala', options=dict(channels=[4, 6], blocks=1)), type=dict(options=dict(channels=[4, 6])),
    cloud=dict(dim=4, options=dict(options=dict(channels=[4]))), odom=dict(dim=3, options=dict(width=8))))


def encoder(seed=0, **changes):
    torch.manual_seed(seed)
    return ContractEncoder(CONTRACT.observations, PerceptionConfig(**CONFIG | changes)).eval()


def percepts(*lead, seed=0):
    generator = torch.Generator().manual_seed(seed)
    made = dict(front=torch.randint(0, 256, (*lead, 12, 16, 3), dtype=torch.uint8, generator=generator),
                odom=torch.randn(*lead, 2, generator=generator))
    for key, shape in (('type', (24,)), ('cloud', (4, 12))):
        valid = (torch.rand(*lead, 1, *shape, generator=generator) > 0.4).float()
        metres = torch.rand(*lead, 1, *shape, generator=generator) * 5
        made[key] = torch.cat([metres * valid, valid], len(lead))
    return made


def test_each_observation_gets_the_encoder_of_its_tensor_or_the_one_configured():
    kinds = {key: type(encoder().encoder(key)) for key in encoder().specs}
    assert kinds == dict(front=ImpalaEncoder, type=ScanEncoder, cloud=RangeImageEncoder, odom=VectorEncoder)
    assert type(encoder(sensors={}).encoder('front')) is ConvEncoder


def test_angles_of_a_contract_go_in_wrapped():
    assert encoder().encoder('odom').angles == [1]


@pytest.mark.parametrize('fusion', ['mlp', 'attention'])
def test_percepts_become_states_whatever_the_leading_dimensions(fusion):
    made, x = encoder(fusion=fusion), percepts(2, 3)
    s = made(x)
    assert s.shape == (2, 3, 6)
    torch.testing.assert_close(made({key: v[1] for key, v in x.items()}), s[1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('fusion', ['mlp', 'attention'])
@pytest.mark.parametrize('key', ['front', 'type', 'cloud', 'odom'])
def test_the_content_of_a_missing_sensor_cannot_leak(fusion, key):
    made, x = encoder(fusion=fusion), percepts(3)
    valid = {key: torch.tensor([True, False, True])}
    s = made(x, valid)
    x[key][1] = 77 if key == 'front' else math.nan
    assert torch.equal(made(x, valid), s)
    full = made(percepts(3))
    assert torch.equal(s[0], full[0]) and not torch.equal(s[1], full[1])


def test_nan_of_a_missing_sensor_reaches_no_gradient():
    made, x = encoder(), percepts(3)
    x['type'][1], x['odom'][1] = math.nan, math.nan
    made(x, {key: torch.tensor([True, False, True]) for key in ('type', 'odom')}).sum().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in made.parameters())


def test_an_optional_sensor_left_out_is_as_one_never_valid():
    made, x = encoder(), percepts(3)
    never = made(x, {'type': torch.zeros(3, dtype=torch.bool)})
    del x['type']
    assert torch.equal(made(x), never)


def test_gradient_reaches_every_parameter_also_missing_tokens():
    for fusion in ('mlp', 'attention'):
        made = encoder(fusion=fusion, task_dim=2).train()
        valid = {key: torch.tensor([i != j for i in range(4)]) for j, key in enumerate(made.specs)}
        made(percepts(4), valid, torch.ones(4, 2)).square().sum().backward()
        silent = [key for key, p in made.named_parameters() if p.grad is None or not bool((p.grad != 0).any())]
        assert not silent


def test_sensor_dropout_works_in_training_only_and_follows_the_seed():
    made, x = encoder(sensor_dropout=0.5), percepts(8)
    assert torch.equal(made(x), encoder()(x))
    made.train()
    torch.manual_seed(1)
    first = made(x)
    torch.manual_seed(1)
    assert torch.equal(made(x), first)
    assert not torch.equal(made(x), first)


def test_a_model_trained_with_dropout_may_lack_a_required_sensor():
    x = percepts(2)
    del x['front']
    assert encoder(sensor_dropout=0.2)(x).shape == (2, 6)
    with pytest.raises(ContractError, match="percept has no 'front': it holds odom, type, cloud"):
        encoder()(x)


def test_the_task_token_is_the_identity_at_first_and_matters_when_trained():
    made, x, task = encoder(task_dim=2), percepts(2, 3), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    plain = encoder()(x)
    assert torch.equal(made(x, task=task), plain)
    with torch.no_grad():
        for key, parameter in made.named_parameters():
            if 'film' in key:
                parameter.normal_()
    s = made(x, task=task)
    assert float((s - plain).detach().abs().min(-1).values.max()) > 0
    one = made({key: v[1] for key, v in x.items()}, task=task[1])
    torch.testing.assert_close(one, s[1], atol=1e-5, rtol=1e-5)


def test_one_sensor_alone_is_the_state_of_its_encoder():
    torch.manual_seed(0)
    made = ContractEncoder(CONTRACT.observations[:1], PerceptionConfig(**CONFIG | dict(sensors={})))
    images = {'front': percepts(2)['front']}
    assert made.fusion is None
    assert torch.equal(made(images), made.encoder('front')(images['front']))


def test_statistics_go_to_the_encoders():
    made = encoder()
    made.set_statistics({'odom': (torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]))})
    assert made.state_dict()['sensors.sensor_odom.encoder.std'].tolist() == [[3, 4]]


def test_statistics_that_fit_no_sensor_are_refused():
    with pytest.raises(ContractError, match="statistics of 'odo', which is no observation: front, type, cloud, odom"):
        encoder().set_statistics({'odo': (torch.zeros(2), torch.ones(2))})
    with pytest.raises(ContractError, match=r'statistics of 3 numbers for a sensor that has 2'):
        encoder().set_statistics({'odom': (torch.zeros(3), torch.ones(3))})


def test_parameters_are_counted_per_sensor():
    made = encoder()
    counts = made.parameter_counts()
    assert list(counts) == ['front', 'type', 'cloud', 'odom', 'fusion']
    assert sum(c.trained for c in counts.values()) == sum(p.numel() for p in made.parameters())
    made.encoder('type').requires_grad_(False)
    count = made.parameter_counts()['type']
    assert (count.trained, count.frozen) == (6, counts['type'].trained - 6)     # the missing token still learns


def test_the_same_seed_gives_the_same_state_and_bfloat16_one_close_to_it():
    x, valid = percepts(3), {'odom': torch.tensor([True, True, False])}
    s = encoder(seed=5)(x, valid)
    assert torch.equal(encoder(seed=5)(x, valid), s)
    with torch.autocast('cpu', torch.bfloat16):
        mixed = encoder(seed=5)(x, valid)
    for other in (mixed, encoder(seed=5).bfloat16()(x, valid)):
        torch.testing.assert_close(other.float(), s, atol=0.05, rtol=0.05)


def test_everything_stays_on_the_device_of_the_percepts():
    """The meta device has no memory, so any tensor that is made elsewhere would not fit."""
    made = encoder(sensor_dropout=0.2, task_dim=2).to('meta').train()
    x = {key: value.to('meta') for key, value in percepts(2).items()}
    del x['cloud']
    s = made(x, {'odom': torch.ones(2, dtype=torch.bool)}, torch.ones(2, device='meta'))
    assert s.device.type == 'meta' and s.shape == (2, 6)


def test_the_state_dict_of_one_fits_another():
    one, other, x = encoder(seed=1), encoder(seed=2), percepts(2)
    other.load_state_dict(one.state_dict())
    assert torch.equal(other(x), one(x))


@pytest.mark.parametrize('name', ['neato', 'arm', 'diff_drive', 'donkeycar', 'two_rooms'])
def test_every_shipped_robot_has_an_encoder(name):
    contract = RobotContract.load(name)
    made = ContractEncoder(contract.observations, PerceptionConfig(dim=8))
    x = {key: torch.zeros(1, *spec.shape, dtype=torch.uint8 if spec.dtype == 'uint8' else torch.float32)
         for key, spec in made.specs.items()}
    assert made.eval()(x).shape == (1, 8)


@pytest.mark.parametrize('change, line', [
    (dict(odom=torch.zeros(2, 3)), r"percept 'odom' is float32 \(2, 3\): this model takes float32 \(…, 2\)"),
    (dict(front=torch.zeros(2, 12, 16, 3, dtype=torch.int64)), r"'front' is int64 .* takes uint8 \(…, 12, 16, 3\)"),
    (dict(front=torch.zeros(2, 12, 16, 3)), "'front' is float32"),
    (dict(odom=torch.zeros(3, 2)), r"percept 'odom' has leading dimensions \(3,\), those before it \(2,\)"),
])
def test_a_percept_that_does_not_fit_is_refused_in_one_line(change, line):
    with pytest.raises(ContractError, match=line) as refused:
        encoder()(percepts(2) | change)
    assert '\n' not in str(refused.value)


def test_flags_of_another_length_are_refused():
    with pytest.raises(ContractError, match=r"valid 'odom' has shape \(3,\), the percepts \(2,\)"):
        encoder()(percepts(2), {'odom': torch.ones(3, dtype=torch.bool)})


@pytest.mark.parametrize('sensors, line', [
    (dict(fornt={}), r"the contract has no observation 'fornt' \(did you mean front\?\); it has front, type"),
    (dict(type=dict(encoder='impala')), r'sensor type: encoder impala takes image, not scan'),
    (dict(odom=dict(options=dict(widht=3))), r"sensor odom: encoder mlp has no option 'widht' \(did you mean w"),
])
def test_a_wrong_configuration_ends_in_one_line(sensors, line):
    with pytest.raises(ConfigError, match=line) as refused:
        encoder(sensors=sensors)
    assert '\n' not in str(refused.value)


@pytest.mark.parametrize('wrong, line', [
    (dict(fusion='atention'), r'unknown fusion .* \(did you mean attention\?\)'),
    (dict(sensor_dropout=1.0), 'less than 1'),
    (dict(sensors=dict(odom=dict(encoder='mpl'))), r'unknown encoder .* \(did you mean mlp\?\)'),
    (dict(sensor_droput=0.1), 'Extra inputs are not permitted')])
def test_unknown_names_and_keys_are_refused(wrong, line):
    with pytest.raises(ValidationError, match=line):
        PerceptionConfig(**wrong)
