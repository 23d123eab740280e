"""`pip install .`: run CMakeLists.txt against the ros-jazzy-* wheels and pack what it installs.

colcon (build_type ament_cmake) never calls this file. Everything static stands in pyproject.toml and setup.cfg.
"""
import os
from pathlib import Path
import re
import shutil
import subprocess
import sys

from setuptools import Distribution, Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
NAME = 'jepa_ros'
GENERATED = ('msg', 'srv', 'action')
VERSION = re.search(r'<version>(.+?)</version>', (ROOT / 'package.xml').read_text()).group(1)


class BuildInterfaces(build_ext):
    """Generate, compile and stage the interfaces, executables and share files with CMake."""

    def run(self):
        build = Path(self.build_temp).resolve() / NAME
        stage = build / 'stage'
        site = f'lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages'
        self._cmake(build, stage, site)
        self._pack_generated(stage / site / NAME)
        shutil.rmtree(stage / site)
        shutil.rmtree(stage / 'bin')    # pip makes its own `jepa-ros`
        self._pack_data(stage)

    def _cmake(self, build: Path, stage: Path, site: str):
        import ament_package
        # <prefix>/lib/pythonX.Y/site-packages/ament_package/__init__.py
        prefix = Path(ament_package.__file__).resolve().parents[4]
        env = dict(os.environ, AMENT_PREFIX_PATH=str(prefix))
        env.pop('CMAKE_PREFIX_PATH', None)         # a sourced ROS workspace must not mix with the wheels
        shutil.rmtree(build, ignore_errors=True)   # pip's isolated prefix differs each time
        commands = (
            ['-S', ROOT, '-B', build, '-G', 'Ninja',
             f'-DCMAKE_PREFIX_PATH={prefix}', f'-DCMAKE_INSTALL_PREFIX={stage}',
             f'-DCMAKE_PROJECT_INCLUDE={ROOT / "cmake" / "wheels.cmake"}',
             f'-DPython3_EXECUTABLE={sys.executable}', f'-DPYTHON_INSTALL_DIR={site}',
             '-DCMAKE_INSTALL_RPATH=$ORIGIN;$ORIGIN/../../..',
             '-DBUILD_TESTING=OFF', '-DCMAKE_BUILD_TYPE=Release'],
            ['--build', build],
            ['--install', build])
        for arguments in commands:
            subprocess.run(['cmake', *map(str, arguments)], check=True, env=env)

    def _pack_generated(self, staged: Path):
        """Put the generated modules next to the hand-written ones: in the source tree for `pip install -e`."""
        in_place = self.inplace or self.editable_mode
        target = ROOT / NAME if in_place else Path(self.build_lib).resolve() / NAME
        target.mkdir(parents=True, exist_ok=True)
        for kind in GENERATED:
            shutil.rmtree(target / kind, ignore_errors=True)
            if (staged / kind).is_dir():
                shutil.copytree(staged / kind, target / kind, ignore=shutil.ignore_patterns('*.c', '__pycache__'))
        for library in staged.glob('*.so'):
            shutil.copy2(library, target)

    def _pack_data(self, stage: Path):
        """The rest (lib, include, share) are data files under sys.prefix."""
        data = {}
        for file in sorted(p for p in stage.rglob('*') if p.is_file()):
            data.setdefault(str(file.parent.relative_to(stage)), []).append(os.path.relpath(file, ROOT))
        self.distribution.data_files = list(data.items())

    def get_outputs(self):
        return []

    def get_output_mapping(self):
        return {}

    def get_source_files(self):
        return ['CMakeLists.txt', 'package.xml', 'cmake/wheels.cmake', 'cmake/executable.in']


class DataInEditable(Distribution):
    """`pip install -e` skips data files: setuptools asks for a `has_data` that does not exist."""

    def has_data(self):
        return self.has_data_files()


setup(
    name=NAME,
    version=VERSION,
    distclass=DataInEditable,
    packages=find_packages(include=[NAME, f'{NAME}.*'], exclude=[f'{NAME}.{kind}' for kind in GENERATED]),
    ext_modules=[Extension(f'{NAME}._interfaces', [])],   # makes it a platform wheel and runs build_ext
    cmdclass={'build_ext': BuildInterfaces},
    zip_safe=False,
)
