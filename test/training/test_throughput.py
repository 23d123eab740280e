"""Speed, waiting, memory."""
import time

import torch

from jepa_ros.training import throughput
from jepa_ros.training.throughput import described, Meter

CPU = torch.device('cpu')


def test_speed_and_the_share_of_waiting_add_up():
    meter = Meter(CPU)
    with meter.waiting():
        time.sleep(0.06)
    time.sleep(0.02)
    meter.count(30)
    figures = meter.figures()
    assert 0.08 <= 30 / figures['samples_per_s'] <= meter.seconds
    assert 0.06 <= figures['data_wait'] * meter.seconds and figures['data_wait'] < 1


def test_recent_speed_is_that_since_the_last_look():
    meter = Meter(CPU)
    meter.count(1000)
    assert meter.recent() > 0 and meter.recent() == 0


def test_peak_memory_is_that_of_the_process_in_bytes():
    before = throughput.peak_memory(CPU)
    block = torch.ones(max(2 ** 26, before // 4))      # float32: more than there ever was
    assert throughput.peak_memory(CPU) >= block.numel() * 4 and 2 ** 25 < before


def test_a_line_tells_all():
    assert described({'samples_per_s': 8412.3, 'data_wait': 0.03, 'memory_gib': 1.25}) == \
        '8,412 samples/s, 3% of the time for data, 1.25 GiB at most'
    assert described({'samples_per_s': 1, 'data_wait': 0, 'memory_gib': 1, 'gpu_utilisation': 0.5}).endswith(
        ', GPU 50% busy')
