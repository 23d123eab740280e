"""The two ways to install, from scratch: pip with what `python -m build` made, and colcon, here against the wheels.

A C++ package uses what colcon installed. Slow: run with `make packages`.
"""
import os
from pathlib import Path
import re
import shlex
import subprocess
import sys
from sysconfig import get_path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def build_environment(**more: str) -> dict[str, str]:
    """Our environment without traces of the Python environment or ROS workspace that runs the tests."""
    dropped = ('PYTHONPATH', 'VIRTUAL_ENV', 'LD_LIBRARY_PATH', 'AMENT_PREFIX_PATH', 'CMAKE_PREFIX_PATH',
               'COLCON_PREFIX_PATH', '_ROS_WHEELS_BOOTSTRAP_COMPLETE')
    return {**{k: v for k, v in os.environ.items() if k not in dropped}, **more}


def call(*command, cwd: Path, env: dict[str, str]) -> str:
    """Output of a command; a test fails with it where the command does."""
    done = subprocess.run([str(c) for c in command], cwd=cwd, env=env, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, f'{" ".join(map(str, command))}\n{done.stdout[-6000:]}'
    return done.stdout


def virtual_environment(folder: Path, *requirements: str, site: str = '') -> Path:
    """Make a virtual environment and return its python; `site` names a folder of packages it shall see too."""
    call(sys.executable, '-m', 'venv', folder, cwd=folder.parent, env=build_environment())
    python = folder / 'bin' / 'python'
    if requirements:
        call(python, '-m', 'pip', 'install', '-q', *requirements, cwd=folder.parent, env=build_environment())
    if site:
        version = f'python{sys.version_info[0]}.{sys.version_info[1]}'
        (folder / 'lib' / version / 'site-packages' / 'borrowed.pth').write_text(site + '\n')
    return python


@pytest.fixture(scope='module')
def fresh_copy(tmp_path_factory) -> Path:
    """The sources as a clone has them: nothing built, nothing generated."""
    copy = tmp_path_factory.mktemp('clone') / 'jepa_ros'
    files = call('git', 'ls-files', '--cached', '--others', '--exclude-standard', cwd=ROOT, env=build_environment())
    for name in files.splitlines():
        if (source := ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes(source.read_bytes())
            (copy / name).chmod(source.stat().st_mode)
    return copy


# --- pip

@pytest.fixture(scope='module')
def distributions(fresh_copy, tmp_path_factory) -> list[Path]:
    """sdist, and the wheel that is built from the sdist: what is missing in MANIFEST.in is missing there."""
    folder = tmp_path_factory.mktemp('build')
    python = virtual_environment(folder / 'venv', 'build')
    call(python, '-m', 'build', '--outdir', folder / 'dist', fresh_copy, cwd=folder, env=build_environment())
    return sorted((folder / 'dist').iterdir())


def test_sdist_and_platform_wheel_are_built(distributions):
    wheel, sdist = (d.name for d in distributions)
    tag = f'cp{sys.version_info[0]}{sys.version_info[1]}'
    assert wheel.startswith('jepa_ros-') and f'-{tag}-{tag}-linux' in wheel
    assert sdist.startswith('jepa_ros-') and sdist.endswith('.tar.gz')


def test_the_installed_wheel_is_complete(distributions, tmp_path):
    python = virtual_environment(tmp_path / 'venv', '--no-deps', str(distributions[0]), site=get_path('purelib'))
    env = build_environment(LD_LIBRARY_PATH=os.environ['LD_LIBRARY_PATH'])   # libraries of the borrowed wheels
    call(python, HERE / 'installed.py', tmp_path / 'venv', cwd=tmp_path, env=env)


def test_only_the_command_line_goes_on_the_path(distributions, tmp_path):
    virtual_environment(tmp_path / 'venv')
    before = set((tmp_path / 'venv' / 'bin').iterdir())
    call(tmp_path / 'venv/bin/python', '-m', 'pip', 'install', '-q', '--no-deps', distributions[0],
         cwd=tmp_path, env=build_environment())
    assert {p.name for p in set((tmp_path / 'venv' / 'bin').iterdir()) - before} == {'jepa-ros'}


# --- colcon

@pytest.fixture(scope='module')
def workspace(fresh_copy, tmp_path_factory) -> Path:
    """A workspace with jepa_ros and its C++ user in src, and an environment with colcon and the code generators."""
    folder = tmp_path_factory.mktemp('workspace')
    requires = re.search(r'^requires = \[(.*?)^\]', (ROOT / 'pyproject.toml').read_text(), re.S | re.M).group(1)
    generators = [r for r in re.findall(r'"([^"]+)"', requires) if not r.startswith('setuptools')]
    virtual_environment(folder / 'venv', 'colcon-common-extensions', *generators)
    (folder / 'src').mkdir()
    (folder / 'src/jepa_ros').symlink_to(fresh_copy)
    (folder / 'src/cpp_consumer').symlink_to(fresh_copy / 'test/packaging/cpp_consumer')
    return folder


def build(workspace: Path, install: str, *options: str) -> Path:
    """Build both packages; each mode has its own build and install folders."""
    venv = workspace / 'venv'
    env = build_environment(
        VIRTUAL_ENV=str(venv), PATH=f'{venv}/bin:{os.environ["PATH"]}', AMENT_PREFIX_PATH=str(venv),
        CMAKE_PREFIX_PATH=str(venv), COLCON_LOG_PATH=str(workspace / f'log_{install}'))
    # a ROS 2 installation needs none of the CMake arguments
    folders = ['--base-paths', 'src', '--build-base', f'build_{install}', '--install-base', install]
    call('colcon', 'build', *folders, *options, '--cmake-args', '-DBUILD_TESTING=OFF',
         f'-DCMAKE_PROJECT_INCLUDE={ROOT}/cmake/wheels.cmake', f'-DPython3_EXECUTABLE={venv}/bin/python',
         cwd=workspace, env=env)
    return workspace / install


def sourced(install: Path, *command) -> str:
    """Output of a command after `source install/setup.bash`, with the running environment's Python."""
    line = f'source {shlex.quote(str(install))}/local_setup.bash && {shlex.join(map(str, command))}'
    env = build_environment(PATH=f'{sys.prefix}/bin:{os.environ["PATH"]}', LD_LIBRARY_PATH=f'{sys.prefix}/lib')
    return call('bash', '-c', line, cwd=install.parent, env=env)


@pytest.fixture(scope='module', params=['copied', 'linked'])
def install(request, workspace) -> Path:
    """The installed workspace: `colcon build` and `colcon build --symlink-install`."""
    return build(workspace, request.param, *(['--symlink-install'] if request.param == 'linked' else []))


def test_the_installed_package_is_complete(install):
    sourced(install, 'python3', HERE / 'installed.py', install / 'jepa_ros')


def test_the_command_line_is_on_the_path(install):
    assert 'record' in sourced(install, 'jepa-ros', '--help')


def test_a_cpp_package_builds_against_the_exported_messages(install):
    assert 'door: 8 bytes' in sourced(install, install / 'cpp_consumer/lib/cpp_consumer/label')


def test_symlink_install_links_to_the_sources(workspace, fresh_copy):
    modules = list((workspace / 'linked/jepa_ros').rglob('jepa_ros/paths.py'))
    assert [m.resolve() for m in modules] == [fresh_copy / 'jepa_ros/paths.py']
