"""A whole plan as one CUDA graph: every iteration of the search in one launch, nothing of it decided on the host.

A plan is thousands of kernels of a few microseconds; launched one by one they wait for Python. A graph is recorded once
for inputs of given shapes and played again with others copied in. On other devices the same function is just called.
"""
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import nn, Tensor

from jepa_ros.actor.coarse import CoarseToFine
from jepa_ros.actor.planners import EnergyFunction, Evaluation, Search, SearchSpace
from jepa_ros.actor.planners.base import Planner
from jepa_ros.errors import ConfigError
from jepa_ros.world_model.numerics import fingerprint

_WARM_UP = 3        # calls before recording: what is made at first use (compiled code, workspaces) is no part of it
_KEPT = 4           # graphs; each holds the memory of one plan

Function = Callable[..., tuple[Tensor, ...]]


@dataclass(frozen=True)
class _Recording:
    graph: 'torch.cuda.CUDAGraph'
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    def play(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        for static, given in zip(self.inputs, inputs):
            static.copy_(given)
        self.graph.replay()
        return tuple(x.clone() for x in self.outputs)   # the next play writes over them


class Captured:
    """`function` of tensors, which must not wait for the device, replayed where it has been called before.

    It may draw from `generator`, whose state counts as if it had been called: same seed, same results. What it reads of
    `modules` is read again after their weights have changed.
    """

    def __init__(self, function: Function, generator: torch.Generator | None = None, modules: Sequence[nn.Module] = ()):
        self._function, self._generator, self._modules = function, generator, modules
        self._recordings: OrderedDict[Hashable, _Recording] = OrderedDict()

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        if inputs[0].device.type != 'cuda':
            return self._function(*inputs)
        key = (tuple((x.shape, x.dtype) for x in inputs), tuple(fingerprint(module) for module in self._modules))
        if key not in self._recordings:
            self._recordings[key] = self._record(inputs)
        self._recordings.move_to_end(key)
        while len(self._recordings) > _KEPT:
            self._recordings.popitem(last=False)
        return self._recordings[key].play(inputs)

    def _record(self, inputs: Sequence[Tensor]) -> _Recording:
        with torch.inference_mode(False):       # or they could be written to in inference mode alone
            static = tuple(x.detach().clone() for x in inputs)
        state = None if self._generator is None else self._generator.get_state()
        now, aside = torch.cuda.current_stream(static[0].device), torch.cuda.Stream(static[0].device)
        aside.wait_stream(now)
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UP):
                self._function(*static)
        now.wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        if self._generator is not None:
            graph.register_generator_state(self._generator)
        # thread_local: other threads of the robot may go on using the device
        with torch.cuda.graph(graph, stream=aside, capture_error_mode='thread_local'):
            outputs = self._function(*static)
        if self._generator is not None:
            self._generator.set_state(state)
        return _Recording(graph, static, outputs)


class CapturedPlan:
    """`planner.plan` without a deadline, of an energy that takes tensors beside the candidates.

    energy(candidates (B, N, H, A), *inputs) -> Evaluation; `exact` is the same in full precision, for the end of the
    search (see `CoarseToFine`). All inputs have the device of the space.
    """

    def __init__(self, planner: Planner, space: SearchSpace, energy: Callable[..., Evaluation],
                 generator: torch.Generator | None = None, exact: Callable[..., Evaluation] | None = None,
                 modules: Sequence[nn.Module] = ()):
        config = planner.config
        if config.tolerance or any(planner.differentiates(i) for i in range(config.iterations)):
            raise ConfigError(f'planner {config.method}: a plan in one piece can neither end early nor use '
                              'gradients: set tolerance to 0 and choose a method that samples, cem or mppi for one')
        self._planner, self._space, self._energy, self._exact = planner, space, energy, exact
        self._generator, self._captured = generator, Captured(self._plan, generator, modules)

    def __call__(self, mean: Tensor, *inputs: Tensor) -> Search:
        """`mean` (B, H, A): the distribution's first, the warm start where there is one."""
        actions, energy, violation, refused = self._captured(mean, *inputs)
        return Search(actions, energy, violation, self._planner.config.iterations, False, refused)

    def _plan(self, mean: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
        def plan(energy: EnergyFunction) -> Search:
            return self._planner.plan(energy, self._space, len(mean), mean, generator=self._generator)
        if self._exact is None:
            search = plan(lambda candidates: self._energy(candidates, *inputs))
        else:
            energy = CoarseToFine(lambda candidates: self._energy(candidates, *inputs),
                                  lambda candidates: self._exact(candidates, *inputs), self._planner.config.iterations)
            search = energy.judged(plan(energy))
        return search.actions, search.energy, search.violation, search.refused
