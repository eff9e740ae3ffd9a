"""Two processes with half of the batch each against one with the whole."""

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from deo.errors import ConfigError
from deo.training.config import Config, Optim, Run
from deo.training.method.config import Loss, Model, Switches, Views
from deo.training.method.layers import Widths
from deo.training.method.optical import OpticalFeatures
from deo.training.run.distributed import Context, connect
from deo.training.run.state import State, build
from deo.training.run.step import objective, optical_input, train_step

BATCH = 8


class Optical:
    """A teacher without weights: channel means and differences of pooled pixels."""

    widths = Widths(3, 3, 6)
    licence = "none"

    def __call__(self, images: Tensor) -> OpticalFeatures:
        small = torch.nn.functional.adaptive_avg_pool2d(images, 5)
        return OpticalFeatures(small.mean((2, 3)), small, torch.cat([small, small.square()], 1))


def config(processes: int, **changes: Any) -> Config:
    return replace(
        Config(
            model=Model(name="test_deo_vit", head_hidden=16, z=16),
            views=Views(global_size=32, local_size=32, local_crops=1),
            loss=Loss(eps=0.5),
            # an eps far above every gradient: AdamW goes along it, without dividing by its noise
            optim=Optim(lr=3e6, eps=1e6, warmup_steps=0, weight_decay=0, weight_decay_end=0),
            run=Run(steps=4, batch_size=BATCH // processes, precision="fp32", device="cpu"),
        ),
        **changes,
    )


def batch(context: Context) -> tuple[Tensor, Tensor]:
    images = torch.rand(BATCH, 10, 40, 40, generator=torch.Generator().manual_seed(0)) * 3000
    numbers = torch.arange(BATCH)
    share = slice(context.rank, None, context.world_size)
    return images[share], numbers[share]


def gradients(state: State, images: Tensor, samples: Tensor) -> dict[str, Tensor]:
    """Gradients of one step by name, and the loss averaged over processes."""
    views = state.views(images, samples, 0)
    with torch.no_grad():
        target = state.teacher(views[:2])
    assert state.optical is not None
    terms = objective(state, state.model(views), target, state.optical(optical_input(views[:2])))
    terms.loss.backward()  # type: ignore[no-untyped-call]
    found = {n: p.grad.clone() for n, p in state.student.named_parameters() if p.grad is not None}
    state.optimizer.zero_grad()
    return found | {"loss": state.context.mean(terms.loss)}


def perturb(state: State) -> None:
    """Spread the samples: the heads start so small that all look alike."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in state.student.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))


def run(context: Context) -> dict[str, Any]:
    """Weights after two steps, then gradients, under `default`; the loss of the local form."""
    images, samples = batch(context)
    state = build(config(context.world_size), context, steps_per_epoch=4, optical=Optical())
    for _ in range(2):
        train_step(state, images, samples)
    found: dict[str, Any] = {
        "after": copy.deepcopy(state.student.state_dict()),
        "ema": copy.deepcopy(state.teacher.state_dict()),
    }
    with torch.no_grad():
        found["embedded"] = state.teacher.embed(images)
    perturb(state)
    found["gradients"] = gradients(state, images, samples)
    state.config = replace(state.config, switches=Switches(local_gram=True))
    found["local"] = gradients(state, images, samples)["loss"]
    return found


def gather_and_mean(context: Context) -> dict[str, Tensor]:
    x = torch.full((2, 3), float(context.rank), requires_grad=True)
    everywhere = context.gather(x)
    weights = torch.arange(everywhere.numel(), dtype=torch.float32).view_as(everywhere)
    (everywhere * weights).sum().backward()
    assert x.grad is not None
    return {"all": everywhere.detach(), "grad": x.grad, "mean": context.mean(x)}


def sharded(context: Context, *, whole: dict[str, Any]) -> dict[str, Tensor]:
    """How far weights in shards are from `whole` ones after the same two steps."""
    images, samples = batch(context)
    base = config(context.world_size)
    state = build(
        replace(base, run=replace(base.run, strategy="fsdp")),
        context,
        steps_per_epoch=4,
        optical=Optical(),
    )
    for _ in range(2):
        train_step(state, images, samples)
    far = {}
    for part, module in (("after", state.student), ("ema", state.teacher)):
        for name, value in module.state_dict().items():
            assert isinstance(value, DTensor)
            far[f"{part}.{name}"] = (value.full_tensor() - whole[part][name]).abs().max()
    with torch.no_grad():  # as the online probe does, past `forward`
        far["embedded"] = (state.teacher.embed(images) - whole["embedded"]).abs().max()
    return far


def save_all(folder: Path) -> None:
    """What one of two processes does."""
    with connect("cpu") as context:
        steps = run(context)
        content = {
            "steps": steps,
            "gather": gather_and_mean(context),
            "sharded": sharded(context, whole=steps),
        }
        torch.save(content, folder / f"{context.rank}.pt")


@pytest.mark.filterwarnings(
    "ignore:FSDP2-wrapped module.*returned a view:UserWarning"  # nothing writes into it
)
def test_two_processes__equal_one_with_the_whole_batch(
    tmp_path: Path, together: Callable[..., None]
) -> None:
    together(partial(save_all, tmp_path), 2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    whole = run(Context())
    steps = first["steps"]
    torch.testing.assert_close(steps["gradients"], second["steps"]["gradients"])
    torch.testing.assert_close(steps["gradients"], whole["gradients"], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(steps["after"], whole["after"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(steps["ema"], whole["ema"], rtol=1e-4, atol=1e-5)
    # the published local form has another objective for every number of processes
    assert abs(steps["local"] - whole["local"]) > 0.05 * abs(whole["local"])

    gathered = first["gather"]
    torch.testing.assert_close(gathered["all"], torch.tensor([[0.0] * 3] * 2 + [[1.0] * 3] * 2))
    torch.testing.assert_close(gathered["grad"], 2 * torch.arange(6.0).view(2, 3))
    torch.testing.assert_close(second["gather"]["grad"], 2 * torch.arange(6.0, 12).view(2, 3))
    torch.testing.assert_close(gathered["mean"], torch.full((2, 3), 0.5))
    assert max(first["sharded"].values()) < 1e-5


def test_context__one_process_has_no_branches() -> None:
    x = torch.randn(3, requires_grad=True)
    context = Context()
    assert context.gather(x) is x
    assert torch.equal(context.mean(x), x.detach())
    assert context.main
    context.barrier()
    with connect("cpu") as alone:
        assert (alone.rank, alone.world_size, alone.device.type) == (0, 1, "cpu")


@pytest.mark.parametrize("device", ["cuda:7", "quantum"])
def test_connect__says_what_is_not_there(device: str) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(ConfigError, match="cpu"), connect(device):
        pass
