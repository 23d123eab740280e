"""A GPU that is lost, or whose memory does not suffice, while the robot is used: the agent goes on on the CPU.

What is on the device counts as gone, as after a lost GPU nothing can be read from it. Weights come from a copy on the
host (`Agent.mirror`), which learned updates are written to as well; states and goals come anew over the topics.
"""
import re

_NAMED = re.compile(r'CUDA|HIP error|MIOpen|cuDNN|CUBLAS|device-side assert|XPU|MPS backend', re.IGNORECASE)


def is_device_error(error: BaseException) -> bool:
    """Whether an accelerator, not the program or the input, is at fault."""
    import torch
    kinds = (torch.OutOfMemoryError, *([torch.AcceleratorError] if hasattr(torch, 'AcceleratorError') else []))
    return isinstance(error, kinds) or isinstance(error, RuntimeError) and _NAMED.search(str(error)) is not None


def described(device: str, error: BaseException) -> str:
    """What happened to a device, in one line."""
    import torch
    text = ' '.join(str(error).split())[:120]
    what = 'is out of memory' if isinstance(error, torch.OutOfMemoryError) else 'is lost'
    return f'device {device} {what} ({type(error).__name__}: {text})'
