"""A task's token modulates perception (LeCun §2)."""
import pytest
import tiny
import torch

from jepa_ros.errors import ConfigError
from jepa_ros.perception.config import PerceptionConfig
from jepa_ros.perception.perception import Perception


@pytest.fixture
def perception() -> Perception:
    config = tiny.perception().model_copy(update={'task_dim': 2, 'task_names': ['hurry', 'care']})
    model = tiny.model(1, perception=config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if 'films' in name:         # as if trained: a new one is silent
                weight.add_(0.1)
    return Perception(model, ['x_m', 'y_m'])


def seen(perception: Perception, **how) -> torch.Tensor:
    return perception.encode({'overhead': tiny.image()}, **how).levels[0]


def test_the_token_of_a_task_changes_what_is_seen_until_the_next(perception):
    plain = seen(perception)
    perception.modulate({'hurry': 1.0})
    hurried = seen(perception)
    assert not torch.allclose(hurried, plain)
    assert torch.equal(perception.observe({'overhead': tiny.image()}).levels[0], hurried)
    perception.modulate({'hurry': 1.0, 'care': 0.0})
    assert torch.equal(seen(perception), hurried)       # a number that is not named is 0
    perception.modulate({})
    assert torch.equal(seen(perception), plain)


def test_a_goal_is_seen_with_the_token_of_its_own_task(perception):
    perception.modulate({'hurry': 1.0})
    hurried = seen(perception)
    perception.modulate({'care': 2.0})
    assert torch.equal(seen(perception, token={'hurry': 1.0}), hurried)


def test_a_token_that_the_model_does_not_have_is_one_line(perception):
    with pytest.raises(ConfigError, match="task token 'hury' is not of this model: it has hurry, care"):
        perception.modulate({'hury': 1.0})
    with pytest.raises(ConfigError, match='it was trained without task tokens'):
        Perception(tiny.model(1), ['x_m', 'y_m']).modulate({'hurry': 1.0})


def test_names_are_as_many_as_the_token_is_long():
    assert PerceptionConfig(task_dim=2).token_names == ('token_0', 'token_1') and PerceptionConfig().token_names == ()
    with pytest.raises(ValueError, match='task_names has 1 different names, task_dim is 2'):
        PerceptionConfig(task_dim=2, task_names=['a', 'a'])
