"""One optimisation loop for every training stage: schedule, accumulation, progress, exact resume, refusal of NaN.

Where it runs (processes, device, precision) is the Engine's business, what is on disk that of checkpointing.py and
logs.py. On a GPU nothing here waits for the device but every CHECK_EVERY_GPU updates.
"""
from collections.abc import Callable, Mapping
from contextlib import nullcontext
import gc
import math
from pathlib import Path
import time
from typing import Any

import torch
from torch import nn, Tensor

from jepa_ros.training import checkpointing
from jepa_ros.training.config import Stage
from jepa_ros.training.engine import Engine, random_state, set_random_state, Settings
from jepa_ros.training.failures import named_failures, noted_interrupts
from jepa_ros.training.logs import StageLog
from jepa_ros.training.losses.parallel import alone
from jepa_ros.training.monitor import Monitor
from jepa_ros.training.sharding import sharded_like, whole
from jepa_ros.training.throughput import described, Meter

Sample = Callable[[torch.Generator], tuple[Tensor, ...]]
Fetch = Callable[..., tuple[Tensor, ...]]
Report = Callable[[str, int, int, dict[str, float]], None]
REPORT_EVERY = 50           # updates
CHECK_EVERY_GPU = 10        # updates between two looks at what the GPU has computed
AVERAGED = 100              # updates that a reported figure is the mean of
NORM = 'grad_norm'          # before clipping


def learning_rate(stage: Stage, step: int) -> float:
    """Linear warm-up, then cosine to 1 % of the peak."""
    if step < stage.warmup:
        return stage.lr * (step + 1) / stage.warmup
    done = (step - stage.warmup) / max(1, stage.updates - stage.warmup)
    return stage.lr * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


