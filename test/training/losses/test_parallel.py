"""Two processes with different parts of a batch: their losses and gradients are those of one with the whole batch."""
import pytest
import several_ranks
import torch
from torch.testing import assert_close


@pytest.fixture(scope='module')
def ranks(tmp_path_factory):
    return several_ranks.run(tmp_path_factory.mktemp('ranks'))


@pytest.mark.parametrize('name', several_ranks.CASES)
def test_each_rank_has_the_loss_and_its_parts_of_the_joined_batch(ranks, name):
    whole = several_ranks.evaluate(several_ranks.CASES[name], None)
    for rank in ranks:
        assert_close(rank['cases'][name]['loss'], whole['loss'], rtol=1e-10, atol=1e-12)
        assert_close(rank['cases'][name]['parts'], whole['parts'], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize('name', several_ranks.CASES)
def test_averaged_gradients_are_those_of_the_joined_batch(ranks, name):
    whole = several_ranks.evaluate(several_ranks.CASES[name], None)['gradients']
    assert any(float(g.abs().max()) > 1e-6 for g in whole.values())
    for rank in ranks:
        assert_close(rank['cases'][name]['gradients'], whole, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize('name', several_ranks.CASES)
def test_the_mean_of_local_losses_would_be_another_loss(ranks, name):
    """So the two tests above can fail; `alone` gives what a rank's own part of the batch is worth."""
    whole = several_ranks.evaluate(several_ranks.CASES[name], None)['loss']
    local = torch.stack([rank['alone'][name] for rank in ranks])
    for index, value in enumerate(local):
        module = several_ranks.World(several_ranks.CASES[name])
        own, _ = module(*several_ranks.share(index, several_ranks.data()))
        assert_close(value, own.detach(), rtol=1e-12, atol=0)
    assert abs(float(local.mean() - whole)) > 1e-4 * abs(float(whole))


def test_distributed_data_parallel_follows_the_curve_of_one_process(ranks):
    one = several_ranks.descend(None)
    assert float(one['losses'][-1]) < float(one['losses'][0])
    for rank in ranks:
        assert_close(rank['run']['losses'], one['losses'], rtol=1e-9, atol=0)
        assert_close(rank['run']['parameters'], one['parameters'], rtol=1e-9, atol=1e-11)


def test_gathering_keeps_the_order_of_ranks_and_says_where_the_own_rows_begin(ranks):
    whole, _, _ = several_ranks.data()
    for rank, first in zip(ranks, (0, several_ranks.SPLIT[0])):
        everything, offset = rank['gathered']
        assert torch.equal(everything, whole) and offset == first
