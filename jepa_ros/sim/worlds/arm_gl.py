"""The same camera through MuJoCo's own renderer, for pictures with the finer meshes. Needs OpenGL.

In software it costs many times what the drawn view costs, and pictures differ a little between drivers.
"""
from typing import Any
import warnings
import weakref

import mujoco
import numpy as np

from jepa_ros.errors import WorldError
from jepa_ros.sim.worlds.arm_view import CAMERA, Camera

MAX_SIZE = 480  # MuJoCo's offscreen buffer is 640 × 480


class OpenGlView:
    """Renders states of one model. Raises WorldError where OpenGL is not to be had."""

    def __init__(self, model: mujoco.MjModel, camera: Camera = CAMERA):
        self._model, self._scene, self._option = model, mujoco.MjvScene(model, 200), mujoco.MjvOption()
        model.vis.global_.fovy = np.degrees(camera.fov_rad)
        self._camera = _orbit(camera)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')  # GLFW warns of what the error below says
                self._gl = mujoco.GLContext(MAX_SIZE, MAX_SIZE)
                self._gl.make_current()
                self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        except Exception as error:  # each of EGL, OSMesa and GLFW has its own
            line = ' '.join(str(error).split()) or type(error).__name__
            raise WorldError(f'world arm: renderer mujoco finds no OpenGL ({line}); set the environment variable '
                             'MUJOCO_GL to egl or osmesa, or take renderer: drawn') from error
        weakref.finalize(self, _close, self._context, self._gl)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)

    def draw(self, data: mujoco.MjData, size: int) -> np.ndarray:
        """Picture (size, size, 3) uint8 RGB of `data`, whose kinematics must be up to date; at most 480."""
        if size > MAX_SIZE:
            raise WorldError(f'world arm: renderer mujoco draws at most {MAX_SIZE} pixels, not {size}')
        self._gl.make_current()
        mujoco.mj_camlight(self._model, data)
        mujoco.mjv_updateScene(self._model, data, self._option, None, self._camera, mujoco.mjtCatBit.mjCAT_ALL,
                               self._scene)
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):  # dear in software
            self._scene.flags[flag] = False
        picture, view = np.empty((size, size, 3), np.uint8), mujoco.MjrRect(0, 0, size, size)
        mujoco.mjr_render(view, self._scene, self._context)
        mujoco.mjr_readPixels(picture, None, view, self._context)
        return np.ascontiguousarray(picture[::-1])  # OpenGL's rows go up


def _orbit(camera: Camera) -> mujoco.MjvCamera:
    """MuJoCo's free camera: around a target, by angles."""
    offset = np.subtract(camera.target, camera.eye)
    view = mujoco.MjvCamera()
    view.type = mujoco.mjtCamera.mjCAMERA_FREE
    view.lookat[:] = camera.target
    view.distance = float(np.linalg.norm(offset))
    view.azimuth = float(np.degrees(np.arctan2(offset[1], offset[0])))
    view.elevation = float(np.degrees(np.arcsin(offset[2] / view.distance)))
    return view


def _close(context: Any, gl: Any) -> None:  # MuJoCo without OpenGL lacks the names of their classes
    context.free()
    gl.free()
