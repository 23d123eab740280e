"""An imported LeWM becomes an agent: its numbers are kept, actions come in its units, and the planner runs with it."""
import lewm_state as reference
import numpy as np
import pytest
import tiny
import torch
from torch.nn.functional import interpolate

from jepa_ros.agent import Agent
from jepa_ros.cost.cost import Goal
from jepa_ros.errors import ConfigError
from jepa_ros.interop import lewm
from jepa_ros.interop.lewm_agent import ActionStatistics, calibrate, make_agent, save_imported
from jepa_ros.training.calibrate import goal_tolerance
from jepa_ros.training.states import encode_all
from jepa_ros.world_model.world_model import WorldModel

STATISTICS = ActionStatistics.of([0.1, -0.3], [0.4, 1.5], 2)
CAMERA = '  - {key: overhead, topic: camera/image_raw, type: sensor_msgs/msg/Image, height: 16, width: 16}\n'


@pytest.fixture(scope='module')
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp('lewm') / 'weights.pt'
    torch.save(reference.state(), path)
    return path


@pytest.fixture(scope='module')
def found(file):
    return lewm.read(file, reference.HEADS, reference.PREDICTOR_HEADS)


def contract(**changes):
    text = tiny.CONTRACT
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new)
    return tiny.contract(text)


def test_the_checkpoint_predicts_as_the_equations_do(file, found, tmp_path):
    save_imported(make_agent(found, tiny.contract(), STATISTICS, 'lewm'), tmp_path, file)
    agent = Agent.load(tmp_path, device='cpu')
    s, action = torch.randn(reference.DIM), np.array([0.7, -1.2])
    block = torch.tensor((action - STATISTICS.mean) / STATISTICS.std, dtype=torch.float32).repeat(2)
    with torch.no_grad():
        theirs = reference.predicted(reference.state(), s[None, None], block[None, None])[0]
    assert torch.allclose(agent.world_model.predict(s, action), theirs, atol=1e-5)
    assert agent.card.training['imported_from'] == 'weights.pt'
    assert agent.card.normalisation['action_std'] == [0.4, 1.5]


def test_a_camera_of_other_size_is_resized_to_what_it_was_trained_on(found):
    agent = make_agent(found, tiny.contract(), STATISTICS, 'lewm')
    image = torch.randint(0, 256, (1, 16, 16, 3), dtype=torch.uint8)
    small = interpolate(image.permute(0, 3, 1, 2).float(), (12, 12), mode='bilinear', antialias=True)
    with torch.no_grad():
        theirs = reference.encoded(reference.state(), small.permute(0, 2, 3, 1))[0]
    ours = agent.perception.encode({'overhead': image[0].numpy()}).levels[0]
    assert torch.allclose(ours, theirs, atol=1e-4)


def test_the_planner_plans_with_what_it_remembers(found):
    agent = make_agent(found, tiny.contract(), STATISTICS, 'lewm')
    goal = agent.perception.encode({'overhead': tiny.image(9)})
    agent.actor.configure(goal=Goal(levels=goal.levels), mode='planned', budget_ms=60_000)
    previous = None
    for step in range(4):
        decision = agent.actor.act(agent.perception.observe({'overhead': tiny.image(step)}), previous)
        assert np.isfinite(decision.actions).all() and decision.actions.shape == (5, 2) and not decision.degradation
        previous = decision.action
    again = agent.new_actor()
    again.configure(goal=Goal(levels=goal.levels), mode='planned', budget_ms=60_000)
    fresh = again.act(agent.perception.observe({'overhead': tiny.image(3)}))
    assert not np.allclose(fresh.energies, decision.energies)       # three states of the past were looked back on


def test_planning_lowers_the_energy_of_the_goal(found):
    agent = make_agent(found, tiny.contract(), STATISTICS, 'lewm')
    world = agent.world_model
    assert isinstance(world, WorldModel)
    state = agent.perception.encode({'overhead': tiny.image(0)})
    wanted = world.imagine(0, state.levels[0], np.tile([0.9, 1.8], (5, 1))).states[-1]
    agent.actor.configure(goal=Goal(levels=(wanted,)), mode='planned', budget_ms=60_000)
    decision = agent.actor.act(state)

    def energy(actions):
        return float((world.imagine(0, state.levels[0], actions).states[-1] - wanted).square().mean())
    assert energy(decision.actions) < 0.5 * energy(np.tile([-0.4, -1.8], (5, 1)))


def test_calibration_says_what_is_near_and_what_error_is_usual(found):
    agent, data = make_agent(found, tiny.contract(), STATISTICS, 'lewm'), tiny.episodes([12, 9])
    calibrate(agent, data, radius=0.2)
    level, s = agent.networks.world_model.levels[0], encode_all(agent.networks.world_model, data)
    errors = [(level.predict(s[i], data.actions[i]) - s[i + 1]).square().mean() for i in (*range(11), *range(12, 20))]
    assert torch.allclose(level.typical_error, torch.stack(errors).mean(), rtol=1e-4)
    assert agent.card.goal_tolerance == goal_tolerance(data, s, 0.2) and agent.card.bags == data.bags


@pytest.mark.parametrize('changes, line', [
    (dict(a=(CAMERA, CAMERA + CAMERA.replace('overhead', 'second').replace('camera/', 'camera2/'))),
     'has the observations overhead, second: LeWM sees one camera'),
    (dict(a=('camera/image_raw, type: sensor_msgs/msg/Image, height: 16, width: 16',
             'scan, type: sensor_msgs/msg/LaserScan, beams: 9, range_max_m: 8.0')),
     r'has shape \(2, 9\): this LeWM sees images \(H, W, 3\)'),
    (dict(a=('      - {name: vy_mps', '      - {name: w, field: angular.z, min: -1, max: 1, max_rate: 9.0}\n'
             '      - {name: vy_mps')), 'takes blocks of 4 numbers, robot .tiny. has 3 actions'),
])
def test_a_robot_that_does_not_fit_is_refused(found, changes, line):
    with pytest.raises(ConfigError, match=line):
        make_agent(found, contract(**changes), STATISTICS, 'lewm')


@pytest.mark.parametrize('mean, std', [([0.0], [0.0]), ([0.0, 1.0, 2.0], [1.0]), ([float('nan')], [1.0]), ([0], [-1])])
def test_statistics_that_make_no_sense_are_refused(mean, std):
    with pytest.raises(ConfigError, match='give 2 numbers'):
        ActionStatistics.of(mean, std, 2)


def test_statistics_are_measured_without_the_ends_of_episodes(tmp_path):
    actions = np.array([[1.0, 2.0], [3.0, 2.5], [np.nan, np.nan], [5.0, 3.0]])
    np.save(tmp_path / 'a.npy', actions)
    measured = [ActionStatistics.measured(tmp_path / 'a.npy', 2)]
    h5py = pytest.importorskip('h5py')
    with h5py.File(tmp_path / 'a.h5', 'w') as made:
        made['action'] = actions
    measured.append(ActionStatistics.measured(tmp_path / 'a.h5', 2))
    for found in measured:
        assert np.allclose(found.mean, [3, 2.5]) and np.allclose(found.std, actions[[0, 1, 3]].std(0))


def test_a_file_without_actions_is_refused(tmp_path):
    (tmp_path / 'a.npy').write_bytes(b'no')
    np.save(tmp_path / 'b.npy', np.zeros((3, 5)))
    for name, line in (('a.npy', 'no actions can be read'), ('b.npy', r'expected \(N, 2\)'), ('c.npy', 'no actions')):
        with pytest.raises(ConfigError, match=line):
            ActionStatistics.measured(tmp_path / name, 2)
