"""`jepa-ros robot`: exit codes, one line for bad input, files that are written."""
import json

from made_bags import base_bag
import pytest

from jepa_ros.cli.main import main
from jepa_ros.paths import known
from jepa_ros.robot.contract import RobotContract


@pytest.fixture
def bag(tmp_path):
    return base_bag(tmp_path / 'rover')


@pytest.fixture
def drafted(tmp_path, bag):
    path = tmp_path / 'robots' / 'rover.yaml'
    assert main(['robot', 'init', '--bag', str(bag), '-o', str(path)]) == 0
    return path


def test_init_writes_a_contract_that_check_finds_usable(drafted, bag, capfd):
    assert RobotContract.load(drafted).name == 'rover'
    assert main(['robot', 'check', str(drafted), '--bag', str(bag)]) == 0
    out = capfd.readouterr().out
    assert 'observation scan' in out and 'usable, 40 percepts in 3.9 s, 0 errors' in ' '.join(out.split())


def test_init_prints_to_standard_output_and_nothing_else(bag, capfd):
    assert main(['robot', 'init', '--bag', str(bag), '--name', 'mine']) == 0
    assert RobotContract.parse(capfd.readouterr().out).name == 'mine'


def test_check_says_1_where_the_contract_does_not_fit(bag, capfd):
    assert main(['robot', 'check', 'two_rooms', '--bag', str(bag)]) == 1
    out = ' '.join(capfd.readouterr().out.split())
    assert 'camera/image_raw is missing' in out and 'NOT usable' in out


def test_check_prints_json(drafted, bag, capfd):
    capfd.readouterr()
    assert main(['robot', 'check', str(drafted), '--bag', str(bag), '--json']) == 0
    report = json.loads(capfd.readouterr().out)
    assert report['usable'] and report['percepts'] == 40 and report['rows'][0]['key'] == 'scan'


def test_init_drafts_from_a_gymnasium_environment(tmp_path, capfd):
    assert main(['robot', 'init', '--gym', 'CartPole-v1', '--name', 'pole']) == 0
    assert RobotContract.parse(capfd.readouterr().out).name == 'pole'


def test_schema_is_what_the_contracts_are_checked_with(tmp_path, capfd):
    path = tmp_path / 'robot.schema.json'
    assert main(['robot', 'schema', '-o', str(path)]) == 0
    properties = json.loads(path.read_text())['properties']
    assert {'observations', 'actions', 'control_period_s', 'pace'} <= set(properties)


def test_list_names_every_shipped_robot(capfd):
    assert main(['robot', 'list']) == 0
    out = capfd.readouterr().out
    assert all(name in out for name in known('robots')) and {'two_rooms', 'neato', 'donkeycar'} <= set(known('robots'))


@pytest.mark.parametrize('options, words', [
    (['check', 'two_rooms'], ('exactly one of --bag and --live',)),
    (['check', 'two_rooms', '--bag', 'x', '--live'], ('exactly one of --bag and --live',)),
    (['check', 'two_rooms', '--bag', '/nowhere'], ('/nowhere', 'no such bag')),
    (['check', 'tow_rooms', '--bag', 'x'], ("'tow_rooms'", "did you mean 'two_rooms'")),
    (['check', '/nowhere.yaml', '--bag', 'x'], ('/nowhere.yaml', 'does not exist')),
    (['check', 'two_rooms', '--live', '--namespace', '9robots'], ("'9robots'",)),
    (['check'], ('FILE',)),
    (['init'], ('exactly one of --bag and --gym',)),
    (['init', '--bag', 'x', '--gym', 'CartPole-v1'], ('exactly one of --bag and --gym',)),
    (['init', '--bag', '/nowhere'], ('/nowhere', 'no such bag')),
    (['init', '--gym', 'CartPole-v9999'], ('CartPole-v9999',)),
    (['chekc'], ('chekc',)),
])
def test_a_mistake_is_one_line_and_exit_code_2(capfd, options, words):
    assert main(['robot', *options]) == 2
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith('jepa-ros: ')
    assert all(word in lines[0] for word in words), lines[0]


@pytest.mark.parametrize('text, words', [
    ('just a text', ('mapping',)), ('name: [', ('not YAML',)), ('nmae: x\n', ('did you mean name?',))])
def test_a_file_that_is_no_contract_is_named_with_its_line(tmp_path, capfd, text, words):
    path = tmp_path / 'robot.yaml'
    path.write_text(text)
    assert main(['robot', 'check', str(path), '--bag', 'x']) == 2
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1 and str(path) in lines[0] and all(word in lines[0] for word in words), lines[0]


def test_an_existing_file_is_not_overwritten(drafted, bag, capfd):
    before = drafted.read_text()
    assert main(['robot', 'init', '--bag', str(bag), '-o', str(drafted)]) == 2
    assert 'exists already' in capfd.readouterr().err and drafted.read_text() == before


def test_a_bag_without_commands_is_one_line(tmp_path, capfd):
    assert main(['robot', 'init', '--bag', str(base_bag(tmp_path / 'still', cmd_vel=None))]) == 2
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1 and 'a contract needs an action' in lines[0]


def test_a_damaged_bag_is_one_line(tmp_path, bag, capfd):
    file, = bag.glob('*.mcap')
    file.write_bytes(file.read_bytes()[:2000])
    assert main(['robot', 'init', '--bag', str(bag)]) == 2
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1 and str(bag) in lines[0]


def test_the_commands_of_the_group_have_examples(capsys):
    for command in ('check', 'init', 'schema', 'list'):
        assert main(['robot', command, '--help']) == 0
        assert f'Example: jepa-ros robot {command}' in ' '.join(capsys.readouterr().out.split())
