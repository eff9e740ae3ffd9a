"""What keeps a forked child of a process that has computed from waiting for ever."""

import os
from functools import cache

import torch


@cache
def compute_alone_when_forked() -> None:
    """From now on, children forked by this process compute in one thread.

    PyTorch's pool of threads (OpenMP's) does not survive a fork: a child that asks it for help
    waits for ever. With one thread it is not asked. PyTorch does the same in the workers of its
    own loader. Called where a model is built, since nothing has been computed before that.
    """
    if hasattr(os, "register_at_fork"):  # no forks on Windows
        os.register_at_fork(after_in_child=_compute_alone)


def _compute_alone() -> None:
    torch.set_num_threads(1)
