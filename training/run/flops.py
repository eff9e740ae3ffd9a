"""Arithmetic of one step, for the share of a device's peak that a run uses (MFU)."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from deo.bands import MODEL_BANDS
from deo.training.method.losses import GLOBAL_VIEWS
from deo.training.run.state import State
from deo.training.run.step import optical_input

PEAK_FLOPS = {
    "H200": 989e12,
    "H100": 989e12,
    "GH200": 989e12,
    "B200": 2250e12,
    "A100": 312e12,
    "A40": 149.7e12,
    "A10": 125e12,
    "L40S": 362e12,
    "L4": 121e12,
    "V100": 125e12,
    "MI300X": 1307e12,
    "MI250X": 383e12,
    "4090": 165e12,
    "3090": 71e12,
}
"""Dense 16-bit tensor throughput by a part of the device's name, from the makers' data sheets."""

_BACKWARD = 2
"""A backward pass costs about two forward passes."""


def peak_flops(device: torch.device) -> float | None:
    """The peak 16-bit throughput of a CUDA device that `PEAK_FLOPS` knows, else None."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    words = name.replace("-", " ").split()
    return next((peak for part, peak in PEAK_FLOPS.items() if part in words), None)


@torch.no_grad()
def estimate_flops(state: State) -> float:
    """Floating-point operations of one step on this process: the networks' matrix products.

    Counted on empty views of one sample; the run's generators and weights stay as they are.
    """
    views = state.config.views
    sizes = [views.global_size] * GLOBAL_VIEWS + [views.local_size] * views.local_crops
    device = state.context.device
    images = [torch.zeros(1, len(MODEL_BANDS), size, size, device=device) for size in sizes]
    devices = [device] if device.type == "cuda" else []
    eager = torch.compiler.set_stance("force_eager")
    with torch.random.fork_rng(devices=devices), eager, state.autocast():
        with FlopCounterMode(display=False) as student:
            state.student(images)
        with FlopCounterMode(display=False) as teachers:
            state.teacher(images[:GLOBAL_VIEWS])
            if state.optical is not None:
                state.optical(optical_input(images[:GLOBAL_VIEWS]))
    per_sample = (1 + _BACKWARD) * student.get_total_flops() + teachers.get_total_flops()
    return float(per_sample * state.config.run.batch_size)
