"""How fast is a plan? Ours against stable-worldmodel's own CEM solver, on a LeWM with the same weights, and alone.

    python benchmark/planning.py [--device cuda] [--threads 2] [--rounds 5] [--parts compare scaling] [--quick]

compare: both plan the same problems in turn, with as many samples, iterations, elites and steps. The energy that counts
is their own cost of what each has found, computed anew in fp32. scaling: our plans of other sizes, and of several
problems at once. Weights are random; states are given, so that no picture is encoded. Compare needs `pip install
stable-worldmodel transformers` and is left out without it. Writes results/planning.json.
"""
import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
import statistics
import sys
import time

from planning_peer import Peer, Search, Sizes, SMALL
from rich.console import Console
from rich.table import Table
from rows import merge, RESULTS, row
import torch
from torch import Tensor

from jepa_ros.actor.captured import CapturedPlan
from jepa_ros.actor.planners import Evaluation, PlannerConfig, PLANNERS, SearchSpace
from jepa_ros.errors import WorldError
from jepa_ros.world_model.numerics import Numerics, threads
from jepa_ros.world_model.predictors_lewm import LeWMPredictor

PARTS = ('compare', 'scaling')
SEED = 700                  # of the problems
MISFIT = 0.5                # how far goals lie from what can be reached, as a share of what actions change
# samples, iterations, horizon, problems at once
SCALES = ((64, 3, 5, 1), (128, 6, 5, 1), (300, 6, 5, 1), (300, 10, 5, 1), (1024, 6, 5, 1), (300, 6, 3, 1),
          (300, 6, 10, 1), (300, 6, 20, 1), (300, 6, 5, 2), (300, 6, 5, 4), (300, 6, 5, 8))
QUICK_SCALES = ((16, 2, 3, 1), (16, 2, 3, 2))
Problem = tuple[Tensor, Tensor]     # states s and goals, (B, D)


class Ours:
    """CEM as stable-worldmodel's: unbounded actions drawn around zero with deviation 1, the same cost."""

    def __init__(self, predictor: LeWMPredictor, search: Search, numerics: Numerics):
        self._predictor, self._numerics, self._exactly = predictor, numerics, Numerics('fp32', numerics.compiled)
        device, one = predictor.positions.device, torch.ones(predictor.condition_dim).to(predictor.positions)
        config = PlannerConfig(method='cem', samples=search.samples, iterations=search.iterations,
                               elites=search.elites, horizon=search.horizon, correlation=0.0, min_std=0.0)
        space = SearchSpace(-torch.inf * one, torch.inf * one, 0 * one, one)
        self._generator = torch.Generator(device)
        self._mean = one.new_zeros(1, search.horizon, len(one))
        low = numerics.dtype(device) is not torch.float32
        self._plan = CapturedPlan(PLANNERS.get('cem')(config), space, self.energy, self._generator,
                                  self.exact if low else None, [predictor])

    @torch.inference_mode()
    def plan(self, s: Tensor, goal: Tensor, seed: int) -> Tensor:
        """Actions (B, H, A) from states (B, D) to goals (B, D)."""
        self._generator.manual_seed(seed)
        return self._plan(self._mean.expand(len(s), -1, -1), s, goal).actions

    def energy(self, candidates: Tensor, s: Tensor, goal: Tensor) -> Evaluation:
        return self._energy(candidates, s, goal, self._numerics)

    def exact(self, candidates: Tensor, s: Tensor, goal: Tensor) -> Evaluation:
        return self._energy(candidates, s, goal, self._exactly)

    def _energy(self, candidates: Tensor, s: Tensor, goal: Tensor, numerics: Numerics) -> Evaluation:
        """As `LeWM.criterion`: squared distance of the last state."""
        states = self._predictor.rollout(s[:, None].expand(-1, candidates.shape[1], -1), candidates, None, numerics)
        return Evaluation((states[..., -1, :] - goal[:, None]).square().sum(-1))


