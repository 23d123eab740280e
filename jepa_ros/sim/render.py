"""Drawing a world from above with OpenCV, from true poses: no OpenGL, no display.

Everything is drawn several times too large and averaged down, so that an edge between two pixels changes the picture
smoothly: a robot that moves by a millimetre moves in the image.
"""
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

SUPERSAMPLING = 8  # per axis: 64 shades along an edge
SHIFT = 6          # fractional bits of OpenCV's coordinates

Colour = tuple[int, int, int]          # RGB
Rectangle = tuple[float, float, float, float]  # x_min, y_min, x_max, y_max in metres


@dataclass(frozen=True)
class TopView:
    """Orthographic camera above a square of `extent_m` metres centred at the origin, `size` × `size` pixels.

    Columns run along +x, rows along −y (REP-103: x to the right, y up in the picture).
    """

    size: int
    extent_m: float

    @property
    def pixels_per_m(self) -> float:
        return self.size / self.extent_m

    def to_pixels(self, x_m: float, y_m: float) -> tuple[float, float]:
        """Continuous (column, row) of a point; pixel (i, j) covers [j, j+1) × [i, i+1)."""
        return (x_m + self.extent_m / 2) * self.pixels_per_m, (self.extent_m / 2 - y_m) * self.pixels_per_m

    def rectangles(self, rectangles: list[Rectangle], colour: Colour, background: Colour) -> np.ndarray:
        """New image (size, size, 3) uint8 RGB: `rectangles` of one colour on a plain background."""
        large = np.zeros((self.size * SUPERSAMPLING,) * 2, np.uint8)
        for x_min, y_min, x_max, y_max in rectangles:
            left, top = (round(p * SUPERSAMPLING) for p in self.to_pixels(x_min, y_max))
            right, bottom = (round(p * SUPERSAMPLING) for p in self.to_pixels(x_max, y_min))
            large[max(top, 0):max(bottom, 0), max(left, 0):max(right, 0)] = 255
        image = np.empty((self.size, self.size, 3), np.uint8)
        image[:] = background
        _blend(image, _averaged(large, self.size), colour)
        return image

    def draw_disc(self, image: np.ndarray, x_m: float, y_m: float, radius_m: float, colour: Colour) -> None:
        """Draw a filled disc into `image` (size, size, 3) in place; parts outside the picture are cut off."""
        column, row = self.to_pixels(x_m, y_m)
        radius = radius_m * self.pixels_per_m
        half = int(np.ceil(radius)) + 1
        left, top = int(np.floor(column)) - half, int(np.floor(row)) - half
        cover = _disc_cover(column - left, row - top, radius, 2 * half + 1)
        rows, columns = slice(max(top, 0), top + 2 * half + 1), slice(max(left, 0), left + 2 * half + 1)
        patch = image[rows, columns]
        if patch.size == 0:
            return
        _blend(patch, cover[rows.start - top:, columns.start - left:][:patch.shape[0], :patch.shape[1]], colour)


def _blend(image: np.ndarray, cover: np.ndarray, colour: Colour) -> None:
    """Lay `colour` over `image` (H, W, 3) in place, as far as `cover` (H, W) in 0 … 1 says."""
    # round to nearest: truncation would darken every edge by half a shade
    image[:] = image + (np.asarray(colour, np.float32) - image) * cover[..., None] + 0.5


def _averaged(large: np.ndarray, size: int) -> np.ndarray:
    """Mean (size, size) float32 in 0 … 1 of each square of a supersampled mask of 0 … 255."""
    return cv2.resize(large, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def _disc_cover(column: float, row: float, radius: float, width: int) -> np.ndarray:
    """Share (width, width) float32 of each pixel that a disc around (column, row) covers."""
    large = np.zeros((width * SUPERSAMPLING,) * 2, np.uint8)
    # OpenCV puts integer coordinates at pixel centres, we put them at corners: half a (small) pixel less
    centre = [round((p * SUPERSAMPLING - 0.5) * (1 << SHIFT)) for p in (column, row)]
    cv2.circle(large, centre, round((radius * SUPERSAMPLING - 0.5) * (1 << SHIFT)), 255, cv2.FILLED, cv2.LINE_AA, SHIFT)
    return _averaged(large, width)


@lru_cache(maxsize=16)
def top_view(size: int, extent_m: float) -> TopView:
    return TopView(size, extent_m)
