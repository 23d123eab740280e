"""`jepa-ros distill`."""
import pytest
import tiny
import torch

from jepa_ros.agent import Agent
from jepa_ros.cli.main import main
from jepa_ros.training import data as training_data


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A tiny checkpoint and episodes of its robot."""
    folder = tmp_path_factory.mktemp('distill')
    tiny.agent().save(folder / 'old')
    training_data.save(tiny.episodes([40] * 6), folder / 'episodes.npz')
    return folder


def arguments(folder, *more: str) -> list[str]:
    return ['distill', str(folder / 'old'), '--data', str(folder / 'episodes.npz'), '--output', str(folder / 'new'),
            '--work-dir', str(folder / 'work'), '--device', 'cpu', '--rounds', '1', '--labels', '8', *more]


@pytest.fixture
def little(monkeypatch):
    """Settings of a run that takes no time."""
    from jepa_ros.training import dagger
    small = {'problems': 8, 'updates': 2, 'critic_updates': 2, 'ticks': 4, 'batch': 8, 'lived_updates': 2}
    monkeypatch.setattr(dagger.DaggerSettings.__init__, '__defaults__', tuple(
        small.get(name, default) for name, default in zip(dagger.DaggerSettings.__dataclass_fields__,
                                                          dagger.DaggerSettings.__init__.__defaults__)))


def test_writes_a_checkpoint_whose_world_model_is_the_old_one(folder, capsys, little):
    assert main(arguments(folder)) == 0
    assert 'held-out problems in imagination' in capsys.readouterr().out
    old, new = (Agent.load(folder / name, device='cpu') for name in ('old', 'new'))
    assert new.card.policy_doubts and new.model_id != old.model_id
    one, other = (agent.networks.world_model.state_dict() for agent in (old, new))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert new.card.commands[-1].startswith('jepa-ros distill ') and new.card.name == 'new'
    assert not list((folder / 'work').glob('*.safetensors'))


def test_in_a_world_mode_1_drives_between_the_rounds(folder, capsys, little, monkeypatch):
    from jepa_ros.evaluation import lived_drives
    monkeypatch.setattr(lived_drives, 'SHOWN_S', 0.3)
    monkeypatch.setattr(lived_drives, 'PRACTISED_S', 0.3)
    argv = arguments(folder, '--world', 'two_rooms', '--drives', '5', '--lived-rounds', '1')
    assert main(argv) == 0
    assert 'of its goals in two_rooms' in capsys.readouterr().out
    card = Agent.load(folder / 'new', device='cpu').card
    assert '--world two_rooms --drives 5' in card.commands[-1]
    assert card.training['distill']['world'] == 'two_rooms'
    assert not list((folder / 'work').glob('*.safetensors'))


@pytest.mark.parametrize('more, words', [
    (['--world', 'two_rom'], "'two_rom'"),
    (['--drives', '1'], "Invalid value for '--drives'"),
    (['--data', 'nowhere'], 'nowhere: no such bag or store'),
    (['--rounds', '0'], "Invalid value for '--rounds'"),
    (['--device', 'tpu'], "device 'tpu' is unknown"),
])
def test_what_will_not_do_is_refused_in_one_line(folder, capsys, more, words):
    argv = arguments(folder, *more)
    argv[argv.index('--output') + 1] = str(folder / 'refused')
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert words in error and error.count('\n') == 1 and not (folder / 'refused').exists()


def test_an_unknown_model_is_refused_with_what_is_known(folder, capsys):
    argv = arguments(folder)
    argv[1] = 'two_roms'
    assert main(argv) == 2
    assert 'did you mean two_rooms' in capsys.readouterr().err
