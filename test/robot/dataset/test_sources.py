"""Where the robot contract of recordings and stores comes from."""
import fsspec
from made_bags import base_bag
import pytest

from jepa_ros.errors import BagError, ContractError
from jepa_ros.robot.sources import contract_of


def test_a_bag_of_this_project_or_a_store_brings_its_contract(bags, built, contract):
    assert contract_of([bags[0].parent]) == contract_of([built]) == contract_of(bags) == contract


def test_a_store_behind_a_url_brings_its_contract(built, contract):
    fsspec.filesystem('memory').put(str(built), '/contracts/store', recursive=True)
    assert contract_of(['memory://contracts/store']) == contract


def test_a_named_robot_wins(bags):
    assert contract_of(bags, 'two_rooms').name == 'two_rooms'


def test_a_foreign_bag_needs_a_named_robot(tmp_path, bags, contract):
    foreign = base_bag(tmp_path / 'foreign')
    with pytest.raises(ContractError, match=r'foreign: has no robot contract inside: give --robot'):
        contract_of([foreign])
    assert contract_of([foreign, *bags]) == contract


def test_a_missing_source_is_named(tmp_path):
    with pytest.raises(BagError, match='nowhere: there is no such bag or store'):
        contract_of([tmp_path / 'nowhere'])
