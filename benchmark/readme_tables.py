"""Writes the measured and generated tables of README.md and docs/, between `<!-- table: NAME -->` and `<!-- end -->`.

    python benchmark/readme_tables.py [--check]

Figures come from results/*.json and the model card, parameters from the nodes themselves. With --check nothing is
written and the exit code is 1 when a block is out of date.
"""
from collections.abc import Callable, Sequence
import json
import math
from pathlib import Path
import re
import sys

from jepa_ros import checkpoint
from jepa_ros.evaluation.report import spread

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / 'benchmark' / 'results'
FILES = (ROOT / 'README.md', ROOT / 'docs' / 'parameters.md', ROOT / 'docs' / 'world_model.md',
         ROOT / 'docs' / 'evaluation.md', ROOT / 'docs' / 'planning.md', ROOT / 'docs' / 'learning.md')
BAG_ROWS = ('jpeg_160x120_fps', 'jpeg_640x480_fps', 'ingest_ms_640x480_cpu', 'ingest_ms_640x480_gpu',
            'record_lost_messages', 'record_duration', 'record_input_rate', 'record_cpu')
BLOCK = re.compile(r'(<!-- table: (\w+) -->\n).*?(<!-- end -->)', re.DOTALL)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ['---'] * len(head), *rows]
    return ''.join('| ' + ' | '.join(str(cell).replace('|', '\\|') for cell in line) + ' |\n' for line in lines)


def results(name: str) -> dict:
    file = RESULTS / f'{name}.json'
    if not file.is_file():
        sys.exit(f'readme_tables: {file} is missing: run benchmark/{name}.py')
    return json.loads(file.read_text())


def measured_on(data: dict) -> str:
    m = data['machine']
    model = data.get('model_sha256') or data['rows'][0]['model_sha256']
    return f'\nModel `{model[:12]}`, {m["cpu"]}, {m["cores"]} cores, Python {m["python"]}, torch {m["torch"]}.\n'


def rate(row: dict) -> str:
    return f'{row["successes"]} of {row["episodes"]}'


def demo() -> str:
    data = results('demo')
    rows = data['rows']
    lines = [
        ('goals reached', lambda r: rate(r)), ('time to goal, s', lambda r: spread(r['time_to_goal_s'])),
        ('collisions', lambda r: r['collisions']),
        ('decided by Mode-1', lambda r: f'{r["reactive_share"]:.0%}'),
        ('control rate, Hz', lambda r: f'{r["control_hz"]:.2f}'),
        ('deadline misses (100 ms)', lambda r: f'{r["deadline_miss_rate"]:.2%}'),
        ('percept to action, ms', lambda r: spread(r['percept_to_action_ms'])),
        ('plan latency, ms', lambda r: spread(r['plan_latency_ms']))]
    head = ['', *(f'{"one process" if r["composition"] else "six processes"}, `{r["task"]}`' for r in rows)]
    return markdown(head, [[name, *(figure(r) for r in rows)] for name, figure in lines]) + measured_on(data)


def closed_loop() -> str:
    data = results('closed_loop')
    rows = [[r['world'], r['mode'], rate(r), '{:.0%} – {:.0%}'.format(*r['success_interval_95']),
             spread(r['time_to_goal_s']), spread(r['path_over_shortest'], 2), r['collisions'],
             spread(r['plan_latency_ms'])] for r in data['rows']]
    return markdown(['world', 'mode', 'reached', '95 % interval', 'time to goal, s', 'path / shortest', 'collisions',
                     'plan, ms'], rows) + measured_on(data)


def hierarchy() -> str:
    data = results('hierarchy')
    rows = [[r['world'], r['case'], r['samples'], r['predictor_steps'], rate(r), spread(r['time_to_goal_s']),
             spread({k: r['plan_latency_ms'][k] for k in ('p50', 'p99')}), f'{r["escaping_share"]:.0%}']
            for r in data['rows']]
    return markdown(['world', 'planning', 'samples', 'predictor steps', 'reached', 'time to goal, s', 'plan, ms',
                     'ticks in impasses'],
                    rows) + measured_on(data)


