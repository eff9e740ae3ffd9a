"""The rectangular cells within which tokens of a Swin map attend.

The published network pads each map to whole windows, rolls it by half a window, lets the padding
take part in attention and forbids attention across the seam. The same function, without the
padding, the roll and the masks:

* The seam cuts every rolled window where the map's border lies, so tokens attend within
  rectangular cells of the map as it stands. (The published mask adds -100, not minus infinity:
  what leaks through is below float32's resolution unless scores differ by more than 80.)
* Padding is zero after the norm, so all padding of a cell has the same key and value: the bias of
  the qkv projection. As keys they differ in the relative position bias b alone, and
  sum_j exp(q k + b_j) = exp(q k + logsumexp_j b_j), so one zero token per cell stands for them all.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class Run(NamedTuple):
    """Consecutive equal cells along one axis; `extent` is a cell's size with its padding."""

    start: int
    number: int
    size: int
    extent: int

    @property
    def length(self) -> int:
        """Tokens of the axis in this run."""
        return self.number * self.size


class Kind(NamedTuple):
    """Cells of one shape: where they are, as (index of row run, index of column run)."""

    height: int
    width: int
    padded_height: int
    padded_width: int
    places: tuple[tuple[int, int], ...]

    @property
    def has_padding(self) -> bool:
        return (self.height, self.width) != (self.padded_height, self.padded_width)

    @property
    def tokens(self) -> int:
        """Tokens per cell, the one that stands for the padding included."""
        return self.height * self.width + int(self.has_padding)


class Layout(NamedTuple):
    """A map cut into cells: runs of rows by runs of columns, grouped by the cells' shape."""

    rows: list[Run]
    columns: list[Run]
    kinds: list[Kind]


def runs(size: int, window: int, shift: int) -> list[Run]:
    """Cut an axis of `size` tokens where shifted windows or the rolled map's border do."""
    padded = -(-size // window) * window  # rounded up: the padding lies below and to the right
    # rolling by `shift` puts the first seam there; a map of one window is not rolled
    starts = list(range(0 if padded <= window else shift, padded, window))
    starts = starts if starts[0] == 0 else [0, *starts]
    cells = [
        (start, min(stop, size) - start, stop - start)
        for start, stop in zip(starts, [*starts[1:], padded], strict=True)
        if start < size  # a cell of nothing but padding has no query, and nobody attends to it
    ]
    # equal neighbours become one run, so that a map of any size has at most three runs an axis
    equal = [list(run) for _, run in groupby(cells, key=lambda cell: cell[1:])]
    return [Run(run[0][0], len(run), run[0][1], run[0][2]) for run in equal]


def layout(size: tuple[int, int], window: tuple[int, int], shift: tuple[int, int]) -> Layout:
    """Cut a map of (rows, columns) tokens."""
    rows, columns = (runs(*axis) for axis in zip(size, window, shift, strict=True))
    places: dict[tuple[int, int, int, int], list[tuple[int, int]]] = {}
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            shape = (row.size, column.size, row.extent, column.extent)
            places.setdefault(shape, []).append((i, j))
    return Layout(rows, columns, [Kind(*shape, tuple(where)) for shape, where in places.items()])


def gather(x: Tensor, cut: Layout) -> list[Tensor]:
    """The map (B, H, W, C) as cells (B * cells, tokens, C) of each kind; padding is zero."""
    widths = [column.length for column in cut.columns]
    blocks = [
        torch.split(band, widths, dim=2)
        for band in torch.split(x, [row.length for row in cut.rows], dim=1)
    ]
    parts = []
    for kind in cut.kinds:
        cell = (kind.height, kind.width)
        cells = []
        for i, j in kind.places:
            grid = (cut.rows[i].number, cut.columns[j].number)
            view = blocks[i][j].reshape(x.shape[0], grid[0], cell[0], grid[1], cell[1], -1)
            cells.append(view.transpose(2, 3).reshape(-1, cell[0] * cell[1], x.shape[3]))
        # cells of one shape go through attention as one batch, wherever they lie
        part = _joined(cells, dim=0)
        parts.append(F.pad(part, (0, 0, 0, 1)) if kind.has_padding else part)
    return parts


def scatter(parts: Sequence[Tensor], cut: Layout, batch: int) -> Tensor:
    """The inverse of `gather`: cells of each kind to the map (B, H, W, C), padding dropped."""
    blocks: dict[tuple[int, int], Tensor] = {}
    for kind, part in zip(cut.kinds, parts, strict=True):
        grids = [(cut.rows[i].number, cut.columns[j].number) for i, j in kind.places]
        real = part[:, : kind.height * kind.width]  # without the token that stands for padding
        shares = torch.split(real, [batch * down * across for down, across in grids])
        for place, grid, share in zip(kind.places, grids, shares, strict=True):
            view = share.view(batch, *grid, kind.height, kind.width, -1).transpose(2, 3)
            blocks[place] = view.reshape(
                batch, grid[0] * kind.height, grid[1] * kind.width, part.shape[2]
            )
    bands = [
        _joined([blocks[i, j] for j in range(len(cut.columns))], dim=2)
        for i in range(len(cut.rows))
    ]
    return _joined(bands, dim=1)


def bias(full: Tensor, kind: Kind) -> Tensor:
    """Relative position bias among a cell's tokens.

    Args:
        full: (heads, Wh, Ww, Wh, Ww), of a whole window.

    Returns:
        (heads, tokens, tokens); the last key of a padded cell carries the logsumexp over its
        padding.
    """
    height, width = kind.height, kind.width
    # a cell is the top left part of its window: bias depends on differences of positions alone, so
    # it does not matter where in the rolled window the cell lay
    keys = full[:, :height, :width, : kind.padded_height, : kind.padded_width].flatten(1, 2)
    real = keys[:, :, :height, :width].flatten(2)
    if not kind.has_padding:
        return real
    below, beside = keys[:, :, height:].flatten(2), keys[:, :, :height, width:].flatten(2)
    # exponentials of dozens of biases: half precision would lose the small ones of the sum
    exact = torch.promote_types(full.dtype, torch.float32)
    padding = torch.cat([below, beside], dim=2).to(exact).logsumexp(2, keepdim=True)
    return F.pad(torch.cat([real, padding.to(real.dtype)], dim=2), (0, 0, 0, 1))


def _joined(tensors: list[Tensor], dim: int) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors, dim)
