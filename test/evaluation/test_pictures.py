"""Video, animation and energy plot of a made-up episode."""
from itertools import islice

import imageio.v2 as imageio
from made_up_demo import GOAL, pursuit, STEPS, tape
import numpy as np

from jepa_ros.evaluation import pictures, plots
from jepa_ros.evaluation.tape import REACTIVE
from jepa_ros.sim.render import top_view
from jepa_ros.sim.worlds import TwoRooms
from jepa_ros.sim.worlds.two_rooms import VIEW_M


def film(columns=(0, 1)):
    return list(pictures.film(tape(), pursuit(), TwoRooms(), 'two rooms', columns))


def pixel(picture, x_m, y_m):
    column, row = top_view(pictures.ROOM, VIEW_M).to_pixels(x_m, y_m)
    return picture[int(row), int(column)].astype(int)


def test_a_film_has_a_picture_per_step_and_holds_the_last():
    made = film()
    assert len(made) == STEPS + pictures.HOLD_FRAMES
    assert all(p.shape == (pictures.ROOM, pictures.ROOM + pictures.PANEL, 3) and p.dtype == np.uint8 for p in made)
    assert (made[-1] == made[STEPS - 1]).all()


def test_a_picture_shows_path_goal_and_imagined_plan_where_they_are():
    picture = film()[10]
    x = float(np.linspace(-0.9, 0.85, STEPS)[10])
    assert np.abs(pixel(picture, -0.7, 0) - pictures.PATH).max() < 40
    assert np.abs(pixel(picture, GOAL[0], GOAL[1] + 0.15) - pictures.GOAL).max() < 60
    assert np.abs(pixel(picture, x + 0.8, 0) - pictures.LEVEL[1]).max() < 40


def test_a_model_without_positions_gets_a_film_without_plan():
    frame = pictures.frames(tape(), pursuit(), None)[5]
    assert frame.imagined == ()
    assert len(film(None)) == STEPS + pictures.HOLD_FRAMES


def test_a_reflex_shows_no_plan_of_the_level_above():
    made_up = tape()
    for stamp in sorted(made_up.mode)[10:]:
        made_up.mode[stamp] = REACTIVE
        del made_up.imagined[stamp, 1]
    frames = pictures.frames(made_up, pursuit(), (0, 1))
    assert len(frames[9].imagined) == 2 and len(frames[10].imagined) == 1
    assert frames[9].doing.startswith('plan') and frames[10].doing.startswith('reflex')


def test_the_video_can_be_played(tmp_path):
    made = film()[:8]
    pictures.write_video(tmp_path / 'episode.mp4', made)
    with imageio.get_reader(tmp_path / 'episode.mp4') as reader:
        shown = list(islice(reader.iter_data(), 20))
    assert len(shown) == 8
    assert np.abs(shown[-1].astype(int) - made[-1]).mean() < 4


def test_the_animation_is_small(tmp_path):
    pictures.write_gif(tmp_path / 'demo.gif', film())
    assert 10_000 < (tmp_path / 'demo.gif').stat().st_size < 2_000_000


def test_the_energy_plot_is_drawn_also_without_plans_and_surprise(tmp_path):
    plots.plot_energy(tmp_path / 'energy.png', tape(), pursuit(), 0.02)
    bare = tape()
    bare.plan_energy.clear()
    bare.surprise.clear()
    plots.plot_energy(tmp_path / 'bare.png', bare, pursuit())
    for name in ('energy.png', 'bare.png'):
        picture = imageio.imread(tmp_path / name)
        assert picture.shape[0] > 500 and picture[..., :3].std() > 5


def test_a_success_is_shown_where_there_is_one():
    good, bad = pursuit(index=1), pursuit(error='TIMEOUT')
    assert pictures.choose([bad, good]) is good
    assert pictures.choose([bad]) is bad