@torch.inference_mode()
def problems(predictor: LeWMPredictor, horizon: int, batch: int = 1, seed: int = SEED) -> Iterator[Problem]:
    """Starts are states the model comes to, goals what it comes to from there, and a little beside: no real picture is
    met exactly either."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(predictor.positions)
    while True:
        s = predictor.rollout(drawn(batch, predictor.dim), drawn(batch, 6, predictor.condition_dim))[:, -1]
        actions = drawn(batch, horizon, predictor.condition_dim)
        goal, idle = (predictor.rollout(s, a)[:, -1] for a in (actions, 0 * actions))
        yield s, goal + MISFIT * (goal - idle).square().mean().sqrt() * drawn(*goal.shape)


def timed(plan: Callable[..., Tensor], *task: object, device: torch.device) -> tuple[float, Tensor]:
    """Milliseconds and the plan."""
    if device.type == 'cuda':
        torch.cuda.synchronize()
    began = time.perf_counter()
    found = plan(*task)
    if device.type == 'cuda':
        torch.cuda.synchronize()
    return (time.perf_counter() - began) * 1e3, found


def kinds(device: torch.device, compiled: bool) -> dict[str, Numerics]:
    """The numbers to plan in, the quickest last."""
    made = {'fp32': Numerics('fp32', compiled)}
    if Numerics('auto').dtype(device) is torch.bfloat16:
        made['bf16'] = Numerics('bf16', compiled)
    return made


def compare(options: argparse.Namespace, device: torch.device, console: Console) -> list[dict]:
    """Both in turn, then ours alone."""
    theirs = Peer(options.sizes, options.search, device)
    predictor = theirs.predictor().to(device)
    ours = {name: Ours(predictor, options.search, kind).plan for name, kind in kinds(device, options.compile).items()}
    plans: dict[str, Callable[..., Tensor]] = {'swm_cem': theirs.plan} | ours
    latencies: dict[str, list[float]] = {name: [] for name in plans}
    energies: dict[str, list[float]] = {name: [] for name in plans}
    with console.status('warming up') as status:
        tasks = problems(predictor, options.search.horizon)
        same = all([same_plan(plan, *next(tasks)) for plan in ours.values()])       # noqa: C419  warms all of them up
        for number, (s, goal) in zip(range(options.rounds), tasks):
            status.update(f'round {number + 1} of {options.rounds}')
            for name, plan in plans.items():
                ms, actions = timed(plan, s, goal, number, device=device)
                latencies[name].append(ms)
                energies[name].append(float(theirs.cost(s, goal, actions[:, None].to(device))))
        for number, (s, goal) in zip(range(options.alone), tasks):
            status.update(f'ours alone, {number + 1} of {options.alone}')
            for name, plan in ours.items():
                latencies[name].append(timed(plan, s, goal, number, device=device)[0])
    return figures(latencies, energies, same, device)


def same_plan(plan: Callable[..., Tensor], s: Tensor, goal: Tensor) -> bool:
    """Whether the same seed gives the same plan, to the last bit, and another seed another one."""
    one, again, other = (plan(s, goal, seed) for seed in (1, 1, 2))
    return torch.equal(one, again) and not torch.equal(one, other)


def figures(latencies: dict[str, list[float]], energies: dict[str, list[float]], same: bool,
            device: torch.device) -> list[dict]:
    """Rows. The ratios without the name of a precision are those of the quickest one."""
    where, made = suffix(device), []
    for name, ms in latencies.items():
        made += [row(f'plan_{name}_ms_{label}{where}', quantile(ms, share), 'ms')
                 for label, share in (('p50', 0.5), ('p99', 0.99))]
    theirs, energy = statistics.median(latencies['swm_cem']), statistics.fmean(energies['swm_cem'])
    names = [name for name in latencies if name != 'swm_cem']
    for name, label in (*((name, f'_{name}') for name in names), (names[-1], '')):
        made.append(row(f'ratio_to_swm_cem{label}{where}', theirs / statistics.median(latencies[name]), 'times'))
        made.append(row(f'energy_ratio_to_swm_cem{label}' + where.replace('_cpu', ''),
                        statistics.fmean(energies[name]) / energy, 'times'))
    return [*made, row(f'plan_same_seed_same_plan{where}', float(same), 'bool')]


def scaling(options: argparse.Namespace, device: torch.device, console: Console) -> list[dict]:
    """Our plans of several sizes, in the quickest numbers."""
    *_, (name, numerics) = kinds(device, options.compile).items()
    predictor, made = options.sizes.predictor().to(device), []
    with console.status('') as status:
        for samples, iterations, horizon, batch in options.scales:
            what = f'{samples}x{iterations}_horizon{horizon}_batch{batch}'
            status.update(what)
            if options.compile:     # it takes no more than eight shapes of one function, and each size has two
                torch.compiler.reset()
            plan = Ours(predictor, Search(samples, iterations, max(2, samples // 10), horizon), numerics).plan
            tasks = problems(predictor, horizon, batch)
            plan(*next(tasks), 0)
            ms = [timed(plan, *task, 0, device=device)[0] for _, task in zip(range(options.repeats), tasks)]
            made.append(row(f'plan_{name}_ms_p50_{what}{suffix(device)}', quantile(ms, 0.5), 'ms'))
    return made


def quantile(values: list[float], share: float) -> float:
    return round(float(torch.tensor(values, dtype=torch.float64).quantile(share)), 2)


def suffix(device: torch.device) -> str:
    return '_cpu' if device.type == 'cpu' else '_gpu'


def chosen(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--device', choices=('auto', 'cpu', 'cuda'), default='auto')
    parser.add_argument('--threads', type=int, help='of both planners on a CPU; default: what pays for the model')
    parser.add_argument('--compile', action='store_true', help='ours through torch.compile (on a GPU always)')
    parser.add_argument('--rounds', type=int, default=5, help='problems that both plan in turn')
    parser.add_argument('--alone', type=int, default=15, help='further problems for ours, for its 99th percentile')
    parser.add_argument('--repeats', type=int, default=3, help='plans of each size in the part scaling')
    parser.add_argument('--parts', nargs='+', choices=PARTS, default=list(PARTS))
    parser.add_argument('--quick', action='store_true', help='a tiny model and tiny searches: does it run?')
    parser.add_argument('--output', type=Path, default=RESULTS / 'planning.json')
    options = parser.parse_args(arguments)
    options.sizes, options.search, options.scales = Sizes(), Search(), SCALES
    if options.quick:
        options.sizes, options.search, options.scales = SMALL, Search(16, 3, 4, 3), QUICK_SCALES
        options.rounds, options.alone, options.repeats = 2, 2, 1
    return options


def main(arguments: list[str] | None = None) -> None:
    options, console = chosen(arguments), Console(width=None if sys.stdout.isatty() else 140)
    cuda = options.device == 'cuda' or options.device == 'auto' and torch.cuda.is_available()
    device = torch.device('cuda' if cuda else 'cpu')
    options.compile |= cuda
    torch.set_num_threads(options.threads or threads(options.sizes.predictor()))
    console.print(f'{device}, {torch.get_num_threads()} threads, {", ".join(kinds(device, False))}', highlight=False)
    for part in options.parts:
        try:
            found = globals()[part](options, device, console)
        except WorldError as error:
            console.print(f'{part} left out: {error}', highlight=False, soft_wrap=True)
            continue
        table = Table('what', 'value', 'unit')
        for each in found:
            table.add_row(each['what'], f'{each["value"]:.4g}', each['unit'])
        console.print(table)
        merge(options.output, found)


if __name__ == '__main__':
    main()
