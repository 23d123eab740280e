"""One optimisation loop for every training stage: schedule, mixed precision, progress, resume, refusal of NaN."""
from collections.abc import Callable, Iterator
from contextlib import contextmanager
import math
from pathlib import Path
import signal
import threading
import time

from safetensors import safe_open, SafetensorError
from safetensors.torch import load_file, save_file
import torch
from torch import nn, Tensor

from jepa_ros.errors import TrainingError
from jepa_ros.training.config import Stage

Sample = Callable[[torch.Generator], tuple[Tensor, ...]]
Report = Callable[[str, int, int, dict[str, float]], None]
SAVE_EVERY_S = 120


@contextmanager
def _noted_interrupts() -> Iterator[list[int]]:
    """Ctrl-C is noted instead of raised, so that it never cuts an update in two."""
    noted: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # there signals cannot be handled
        yield noted
        return
    before = signal.signal(signal.SIGINT, lambda number, _frame: noted.append(number))
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)


def learning_rate(stage: Stage, step: int) -> float:
    """Linear warm-up, then cosine to 1 % of the peak."""
    if step < stage.warmup:
        return stage.lr * (step + 1) / stage.warmup
    done = (step - stage.warmup) / max(1, stage.updates - stage.warmup)
    return stage.lr * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


class Optimisation:
    """Runs `stage.updates` updates of `module` on what `sample(generator)` draws.

    `module(*sample)` returns (loss, parts). With `resume_file` the run writes its state there every two minutes
    and at Ctrl-C, and continues from it, drawing the same samples as an uninterrupted run.
    """

    def __init__(self, name: str, module: nn.Module, stage: Stage, seed: int, device: str,
                 resume_file: Path | None = None):
        self.name, self.module, self.stage, self.device = name, module, stage, device
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(self.parameters, lr=stage.lr, weight_decay=stage.weight_decay,
                                           fused=True)
        self.generator = torch.Generator(device).manual_seed(seed)
        self.resume_file = resume_file
        self.step = 0
        # bfloat16 is several times quicker where the processor has it, and slower where it has not
        self.mixed = device == 'cuda' or torch.cpu._is_avx512_bf16_supported()

    def run(self, sample: Sample, report: Report | None = None, compiled: bool = False) -> dict[str, float]:
        """Returns the parts of the loss averaged over the last 100 updates; TrainingError on a non-finite loss."""
        self._resume()
        call = torch.compile(self.module) if compiled else self.module
        recent: list[dict[str, Tensor]] = []
        saved = time.monotonic()
        with _noted_interrupts() as interrupts:
            while self.step < self.stage.updates:
                recent = [*recent[-99:], self._update(call, sample)]
                if self.step % 50 == 0 or self.step == self.stage.updates:
                    means = self._means(recent)
                    if report:
                        report(self.name, self.step, self.stage.updates, means)
                    if time.monotonic() - saved > SAVE_EVERY_S:
                        self._save()
                        saved = time.monotonic()
                if interrupts:
                    self._save()
                    raise KeyboardInterrupt
        return self._means(recent)

    def _update(self, call: Callable, sample: Sample) -> dict[str, Tensor]:
        for group in self.optimiser.param_groups:
            group['lr'] = learning_rate(self.stage, self.step)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.mixed):
            loss, parts = call(*sample(self.generator))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        self.step += 1
        return {**parts, 'loss': loss.detach()}

    def _means(self, recent: list[dict[str, Tensor]]) -> dict[str, float]:
        if not recent:
            return {}
        means = {k: float(torch.stack([r[k] for r in recent]).mean()) for k in recent[0]}
        if not math.isfinite(means['loss']):
            kept = self.resume_file is not None and self.resume_file.is_file()
            where = f'; the last good state is in {self.resume_file}' if kept else ''
            raise TrainingError(f'{self.name}: loss is not finite at update {self.step}: lower lr{where}')
        return means

    def _save(self) -> None:
        if self.resume_file is None:
            return
        tensors = {f'model.{k}': v.contiguous() for k, v in self.module.state_dict().items()}
        for i, p in enumerate(self.parameters):
            state = self.optimiser.state[p]
            tensors |= {f'adam.{i}.{k}': v.contiguous() for k, v in state.items()}
        tensors['step'] = torch.tensor(self.step)
        tensors['generator'] = self.generator.get_state()
        partial = self.resume_file.with_suffix('.partial')
        save_file(tensors, partial, metadata=self._identity())
        partial.replace(self.resume_file)

    def _identity(self) -> dict[str, str]:
        """What a state must share with the run that continues from it."""
        return {'stage': self.stage.model_dump_json(), 'name': self.name}

    def _resume(self) -> None:
        if self.resume_file is None or not self.resume_file.is_file():
            return
        try:
            with safe_open(self.resume_file, 'pt') as file:
                same = file.metadata() == self._identity()
            tensors = load_file(self.resume_file)
        except (SafetensorError, OSError) as error:
            raise TrainingError(f'{self.resume_file}: cannot be read ({" ".join(str(error).split())}): '
                                f'delete it to start that stage again') from None
        try:
            if not same:
                raise RuntimeError
            self.module.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith('model.')})
        except RuntimeError:
            raise TrainingError(f'{self.resume_file}: left by a run with another configuration; '
                                f'delete it or choose another --output') from None
        for i, p in enumerate(self.parameters):
            prefix = f'adam.{i}.'
            state = {k[len(prefix):]: v for k, v in tensors.items() if k.startswith(prefix)}
            self.optimiser.state[p] = {k: v if k == 'step' else v.to(p.device) for k, v in state.items()}
        self.step = int(tensors['step'])
        self.generator.set_state(tensors['generator'])