def faults() -> str:
    data = results('faults')
    rows = [[f'`{r["process"]}`{" (all six)" if r["composition"] else ""} {r["kind"]}', f'{r["last_command_s"]:.2f}',
             f'{r["stands_s"]:.2f}', f'{r["line"]} ({r["named_after_s"]:.2f} s)' if r['line'] else '–',
             r['result'], f'{r["well_again_s"]:.1f}', f'{r["second_reached"]} of {r["repeats"]}'] for r in data['rows']]
    head = ['struck while driving', 'last command, s', 'stands, s', '`/diagnostics`', 'result of the goal',
            'all well again, s', 'goal reached then']
    return markdown(head, rows) + measured_on(data)


def model() -> str:
    card = checkpoint.read_card(checkpoint.find('two_rooms'))
    size = (checkpoint.find('two_rooms') / checkpoint.WEIGHTS).stat().st_size / 1e6
    rows = [('sha256', f'`{card.sha256[:12]}`'), ('size', f'{size:.1f} MB'),
            *((name.replace('_', ' '), f'{value:.4g}') for name, value in card.metrics.items())]
    return markdown(['figure', 'value'], rows)


def bags() -> str:
    data = results('bags')
    rows = [[r['what'].replace('_', ' '), f'{r["value"]:.4g}', r['unit']] for r in data['rows']
            if r['what'] in BAG_ROWS]
    m = data['machine']
    return markdown(['figure', 'value', 'unit'], rows) + f'\n{m["cpu"]}, {m["cores"]} cores.\n'


def reproduction() -> str:
    data = results('reproduction')
    rows = [[f'{world}: reached', *('{} of {}, {:.0%} – {:.0%}'.format(
        r[world]['successes'], r[world]['episodes'], *r[world]['success_interval_95']) for r in data['rows'])]
        for world in ('two_rooms', 'two_rooms_random_door')]
    names = ('prediction_1', 'prediction_8', 'prediction_16', 'inverse_error', 'readout_rmse', 'level1_prediction_4')
    rows += [[name.replace('_', ' '), *(f'{r["metrics"][name]:.4g}' for r in data['rows'])] for name in names]
    return markdown(['', *(r['which'] for r in data['rows'])], rows)


def driving() -> str:
    """Closed-loop rows of the world model's tasks."""
    rows = [[r['task'].replace('_', ' '), r['method'], f'{r["success_mean"]:.1%} ± {r["success_std"]:.1%}',
             f'{r["seeds"]} / {r["episodes"]}', '–' if r['plan_ms_p50'] is None else f'{r["plan_ms_p50"]:.1f}']
            for r in results('world_model')['rows']
            if r.get('success_mean') is not None and not r['task'].endswith('_ablation')
            and r['task'] not in ('maze_1_4', 'maze_5_8')]
    return markdown(['task', 'method', 'reached', 'seeds / episodes', 'plan, ms (p50)'], rows)


def stochastic() -> str:
    """Latents in worlds that chance decides: energy of what came, eight steps ahead, under the best of some draws."""
    def figure(row: dict, name: str) -> str:
        found = row['figures'].get(name)
        return '–' if found is None else f'{found["mean"]:.2f} ± {found["std"]:.2f}'
    rows = [[r['task'].removeprefix('stochastic_'), r['method'].removeprefix('latent_').replace('_', ' '),
             *(figure(r, f'energy_best_of_{n}_k8') for n in (1, 16, 64)), figure(r, 'bits_random')]
            for r in results('world_model')['rows'] if r['task'].startswith('stochastic')]
    return markdown(['world', 'latent', 'best of 1', 'best of 16', 'best of 64', 'bits where chance decides'], rows)


def ablations() -> str:
    """What each part of the training is worth."""
    def figure(row: dict, name: str) -> str:
        found = row['figures'].get(name)
        return '–' if found is None else f'{found["mean"]:.2f}'
    rows = [[r['method'].replace('_', ' '),
             f'{r["success_mean"]:.0%}' + f' ± {r["success_std"]:.0%}' * (r['seeds'] > 1), str(r['seeds']),
             *(figure(r, name) for name in ('prediction_8', 'effective_rank', 'readout_rmse'))]
            for r in results('world_model')['rows'] if r['task'] == 'two_rooms_ablation']
    return markdown(['training', 'goals reached', 'seeds', 'error, 8 steps ahead', 'effective rank', 'readout, m'],
                    rows)


