"""An episode as a film: the room from above with what the robot did and imagined, the goal it was shown, its energy.

Redrawn from true poses, so that the running demo has no images to keep. No ROS here.
"""
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jepa_ros.evaluation.closed_loop import TOLERANCE_M
from jepa_ros.evaluation.tape import Pursuit, REACTIVE, Tape
from jepa_ros.sim.render import top_view, TopView
from jepa_ros.sim.worlds import PlanarWorld
from jepa_ros.sim.worlds.two_rooms import VIEW_M

ROOM, PANEL = 640, 320              # pixels; both even, as video codecs want
MARGIN = 24
FPS = 10                            # one frame per control step: real time
HOLD_FRAMES = 12                    # the last picture stays for a moment
GIF_SIZE = (720, 480)

INK, PALE, PAPER = (44, 46, 58), (150, 153, 165), (250, 250, 248)
PATH, GOAL, FAILED = (196, 78, 0), (0, 140, 95), (179, 18, 63)
LEVEL = ((24, 104, 214), (132, 52, 196))    # imagined states, level 0 and level 1 (and above)
NAMES = ('level 0 imagines (0.1 s steps)', 'level 1 imagines (0.8 s steps)')


@dataclass(frozen=True)
class Frame:
    """What one picture shows. Points are (x, y) in metres."""

    stamp: int
    pose: tuple[float, float]
    driven: np.ndarray                      # (T, 2)
    imagined: tuple[np.ndarray, ...]        # per level (H, 2)
    energies: np.ndarray                    # (T,) goal energy so far, NaN where unknown
    time_s: float
    doing: str                              # how the action was found
    last: bool


def frames(tape: Tape, episode: Pursuit, columns: Sequence[int] | None) -> list[Frame]:
    """One frame per pose. `columns` are the readouts that hold x and y; None for a model without them."""
    stamps = tape.during(tape.poses, episode)
    out: list[Frame] = []
    plans: dict[int, np.ndarray] = {}
    for count, stamp in enumerate(stamps, start=1):
        for level in (0, 1):
            if columns is not None and (stamp, level) in tape.imagined:
                plans[level] = tape.imagined[stamp, level][:, list(columns)]
        if tape.mode.get(stamp) == REACTIVE:
            plans.pop(1, None)      # of the last plan: a reflex has no other level
        # without a goal the energy is 0: so it is until the cost organ knows the goal
        energies = [sum(tape.energy.get(s, {}).values()) or np.nan for s in stamps[:count]]
        out.append(Frame(stamp, tape.poses[stamp], np.array([tape.poses[s] for s in stamps[:count]]),
                         tuple(plans[level] for level in sorted(plans)), np.array(energies),
                         (stamp - stamps[0]) * 1e-9, _doing(tape, stamp),
                         count == len(stamps)))
    return out


def _doing(tape: Tape, stamp: int) -> str:
    if tape.mode.get(stamp) == REACTIVE:
        return 'reflex (Mode-1)'
    return f'plan in {tape.plan_ms[stamp]:.0f} ms' if stamp in tape.plan_ms else ''


