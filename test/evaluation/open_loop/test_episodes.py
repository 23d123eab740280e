"""Which episodes a model is judged on."""
import tiny
import torch

from jepa_ros.evaluation.open_loop.episodes import choose


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