def maze() -> str:
    """Goals reached by distance, in cells, and planning time at the longest ways."""
    rows = [r for r in results('world_model')['rows'] if r['task'].startswith('maze_')]
    found = {(r['task'], r['method']): r for r in rows}
    tasks, methods = (list(dict.fromkeys(r[key] for r in rows)) for key in ('task', 'method'))

    def figure(task: str, method: str) -> str:
        r = found.get((task, method))
        return '–' if r is None else f'{r["success_mean"]:.0%} ± {r["success_std"]:.0%}'
    names = {'maze_1_4': '1–4', 'maze_5_8': '5–8', 'maze_long': '9–11'}
    lines = []
    for method in methods:
        far = found['maze_long', method]
        lines.append([method, *(figure(task, method) for task in tasks), far['samples'], f'{far["plan_ms_p50"]:.0f}',
                      far['seeds']])
    return markdown(['planning', *(f'{names[task]} cells' for task in tasks), 'samples a tick', 'plan, ms', 'seeds'],
                    lines)


def real() -> str:
    """Skill on recordings of real robots, over persistence and over the linear model."""
    rows = []
    for r in results('world_model')['rows']:
        if not r['task'].startswith('real_'):
            continue
        for name in [n for n in r if n.startswith('skill_persistence_') and not n.endswith('_std')]:
            moment = name.rpartition('_')[2]
            cells = [f'{r[f"{kind}skill_{over}_{moment}"]:.2f} ± {r[f"{kind}skill_{over}_{moment}_std"]:.2f}'
                     for kind in ('', 'raw_') for over in ('persistence', 'linear')]
            rows.append([r['task'].removeprefix('real_'), r['method'].rpartition(' ')[2],
                         moment.replace('s', ' s'), *cells])
    return markdown(['robot', 'level', 'ahead', 'state: over persistence', 'state: over linear',
                     'sensors: over persistence', 'sensors: over linear'], rows)


def risk() -> str:
    """Plans that look at one future or at several, in a world where an obstacle wanders."""
    values = {r['what']: r['value'] for r in results('planning')['rows']}
    names = {'neutral': 'the most probable', 'mean': '8, mean', 'mean_std': '8, mean + std', 'cvar': '8, CVaR of 20 %'}
    return markdown(['futures', 'collisions per 100 episodes', 'steps to the goal', 'goals reached'], [
        [shown, f'{values[f"risk_{name}_collisions_per_100"]:.1f}', f'{values[f"risk_{name}_steps_to_goal"]:.1f}',
         f'{values[f"risk_{name}_goals_reached"]:.0%}'] for name, shown in names.items()])


def planning() -> str:
    """Plans of a LeWM next to those of stable-worldmodel, and those of the shipped agent."""
    values = {r['what']: r['value'] for r in results('planning')['rows']}
    theirs = f'{values["plan_swm_cem_ms_p50_cpu"] / 1e3:.1f} s'
    lines = [("stable-worldmodel's CEM on a LeWM, 300 × 30 × 5, p50", theirs),
             ('ours, same weights and work, bf16 then fp32, p50', f'{values["plan_bf16_ms_p50_cpu"] / 1e3:.1f} s'),
             ('times as fast', f'{values["ratio_to_swm_cem_cpu"]:.1f}'),
             ('final energy, ours over theirs, in fp32', f'{values["energy_ratio_to_swm_cem"]:.3f}'),
             ('the same in fp32 alone: times as fast, energy', f'{values["ratio_to_swm_cem_fp32_cpu"]:.1f}, '
              f'{values["energy_ratio_to_swm_cem_fp32"]:.3f}')]
    for name, budget in (('', 'no'), ('_30_ms', '30 ms'), ('_5_ms', '5 ms')):
        success = values[f'two_rooms_success{name or "_without_budget"}']
        lines.append((f'agent two_rooms, {budget} budget: p99, goals reached',
                      f'{values[f"two_rooms_plan_p99_ms_cpu{name}"]:.1f} ms, {success:.0%}'))
    missed = f'{values["load_deadline_misses"]:.2%}, {values["load_misses_unreported"]} of them not said'
    lines.append((f'{values["load_ticks"]:,} decisions with a busy process on every core, 30 ms budget: late', missed))
    return markdown(['two CPU cores', ''], lines)


