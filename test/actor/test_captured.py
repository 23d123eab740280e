"""Plans in one piece: without a GPU the same function, just called; with one, a recording that gives the same."""
from planner_problems import BOX, generator, planner
import pytest
import torch
from torch import nn

from jepa_ros.actor.captured import Captured, CapturedPlan
from jepa_ros.actor.planners import Evaluation
from jepa_ros.errors import ConfigError

GOALS = torch.tensor([[0.4, -0.7], [-0.2, 0.1]])
MEAN = torch.zeros(2, 3, 2)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason='there is no GPU')


def reach(candidates, goals):
    return Evaluation((candidates - goals[:, None, None]).square().sum((-1, -2)))


def captured(seed=0, method='cem', **changes):
    return CapturedPlan(planner(method, **changes), BOX, reach, generator(seed))


@pytest.mark.parametrize('method', ['cem', 'icem', 'mppi'])
def test_a_captured_plan_is_the_plan(method):
    found = captured(method=method)(MEAN, GOALS)
    plain = planner(method).plan(lambda candidates: reach(candidates, GOALS), BOX, 2, MEAN, generator=generator())
    assert torch.equal(found.actions, plain.actions) and torch.equal(found.energy, plain.energy)
    assert found.iterations == plain.iterations and int(found.refused) == 0 and not found.deadline_hit
    assert bool(found.sound.all())


def test_it_starts_from_the_mean_it_is_given():
    plan = captured(iterations=1, samples=2)
    towards = GOALS[:, None].expand(-1, 3, -1)
    assert torch.equal(plan(towards, GOALS).actions, towards)


def test_the_generator_goes_on_from_plan_to_plan():
    plan = captured(iterations=1)
    assert not torch.equal(plan(MEAN, GOALS).actions, plan(MEAN, GOALS).actions)


def test_the_energy_given_out_is_the_exact_one_where_there_is_one():
    plan = CapturedPlan(planner('cem'), BOX, lambda *x: Evaluation(reach(*x).energy.bfloat16().float()), generator(),
                        exact=reach)
    found = plan(MEAN, GOALS)
    assert torch.equal(found.energy, reach(found.actions[:, None], GOALS).energy[:, 0])


@pytest.mark.parametrize('method, changes', [('cem', {'tolerance': 0.1}), ('gradient', {}), ('cem_gradient', {})])
def test_a_plan_the_host_has_a_say_in_is_refused(method, changes):
    with pytest.raises(ConfigError, match=f'planner {method}: a plan in one piece .* cem or mppi'):
        captured(method=method, **changes)


@needs_gpu
class TestOnAGpu:
    def test_a_replay_gives_what_a_call_gives(self):
        draws = torch.Generator('cuda')

        def noisy(x):
            return (x + torch.randn(x.shape, device='cuda', generator=draws),)
        replayed = Captured(noisy, draws)
        for x in (torch.zeros(4, device='cuda'), torch.ones(4, device='cuda')):
            draws.manual_seed(3)
            plain = noisy(x)[0]
            draws.manual_seed(3)
            assert torch.equal(replayed(x)[0], plain)
            again = replayed(x)[0]
            assert not torch.equal(again, plain)

    def test_new_weights_are_recorded_anew(self):
        layer = nn.Linear(2, 2).cuda().requires_grad_(False)
        folded = Captured(lambda x: (x @ (2 * layer.weight),), modules=[layer])
        x = torch.ones(2, device='cuda')
        folded(x)
        layer.weight.fill_(3)
        assert folded(x)[0].tolist() == [12, 12]
