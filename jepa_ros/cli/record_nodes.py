"""Gate, driver and recorder in one process, for `jepa-ros record`.

Everything still goes over the topics; one process saves two switches between processes per step, which makes a
lockstep recording a tenth faster than three.
"""
import sys

from ..robot.driver_node import Driver
from ..robot.gate_node import CommandGate
from ..robot.recorder_node import Recorder
from ..runtime.process import run


def main(args: list[str] | None = None) -> int:
    """Run until the driver has done its last episode."""
    return run(lambda: [CommandGate(), Driver(), Recorder()], args)


if __name__ == '__main__':
    sys.exit(main())
