"""Image ingest on a GPU gives what the CPU gives, within one step of 255.

Where there is no GPU, the kernel's own source is compiled for the CPU and run with the arguments that a GPU would get.
"""
import ctypes
import shutil
import subprocess

import cv2
from hypothesis import given, HealthCheck, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage

from jepa_ros.errors import ContractError
from jepa_ros.robot.adapters import gpu, to_array

from .make import image, observation

HOST = """
#include <math.h>
struct Index { int x, y; };
static Index blockIdx, blockDim = {1, 1}, threadIdx = {0, 0};
#define __global__
%s
extern "C" void run(int columns, int rows, const unsigned char* source, float* target, int h, int w, long long row,
                    int channels, int r, int g, int b, int H, int W, int grey, float mean0, float mean1, float mean2,
                    float scale0, float scale1, float scale2)
{
    for (blockIdx.y = 0; blockIdx.y < rows; ++blockIdx.y)
        for (blockIdx.x = 0; blockIdx.x < columns; ++blockIdx.x)
            ingest(source, target, h, w, row, channels, r, g, b, H, W, grey, mean0, mean1, mean2,
                   scale0, scale1, scale2);
}
"""
needs_gpu = pytest.mark.skipif(bool(gpu.unavailable()), reason=f'no image ingest on a GPU: {gpu.unavailable()}')


@pytest.fixture(scope='module')
def kernel(tmp_path_factory):
    """The kernel, compiled for this CPU: (observation, message, mean, std) -> float32 (C, H, W)."""
    compiler = shutil.which('c++') or shutil.which('g++') or shutil.which('clang++')
    if compiler is None:
        pytest.skip('no C++ compiler to run the GPU kernel on the CPU with')
    folder = tmp_path_factory.mktemp('kernel')
    (folder / 'kernel.cpp').write_text(HOST % gpu.SOURCE)
    subprocess.run([compiler, '-O1', '-shared', '-fPIC', '-o', 'kernel.so', 'kernel.cpp'], cwd=folder, check=True)
    library = ctypes.CDLL(str(folder / 'kernel.so'))

    def run(stream, message, mean=(0.0,), std=(1.0,)) -> np.ndarray:
        pixels, shape = gpu.picture(stream, message), gpu.target_shape(stream)
        source, target = np.array(gpu.flat(pixels.data)), np.full(shape, np.nan, np.float32)
        values = [np.ctypeslib.as_ctypes_type(v.dtype)(v.item()) for v in gpu.arguments(pixels, shape, mean, std)]
        library.run(shape[2] + 3, shape[1] + 3, source.ctypes.data_as(ctypes.c_void_p),    # 3: threads beyond the edge
                    target.ctypes.data_as(ctypes.c_void_p), *values)
        return target
    return run


def camera(height: int, width: int, encoding: str = 'rgb8', kind: str = 'Image'):
    return observation(f'sensor_msgs/msg/{kind}', height=height, width=width, encoding=encoding)


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def assert_equal_to_cpu(stream, message, tensor: np.ndarray) -> None:
    expected = to_array(stream, message).transpose(2, 0, 1) / 255
    assert tensor.shape == expected.shape and np.abs(tensor - expected).max() <= 1 / 255 + 1e-6


CASES = [('rgb8', 3), ('bgr8', 3), ('rgba8', 4), ('bgra8', 4), ('mono8', 1), ('bayer_rggb8', 1)]


@given(st.sampled_from(CASES), st.sampled_from(['rgb8', 'mono8']), st.integers(8, 90), st.integers(8, 90),
       st.integers(8, 24), st.integers(8, 24), st.integers(0, 5), st.integers(0, 1000))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_kernel_agrees_with_the_cpu_adapter(kernel, case, target, h, w, height, width, padding, seed):
    encoding, channels = case
    message = image(noise(seed, h, w, channels), encoding, padding)
    stream = camera(height, width, target)
    assert_equal_to_cpu(stream, message, kernel(stream, message))


def test_the_kernel_normalises_each_channel(kernel):
    stream, message = camera(8, 8), image(noise(0, 16, 16, 3), 'bgr8')
    mean, std = np.array([0.1, 0.2, 0.3]), np.array([0.5, 0.25, 2.0])
    plain = kernel(stream, message)
    np.testing.assert_allclose(kernel(stream, message, mean, std), (plain - mean[:, None, None]) / std[:, None, None],
                               atol=1e-5)


def test_a_jpeg_is_decoded_on_the_cpu_and_finished_by_the_kernel(kernel):
    data = cv2.imencode('.jpg', cv2.GaussianBlur(noise(1, 48, 64, 3), (9, 9), 3))[1].tobytes()
    message, stream = CompressedImage(format='jpeg', data=data), camera(16, 20, kind='CompressedImage')
    assert_equal_to_cpu(stream, message, kernel(stream, message))


def test_a_large_picture_does_not_overflow_its_sums(kernel):
    message = image(np.full((3000, 4000), 255, np.uint8), 'mono8')
    assert np.all(kernel(camera(8, 8, 'mono8'), message) == 1.0)


def test_without_cupy_or_a_device_the_cpu_adapter_stays():
    converted = gpu.gpu_or(to_array, (0.5,), (0.25,))
    assert (converted is to_array) == bool(gpu.unavailable())


@needs_gpu
@pytest.mark.parametrize('encoding, channels', CASES)
@pytest.mark.parametrize('target', ['rgb8', 'mono8'])
def test_a_gpu_agrees_with_the_cpu_adapter_and_keeps_the_tensor(encoding, channels, target):
    stream, message = camera(64, 48, target), image(noise(2, 480, 640, channels), encoding, 5)
    tensor = gpu.GpuImages()(stream, message)
    assert tensor.is_cuda
    assert_equal_to_cpu(stream, message, tensor.cpu().numpy())


@needs_gpu
def test_a_gpu_refuses_what_the_cpu_refuses_and_leaves_other_streams_alone():
    convert = gpu.gpu_or(to_array, (0.0,), (1.0,))
    message = image(noise(3, 64, 64, 3), 'rgb8')
    message.height = 65
    with pytest.raises(ContractError, match='sensor: data has 12288 bytes'):
        convert(camera(64, 64), message)
    depth = observation('sensor_msgs/msg/Image', height=8, width=8, encoding='depth')
    assert isinstance(convert(depth, image(np.ones((8, 8), np.float32), '32FC1')), np.ndarray)
