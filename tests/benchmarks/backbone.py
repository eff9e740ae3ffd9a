"""Speed of the backbones against the published networks, both built here, in one run.

    python tests/benchmarks/backbone.py [--rounds 5] [--threads 2] [--cases swin224 swin384 vit224]

Every round times each contestant once, in turn, so that what else the machine does falls on all.
On a machine that others use, `--threads 1 --clock cpu` counts this process's time alone.
Printed are the medians over the rounds of the ratio to the published network in float32 of the
same round, and the share of the rate at which this machine multiplies large matrices.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import timm
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.swin_transformer import SwinTransformer

import deo  # noqa: F401  (registers the backbones)


class PublishedSwin(nn.Module):
    """torchvision's Swin-B without its patch embedding, behind the multispectral stem."""

    def __init__(self, window: int) -> None:
        super().__init__()
        trunk = SwinTransformer([4, 4], 128, [2, 2, 18, 2], [4, 8, 16, 32], [window, window])
        self.features = trunk.features[1:]
        self.conv_ms = nn.Conv2d(10, 128, 4, stride=4)
        self.norm_ms = nn.LayerNorm(128)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.norm_ms(self.conv_ms(x).permute(0, 2, 3, 1))
        maps = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index % 2 == 0:
                maps.append(x)
        return maps


class PublishedBlock(nn.Module):
    """DINO's block: plain attention."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        b, n, c = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(b, n, 3, self.heads, c // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        scores = (q @ k.transpose(-2, -1)) * (c // self.heads) ** -0.5
        x = x + self.proj((scores.softmax(dim=-1) @ v).transpose(1, 2).reshape(b, n, c))
        return x + self.mlp(self.norm2(x))


class PublishedViT(nn.Module):
    """DINO's ViT-B at its own size, behind the multispectral stem."""

    def __init__(self, patch: int, size: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(10, 768, patch, stride=patch)
        self.cls = nn.Parameter(torch.zeros(1, 1, 768))
        self.positions = nn.Parameter(torch.zeros(1, (size // patch) ** 2 + 1, 768))
        self.blocks = nn.Sequential(*[PublishedBlock(768, 12) for _ in range(12)])

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.stem(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls.expand(len(x), -1, -1), tokens], dim=1)
        return self.blocks(tokens + self.positions)


def our(name: str) -> nn.Module:
    return timm.create_model(name, in_chans=10, features_only=True)


CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[], nn.Module], int]] = {
    "swin224": (lambda: PublishedSwin(12), lambda: our("deo_swin_b"), 224),
    "swin384": (lambda: PublishedSwin(12), lambda: our("deo_swin_b"), 384),
    "vit224": (lambda: PublishedViT(8, 224), lambda: our("deo_vit_b"), 224),
}


CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}


def matrix_rate(dtype: torch.dtype, clock: str, size: int = 3072) -> float:
    """Operations per second of one large matrix product, best of five."""
    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    torch.mm(a, b)
    return 2 * size**3 / min(seconds(lambda: torch.mm(a, b), clock) for _ in range(5))


def seconds(call: Callable[[], object], clock: str) -> float:
    start = CLOCKS[clock]()
    call()
    return CLOCKS[clock]() - start


def operations(model: nn.Module, x: Tensor) -> int:
    """Multiplications and additions of one forward pass, as its matrix products count them."""
    with FlopCounterMode(display=False) as counter:
        model(x)
    return counter.get_total_flops()


@torch.inference_mode()
def compare(case: str, batch: int, rounds: int, clock: str) -> None:
    published, ours, size = CASES[case]
    x = torch.randn(batch, 10, size, size)
    models = {}
    for label, make in (("published", published), ("deo", ours)):
        for dtype in (torch.float32, torch.bfloat16):
            models[label, dtype] = make().eval().to(dtype)
    inputs = {dtype: x.to(dtype) for dtype in (torch.float32, torch.bfloat16)}
    for (_, dtype), model in models.items():
        model(inputs[dtype][:1])
    times: dict[tuple[str, torch.dtype], list[float]] = {key: [] for key in models}
    rates: dict[torch.dtype, list[float]] = {dtype: [] for dtype in inputs}
    for _ in range(rounds):
        for dtype, found in rates.items():
            found.append(matrix_rate(dtype, clock))
        for key, model in models.items():
            times[key].append(seconds(lambda m=model, k=key: m(inputs[k[1]]), clock))
    base = times["published", torch.float32]
    threads = torch.get_num_threads()
    print(f"\n{case}: batch {batch}, 10 x {size} x {size}, {threads} threads, {clock} clock")
    for (label, dtype), found in times.items():
        ratio = statistics.median(b / f for b, f in zip(base, found, strict=True))
        spent = statistics.median(found)
        gflop = operations(models[label, dtype], inputs[dtype][:1]) * batch / 1e9
        share = gflop * 1e9 / spent / statistics.median(rates[dtype])
        rate = statistics.median(rates[dtype]) / 1e9
        print(
            f"  {label:9} {str(dtype).removeprefix('torch.'):8}  {spent:7.3f} s  x {ratio:4.2f}   "
            f"{gflop / batch:5.1f} GFLOP per image at {share:4.0%} of {rate:.0f} GFLOP/s"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    for case in args.cases:
        compare(case, args.batch, args.rounds, args.clock)


if __name__ == "__main__":
    main()
