"""A predictor that reads memory (LeCun §4.8–4.9)."""
import pytest
import tiny
import torch
import windy

from jepa_ros.energy.distance import squared
from jepa_ros.errors import ConfigError
from jepa_ros.memory.slots import Slots
from jepa_ros.training.imagined import embed, Sequence
from jepa_ros.training.losses.prediction import targets
from jepa_ros.world_model.jepa import JEPA
from jepa_ros.world_model.predictors import build_predictor, expand_memory
from jepa_ros.world_model.recall import RecallConfig, Recalling

SMALL = RecallConfig(slots=6, key=2, value=3, past=5)


def recalling(seed: int = 0, config: RecallConfig = SMALL) -> Recalling:
    torch.manual_seed(seed)
    return Recalling(config, build_predictor('adaln_mlp', 6, 2 + config.value + 1, 8)).requires_grad_(False)


def data(*leading, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*leading, 6, generator=generator), torch.randn(*leading, 2, generator=generator)


def close(one, other):
    torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize('name', ['residual_mlp', 'adaln_mlp', 'gru'])
def test_each_state_of_a_sequence_is_predicted_from_what_was_before_it(name):
    torch.manual_seed(0)
    predictor, (s, c) = Recalling(SMALL, build_predictor(name, 6, 6, 8)), data(3, 6)
    following = predictor.sequence(s, c)
    for t in range(6):
        memory = predictor.begin(s[:, :t], c[:, :t])
        close(predictor.step(s[:, t], c[:, t], memory)[0], following[:, t])


def test_without_a_past_nothing_is_recalled():
    predictor, (s, c) = recalling(), data(3)
    assert predictor.begin(s[:, None][:, :0], c[:, None][:, :0]) is None
    read = predictor.recall.read(s, None)
    assert not read.any() and torch.equal(predictor(s, c), predictor.inner(s, torch.cat([c, read], -1)))


def test_what_was_seen_in_a_state_like_this_is_read_there():
    """Eq. 15–17 with learned keys: at first question and key of a state are the same."""
    recall, (s, _) = recalling().recall, data(4)
    slots = recall.write_all(s[:1], s[:1])
    value, sure = recall.read(s[0], slots)[:-1], recall.read(s[0], slots)[-1]
    worth = torch.sigmoid(recall.worth(s[0]))
    close(sure, (worth / (worth + SMALL.gamma)).squeeze())
    close(value, sure * recall.value(s[0]))


def test_what_is_imagined_is_not_written_so_that_all_candidates_share_one_memory():
    predictor, (s, c) = recalling(), data(2, 4)
    memory = predictor.begin(s, c)
    wide = expand_memory(memory, 5)
    start, actions = data(2, 5)[0], data(2, 5, 7, seed=2)[1]
    together = predictor.rollout(start, actions, wide)
    assert all(a is b for a, b in zip(predictor.step(start, actions[:, :, 0], wide)[1], wide))
    for candidate in range(5):
        close(predictor.rollout(start[:, candidate], actions[:, candidate], memory), together[:, candidate])


def test_the_past_counts_back_so_many_states():
    predictor, (s, c) = recalling(), data(9)
    close(torch.cat([m.flatten() for m in predictor.begin(s, c)[:3]]),
          torch.cat([m.flatten() for m in predictor.begin(s[-5:], c[-5:])[:3]]))
    assert predictor.context == 6


def test_members_of_an_ensemble_each_have_a_memory_of_their_own():
    jepa = JEPA(tiny.LevelConfig(width=8, recall=SMALL, ensemble=3), 6, 2).requires_grad_(False)
    (s, _), (now, a) = data(2, 4), data(2, seed=3)
    memory = jepa.recollect(s, s)
    assert len(memory) == 3 * len(Slots._fields)
    each = [member.step(now, a, own)[0] for member, own in
            zip(jepa.predictor.predictors, jepa.predictor.memories_of(memory))]
    close(jepa.predict(now, a, memory=memory), torch.stack(each).mean(0))


def test_a_level_that_does_not_recall_has_nothing_to_recollect():
    s, _ = data(2, 4)
    assert tiny.model(1).levels[0].recollect(s, s) is None


def test_half_precision_reads_and_writes_the_same_within_its_digits():
    predictor, (s, c) = recalling(), data(3, 6)
    exact = predictor.sequence(s, c)
    with torch.autocast('cpu', torch.bfloat16):
        coarse = predictor.sequence(s, c)
    assert float((coarse.float() - exact).abs().max()) < 0.1 * float(exact.abs().max())


@pytest.mark.parametrize(('level', 'message'), [
    ({'predictor': 'transformer', 'options': {'heads': 2}}, 'level 0: recall: it goes with a predictor that does not'),
    ({'latent': {'kind': 'discrete', 'dim': 3}}, 'recall: it does not go with a latent'),
])
def test_what_does_not_go_together_is_refused(level, message):
    with pytest.raises((ConfigError, ValueError), match=message):
        tiny.model((tiny.LevelConfig.model_validate({'width': 8, 'recall': {}} | level),))


def test_a_level_with_states_of_its_own_cannot_recall_those_of_level_0():
    with pytest.raises(ValueError, match='which this level does not share'):
        tiny.LevelConfig(period=4, macro_dim=3, encoder='mean', recall=SMALL)


def trained(recall: RecallConfig | None, updates: int = 150) -> JEPA:
    """By the loss of a level, on windows whose first 12 states come before what is predicted."""
    torch.manual_seed(0)
    jepa = JEPA(tiny.LevelConfig(width=48, recall=recall), windy.DIM, 1)
    optimiser = torch.optim.Adam(jepa.predictor.parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, updates)
    for update in range(updates):
        s, a = windy.episodes(48, 20, update)
        first = 0 if recall else 12
        made, _ = embed(jepa, Sequence(s[:, first:], a[:, first:], a[:, first:], s[:, first:, :0]), 4, 1)
        optimiser.zero_grad()
        squared(made.predicted, targets(made)).mean().backward()
        optimiser.step()
        schedule.step()
    return jepa.requires_grad_(False)


def error(jepa: JEPA, recall: bool) -> float:
    """Of the wind's doing, four steps ahead, as a share of its variance, on episodes that were not trained on."""
    s, a = windy.episodes(400, 17, 10 ** 6)
    memory = jepa.recollect(s[:, :12], s[:, :12]) if recall else None
    predicted = jepa.rollout(s[:, 12], a[:, 12:], memory=memory)
    return float((predicted - s[:, 13:])[..., windy.SIDEWAYS].square().mean() / s[..., windy.SIDEWAYS].var())


def test_memory_tells_what_was_seen_earlier_and_is_hidden_now():
    """§4.9: "what is the state of the world" beyond what one percept shows; reads and writes are trained through."""
    with_memory, without = trained(RecallConfig(slots=16, key=4, value=4, past=12)), trained(None)
    hidden = error(without, False)
    assert hidden > 0.1                                 # the wind's side cannot be known from one state
    assert error(with_memory, True) < 0.5 * hidden
    assert error(with_memory, False) > 0.9 * hidden     # and it is memory that tells it
