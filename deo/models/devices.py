"""The device that a network computes on."""

import torch

from deo.errors import ConfigError


def choose_device(name: str | None = None) -> torch.device:
    """The device of this name, or CUDA where there is any, else the CPU.

    Args:
        name: as PyTorch has it: `cpu`, `cuda`, `cuda:1`, `mps`.

    Raises:
        ConfigError: there is no such device here, or nothing can be computed on it.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        # PyTorch names devices that this machine lacks; only computing on one tells
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, ImportError, NotImplementedError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(
            f"device {name!r} cannot be used ({reason}); choose cpu, cuda or cuda:N, or leave it "
            "out for CUDA where there is any"
        ) from error
    return device
