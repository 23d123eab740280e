"""Adaptation of the dynamics: what actions do, versions that come back, and nothing learned from noise."""
import pytest
import tiny
import torch
from torch import Tensor

from jepa_ros.errors import TrainingError
from jepa_ros.training.adaptation import Adaptation, AdaptationSettings, install, MAP, tensors_of, Version

TURNED = torch.tensor([[0.5, 0.0], [0.0, -1.0]])    # one wheel turns half as far, the other one backwards
SETTINGS = AdaptationSettings(tune_steps=0)


def model():
    made = tiny.integrator_model(1)
    made.levels[0].typical_error.fill_(1e-5)
    return made


class Robot:
    """Moves by a tenth of M a in each step, with a little noise; drives at random."""

    def __init__(self, seed: int = 0):
        self.generator = torch.Generator().manual_seed(seed)
        self.s = torch.zeros(2)

    def drive(self, adaptation: Adaptation, steps: int, m: Tensor | None = None) -> list:
        """Versions that came into force."""
        found = []
        for _ in range(steps):
            action = torch.rand(2, generator=self.generator) * 2 - 1
            moved = action if m is None else m @ action
            after = self.s + 0.1 * moved + 1e-3 * torch.randn(2, generator=self.generator)
            adaptation.see(self.s, action, after)
            self.s = after
            version = adaptation.step()
            found += [] if version is None else [version]
        return found


def test_a_world_as_trained_changes_nothing():
    assert Robot().drive(Adaptation(model(), SETTINGS), 100) == []


def test_what_actions_do_is_found_after_few_steps():
    adaptation, robot = Adaptation(model(), SETTINGS), Robot()
    robot.drive(adaptation, 30)
    versions = robot.drive(adaptation, SETTINGS.least + 8, TURNED)
    assert len(versions) == 1 and versions[0].number == 1
    assert torch.allclose(versions[0].tensors[MAP][:, :2], TURNED, atol=0.05)
    robot.drive(adaptation, 20, TURNED)
    assert adaptation.error < 2


def test_a_world_that_goes_back_gets_its_old_version_back_at_once_and_the_new_one_is_kept():
    adaptation, robot = Adaptation(model(), SETTINGS), Robot()
    robot.drive(adaptation, 60, TURNED)
    back = robot.drive(adaptation, 20)
    again = robot.drive(adaptation, 20, TURNED)
    assert [v.number for v in back] == [0] and [v.number for v in again] == [1]


def test_the_model_itself_is_left_alone_until_a_version_is_installed():
    made = model()
    adaptation, before = Adaptation(made, SETTINGS), tensors_of(made)
    version, = Robot().drive(adaptation, 60, TURNED)
    assert all(torch.equal(before[name], t) for name, t in tensors_of(made).items())
    install(made, version.tensors)
    s = made.levels[0].predict(torch.zeros(2), torch.tensor([1.0, 1.0]))
    assert torch.allclose(s, 0.1 * TURNED @ torch.ones(2), atol=5e-3)
    install(made, adaptation.versions[0].tensors)
    assert torch.equal(made.levels[0].action_map, torch.eye(2, 3))


def test_noise_is_not_learned():
    adaptation, generator = Adaptation(model(), SETTINGS), torch.Generator().manual_seed(0)
    for _ in range(200):
        s, a, after = (torch.randn(2, generator=generator) for _ in range(3))
        adaptation.see(s, a, after)
        assert adaptation.step() is None
    assert adaptation.error > SETTINGS.trigger


def test_what_is_not_finite_is_left_out():
    adaptation = Adaptation(model(), SETTINGS)
    adaptation.see(torch.zeros(2), torch.tensor([float('nan'), 0.0]), torch.zeros(2))
    assert adaptation.step() is None and adaptation.error == 1.0


def test_no_more_versions_are_kept_than_asked_for():
    settings = AdaptationSettings(tune_steps=0, versions=2)
    adaptation, robot = Adaptation(model(), settings), Robot()
    for gain in (0.5, -1.0, 0.25, -0.5, 1.5):
        robot.drive(adaptation, 80, gain * torch.eye(2))
    assert len(adaptation.versions) == 3 and adaptation.versions[0].number == 0
    assert adaptation.active.number >= 4


def test_the_same_transitions_give_the_same_versions():
    one, other = (Robot().drive(Adaptation(model(), SETTINGS, seed=3), 60, TURNED)[0] for _ in range(2))
    assert all(torch.equal(t, other.tensors[name]) for name, t in one.tensors.items())


@pytest.mark.parametrize('name, value', [(MAP, torch.zeros(3, 3)), ('levels.0.predictor.nothing', torch.zeros(1))])
def test_tensors_of_another_model_are_refused_in_one_line(name, value):
    made = model()
    with pytest.raises(TrainingError, match=f'{name} of shape'):
        install(made, {name: value})
    assert torch.equal(made.levels[0].action_map, torch.eye(2, 3))


def push(adaptation: Adaptation, robot: Robot, axis: int, steps: int) -> list:
    """Drive one way only in a world that is reversed, as along a wall: it tells nothing about the other way."""
    found = []
    for _ in range(steps):
        action = torch.zeros(2)
        action[axis] = 0.6 + 0.2 * float(torch.rand(1, generator=robot.generator))
        after = robot.s - 0.1 * action + 1e-3 * torch.randn(2, generator=robot.generator)
        adaptation.see(robot.s, action, after)
        robot.s = after
        version = adaptation.step()
        found += [] if version is None else [version]
    return found


def test_versions_that_each_know_one_way_do_not_take_turns_for_ever():
    adaptation, robot = Adaptation(model(), SETTINGS), Robot()
    robot.drive(adaptation, 30)
    versions = [v for turn in range(12) for v in push(adaptation, robot, turn % 2, 30)]
    assert torch.allclose(adaptation.active.tensors[MAP], torch.tensor([[-1.0, 0, 0], [0, -1.0, 0]]), atol=0.1)
    assert len(versions) <= 4
    assert push(adaptation, robot, 0, 30) == push(adaptation, robot, 1, 30) == []


def knowing(*gains: float) -> Adaptation:
    """One that has found these worlds before, the last of which is in force."""
    adaptation = Adaptation(model(), SETTINGS)
    for gain in gains:
        adaptation._made += 1
        tensors = adaptation.versions[0].tensors | {MAP: gain * torch.eye(2, 3)}
        adaptation.versions.append(Version(adaptation._made, tensors, 'known'))
        adaptation.force(adaptation.versions[-1])
    return adaptation


def test_a_version_that_was_fitted_to_few_steps_is_fitted_again_when_there_are_more():
    adaptation = knowing(-0.93)         # near enough to surprise nobody
    adaptation._again = 2 * SETTINGS.least
    assert Robot().drive(adaptation, adaptation._again - 1, -torch.eye(2)) == []
    again, = Robot(1).drive(adaptation, 60, -torch.eye(2))
    assert torch.allclose(again.tensors[MAP], -torch.eye(2, 3), atol=0.02)


def test_a_burst_of_surprise_that_a_known_version_explains_a_little_better_is_no_change():
    assert Robot().drive(knowing(-0.8, -1.0), 20, -0.885 * torch.eye(2)) == []
    assert [v.number for v in Robot().drive(knowing(-0.8, -1.0), 20, -0.8 * torch.eye(2))] == [1]
