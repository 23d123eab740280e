"""What the arm's camera sees, drawn with OpenCV from true poses: no OpenGL, no display, the same on every machine.

A fixed pinhole camera looks at the table from the front and the side. The triangles of the meshes that also serve for
contact are filled from far to near, four times too large, and averaged down: a joint that turns a little changes the
picture a little. Shadows on the table tell how high the hand is.
"""
from dataclasses import dataclass
import math

import cv2
import mujoco
import numpy as np

from jepa_ros.sim.worlds import arm_model
from jepa_ros.sim.worlds.arm_model import Colour

SUPERSAMPLING = 4  # per axis
SHIFT = 4          # fractional bits of OpenCV's coordinates
LIGHT = np.array([-0.35, 0.25, -1.0])  # the way it shines
AMBIENT = 0.45     # share of a colour that is seen where no light falls
SHADOW = 0.72      # of the table's brightness
NEAR_M = 0.05      # what is closer to the camera is not drawn
BOX = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
BOX_FACES = np.array([[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
                      [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]])  # outward, counter-clockwise


@dataclass(frozen=True)
class Camera:
    """A pinhole camera at `eye` looking at `target`, both in metres; square pictures, `fov_rad` from edge to edge."""

    eye: tuple[float, float, float]
    target: tuple[float, float, float]
    fov_rad: float

    @property
    def axes(self) -> np.ndarray:
        """(3, 3) rows: right, down and forward in the world, REP-103's optical frame."""
        forward = np.subtract(self.target, self.eye)
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        return np.stack([right, np.cross(forward, right), forward])

    def project(self, points: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Points (N, 3) in metres -> (column, row) (N, 2) in a picture of `size`, and depth (N,) in metres."""
        seen = (points - self.eye) @ self.axes.T
        depth = np.maximum(seen[:, 2], 1e-6)
        return seen[:, :2] * (size / 2 / math.tan(self.fov_rad / 2) / depth[:, None]) + size / 2, seen[:, 2]

    @property
    def rotation(self) -> tuple[float, float, float, float]:
        """Quaternion (w, x, y, z) of the optical frame in the world."""
        quaternion = np.empty(4)
        mujoco.mju_mat2Quat(quaternion, self.axes.T.ravel())
        w, x, y, z = quaternion.tolist()
        return w, x, y, z


CAMERA = Camera(eye=(1.45, -0.95, 1.05), target=(0.33, 0.0, 0.26), fov_rad=math.radians(38))


class DrawnView:
    """Draws states of one model. The same state gives the same picture."""

    def __init__(self, model: mujoco.MjModel, camera: Camera = CAMERA):
        self._camera = camera
        self._backgrounds: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
        vertices, faces, owners, colours = _surfaces(model)
        self._vertices, self._faces = vertices, faces                     # (V, 3) in the geoms' frames, (F, 3)
        self._vertex_geom, self._face_geom = owners, owners[faces[:, 0]]  # (V,), (F,)
        self._colours = colours                                           # (F, 3) float
        corner = vertices[faces]                                          # (F, 3, 3)
        normals = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
        self._normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)  # (F, 3)
        starts = np.flatnonzero(np.diff(owners, prepend=-1))
        self._parts = list(zip(starts.tolist(), [*starts[1:].tolist(), len(owners)]))  # vertices of one geom each

    def draw(self, data: mujoco.MjData, size: int) -> np.ndarray:
        """Picture (size, size, 3) uint8 RGB of `data`, whose kinematics must be up to date."""
        large = size * SUPERSAMPLING
        rotations, positions = data.geom_xmat.reshape(-1, 3, 3), data.geom_xpos
        points = np.einsum('vij,vj->vi', rotations[self._vertex_geom], self._vertices) + positions[self._vertex_geom]
        normals = np.einsum('fij,fj->fi', rotations[self._face_geom], self._normals)
        canvas = self._ground(points, large)
        pixels, depth = self._camera.project(points, large)
        depths = depth[self._faces]                                        # (F, 3)
        nearest = depths.min(1)
        from_eye = points[self._faces[:, 0]] - self._camera.eye            # (F, 3)
        order = np.flatnonzero((np.einsum('fi,fi->f', normals, from_eye) < 0) & (nearest > NEAR_M))
        # far to near by the middle of each depth range; equals in the model's order, so that nothing else matters
        order = order[np.argsort(-(nearest + depths.max(1))[order], kind='stable')]
        bright = np.maximum(normals[order] @ (-LIGHT / np.linalg.norm(LIGHT)), 0.0)
        colours = (self._colours[order] * (AMBIENT + (1 - AMBIENT) * bright)[:, None]).tolist()
        corners_px = _fixed_point(pixels)[self._faces[order]]
        for corner, colour in zip(corners_px, colours):
            cv2.fillConvexPoly(canvas, corner, colour, cv2.LINE_8, SHIFT)
        return cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)

    def _ground(self, points: np.ndarray, large: int) -> np.ndarray:
        """Table and floor with the shadow of every part on the table."""
        if large not in self._backgrounds:
            self._backgrounds[large] = _empty_table(self._camera, large)
        lit, shaded, table = self._backgrounds[large]
        canvas = lit.copy()
        fallen = points + LIGHT * (points[:, 2:] / -LIGHT[2])
        pixels = _fixed_point(self._camera.project(fallen, large)[0])
        shadow = np.zeros((large, large), np.uint8)
        for first, end in self._parts:
            cv2.fillConvexPoly(shadow, cv2.convexHull(pixels[first:end]), 255, cv2.LINE_8, SHIFT)
        return cv2.copyTo(shaded, cv2.bitwise_and(shadow, table), canvas)


def _surfaces(model: mujoco.MjModel) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (V, 3) in their geoms' frames, faces (F, 3), geom of each vertex (V,), colour of each face (F, 3)."""
    vertices, faces, owners, colours, count = [], [], [], [], 0
    for geom in range(model.ngeom):
        if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_MESH:
            mesh = model.geom_dataid[geom]
            first, last = model.mesh_vertadr[mesh], model.mesh_vertadr[mesh] + model.mesh_vertnum[mesh]
            points = model.mesh_vert[first:last].astype(float)
            first, last = model.mesh_faceadr[mesh], model.mesh_faceadr[mesh] + model.mesh_facenum[mesh]
            triangles = model.mesh_face[first:last]
        elif model.geom(geom).name == 'cube':
            points, triangles = BOX * model.geom_size[geom], BOX_FACES
        else:  # table, rims and floor are the background; the fingers' capsules lie within their meshes
            continue
        vertices.append(points)
        faces.append(triangles + count)
        owners.append(np.full(len(points), geom))
        colours.append(np.tile(model.geom_rgba[geom, :3] * 255.0, (len(triangles), 1)))
        count += len(points)
    return np.concatenate(vertices), np.concatenate(faces), np.concatenate(owners), np.concatenate(colours)


def _empty_table(camera: Camera, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The empty table, its colour in the shade, both (size, size, 3), and where its top is, (size, size) 0 or 255."""
    picture = np.empty((size, size, 3), np.uint8)
    picture[:] = arm_model.FLOOR_COLOUR
    x_min, y_min, x_max, y_max = arm_model.TABLE_M
    rim, height, below = arm_model.RIM_WIDTH_M, arm_model.RIM_HEIGHT_M, -arm_model.TABLE_THICKNESS_M
    outer = (x_min - rim, y_min - rim, x_max + rim, y_max + rim)
    _fill_hull(picture, camera, _corners(outer, below) + _corners(outer, height), _shade(arm_model.RIM_COLOUR, 0.8))
    _fill_hull(picture, camera, _corners(outer, height), arm_model.RIM_COLOUR)
    top = np.zeros((size, size), np.uint8)
    _fill_hull(picture, camera, _corners(arm_model.TABLE_M, 0.0), arm_model.TABLE_COLOUR)
    _fill_hull(top, camera, _corners(arm_model.TABLE_M, 0.0), (255, 255, 255))
    shaded = np.empty_like(picture)
    shaded[:] = _shade(arm_model.TABLE_COLOUR, SHADOW)
    return picture, shaded, top


def _corners(rectangle: tuple[float, float, float, float], z: float) -> list[list[float]]:
    x_min, y_min, x_max, y_max = rectangle
    return [[x_min, y_min, z], [x_max, y_min, z], [x_max, y_max, z], [x_min, y_max, z]]


def _fill_hull(picture: np.ndarray, camera: Camera, points: list[list[float]], colour: Colour) -> None:
    pixels, _ = camera.project(np.array(points), picture.shape[0])
    cv2.fillConvexPoly(picture, cv2.convexHull(_fixed_point(pixels)), colour, cv2.LINE_8, SHIFT)


def _shade(colour: Colour, share: float) -> Colour:
    red, green, blue = (round(value * share) for value in colour)
    return red, green, blue


def _fixed_point(pixels: np.ndarray) -> np.ndarray:
    """OpenCV's fixed-point coordinates, whose origin is the centre of the first pixel; ours is its corner."""
    return np.clip((pixels - 0.5) * (1 << SHIFT), -2**20, 2**20).round().astype(np.int32)
