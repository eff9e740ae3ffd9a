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
"""Luma of ITU-R BT.601 as torchvision rounds it. The sum is 0.9999 and stays so: the published
pretraining saw this grey."""

_HUGE = 1e30
"""A difference times this, clamped to 0..1, is 1 where the difference is positive and 0 elsewhere:
a comparison as plain arithmetic."""

_BLOCK = 32
"""Output rows of one product of the blur."""


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

    def part(self, part: NDArray[np.int64]) -> "Choices":
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

    def ranking(self) -> NDArray[np.int64]:
        """(N,) an order in which crops that undergo the same operations at the same time are
        neighbours, as `augment` wants them."""
        hue_at = np.where(self.jitter, (ORDERS[self.order] == HUE).argmax(axis=1), 4)
        return np.lexsort((self.blur, np.where(self.jitter, self.order, 0), hue_at))


def augment(rgb: Tensor, choices: Choices, *, mean: Sequence[float], std: Sequence[float]) -> None:
    """Divide by the peak, jitter, grey, blur, solarize, z-score.

    Args:
        rgb: changed in place.
        choices: of these crops, in the order of their `ranking`.
    """
    # the order of the published pipeline, which is that of DINO: operators do not commute, and a
    # solarized crop that is blurred afterwards has other edges
    divide_by_peak(rgb)
    some = int(choices.jitter.sum())  # `ranking` puts the crops that are jittered first
    if some:
        jitter(rgb[:, :some], ORDERS[choices.order[:some]], choices.factors[:some])
    _replace(rgb, choices.grayscale, lambda part, _: grey(part).expand_as(part))
    _replace(
        rgb, choices.blur, lambda part, at: gaussian_blur(part, choices.sigma[at], choices.kernel)
    )
    _replace(rgb, choices.solarize, lambda part, _: solarize(part))
    scale, shift = (
        torch.tensor(values, device=rgb.device)[:, None, None, None]
        for values in ([1 / s for s in std], [-m / s for m, s in zip(mean, std, strict=True)])
    )
    rgb.mul_(scale).add_(shift)


def _replace(
    rgb: Tensor,
    mask: NDArray[np.bool_],
    operate: Callable[[Tensor, NDArray[np.int64]], Tensor],
) -> None:
    """Put in the place of the crops under `mask` what `operate` makes of them."""
    at = np.flatnonzero(mask)
    if len(at) == len(mask):
        rgb.copy_(operate(rgb, at))
    elif len(at):
        index = torch.from_numpy(at).to(rgb.device)
        rgb.index_copy_(1, index, operate(rgb.index_select(1, index), at))


def grey(rgb: Tensor) -> Tensor:
    """(N, H, W) luma with torchvision's weights."""
    return rgb[0].mul(_GREY[0]).add_(rgb[1], alpha=_GREY[1]).add_(rgb[2], alpha=_GREY[2])


def divide_by_peak(rgb: Tensor) -> None:
    """Divide each crop by the maximum over its three bands (if above 1e-6), clamp to 0..1."""
    # one maximum for the three bands keeps the crop's colours; one for each would shift them
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
    # before `rgb` is scaled in place
    luma = None if (kinds == BRIGHTNESS).all() else grey(rgb)
    rgb.mul_(_beside(rgb, factors))
    if luma is not None and (kinds == CONTRAST).any():
        # summed by rows, then over rows: in this order for any number of crops and threads
        mean = luma.sum(-1).sum(-1).div_(luma[0].numel())[:, None, None]
        rgb.add_(mean.mul_(_beside(rgb, np.where(kinds == CONTRAST, rest, 0.0))))
    if luma is not None and (kinds == SATURATION).any():
        rgb.add_(luma.mul_(_beside(rgb, np.where(kinds == SATURATION, rest, 0.0))))
    rgb.clamp_(0.0, 1.0)


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
    # a grey pixel has no hue: 1e-20 avoids 0 / 0, and its chroma of 0 leaves n whatever comes out
    hue = middle.sub_(lower).div_(torch.clamp_min(chroma, 1e-20)).mul_(1.0 / 6.0)
    not_red.mul_(torch.mul(blue_over_green, 2.0).sub_(1.0 / 3.0))
    hue.add_(not_red).sub_(blue_over_green).abs_()
    hue.add_(_beside(rgb, shifts + 1.0))  # one whole turn more: frac() of a negative is negative
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

    One product with a matrix per axis; above 128 pixels by blocks of rows, without the matrix's
    zeros.

    Args:
        sigmas: (N,) in pixels.
        kernel: taps, odd; H and W must exceed kernel // 2.

    Returns:
        (3, N, H, W)
    """
    _, count, height, width = rgb.shape
    taps = np.exp(-0.5 * ((np.arange(kernel) - kernel // 2) / sigmas[:, None]) ** 2)
    taps /= taps.sum(axis=1, keepdims=True)
    weights = torch.from_numpy(taps).to(rgb.device, torch.float32)
    rows = _blur_matrices(weights, height)
    columns = rows if width == height else _blur_matrices(weights, width)
    planes = rgb.flatten(0, 1)
    tall, wide = torch.empty_like(planes), torch.empty_like(planes)
    for outputs, inputs in _blocks(height, kernel // 2):
        torch.bmm(rows[:, outputs, inputs], planes[:, inputs], out=tall[:, outputs])
    for outputs, inputs in _blocks(width, kernel // 2):
        torch.bmm(tall[:, :, inputs], columns[:, outputs, inputs].mT, out=wide[:, :, outputs])
    return wide.view(3, count, height, width)


def _blur_matrices(taps: Tensor, size: int) -> Tensor:
    """(3N, size, size) of (N, kernel) taps: banded, the reflected borders folded in."""
    count, kernel = taps.shape
    margin = kernel // 2
    spaced = F.pad(taps, (size - 1, size - 1))
    padded = spaced.unfold(1, size + kernel - 1, 1).flip(1)
    # reflection reads pixel 1 for pixel -1: the weights of -1 are added to those of 1
    matrix = padded[:, :, margin : margin + size].contiguous()
    matrix[:, :, 1 : margin + 1] += padded[:, :, :margin].flip(2)
    matrix[:, :, -margin - 1 : -1] += padded[:, :, margin + size :].flip(2)
    return matrix.expand(3, -1, -1, -1).reshape(3 * count, size, size)


def _blocks(size: int, margin: int) -> Iterator[tuple[slice, slice]]:
    """Ranges of outputs, and of the inputs that they need."""
    blocks = size // _BLOCK if size > 4 * _BLOCK else 1
    for start, stop in pairwise(size * block // blocks for block in range(blocks + 1)):
        yield slice(start, stop), slice(max(0, start - margin), min(size, stop + margin))


def _beside(rgb: Tensor, values: NDArray[np.float64]) -> Tensor:
    """(N,) on the host -> (N, 1, 1), to be broadcast over planes."""
    return torch.from_numpy(values).to(rgb.device, torch.float32)[:, None, None]
