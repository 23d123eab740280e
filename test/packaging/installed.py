"""Checks an installed jepa_ros, from whatever the calling environment makes importable: `python installed.py PREFIX`.

Prints one line per thing that is wrong and exits with their number.
"""
import importlib
import os
from pathlib import Path
import subprocess
import sys

EXECUTABLES = ('jepa-ros', 'agent', 'perception', 'world_model', 'cost', 'actor', 'memory', 'configurator',
               'command_gate', 'sim', 'recorder', 'driver', 'teleop', 'curiosity', 'goal_driver')
INTERFACES = ('msg.State', 'msg.Plan', 'srv.Encode', 'srv.ResetWorld', 'action.PursueGoal')
SHARED = ('config/robots/two_rooms.yaml', 'config/worlds/two_rooms.yaml', 'launch/bringup.launch.py',
          'launch/sim.launch.py', 'launch/record.launch.py')
DESCRIBING = ('msg/State.msg', 'package.xml')
HEADERS = ('msg/state.hpp', 'srv/encode.hpp', 'action/pursue_goal.hpp', 'msg/state.h')


def output(*command) -> str:
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=120)
    return f'exit code {done.returncode}: {done.stdout.strip()[-500:]}' if done.returncode else done.stdout


def problems(prefix: Path):
    import jepa_ros
    from jepa_ros.paths import share_dir
    if prefix not in Path(jepa_ros.__file__).parents:
        yield f'jepa_ros comes from {jepa_ros.__file__}, not from {prefix}'
    for name in INTERFACES:
        module, kind = name.split('.')
        message = getattr(importlib.import_module(f'jepa_ros.{module}'), kind)
        message.__class__.__import_type_support__()     # loads the generated libraries
    share = prefix / 'share' / 'jepa_ros'
    yield from (f'{name} is not in share/jepa_ros' for name in (*SHARED, *DESCRIBING) if not (share / name).is_file())
    yield from (f'share_dir() is {share_dir()}: its {name} is not the installed one' for name in SHARED
                if not (share_dir() / name).samefile(share / name))
    yield from (f'{name} is not in include' for name in HEADERS
                if not (prefix / 'include/jepa_ros/jepa_ros' / name).is_file())
    if not (prefix / 'share/jepa_ros/cmake/jepa_rosConfig.cmake').is_file():
        yield 'no CMake config'
    yield from wrong_executables(prefix / 'lib' / 'jepa_ros')


def wrong_executables(folder: Path):
    yield from (f'{name} is not in lib/jepa_ros or cannot be executed' for name in EXECUTABLES
                if not os.access(folder / name, os.X_OK))
    for command in ([folder / 'jepa-ros', '--help'], [sys.executable, '-m', 'jepa_ros.cli.main', '--help']):
        if 'record' not in (said := output(*command)):
            yield f'{" ".join(map(str, command))}: {said}'
    # an executable that gets as far as its own message has found its interpreter, its modules and its share files
    said = output(folder / 'sim', '--ros-args', '-p', 'world:=mars')
    if "unknown world 'mars'" not in said or 'known: ' not in said:
        yield f'sim: {said}'


if __name__ == '__main__':
    wrong = list(problems(Path(sys.argv[1]).resolve()))
    print('\n'.join(wrong) or f'{sys.argv[1]}: all there')
    sys.exit(len(wrong))