def scaling() -> str:
    """How the time of a LeWM plan grows."""
    found = [(re.fullmatch(r'plan_bf16_ms_p50_(\d+)x(\d+)_horizon(\d+)_batch(\d+)_cpu', r['what']), r['value'])
             for r in results('planning')['rows']]
    return markdown(['samples', 'iterations', 'horizon', 'problems at once', 'plan, ms (p50)',
                     'µs per predictor step'], [
        [*match.groups(), f'{ms:.0f}', f'{ms * 1e3 / math.prod(map(int, match.groups())):.0f}']
        for match, ms in found if match])


def plan_methods() -> str:
    """Goals reached and median planning time of every method with the usual samples."""
    rows = {(r['method'], r['world'], r['levels']): r for r in results('planning_methods')['rows'] if r['effort'] == 1}
    columns = [('two_rooms', 1), ('two_rooms', 2), ('maze', 1), ('maze', 2), ('maze', 3)]

    def cell(method: str, world: str, levels: int) -> str:
        found = rows.get((method, world, levels))
        return f'{found["success"]:.0%}, {found["plan_ms_p50"]:.0f} ms' if found else ''
    head = [f'{world.replace("_", " ")}, {levels} level{"s" if levels > 1 else ""}' for world, levels in columns]
    return markdown(['method', *head], [[f'`{method}`', *(cell(method, *column) for column in columns)]
                                        for method in dict.fromkeys(method for method, _, _ in rows)])


ORGANS = {
    'tasks_without_retraining': 'tasks of six with at least 80 % success, one world model',
    'mode1_success_ratio': "Mode-1's success over Mode-2's",
    'mode1_compute_ratio': "Mode-2's time per tick over Mode-1's",
    'auto_success_ratio': "success of mode auto over Mode-2's",
    'auto_compute_share': 'its share of the predictor steps',
    'critic_short_horizon_success_gain': 'success gained by the critic with a quarter of the horizon',
    'memory_success_gain': 'success gained by memory where the door is hidden',
    'landmark_success_gain': 'success gained by landmarks, far goals in four rooms and corridors',
    'curiosity_coverage_gain': 'coverage gained by curiosity',
    'curiosity_error_ratio': 'model error, curious over random',
    'adaptation_recovery_steps': 'control steps until a reversed base reaches its goals again',
    'adaptation_recovery_steps_mirrored_without': 'the same without adaptation: not within',
    'surprise_auroc': 'AUROC of surprise, mean of four faults',
    'guardrail_violations': 'plans that break a guardrail, 10,002 random and hostile configurations'}


def organs() -> str:
    """The main figures of the organs that learn; the others stand in the file."""
    rows = {r['what']: r for r in results('organs')['rows']}
    return markdown(['', 'mean ± std', 'seeds'], [
        [shown, f'{rows[what]["value"]:.3g}' + f' ± {rows[what]["std"]:.2g}' * (rows[what]['seeds'] > 1),
         str(rows[what]['seeds'])]
        for what, shown in ORGANS.items() if what in rows])


def parameters() -> str:
    """Of every node."""
    import node_parameters
    return markdown(['node', 'parameter', 'default', 'meaning'], node_parameters.parameters())


TABLES: dict[str, Callable[[], str]] = {
    f.__name__: f for f in (demo, closed_loop, hierarchy, faults, model, bags, reproduction, driving, stochastic, real,
                            ablations, maze, risk, planning, scaling, plan_methods, organs,
                            parameters)}


def main() -> int:
    stale = []
    for file in FILES:
        old = file.read_text(encoding='utf-8')
        new = BLOCK.sub(lambda m: f'{m[1]}\n{TABLES[m[2]]()}\n{m[3]}', old)
        if new != old:
            stale.append(file.name)
            if '--check' not in sys.argv[1:]:
                file.write_text(new, encoding='utf-8')
    if stale and '--check' in sys.argv[1:]:
        print(f'{", ".join(stale)} out of date: run python benchmark/readme_tables.py', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
