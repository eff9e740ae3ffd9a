"""Swin with the published window arithmetic, on timm's class.

The published network pads each map to whole windows, rolls it by half a window, lets the padding
take part in attention and forbids attention across the seam. The same function, without the
padding, the roll and the masks:

* The seam cuts every rolled window where the map's border lies, so tokens attend within
  rectangular cells of the map as it stands (`cell_kinds`).
* Padding is zero after the norm, so all padding of a cell has the same key and value: the bias of
  the qkv projection. As keys they differ in the relative position bias b alone, and
  sum_j exp(q k + b_j) = exp(q k + logsumexp_j b_j), so one zero token per cell stands for them all.
"""

from collections.abc import Sequence
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple, cast

import torch
from timm.models import register_notrace_module
from timm.models.swin_transformer import SwinTransformer, SwinTransformerBlock
from torch import Tensor
from torch.nn import functional as F

from deo.models.attention import KernelChoice
from deo.models.stems import DualPatchEmbed, stem_widths


class Run(NamedTuple):
    """Consecutive equal cells along one axis; `extent` is the cell's size with its padding."""

    start: int
    number: int
    size: int
    extent: int


class CellKind(NamedTuple):
    """Cells of one shape, as a row run and a column run for each block of neighbouring ones."""

    height: int
    width: int
    padded_height: int
    padded_width: int
    places: tuple[tuple[Run, Run], ...]

    @property
    def has_padding(self) -> bool:
        return (self.height, self.width) != (self.padded_height, self.padded_width)

    @property
    def tokens(self) -> int:
        """Tokens per cell, the one that stands for the padding included."""
        return self.height * self.width + self.has_padding

    @property
    def cells(self) -> int:
        """Cells per image."""
        return sum(rows.number * columns.number for rows, columns in self.places)


