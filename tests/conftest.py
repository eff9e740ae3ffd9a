"""Fixtures that every part of the suite may use."""

import os
from pathlib import Path

import pytest
import torch

SHARED = Path(os.environ.get("DEO_SHARED", Path(__file__).parents[2] / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real scenes and golden numbers; tests that want it are skipped without it."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the real data folder {SHARED} (set DEO_SHARED)")
    return SHARED


def pytest_sessionstart() -> None:
    """Keep parallel workers to a core each, and their children able to differentiate.

    Autograd starts its threads with the first backward pass, one for each device that something,
    a test of exports for instance, made PyTorch believe in; a fork of such a process cannot
    differentiate. A first pass at the start finds no device and starts none.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        torch.set_num_threads(1)
    torch.ones(1, requires_grad=True).backward()
