"""From what a user shows to a goal."""
import math

import numpy as np
import pytest
from sensor_msgs.msg import Image
import tiny
import torch

from jepa_ros.configurator import goals
from jepa_ros.errors import ContractError


@pytest.fixture(scope='module')
def agent():
    return tiny.agent()


def message(image: np.ndarray, encoding: str = 'rgb8') -> Image:
    height, width = image.shape[:2]
    made = Image(height=height, width=width, encoding=encoding, step=image.strides[0])
    made.data.frombytes(image.tobytes())
    return made


def test_an_image_becomes_the_state_that_perception_would_see(agent):
    image = tiny.image(1)
    goal = goals.from_image(agent, message(image))
    expected = agent.perception.encode({'overhead': image}).levels
    assert len(goal.levels) == 2 and all(torch.equal(a, b) for a, b in zip(goal.levels, expected))
    assert goal.readouts == {}


def test_an_image_in_another_encoding_is_converted(agent):
    image = tiny.image(1)
    turned = goals.from_image(agent, message(np.ascontiguousarray(image[..., ::-1]), 'bgr8'))
    assert torch.equal(turned.levels[0], goals.from_image(agent, message(image)).levels[0])


def test_an_image_of_another_size_is_converted(agent):
    large = np.repeat(np.repeat(tiny.image(1), 2, 0), 2, 1)
    shrunk = goals.from_image(agent, message(large))
    assert torch.equal(shrunk.levels[0], goals.from_image(agent, message(tiny.image(1))).levels[0])


def test_an_encoding_that_cannot_be_converted_is_refused_in_one_line(agent):
    with pytest.raises(ContractError, match='32FC1') as refused:
        goals.from_image(agent, message(np.zeros((16, 16), np.float32), '32FC1'))
    assert '\n' not in str(refused.value)


def test_readouts_become_a_goal(agent):
    assert goals.from_readouts(agent, ['y_m', 'x_m'], [1, 2]).readouts == {'y_m': 1.0, 'x_m': 2.0}


@pytest.mark.parametrize('names, values, line', [
    ([], [], 'a readout goal needs at least one of x_m, y_m'),
    (['x_m'], [1.0, 2.0], 'has 1 names but 2 values'),
    (['x_mm'], [1.0], r"unknown readout 'x_mm' \(did you mean x_m\?\)"),
    (['x_m'], [math.nan], 'readout x_m is nan'),
    (['x_m', 'x_m'], [1.0, 2.0], 'a readout is given twice'),
])
def test_readouts_that_cannot_be_are_refused_in_one_line(agent, names, values, line):
    with pytest.raises(ContractError, match=line) as refused:
        goals.from_readouts(agent, names, values)
    assert '\n' not in str(refused.value)
