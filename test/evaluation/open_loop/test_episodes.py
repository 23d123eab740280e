"""Which episodes a model is judged on, and whether they are long enough."""
import pytest
import tiny
import torch

from jepa_ros.errors import ConfigError
from jepa_ros.evaluation.open_loop.episodes import choose, refuse_short
from jepa_ros.world_model.config import LevelConfig

from .worlds import integrator, level_of, moved


def from_bags(*bags, lengths=None):
    """Episodes of these bags, one each."""
    data = tiny.episodes(list(lengths or [20] * len(bags)))
    return type(data)(**{**data.__dict__, 'bags': {bag: bag * 64 for bag in bags},
                         'names': tuple(f'{bag}: episode {i}' for i, bag in enumerate(bags))})


def test_data_that_training_has_not_seen_is_judged_whole():
    chosen = choose(from_bags('a', 'b', 'c'), {'x': 'x' * 64})
    assert chosen.judged.tolist() == [0, 1, 2] and not len(chosen.others) and chosen.notes == ()


def test_of_the_bags_of_training_what_it_held_out_is_judged():
    data = from_bags(*'abcd')
    chosen = choose(data, {'renamed': 'a' * 64, **{bag: bag * 64 for bag in 'bcd'}})
    training, held_out = data.split()
    assert torch.equal(chosen.data.starts[chosen.judged], held_out.starts)
    assert torch.equal(chosen.data.starts[chosen.others], training.starts)
    assert chosen.notes == ('the bags are those of training: judged on the 1 episode(s) that it held out',)


def test_among_other_bags_those_of_training_are_not_judged():
    chosen = choose(from_bags(*'abcd'), {'b': 'b' * 64, 'x': 'x' * 64})
    assert chosen.judged.tolist() == [0, 2, 3] and chosen.others.tolist() == [1]
    assert chosen.notes == ('the model was trained on b: judged on the 3 episode(s) of other bags',)


def test_bags_that_are_all_but_a_part_of_training_are_judged_with_a_warning():
    chosen = choose(from_bags('a', 'b'), {bag: bag * 64 for bag in 'abc'})
    assert chosen.judged.tolist() == [0, 1] and 'nothing here is held out' in chosen.notes[0]


def test_a_single_long_episode_is_cut_into_pieces_apart_from_each_other():
    chosen = choose(from_bags('a', lengths=[1000]), {})
    starts, lengths = chosen.data.starts.tolist(), chosen.data.lengths.tolist()
    assert chosen.judged.tolist() == [0, 1, 2, 3, 4] and starts[0] == 0 and starts[-1] + lengths[-1] <= 1000
    assert all(b - (a + n) == 50 for a, n, b in zip(starts, lengths, starts[1:]))
    assert chosen.data.names[1] == 'a: episode 0, piece 1' and 'cut into 5 pieces' in chosen.notes[0]


def test_a_single_short_episode_stays_whole():
    chosen = choose(from_bags('a', lengths=[100]), {})
    assert chosen.judged.tolist() == [0] and chosen.data.lengths.tolist() == [100]
    assert chosen.notes == ()


def refusal(chosen, periods, model=None, **asked):
    """What is said of episodes that are too short for so many periods at two levels, of 1 and of 4 steps."""
    levels = [level_of(model or integrator(), chosen.data, moved(chosen.data), index) for index in range(2)]
    with pytest.raises(ConfigError) as refused:
        refuse_short(levels, periods, chosen, **asked)
    return str(refused.value)


def test_held_out_episodes_that_are_too_short_are_said_to_be_those():
    chosen = choose(from_bags(*'abcd', lengths=[40, 40, 40, 4]), {bag: bag * 64 for bag in 'abcd'})
    assert refusal(chosen, [[1], [1]]) == (
        'the longest of the 1 episode(s) that training held out has 4 steps, 5 are needed: level 1 looks 1 period(s) '
        'of 4 step(s) ahead; give recordings of longer episodes')


@pytest.mark.parametrize('periods, asked, words', [
    ([[1, 4], [1, 4]], {'horizon': 4}, '12 steps, 17 are needed: level 1 looks 4 period(s) of 4 step(s) ahead; give '
     '--horizon 2 at most, or recordings of longer episodes'),
    ([[16], []], {'seconds': [1.6]}, '12 steps, 17 are needed: level 0 looks 16 period(s) of 1 step(s) ahead; give '
     'shorter --seconds, or recordings of longer episodes'),
])
def test_how_much_less_would_do_is_said_where_it_would(periods, asked, words):
    chosen = choose(from_bags('a', 'b', lengths=[12, 9]), {})
    assert refusal(chosen, periods, **asked) == f'the longest of the 2 episode(s) has {words}'


def test_what_a_predictor_looks_back_on_is_needed_too():
    looks_back = LevelConfig(width=16, predictor='transformer', options={'window': 3, 'heads': 2})
    model = tiny.model((looks_back, LevelConfig(period=4, macro_dim=3, width=16)))
    chosen = choose(from_bags('a', 'b', lengths=[8, 8]), {})
    past = model.levels[0].context - 1
    assert f'{past + 6} are needed: level 0 looks 5 period(s) of 1 step(s) ahead and {past} back' \
        in refusal(chosen, [[5], [1]], model, horizon=5)


def test_one_long_episode_is_enough():
    chosen = choose(from_bags('a', 'b', lengths=[17, 5]), {})
    refuse_short([level_of(integrator(), chosen.data, moved(chosen.data), index) for index in range(2)],
                 [[16], [1, 4]], chosen)
