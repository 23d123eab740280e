"""Success against planning time: every method of Mode-2, with one, two and three levels.

    python benchmark/plan_methods.py [--episodes 20] [--worlds two_rooms maze] [--maze-models DIR …]
        [--only METHOD …] [--efforts 0.25 1 4]

`two_rooms` drives the shipped model through a door drawn per episode, `maze` models trained by benchmark/maze.py over
its longest ways (needs ogbench, and MUJOCO_GL=egl without a display). Every method plans with a quarter, all and four
times the usual samples; tree searches choose among a few actions. One level alone looks as far as it needs to. Finished
cases are kept in build/plan_methods and not repeated. Prints a table, draws docs/images/plan_methods.png, writes
results/planning_methods.json.
"""
import argparse
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
import json
from pathlib import Path
import statistics

from rich.console import Console
from rich.progress import track
from rich.table import Table
from rows import RESULTS
import torch

from jepa_ros import checkpoint
from jepa_ros.actor.planners import PlannerConfig
from jepa_ros.evaluation import closed_loop, report

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / 'build' / 'plan_methods'
PICTURE = ROOT / 'docs' / 'images' / 'plan_methods.png'
SAMPLING = ('random_shooting', 'mppi', 'cem', 'icem')
GRADIENT = ('gradient', 'cem_gradient')
TREE = ('beam', 'mcts')
EFFORTS = (0.25, 1.0, 4.0)
SEED = 500      # of starts and goals; those that other settings were chosen on have other seeds
Planners = tuple[PlannerConfig, ...]


