"""Random initial weights that depend on a seed and on nothing else in the process."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_DRAWS = frozenset(
    [
        *("uniform_", "normal_", "trunc_normal_", "bernoulli_", "random_", "exponential_"),
        *("kaiming_uniform_", "kaiming_normal_", "xavier_uniform_", "xavier_normal_"),
        *("orthogonal_", "rand", "randn", "randint", "randperm", "bernoulli", "normal"),
    ]
)
"""Functions of torch, of its tensors and of `torch.nn.init` that draw, by name."""


class SeededDraws(TorchFunctionMode):
    """Inside, what this thread draws on the CPU comes from a generator of its own.

    The numbers are those that `torch.manual_seed(seed)` would give. The global generator, which
    all threads share, is neither read nor moved: `torch.random.fork_rng` puts it back only
    afterwards, so that two threads building models at once would draw from each other's sequence.

    Args:
        seed: of the generator.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._generator = torch.Generator().manual_seed(seed)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        if getattr(func, "__name__", "") in _DRAWS and given.get("generator") is None:
            given["generator"] = self._generator
        return func(*args, **given)
