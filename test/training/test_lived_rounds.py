"""Rounds of learning from what was lived: Mode-1 drives in between, and an interrupted run goes on."""
import pytest
import tiny
import torch

from jepa_ros.actor.policy import Policy
from jepa_ros.cost.critic import Critic
from jepa_ros.errors import TrainingError
from jepa_ros.training.lived import Lived, LivedLearner, Replay
from jepa_ros.training.lived_rounds import LivedRounds, STATE

ROUNDS, UPDATES, BATCH = 3, 4, 16


class Driver:
    """Drives of another kind each round, which depend on nothing but its number."""

    def __init__(self):
        self.asked: list[int] = []

    def __call__(self, agent, number):
        self.asked.append(number)
        return [drive(100 * number + at) for at in range(2)]


def drive(seed: int) -> Lived:
    generator = torch.Generator().manual_seed(seed)
    return Lived(*(torch.randn(*shape, generator=generator).clamp(-1, 1) for shape in ((9, 2), (8, 2), (2,))))


@pytest.fixture(scope='module')
def agent():
    return tiny.agent()


def made(agent, driving=None, file=None, rounds=ROUNDS):
    torch.manual_seed(0)
    learner = LivedLearner(tiny.integrator_model(2).levels[0], Policy(2, 2, 4, 16), Critic(2, 16),
                           Replay(drive(at) for at in range(4)), 1e-3, rounds * UPDATES,
                           torch.Generator().manual_seed(0))
    return learner, LivedRounds(agent, learner, rounds, UPDATES, BATCH, driving, file, {'seed': 0})


def same(one, other) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.modules.parameters(), other.modules.parameters()))


def test_mode_1_drives_before_each_round_and_once_more_to_be_judged(agent):
    driver = Driver()
    learner, rounds = made(agent, driver)
    rounds.run()
    assert driver.asked == [0, 1, 2, 3] and [len(drives) for drives in rounds.driven] == [2, 2, 2, 2]
    assert learner.replay.steps == 4 * 8 + 8 * 8


@pytest.mark.parametrize('drives', [True, False])
def test_an_interrupted_run_ends_as_if_it_had_not_been(agent, tmp_path, drives):
    whole, rounds = made(agent, Driver() if drives else None)
    figures = rounds.run()

    def stop(stage, done, total, parts):
        if done == 2:
            raise KeyboardInterrupt
    file, driver = tmp_path / STATE, Driver() if drives else None
    with pytest.raises(KeyboardInterrupt):
        made(agent, driver, file)[1].run(stop)
    rest, again = made(agent, driver, file)
    assert again.run() == figures and same(rest, whole)
    assert len(again.driven) == len(rounds.driven)
    if driver:
        assert driver.asked == [0, 1, 2, 3]     # what was driven before is not driven again


def test_a_finished_run_does_not_learn_on(agent, tmp_path):
    first, rounds = made(agent, Driver(), tmp_path / STATE)
    figures = rounds.run()
    second, again = made(agent, Driver(), tmp_path / STATE)
    assert again.run() == figures and same(first, second)


def test_a_state_that_learned_from_other_drives_is_refused(agent, tmp_path):
    made(agent, None, tmp_path / STATE)[1].run()
    learner, rounds = made(agent, None, tmp_path / STATE)
    learner.replay.add([drive(9)])
    other = LivedRounds(agent, learner, ROUNDS, UPDATES, BATCH, None, tmp_path / STATE, {'seed': 0})
    with pytest.raises(TrainingError, match='lived_steps was 32, is 40'):
        other.run()