class Optimisation:
    """Runs `stage.updates` updates of `module` on what `sample(generator)` draws.

    `module(*sample)` returns (loss, parts). With `resume_file` the run writes its state there every few minutes, at
    Ctrl-C and SIGTERM and at its end, and continues from it, drawing the same samples as an uninterrupted run;
    `identity` is what such a state must share with the run beyond `stage`, such as losses, architecture and data.
    With `log_dir` the figures are kept there. `engine` says where it runs; without one, in this process alone.
    """

    def __init__(self, name: str, module: nn.Module, stage: Stage, seed: int, device: str,
                 resume_file: Path | None = None, engine: Engine | None = None, log_dir: Path | None = None,
                 identity: Mapping[str, Any] | None = None, monitor: Monitor | None = None):
        self.name, self.module, self.stage, self.seed = name, module, stage, seed
        self.engine = engine or Engine(Settings(device=device), single=True)
        self.resume_file, self.log_dir, self.monitor = resume_file, log_dir, monitor
        self.step = 0
        self.throughput: dict[str, float] = {}      # of the last run, see throughput.py
        settings = self.engine.settings
        self.identity = {
            'name': name, 'seed': seed, 'stage': stage.model_dump(mode='json'), 'device': settings.device,
            'precision': settings.fabric_precision(), 'accumulate': settings.accumulate, 'clip': settings.clip,
            'sharded': settings.sharded, **(identity or {})}
        self.generator = torch.Generator(device).manual_seed(
            seed + (1_000_003 * self.engine.rank if settings.sharded else 0))
        self._recent: list[dict[str, Tensor]] = []      # figures of the last updates, on the device
        self._unchecked = 0                             # of these, not yet known to be finite
        self._saved: int | None = None                  # the update of the state on disk
        self._check_every = CHECK_EVERY_GPU if settings.device == 'cuda' else 1

    def run(self, sample: Sample, report: Report | None = None, compiled: bool = False,
            fetch: Fetch | None = None) -> dict[str, float]:
        """Returns the parts of the loss averaged over the last 100 updates.

        `sample` draws the whole batch, alike on every rank; `fetch(*rows)` turns this rank's rows of it, indices for
        example, into what the module takes. TrainingError on a loss that is not finite, a collapse, too little memory
        or a lost process.
        """
        with named_failures(self.engine, self.name, self.stage, lambda: self.step + 1, self._kept), \
                noted_interrupts() as interrupts, \
                self.engine.own_random_numbers(self.seed), alone() if self.engine.world == 1 else nullcontext():
            self._begin(compiled)
            log = StageLog(self.log_dir, self.name, self.step, self.engine.settings.tensorboard) \
                if self.log_dir and self.engine.is_first else None
            meter, saved = Meter(self.engine.device), time.monotonic()
            began = self.step
            while self.step < self.stage.updates:
                self._recent = [*self._recent, self._update(sample, fetch, meter)][-AVERAGED:]
                self._unchecked += 1
                last = self.step == self.stage.updates
                stop = due = False
                if last or self.step % self._check_every == 0 or (interrupts and self.engine.world == 1):
                    due = time.monotonic() - saved > 60 * self.engine.settings.checkpoint_minutes
                    stop, due = self._check(bool(interrupts), due)
                if self.monitor and self.step % self.monitor.every == 0:
                    self._watch(log)
                if self.step % REPORT_EVERY == 0 or last:
                    self._report(report, log, meter)
                if stop or due or last:
                    self._save()
                    saved = time.monotonic()
                if stop:
                    raise KeyboardInterrupt
            return self._end(log, meter, self.step - began)

    def _begin(self, compiled: bool) -> None:
        """Make what is called and its optimiser, in the state to continue from if there is one."""
        tensors = self._read()
        if tensors:
            self.module.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith('model.')})
        self._call = self.engine.setup(self.module, compiled)
        self.parameters = [p for p in self._call.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(self.parameters, lr=self.stage.lr, weight_decay=self.stage.weight_decay,
                                           fused=True)
        self._stepper = self.engine.fabric.setup_optimizers(self.optimiser)
        if tensors:
            self._continue(tensors)

    def _update(self, sample: Sample, fetch: Fetch | None, meter: Meter) -> dict[str, Tensor]:
        """One update; its figures, still on the device."""
        with meter.waiting():
            rows = self.engine.share(sample(self.generator))
        for group in self.optimiser.param_groups:
            group['lr'] = learning_rate(self.stage, self.step)
        self.optimiser.zero_grad(set_to_none=True)
        pieces = list(zip(*(t.tensor_split(self.engine.settings.accumulate) for t in rows)))
        figures: dict[str, Tensor] = {}
        for number, piece in enumerate(pieces, 1):
            with meter.waiting():
                batch = fetch(*piece) if fetch else piece
            share = len(piece[0]) / len(rows[0])
            with self.engine.no_sync(self._call, number < len(pieces)):
                loss, parts = self._call(*batch)
                self.engine.fabric.backward(loss if share == 1 else loss * share)
            for name, value in {**parts, 'loss': loss.detach()}.items():
                figures[name] = value if share == 1 else figures.get(name, 0) + value * share
        norm = self.engine.clip(self._call, self._stepper)
        self._stepper.step()
        self.step += 1
        meter.count(len(rows[0]) * self.engine.world)
        return {**figures, NORM: norm}

    def _check(self, interrupted: bool, due: bool) -> tuple[bool, bool]:
        """Whether to stop, and whether to save: what all ranks agree on. TrainingError if something is not finite."""
        bad = self._first_bad()
        is_bad, stop, due = self.engine.agree(bad is not None, interrupted, due and self.engine.is_first)
        if is_bad:
            found = [b for b in self.engine.gather(bad) if b]
            update = min(step for step, _ in found)
            names = sorted({name for step, names in found if step == update for name in names} - {''}) or [
                'the gradient']
            self.engine.fail(f'{self.name}: {" and ".join(names)} {"is" if len(names) == 1 else "are"} not finite at '
                             f'update {update}: lower lr{self._kept()}')
        self._unchecked = 0
        return stop, due

    def _first_bad(self) -> tuple[int, list[str]] | None:
        """The first update since the last check that is not finite, and which figures of it; waits for the GPU once."""
        unchecked = self._recent[len(self._recent) - self._unchecked:]
        sums = torch.stack([figures['loss'].float() + figures[NORM].float() for figures in unchecked])
        if bool(sums.isfinite().all()):
            return None
        index = int((~sums.isfinite()).nonzero()[0])
        bad = [name for name, value in unchecked[index].items() if not bool(value.isfinite())]
        parts = [name for name in bad if name not in ('loss', NORM)]
        # another rank may know more than that the common gradient is not finite
        return self.step - self._unchecked + index + 1, parts or ['the loss' if 'loss' in bad else '']

    def _watch(self, log: StageLog | None) -> None:
        self.engine.refresh(self.module, self._call)
        look = self.engine.first(lambda: self.monitor.look(self.step))
        if log:
            log.monitor(self.step, look.figures)
        for line in look.warnings:
            self.engine.note(f'{self.name}, update {self.step}: {line}', warning=True)
        if look.stop:
            self.engine.fail(f'{self.name}: the representation has collapsed, training stopped at update {self.step}: '
                             f'{look.stop}{self._kept()}')

    def _means(self) -> dict[str, float]:
        """Of the last updates, over all ranks: a part that is a mean over samples is that of its samples on each."""
        names = self._recent[0] if self._recent else ()
        return self.engine.mean({k: float(torch.stack([r[k] for r in self._recent]).mean()) for k in names})

    def _report(self, report: Report | None, log: StageLog | None, meter: Meter) -> None:
        means = self._means()
        norm = means.pop(NORM)
        if report and self.engine.is_first:
            report(self.name, self.step, self.stage.updates, means)
        if log:
            speed = meter.figures() | {'samples_per_s': meter.recent()}
            log.losses(self.step, meter.seconds, {'lr': learning_rate(self.stage, self.step - 1), NORM: norm,
                                                  **speed, **means})

    def _end(self, log: StageLog | None, meter: Meter, updates: int) -> dict[str, float]:
        self.engine.refresh(self.module, self._call)
        del self._call, self._stepper
        if self.engine.world > 1:
            gc.collect()        # the next stage may share weights with this one: DDP must have let go of them
        if updates:
            self.throughput = meter.figures()
            self.engine.note(f'{self.name}: {updates} updates, {described(self.throughput)}')
        if log:
            log.close()
        return {name: value for name, value in self._means().items() if name != NORM}

    # the state on disk

    def _read(self) -> dict[str, Tensor]:
        """Rank 0 reads and checks, all receive; empty when there is nothing to continue from."""
        found: dict[str, Tensor] | None = None

        def read() -> dict[str, Any] | None:
            nonlocal found
            if self.resume_file is None or not self.resume_file.is_file():
                return None
            found, rest = checkpointing.read(self.resume_file, self.identity, self.module.state_dict())
            return rest
        rest = self.engine.first(read)
        if rest is None:
            return {}
        self.step = self._saved = rest['step']
        self._figures = rest['figures']
        if self.monitor and rest['monitor']:
            self.monitor.state = rest['monitor']
        return self.engine.broadcast(found)

    def _continue(self, tensors: dict[str, Tensor]) -> None:
        for i, p in enumerate(self.parameters):
            prefix = f'adam.{i}.'
            state = {k[len(prefix):]: v for k, v in tensors.items() if k.startswith(prefix)}
            self.optimiser.state[p] = {k: v.to(p.device) if k == 'step' else sharded_like(v, p)
                                       for k, v in state.items()}
        recent = [tensors[f'recent.{name}'].to(self.engine.device) for name in self._figures]
        self._recent = [dict(zip(self._figures, row)) for row in zip(*recent)]
        prefix = f'random.{self.engine.rank}.'
        own = {k[len(prefix):]: v for k, v in tensors.items() if k.startswith(prefix)}
        if own:
            set_random_state(own)
            self.generator.set_state(own['generator'])
        elif self.engine.settings.sharded:      # there were fewer ranks before
            self.generator.manual_seed(self.generator.initial_seed() + self.step)
        else:
            self.generator.set_state(tensors['random.0.generator'])

    def _save(self) -> None:
        if self.resume_file is None:
            return
        self.engine.refresh(self.module, self._call)
        tensors = {f'model.{k}': v for k, v in self.module.state_dict().items()}
        for i, p in enumerate(self.parameters):
            for name, value in self.optimiser.state[p].items():
                full = whole(value)
                if self.engine.is_first:        # put together on all ranks, but one at a time
                    tensors[f'adam.{i}.{name}'] = full.cpu()
        random = {'generator': self.generator.get_state(), **random_state(self.engine.device)}
        for rank, states in enumerate(self.engine.gather(random)):
            tensors |= {f'random.{rank}.{k}': v for k, v in states.items()}
        names = list(self._recent[0])
        tensors |= {f'recent.{name}': torch.stack([figures[name] for figures in self._recent]) for name in names}
        if self.engine.is_first:
            checkpointing.write(self.resume_file, tensors, self.identity, {
                'step': self.step, 'figures': names, 'monitor': self.monitor.state if self.monitor else None})
        self._saved = self.step

    def _kept(self) -> str:
        return '' if self._saved is None else f'; the last good state, of update {self._saved}, is in ' \
            f'{self.resume_file}'
