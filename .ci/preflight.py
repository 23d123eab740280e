"""Says in one line what this machine lacks to build and run jepa_ros from wheels. Run by the Makefile."""
import os
import platform
import shutil
import sys
import sysconfig

OLDEST, NEWEST = (3, 10), (3, 13)


def missing():
    """What is missing and the remedy, or None."""
    here = '%s (%s)' % (platform.python_version(), sys.executable)
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        return 'Python %s is not one of 3.10 to 3.13: choose another with `make PYTHON=python3.12`' % here
    if platform.system() != 'Linux' or platform.machine() != 'x86_64':
        return ('ROS 2 wheels exist for Linux on x86_64, this is %s on %s: install ROS 2 and build with `colcon build`'
                % (platform.system(), platform.machine()))
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        return 'Python %s comes without venv: `apt install python3-venv`' % here
    if not os.path.isfile(os.path.join(sysconfig.get_path('include'), 'Python.h')):
        return 'Python %s comes without its C headers (Python.h): `apt install python3-dev`' % here
    compiler = os.environ.get('CXX', 'c++').split()[0]
    if not shutil.which(compiler):
        return 'no C++ compiler (%s): `apt install g++`, or name one with CXX=' % compiler
    return None


if __name__ == '__main__':
    line = missing()
    if line:
        sys.exit('jepa_ros: ' + line)
