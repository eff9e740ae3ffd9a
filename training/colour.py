"""Colour operators on batches of RGB planes, equal to torchvision's and kornia's.

Every function takes `rgb` of shape (3, N, H, W), float32, mostly in 0..1, and works in place.
Planes come first so that each operation runs over one contiguous block for all N crops.
Comparisons that pick values (`torch.where`) are several times slower on a CPU than arithmetic on
the same elements (measured 10 to 20 times in torch 2.15), so the operators are written without.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise, permutations
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

KINDS = ("brightness", "contrast", "saturation", "hue")
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
ORDERS = np.array(list(permutations(range(4))))
"""(24, 4): every order of the four kinds."""

_GREY = (0.2989, 0.587, 0.114)
_HUGE = 1e30
_BLOCK = 32


class Choices(NamedTuple):
    """What happens to the colours of N crops; each field has N rows, but `kernel`.

    `jitter`, `grayscale`, `blur`, `solarize` are masks; `order` is a row of ORDERS; `factors`
    (N, 4) go by kind (three factors, then the hue's shift in turns); `sigma` is in pixels.
    """

    jitter: NDArray[np.bool_]
    order: NDArray[np.int64]
    factors: NDArray[np.float64]
    grayscale: NDArray[np.bool_]
    blur: NDArray[np.bool_]
    sigma: NDArray[np.float64]
    kernel: int
    solarize: NDArray[np.bool_]

    def part(self, part: slice | NDArray[np.int64]) -> "Choices":
        return Choices(
            jitter=self.jitter[part],
            order=self.order[part],
            factors=self.factors[part],
            grayscale=self.grayscale[part],
            blur=self.blur[part],
            sigma=self.sigma[part],
            kernel=self.kernel,
            solarize=self.solarize[part],
        )


def augment(
    crops: Tensor, choices: Choices, *, mean: Sequence[float], std: Sequence[float]
) -> None:
    """Divide by the peak, jitter, grey, blur, solarize, z-score.

    Args:
        crops: (N, 3, H, W) float32, changed in place.
    """
    place = np.where(choices.jitter, (ORDERS[choices.order] == HUE).argmax(axis=1), 4)
    rank = np.argsort(place, kind="stable")
    choices = choices.part(rank)
    rgb = _take(crops.transpose(0, 1), rank)
    divide_by_peak(rgb)
    jittered = int(choices.jitter.sum())
    if jittered:
        jitter(rgb[:, :jittered], ORDERS[choices.order[:jittered]], choices.factors[:jittered])
    _put(rgb, choices.grayscale, lambda some, _: grey(some).expand_as(some))
    _put(rgb, choices.blur, lambda some, at: gaussian_blur(some, choices.sigma[at], choices.kernel))
    _put(rgb, choices.solarize, lambda some, _: solarize(some))
    scale, shift = (
        torch.tensor(values, device=rgb.device)[:, None, None, None]
        for values in ([1 / s for s in std], [-m / s for m, s in zip(mean, std, strict=True)])
    )
    rgb.mul_(scale).add_(shift)
    crops.copy_(_take(rgb, np.argsort(rank)).transpose(0, 1))


def _take(rgb: Tensor, index: NDArray[np.int64]) -> Tensor:
    return rgb.index_select(1, torch.from_numpy(index).to(rgb.device))


def _put(
    rgb: Tensor,
    mask: NDArray[np.bool_],
    operate: Callable[[Tensor, NDArray[np.int64]], Tensor],
) -> None:
    """Replace the crops under `mask` by what `operate` makes of them."""
    at = np.flatnonzero(mask)
    if len(at):
        rgb.index_copy_(1, torch.from_numpy(at).to(rgb.device), operate(_take(rgb, at), at))


def grey(rgb: Tensor) -> Tensor:
    """(N, H, W) luma with torchvision's weights."""
    return rgb[0].mul(_GREY[0]).add_(rgb[1] * _GREY[1]).add_(rgb[2] * _GREY[2])


def divide_by_peak(rgb: Tensor) -> None:
    """Divide each crop by the maximum over its three bands (if above 1e-6), clamp to 0..1."""
    peak = torch.maximum(torch.maximum(rgb[0], rgb[1]), rgb[2]).flatten(1).amax(1)
    peak = torch.where(peak > 1e-6, peak, 1.0)
    rgb.div_(peak[:, None, None]).clamp_(0.0, 1.0)


def blend(rgb: Tensor, kinds: NDArray[np.int64], factors: NDArray[np.float64]) -> None:
    """Brightness, contrast or saturation, for each crop its own.

    All three are clamp(f * x + (1 - f) * other, 0, 1), where other is black, the mean of the
    crop's grey, or the grey.

    Args:
        kinds: (N,) BRIGHTNESS, CONTRAST or SATURATION.
        factors: (N,) not negative.
    """
    rest = 1.0 - factors
    by_mean = _plane_factors(np.where(kinds == CONTRAST, rest, 0.0), rgb)
    by_grey = _plane_factors(np.where(kinds == SATURATION, rest, 0.0), rgb)
    rgb_factor = _plane_factors(factors, rgb)
    if (kinds == BRIGHTNESS).all():
        rgb.mul_(rgb_factor).clamp_(0.0, 1.0)
        return
    other = grey(rgb)
    # summed by rows, then over rows: the order is the same for any number of crops and threads
    mean = other.sum(-1).sum(-1).div_(other[0].numel())[:, None, None]
    other.mul_(by_grey).add_(mean * by_mean)
    rgb.mul_(rgb_factor).add_(other).clamp_(0.0, 1.0)


def shift_hue(rgb: Tensor, shifts: NDArray[np.float64]) -> None:
    """Turn the hue by `shifts` (N,), in turns, -0.5..0.5, through HSV.

    With x, n the largest and smallest of a pixel's three values and h its hue in turns, the result
    is n + (x - n) * clamp(6 |frac(h + o) - 1/2| - 1, 0, 1), o = 0, 2/3, 1/3 for red, green, blue.
    h itself is |K + (mid - lesser) / (6 (x - n))| with K fixed by the order of the three values:
    0 if r >= g >= b, -1 if r >= b > g, -1/3 if r < g >= b, 2/3 if r < b > g.
    """
    red, green, blue = rgb
    upper, lower = torch.maximum(green, blue), torch.minimum(green, blue)
    blue_over_green = torch.sub(blue, green).mul_(_HUGE).clamp_(0.0, 1.0)
    not_red = torch.sub(upper, red).mul_(_HUGE).clamp_(0.0, 1.0)
    low = torch.minimum(red, lower)
    middle = torch.minimum(red, upper)
    chroma = torch.maximum(red, upper).sub_(low)
    hue = middle.sub_(lower).div_(torch.clamp_min(chroma, 1e-20)).div_(6.0)
    not_red.mul_(torch.mul(blue_over_green, 2.0).sub_(1.0 / 3.0))
    hue.add_(not_red).sub_(blue_over_green).abs_()
    hue.add_(_plane_factors(shifts + 1.0, rgb))
    for plane, offset in zip(rgb, (0.0, 2.0 / 3.0, 1.0 / 3.0), strict=True):
        torch.add(hue, offset, out=plane).frac_().sub_(0.5).abs_().mul_(6.0).sub_(1.0)
        plane.clamp_(0.0, 1.0).mul_(chroma).add_(low)


def jitter(rgb: Tensor, orders: NDArray[np.int64], factors: NDArray[np.float64]) -> None:
    """torchvision's ColorJitter with given orders and factors.

    Args:
        orders: (N, 4) each row an order of BRIGHTNESS, CONTRAST, SATURATION, HUE. Rows must be
            sorted by the place of HUE: crops whose hue turns at one time then lie side by side.
        factors: (N, 4) by kind: three factors and the hue's shift in turns.
    """
    place = (orders == HUE).argmax(axis=1)
    edges = np.searchsorted(place, np.arange(5)).tolist()
    others = orders[orders != HUE].reshape(-1, 3)
    for step in range(4):
        now = slice(edges[step], edges[step + 1])
        if now.stop > now.start:
            shift_hue(rgb[:, now], factors[now, HUE])
        if step < 3:
            kinds = others[:, step]
            blend(rgb, kinds, np.take_along_axis(factors, kinds[:, None], axis=1)[:, 0])


def solarize(rgb: Tensor) -> Tensor:
    """1 - x where x >= 1/2, that is the smaller of x and 1 - x; not in place."""
    return torch.minimum(rgb, 1.0 - rgb)


def gaussian_blur(rgb: Tensor, sigmas: NDArray[np.float64], kernel: int) -> Tensor:
    """Separable Gaussian with reflected borders, each crop its own sigma; not in place.

    A block of outputs is one product of a small banded matrix with the inputs that it needs:
    five times less arithmetic than a full matrix at 224 pixels.

    Args:
        sigmas: (N,) in pixels.
        kernel: taps, odd; H and W must exceed kernel // 2.

    Returns:
        (3, N, H, W)
    """
    _, count, height, width = rgb.shape
    margin = kernel // 2
    padded = F.pad(rgb, (margin,) * 4, mode="reflect").flatten(0, 1)
    taps = np.exp(-0.5 * ((np.arange(kernel) - margin) / sigmas[:, None]) ** 2)
    taps /= taps.sum(axis=1, keepdims=True)
    weights = torch.from_numpy(taps).to(rgb.device, torch.float32)
    tall = rgb.new_empty(3 * count, height, width + 2 * margin)
    for band, outputs, inputs in _bands(weights, height):
        torch.bmm(band, padded[:, inputs], out=tall[:, outputs])
    wide = rgb.new_empty(3 * count, height, width)
    for band, outputs, inputs in _bands(weights, width):
        torch.bmm(tall[:, :, inputs], band.mT, out=wide[:, :, outputs])
    return wide.view(3, count, height, width)


def _bands(taps: Tensor, size: int) -> Iterator[tuple[Tensor, slice, slice]]:
    """Banded matrices (3N, outputs, inputs) that make each block of outputs from padded inputs."""
    kernel = taps.shape[1]
    blocks = max(1, round(size / _BLOCK))
    most = -(-size // blocks)
    spaced = F.pad(taps, (most - 1, most - 1))
    band = spaced.unfold(1, most + kernel - 1, 1).flip(1).repeat(3, 1, 1)
    for start, stop in pairwise(size * block // blocks for block in range(blocks + 1)):
        count = stop - start
        yield (
            band[:, :count, : count + kernel - 1],
            slice(start, stop),
            slice(start, stop + kernel - 1),
        )


def _plane_factors(values: NDArray[np.float64], rgb: Tensor) -> Tensor:
    """(N,) on the host -> (N, 1, 1) beside `rgb`."""
    return torch.from_numpy(values).to(rgb.device, torch.float32)[:, None, None]
