"""Learning from what really happened."""
from hypothesis import given
from hypothesis import strategies as st
import pytest
import tiny
import torch

from jepa_ros.actor.policy import Policy
from jepa_ros.cost.critic import Critic
from jepa_ros.energy.distance import squared
from jepa_ros.errors import TrainingError
from jepa_ros.training.lived import EXPLORED, Lived, LivedLearner, recorded, Replay


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def wandering(count: int, steps: int = 30, seed: int = 0) -> list[Lived]:
    """Random drives of a point that its actions move by a tenth."""
    random = generator(seed)
    actions = torch.rand(count, steps, 2, generator=random) * 2 - 1
    start = torch.randn(count, 1, 2, generator=random) * 0.5
    states = torch.cat([start, start + 0.1 * actions.cumsum(1)], 1)
    return [Lived(s, a, s[-1]) for s, a in zip(states, actions)]


def learner(drives, updates: int = 300) -> tuple[LivedLearner, Policy, Critic]:
    torch.manual_seed(0)
    policy, critic = Policy(2, 2, 4, 32), Critic(2, 32)
    jepa = tiny.integrator_model(1).levels[0]
    return LivedLearner(jepa, policy, critic, Replay(drives), 3e-3, updates, generator()), policy, critic


def test_mode_1_learns_to_reach_goals_from_drives_that_had_none():
    """Hindsight: what a random drive came to is a goal that it reached."""
    made, policy, _ = learner(wandering(60))
    start, goal = torch.randn(200, 2, generator=generator(1)), torch.zeros(200, 2)

    def left() -> float:
        s = start
        with torch.no_grad():
            for _ in range(20):
                s = s + 0.1 * policy(s, goal)[:, 0]
        return float(squared(s, goal).mean() / squared(start, goal).mean())
    before = left()
    figures = made.learn(300, 128)
    assert left() < 0.1 < before and figures['critic_r2'] > 0.5


def test_what_turned_out_better_than_expected_is_imitated_most():
    chunk, steps = torch.zeros(2, 4, 2), torch.tensor([4, 4])
    good, bad = torch.ones(4, 2), -torch.ones(4, 2)

    def pull(surplus):
        wanted = chunk.clone().requires_grad_(True)
        LivedLearner._imitation(wanted, torch.stack([good, bad]), torch.tensor(surplus), steps).backward()
        return wanted.grad.abs().sum((1, 2))
    even, first = pull([0.0, 0.0]), pull([-1.0, 1.0])
    assert float(even[0]) == pytest.approx(float(even[1]))
    assert float(first[0]) > 5 * float(first[1])


def test_the_critic_believes_what_happened_where_the_model_is_too_hopeful():
    """Behind a wall that the model does not know: it says the goal is near, those who stood there say it is not."""
    stuck = [Lived(torch.zeros(31, 2), torch.ones(30, 2), torch.ones(2)) for _ in range(20)]
    made, _, critic = learner(stuck + wandering(20), 400)
    made.learn(400, 128)
    with torch.no_grad():
        blocked = float(critic(torch.zeros(2), torch.ones(2)))
    assert blocked > 0.6    # it stays at the energy of the place, 1


@tiny.invariant
@given(st.lists(st.integers(1, 12), min_size=1, max_size=5), st.integers(1, 8), st.integers(0, 100))
def test_no_lesson_crosses_from_one_drive_into_another(lengths, ahead, seed):
    """Each drive has states of its own number, each action the number of its step."""
    drives = [Lived(torch.full((n + 1, 2), float(k)), torch.arange(n)[:, None] + torch.zeros(n, 2),
                    torch.full((2,), float(k))) for k, n in enumerate(lengths)]
    replay = Replay(drives)
    s, goal, actions, following, steps, rows, first = replay.lessons(50, ahead, generator(seed))
    assert torch.equal(replay.states[rows], s) and torch.equal(replay.states[first], s) and bool((first <= rows).all())
    assert bool((goal == s).all()) and bool((following == s[:, None]).all())
    n = torch.tensor(lengths)[s[:, 0].long()]
    assert bool((actions[:, 0, 0] < n).all()) and bool((steps >= 1).all()) and bool((steps <= ahead).all())
    assert bool((actions[:, 0, 0] + steps <= n).all())


def test_much_exploration_does_not_drown_the_drives_to_goals():
    replay = Replay([Lived(torch.zeros(1001, 2), torch.zeros(1000, 2), torch.zeros(2))])
    replay.add([Lived(torch.ones(11, 2), torch.zeros(10, 2), torch.ones(2))])
    s, *_ = replay.lessons(2000, 4, generator())
    assert float(s[:, 0].mean()) == pytest.approx(1 - EXPLORED, abs=0.05)


def test_recorded_episodes_become_drives_to_where_they_ended():
    data = tiny.episodes([5, 8])
    s = torch.arange(13.0)[:, None].expand(-1, 3)
    first, second = recorded(data, s)
    assert len(first.states) == 5 and len(first.actions) == 4 and float(first.goal[0]) == 4
    assert torch.equal(second.actions, data.actions[5:12]) and float(second.goal[0]) == 12


def test_a_drive_that_does_not_fit_together_is_refused():
    with pytest.raises(TrainingError, match='3 states .* 3 actions .*: it must have one state more'):
        Replay([Lived(torch.zeros(3, 2), torch.zeros(3, 1), torch.zeros(2))])


def test_nothing_to_learn_from_is_said():
    with pytest.raises(TrainingError, match='no drive to learn from'):
        Replay().lessons(4, 2, generator())