class Painter:
    """Draws frames of one episode. The world is put into the episode's state."""

    def __init__(self, world: PlanarWorld, episode: Pursuit, title: str):
        world.reset(0, episode.values)
        self._world, self._episode, self._title = world, episode, title
        self._view: TopView = top_view(ROOM, VIEW_M)
        self._shown = Image.fromarray(world.image(200, episode.goal))

    def paint(self, frame: Frame) -> np.ndarray:
        """RGB picture (ROOM, ROOM + PANEL, 3) uint8."""
        room = self._world.image(ROOM, frame.pose)
        room = self._marks(room, frame)
        picture = Image.new('RGB', (ROOM + PANEL, ROOM), PAPER)
        picture.paste(Image.fromarray(room), (0, 0))
        self._panel(picture, frame)
        return np.asarray(picture)

    def _marks(self, room: np.ndarray, frame: Frame) -> np.ndarray:
        goal = self._pixel(self._episode.goal)
        radius = round(TOLERANCE_M * self._view.pixels_per_m)
        over = room.copy()
        cv2.circle(over, goal, radius, GOAL, cv2.FILLED, cv2.LINE_AA)
        room = cv2.addWeighted(over, 0.18, room, 0.82, 0)
        cv2.circle(room, goal, radius, GOAL, 3, cv2.LINE_AA)
        self._line(room, frame.driven, PATH, 3)
        for level in reversed(range(len(frame.imagined))):
            self._plan(room, frame, level)
        return room

    def _plan(self, room: np.ndarray, frame: Frame, level: int) -> None:
        points = frame.imagined[level]
        colour, size = LEVEL[min(level, 1)], (4, 7)[min(level, 1)]
        self._line(room, np.vstack([frame.pose, points]), colour, 1 + level)
        for point in points:
            cv2.circle(room, self._pixel(point), size, colour, cv2.FILLED, cv2.LINE_AA)
        if level:   # the first state of the upper plan is what the level below is asked for
            cv2.circle(room, self._pixel(points[0]), 13, colour, 3, cv2.LINE_AA)

    def _line(self, room: np.ndarray, points: np.ndarray, colour: tuple[int, int, int], width: int) -> None:
        pixels = np.array([self._pixel(p) for p in points], np.int32)
        cv2.polylines(room, [pixels], False, colour, width, cv2.LINE_AA)

    def _pixel(self, point) -> tuple[int, int]:
        column, row = self._view.to_pixels(float(point[0]), float(point[1]))
        return round(column), round(row)

    # ---- the panel -------------------------------------------------------------------------------------------------
    def _panel(self, picture: Image.Image, frame: Frame) -> None:
        draw, left = ImageDraw.Draw(picture), ROOM + MARGIN
        draw.text((left, 20), self._title, INK, font(19, bold=True))
        draw.text((left, 54), 'goal shown to the agent', INK, font(15))
        picture.paste(self._shown, (left, 78))
        draw.rectangle((left - 1, 77, left + 200, 278), outline=PALE)
        draw.text((left, 296), f'{frame.time_s:.1f} s', INK, font(19, bold=True))
        if frame.last:
            draw.text((left + 80, 296), 'reached' if self._episode.success else 'not reached',
                      GOAL if self._episode.success else FAILED, font(19, bold=True))
        else:
            draw.text((left + 80, 300), frame.doing, INK, font(15))
        self._energy(draw, left, 336, frame)
        self._legend(draw, left, 508)

    def _energy(self, draw: ImageDraw.ImageDraw, left: int, top: int, frame: Frame) -> None:
        """The energy as a bar, and below it how it went so far; both as a share of its highest value."""
        width, known = PANEL - 2 * MARGIN, frame.energies[np.isfinite(frame.energies)]
        now, most = (float(known[-1]), float(known.max())) if len(known) else (0.0, 1.0)
        draw.text((left, top), 'energy', INK, font(15))
        draw.text((left + width, top), f'{now:.2f}', INK, font(15, bold=True), anchor='ra')
        draw.rectangle((left, top + 24, left + width, top + 42), fill=(232, 232, 228))
        filled = width * now / most if most > 0 else 0
        if filled >= 1:
            draw.rectangle((left, top + 24, left + filled, top + 42), fill=PATH)
        base, height = top + 146, 88
        draw.line((left, base, left + width, base), PALE)
        if len(known) > 1:
            span = max(50, len(frame.energies))
            points = [(left + width * i / span, base - height * e / most)
                      for i, e in enumerate(frame.energies) if np.isfinite(e)]
            draw.line(points, PATH, 3, joint='curve')

    def _legend(self, draw: ImageDraw.ImageDraw, left: int, top: int) -> None:
        entries = (('path driven', PATH, 'line'), (NAMES[0], LEVEL[0], 'dots'), (NAMES[1], LEVEL[1], 'dots'),
                   ('subgoal for level 0', LEVEL[1], 'ring'), ('goal, 0.15 m', GOAL, 'ring'))
        for row, (text, colour, kind) in enumerate(entries):
            y = top + 22 * row + 9
            if kind == 'ring':
                draw.ellipse((left + 8, y - 7, left + 22, y + 7), outline=colour, width=3)
            else:
                draw.line((left, y, left + 30, y), colour, 3 if kind == 'line' else 1)
            for x in (left + 5, left + 15, left + 25) if kind == 'dots' else ():
                draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=colour)
            draw.text((left + 42, y), text, INK, font(14), anchor='lm')


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Matplotlib's own font: on every machine the same."""
    name = 'DejaVuSans-Bold.ttf' if bold else 'DejaVuSans.ttf'
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / 'fonts' / 'ttf' / name), size)


def film(tape: Tape, episode: Pursuit, world: PlanarWorld, title: str,
         columns: Sequence[int] | None) -> Iterator[np.ndarray]:
    """All pictures of an episode, the last one held."""
    painter = Painter(world, episode, title)
    picture = None
    for frame in frames(tape, episode, columns):
        picture = painter.paint(frame)
        yield picture
    if picture is not None:
        yield from [picture] * HOLD_FRAMES


def write_video(file: Path, pictures: list[np.ndarray]) -> None:
    """H.264 in MP4, playable in browsers."""
    import imageio.v2 as imageio
    imageio.mimwrite(file, pictures, fps=FPS, codec='libx264', quality=8, macro_block_size=2, pixelformat='yuv420p')


def write_gif(file: Path, pictures: list[np.ndarray]) -> None:
    """A small animation for the README. One palette for all frames, so that still parts stay still."""
    some = pictures[::max(1, len(pictures) // 6)]
    palette = Image.fromarray(np.concatenate(some)).quantize(255, method=Image.Quantize.MAXCOVERAGE)
    small = [Image.fromarray(p).resize(GIF_SIZE, Image.Resampling.LANCZOS) for p in pictures]
    indexed = [p.quantize(palette=palette, dither=Image.Dither.NONE) for p in small]
    indexed[0].save(file, save_all=True, append_images=indexed[1:], duration=1000 // FPS, loop=0, optimize=True)


def choose(pursuits: Sequence[Pursuit]) -> Pursuit:
    """The episode worth showing: of those that succeeded, the one of middle length towards the long ones."""
    good = sorted((p for p in pursuits if p.success), key=lambda p: p.elapsed_s) or list(pursuits)
    return good[round(0.7 * (len(good) - 1))]
