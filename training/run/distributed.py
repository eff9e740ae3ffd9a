"""One context for one process or many, so that no other module needs to know how many."""

import inspect
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

from deo.errors import ConfigError
from deo.models.devices import choose_device

CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class Context:
    """This process among all of a run. The default is a single process on the CPU.

    Args:
        rank, world_size: this process's number, and how many there are.
        device: where its tensors live.
    """

    rank: int = 0
    world_size: int = 1
    device: torch.device = CPU

    @property
    def main(self) -> bool:
        """Whether this process writes what is written once."""
        return self.rank == 0

    def gather(self, x: Tensor) -> Tensor:
        """(B, ...) here -> (B * world_size, ...) everywhere, in order of rank; differentiable.

        The gradient is the sum over the processes: where each computes the same function of the
        whole, averaging parameter gradients over processes gives the gradient of that function.
        """
        if self.world_size == 1:
            return x
        gathered: Tensor = _Gather.apply(x)
        return gathered

    def mean(self, x: Tensor) -> Tensor:
        """The mean over the processes, without gradient."""
        if self.world_size == 1:
            return x.detach()
        total = x.detach().clone()  # the reduction works in place
        dist.all_reduce(total)
        return total / self.world_size

    def barrier(self) -> None:
        """Wait for all."""
        if self.world_size > 1:
            dist.barrier()


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        # each process holds the gradient of its own copy of the loss with respect to all samples;
        # the transpose of gathering is to add those up and to keep the part of one's own
        total = gradients[0].contiguous()
        dist.all_reduce(total)
        return total.chunk(dist.get_world_size())[dist.get_rank()]


@contextmanager
def connect(device: str = "auto") -> Iterator[Context]:
    """Join the processes that torchrun started, or stand alone; leave them at the end.

    Args:
        device: `auto`, `cpu`, `cuda` or `cuda:1`. With several processes each takes the CUDA device
            of its local rank.

    Raises:
        ConfigError: CUDA is asked for and not there.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    chosen = _device(device, several=world_size > 1)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if world_size == 1:
        yield Context(device=chosen)
        return
    on_gpu = chosen.type == "cuda"
    dist.init_process_group("nccl" if on_gpu else "gloo", device_id=chosen if on_gpu else None)
    try:
        yield Context(rank=dist.get_rank(), world_size=world_size, device=chosen)
    finally:
        dist.destroy_process_group()


def _device(text: str, *, several: bool) -> torch.device:
    if several and text in ("auto", "cuda") and torch.cuda.is_available():
        # named before anything is tried on it: each process would hold memory of the first too
        text = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    device = choose_device(None if text == "auto" else text)
    if str(device) == "cuda":
        device = torch.device("cuda", torch.cuda.current_device())
    return device


def share(
    student: nn.Module, blocks: list[nn.Module], context: Context, *, strategy: str
) -> nn.Module:
    """The student as all processes train it: one copy each (`ddp`) or in shards (`fsdp`).

    With one process this is the student itself. Sharding changes its parameters in place, each of
    `blocks` being one unit; whatever must keep their names or pair up with them does so after.
    """
    if strategy == "fsdp":
        return shard(student, blocks)
    if context.world_size == 1:
        return student
    ids = [context.device.index] if context.device.type == "cuda" else None
    wrapper = nn.parallel.DistributedDataParallel
    known = inspect.signature(wrapper).parameters  # torch 2.15 renamed the argument
    sync = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    options: dict[str, Any] = {sync: False}
    return wrapper(student, device_ids=ids, gradient_as_bucket_view=True, **options)


def shard(module: nn.Module, blocks: list[nn.Module], *, methods: Sequence[str] = ()) -> nn.Module:
    """Shard a module over all processes in place (FSDP2), each of `blocks` being one unit.

    The module's own parameters are let go after each forward pass as well: a module without a
    backward pass, such as the EMA teacher, would go on with the values of its first one.

    Args:
        methods: names of those that may be called in the place of `forward`, on all processes.

    Raises:
        ConfigError: no processes were joined (torchrun starts them).
    """
    if not dist.is_initialized():
        raise ConfigError("run.strategy=fsdp needs processes to share between; start with torchrun")
    for block in blocks:
        fully_shard(block)
    fully_shard(module, reshard_after_forward=True)
    for method in methods:
        register_fsdp_forward_method(module, method)
    return module