@dataclass(frozen=True)
class Case:
    """One point of the plot."""

    world: str
    method: str
    levels: int
    effort: float       # samples, as a share of the usual ones

    @property
    def name(self) -> str:
        return f'{self.world}-{self.method}-{self.levels}-{self.effort:g}'

    def planners(self, own: Planners) -> Planners:
        """The model's own settings of its lowest levels, with this method and effort."""
        chosen = own[:self.levels]
        if self.levels == 1 and len(own) > 1:
            horizon = 80 if self.world == 'maze' else closed_loop.FLAT_HORIZON
            chosen = (closed_loop.flat_planner(list(own), horizon),)
        return tuple(self._as_method(config) for config in chosen)

    def _as_method(self, config: PlannerConfig) -> PlannerConfig:
        samples = max(8, round(config.samples * self.effort))
        # None: the method's own values
        own = dict.fromkeys(('colour', 'shrink', 'keep_elites', 'refine', 'learning_rate'))
        changed = replace(config, method=self.method, samples=samples, elites=max(2, min(config.elites, samples // 4)),
                          **own)
        if self.method in GRADIENT:     # a step of gradient costs about three evaluations, and needs fewer candidates
            few = max(4, samples // 8)
            changed = replace(changed, samples=few, elites=max(2, few // 4), iterations=8)
        if self.method in TREE:
            changed = replace(changed, elites=max(1, samples // 32), iterations=max(config.iterations, 4), bins=3)
        return changed


def cases(options: argparse.Namespace) -> Iterator[Case]:
    for world in options.worlds:
        for method in options.only or (*SAMPLING, *GRADIENT, *TREE):
            for levels in (1, 2, 3) if world == 'maze' else (1, 2):
                for effort in options.efforts:
                    yield Case(world, method, levels, effort)


def measure(case: Case, options: argparse.Namespace) -> dict:
    """Success and latency of one case."""
    if case.world == 'maze':
        rates, latencies, planners = _maze(case, options)
    else:
        own = tuple(checkpoint.read_card(checkpoint.find(options.model)).planner_settings())
        planners = case.planners(own)
        settings = closed_loop.Settings(options.model, 'two_rooms_random_door', 'planned', planners=planners)
        results = closed_loop.evaluate(settings, options.episodes, SEED)
        rates, latencies = [r.success for r in results], [ms for r in results for ms in r.latencies_ms]
    return {**asdict(case), 'success': statistics.fmean(rates), 'episodes': len(rates),
            'plan_ms_p50': round(statistics.median(latencies), 2), 'planners': [asdict(p) for p in planners]}


def _maze(case: Case, options: argparse.Namespace) -> tuple[list[bool], list[float], Planners]:
    import maze
    from maze_world import MazeWorld

    from jepa_ros.agent import Agent
    world, driven, planners = MazeWorld(), [], ()
    for number, model in enumerate(options.maze_models):
        agent = Agent.load(model, device='cpu')
        own = tuple(agent.card.planner_settings())
        planners = case.planners(own if case.levels == 3 else maze.TWO)
        episodes = -(-options.episodes // len(options.maze_models))
        driven += maze.measure(agent, world, planners, maze.LONG, episodes, SEED + number)
    world.close()
    return [d.success for d in driven], [ms for d in driven for ms in d.latencies_ms], planners


def picture(rows: list[dict], file: Path) -> None:
    """A panel per world: success over planning time, one line per method and number of levels."""
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot
    worlds = list(dict.fromkeys(row['world'] for row in rows))
    figure, panels = pyplot.subplots(1, len(worlds), figsize=(7.5 * len(worlds), 5), squeeze=False)
    methods = list(dict.fromkeys(row['method'] for row in rows))
    for panel, world in zip(panels[0], worlds):
        for number, method in enumerate(methods):
            for levels, style, marker in ((1, ':', 'o'), (2, '-', 's'), (3, '--', '^')):
                line = [r for r in rows if (r['world'], r['method'], r['levels']) == (world, method, levels)]
                if line:
                    line.sort(key=lambda r: r['plan_ms_p50'])
                    panel.plot([r['plan_ms_p50'] for r in line], [100 * r['success'] for r in line], style,
                               marker=marker, color=f'C{number}',
                               label=f'{method}, {levels} level{"s" if levels > 1 else ""}')
        panel.set_xscale('log')
        panel.set_xlabel('planning time, ms (median)')
        panel.set_ylabel('goals reached, %')
        panel.set_ylim(-3, 103)
        panel.set_title(world.replace('_', ' '))
        panel.grid(alpha=0.3)
    panels[0][-1].legend(fontsize=7, loc='center left', bbox_to_anchor=(1.01, 0.5))
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


def show(rows: list[dict], console: Console) -> None:
    table = Table('world', 'method', 'levels', 'samples', 'goals reached', 'plan, ms')
    for row in rows:
        table.add_row(row['world'], row['method'], str(row['levels']), f'× {row["effort"]:g}',
                      f'{row["success"]:.0%}', f'{row["plan_ms_p50"]:.1f}')
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--episodes', type=int, default=20, help='of each case')
    parser.add_argument('--worlds', nargs='+', choices=('two_rooms', 'maze'), default=['two_rooms'])
    parser.add_argument('--model', default='two_rooms', help='of the world two_rooms')
    parser.add_argument('--maze-models', nargs='*', default=[], help='checkpoints of benchmark/maze.py')
    parser.add_argument('--only', nargs='*', choices=(*SAMPLING, *GRADIENT, *TREE), help='methods')
    parser.add_argument('--efforts', nargs='+', type=float, default=EFFORTS, help='samples, shares of the usual')
    parser.add_argument('--output', type=Path, default=RESULTS / 'planning_methods.json')
    parser.add_argument('--work', type=Path, default=WORK, help='finished cases')
    parser.add_argument('--picture', type=Path, default=PICTURE)
    options = parser.parse_args()
    if 'maze' in options.worlds and not options.maze_models:
        parser.error('world maze needs --maze-models: train them as benchmark/maze.py says')
    torch.set_num_threads(1)
    options.work.mkdir(parents=True, exist_ok=True)
    console, rows = Console(), []
    for case in track(list(cases(options)), 'planning', console=console):
        kept = options.work / f'{case.name}-{options.episodes}.json'
        if not kept.exists():
            report.write_json(kept, measure(case, options))
        rows.append(json.loads(kept.read_text(encoding='utf-8')))
    if options.output.exists():     # what was measured in other worlds stays
        old = json.loads(options.output.read_text(encoding='utf-8'))['rows']
        rows = [row for row in old if row['world'] not in options.worlds] + rows
    show(rows, console)
    picture(rows, options.picture)
    report.write_json(options.output, {'machine': report.machine(), 'rows': rows})


if __name__ == '__main__':
    main()