def cell_runs(size: int, window: int, shift: int) -> list[Run]:
    """Cut an axis of `size` tokens where shifted windows or the rolled map's border do."""
    padded = -(-size // window) * window
    starts = list(range(0 if padded <= window else shift, padded, window))
    starts = starts if starts[0] == 0 else [0, *starts]
    cells = [
        (start, min(stop, size) - start, stop - start)
        for start, stop in zip(starts, [*starts[1:], padded], strict=True)
        if start < size
    ]
    runs = [list(run) for _, run in groupby(cells, key=lambda cell: cell[1:])]
    return [Run(run[0][0], len(run), run[0][1], run[0][2]) for run in runs]


def cell_kinds(
    size: tuple[int, int], window: tuple[int, int], shift: tuple[int, int]
) -> list[CellKind]:
    """Cut a map of (rows, columns) tokens into the cells within which tokens attend."""
    places: dict[tuple[int, int, int, int], list[tuple[Run, Run]]] = {}
    for rows in cell_runs(size[0], window[0], shift[0]):
        for columns in cell_runs(size[1], window[1], shift[1]):
            shape = (rows.size, columns.size, rows.extent, columns.extent)
            places.setdefault(shape, []).append((rows, columns))
    return [CellKind(*shape, tuple(where)) for shape, where in places.items()]


def _paired(x: Tensor, kind: CellKind, part: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Views of the map (B, H, W, C) and of one kind's cells (B * cells, L, C), place by place.

    Both of shape (B, cell rows, cell columns, height, width, C).
    """
    batch, _, _, channels = x.shape
    pairs, used = [], 0
    for rows, columns in kind.places:
        grid, cell = (rows.number, columns.number), (kind.height, kind.width)
        taken = batch * grid[0] * grid[1]
        here = part[used : used + taken, : cell[0] * cell[1]]
        used += taken
        there = x[
            :,
            rows.start : rows.start + grid[0] * cell[0],
            columns.start : columns.start + grid[1] * cell[1],
        ]
        there = there.view(batch, grid[0], cell[0], grid[1], cell[1], channels)
        here = here.view(batch, *grid, *cell, channels)
        pairs.append((there.transpose(2, 3), here))
    return pairs


def _split(joint: Tensor, kinds: Sequence[CellKind], batch: int) -> list[Tensor]:
    """Joint tokens (T, C) as one (B * cells, L, C) per kind."""
    parts = torch.split(joint, [batch * kind.cells * kind.tokens for kind in kinds])
    shape = joint.shape[1:]
    return [part.view(-1, kind.tokens, *shape) for part, kind in zip(parts, kinds, strict=True)]


def _gather(x: Tensor, kinds: Sequence[CellKind]) -> Tensor:
    """The map (B, H, W, C) as joint tokens (T, C), kind by kind and cell by cell."""
    batch = x.shape[0]
    joint = x.new_empty((batch * sum(kind.cells * kind.tokens for kind in kinds), x.shape[3]))
    for kind, part in zip(kinds, _split(joint, kinds, batch), strict=True):
        for there, here in _paired(x, kind, part):
            here.copy_(there)
        if kind.has_padding:
            part[:, -1] = 0
    return joint


def _scatter(parts: Sequence[Tensor], kinds: Sequence[CellKind], size: Sequence[int]) -> Tensor:
    """The inverse of `_gather`, of `_split` tokens, to a map of `size` (B, H, W, C)."""
    x = parts[0].new_empty(tuple(size))
    for kind, part in zip(kinds, parts, strict=True):
        for there, here in _paired(x, kind, part):
            there.copy_(here)
    return x


class _ToCells(torch.autograd.Function):
    """`_gather`; the gradient is `_scatter`, without one copy of the map per place."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kinds: Sequence[CellKind]) -> Tensor:
        ctx.kinds, ctx.size = kinds, x.shape
        return _gather(x, kinds)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        parts = _split(grads[0], ctx.kinds, ctx.size[0])
        return _ToMap.apply(ctx.kinds, ctx.size, *parts), None


class _ToMap(torch.autograd.Function):
    """`_scatter`, whose gradient is `_gather`."""

    @staticmethod
    def forward(ctx: Any, kinds: Sequence[CellKind], size: Sequence[int], *parts: Tensor) -> Tensor:
        ctx.kinds = kinds
        return _scatter(parts, kinds, size)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        joint = _ToCells.apply(grads[0], ctx.kinds)
        return None, None, *_split(joint, ctx.kinds, grads[0].shape[0])


def cell_bias(full: Tensor, kind: CellKind) -> Tensor:
    """Relative position bias among a cell's tokens.

    Args:
        full: (heads, Wh, Ww, Wh, Ww), of a whole window.

    Returns:
        (heads, L, L); the last key of a padded cell carries the logsumexp over its padding.
    """
    height, width = kind.height, kind.width
    keys = full[:, :height, :width, : kind.padded_height, : kind.padded_width].flatten(1, 2)
    real = keys[:, :, :height, :width].flatten(2)
    if not kind.has_padding:
        return real
    below, beside = keys[:, :, height:].flatten(2), keys[:, :, :height, width:].flatten(2)
    exact = torch.promote_types(full.dtype, torch.float32)
    padding = torch.cat([below, beside], dim=2).to(exact).logsumexp(2, keepdim=True)
    return F.pad(torch.cat([real, padding.to(real.dtype)], dim=2), (0, 0, 0, 1))


@register_notrace_module  # the cells depend on the input's shape
class DeoSwinBlock(KernelChoice, SwinTransformerBlock):
    """timm's Swin block, attending as the published network does at every map size."""

    def _attn(self, x: Tensor) -> Tensor:
        """Window attention of normed tokens (B, H, W, C); `attn_drop` drops padding as one."""
        batch, height, width, _ = x.shape
        layer = self.attn
        kinds = cell_kinds((height, width), self.window_size, self.shift_size)
        qkv = layer.qkv(_ToCells.apply(x, kinds))
        qkv = qkv.view(qkv.shape[0], 3, layer.num_heads, -1)
        full = layer._get_rel_pos_bias().to(qkv.dtype)
        full = full.view(-1, *self.window_size, *self.window_size)
        dropout = layer.attn_drop.p if self.training else 0.0
        parts = []
        for kind, part in zip(kinds, _split(qkv, kinds, batch), strict=True):
            q, k, v = part.permute(2, 0, 3, 1, 4)
            out = self.attend(q, k, v, cell_bias(full, kind).unsqueeze(0), dropout)
            parts.append(out.transpose(1, 2).flatten(2))
        size = (batch, height, width, parts[0].shape[2])
        out = layer.proj_drop(layer.proj(_ToMap.apply(kinds, size, *parts)))
        assert isinstance(out, Tensor)
        return out


class DeoSwin(SwinTransformer):
    """timm's SwinTransformer with stems per sensor and torchvision's windows at every size.

    Args:
        in_chans: None builds both stems; see `deo.models.stems.stem_widths`.
        bands: names for a multispectral stem of other bands than the ten.
        always_partition, strict_img_size, dynamic_img_size: fixed; accepted since timm says them.
        kwargs: as in timm.
    """

    def __init__(
        self,
        *,
        in_chans: int | None = None,
        bands: Sequence[str] | None = None,
        always_partition: bool = True,
        strict_img_size: bool = False,
        dynamic_img_size: bool = True,
        **kwargs: Any,
    ) -> None:
        widths = stem_widths(in_chans, bands)
        super().__init__(
            in_chans=sum(widths.values()),
            embed_layer=cast(Any, partial(DualPatchEmbed, widths=widths, bands=bands)),
            always_partition=True,
            strict_img_size=False,
            **kwargs,
        )
        if len(widths) > 1:
            vars(self).pop("in_chans", None)  # two stems have no one count; timm exports it
        for block in self._blocks():
            block.__class__ = DeoSwinBlock  # the stage hard-codes timm's block

    def _blocks(self) -> list[SwinTransformerBlock]:
        return [module for module in self.modules() if isinstance(module, SwinTransformerBlock)]

    def set_input_size(  # type: ignore[override]  # timm's signature differs between versions
        self,
        img_size: int | tuple[int, int] | None = None,
        patch_size: int | tuple[int, int] | None = None,
        window_size: int | tuple[int, int] | None = None,
        **kwargs: Any,
    ) -> None:
        """Change the nominal input size; windows keep their size unless a new one is said.

        timm would scale the windows with the input, which is another network.
        """
        if not kwargs.get("window_ratio"):
            window_size = window_size or self._blocks()[0].window_size
        kwargs |= {"img_size": img_size, "patch_size": patch_size, "window_size": window_size}
        super().set_input_size(**(kwargs | {"always_partition": True}))
