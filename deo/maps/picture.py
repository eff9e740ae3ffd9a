"""Panels side by side on one PNG, with titles, notes and a scale bar. Pixels only, no maps."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from deo.scene.grid import Turn

PANEL = 800  # longest side of a panel, in pixels of the picture
_MARGIN = 20
_TITLE, _NOTE = 19, 14
_INK, _FAINT = (20, 20, 20, 255), (95, 95, 95, 255)
_PAPER = (255, 255, 255, 255)

Rgba = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One image with words.

    Args:
        image: (H, W, 4) uint8, transparent where there is nothing.
        title: above the image.
        notes: below it, one line each.
        key: small squares of colour with their meaning, in front of the first note.
        ramp: colours (n, 4) from low to high with the numbers at its ends, instead of a key.
        cells: (columns, rows) of the image that the panel's area covers, where the last ones
            reach past it; None: all.
        mask: (h, w) bool, where the panel shows anything; None: where the image does.
        mark: (x, y) as fractions of the image, circled.
    """

    image: Rgba
    title: str
    notes: Sequence[str] = ()
    key: Sequence[tuple[tuple[int, int, int], str]] = ()
    ramp: tuple[Rgba, str, str] | None = None
    cells: tuple[float, float] | None = None
    mask: NDArray[np.bool_] | None = None
    mark: tuple[float, float] | None = None


def ramp(values: NDArray[np.float32], low: float, high: float) -> Rgba:
    """Numbers (H, W) -> dark blue over green to yellow (H, W, 4); NaN is transparent."""
    anchors = np.array(
        [
            (68, 1, 84), (71, 44, 122), (59, 81, 139), (44, 113, 142), (33, 144, 141),
            (39, 173, 129), (92, 200, 99), (170, 220, 50), (253, 231, 37),
        ],
        np.float64,
    )  # fmt: skip
    position = np.clip((np.nan_to_num(values, nan=low) - low) / max(high - low, 1e-12), 0, 1)
    stops = np.linspace(0, 1, len(anchors))
    out = np.empty((*values.shape, 4), np.uint8)
    for channel in range(3):
        out[..., channel] = np.rint(np.interp(position, stops, anchors[:, channel]))
    out[..., 3] = np.where(np.isnan(values), 0, 255)
    return out


def compose(
    panels: Sequence[Panel], *, metres_across: float | None, turn: Turn | None = None
) -> Image.Image:
    """Draw the panels side by side, all of the shape of the first.

    Args:
        metres_across: width of a drawn panel on the ground, for the scale bar; None: no bar.
        turn: of the images, so that north is up; None: as they are.
    """
    turn = turn or Turn()
    height, width = panels[0].image.shape[:2]
    if panels[0].cells is not None:
        width, height = panels[0].cells
    scale = PANEL / max(height, width)
    size = turn.size(max(1, round(width * scale)), max(1, round(height * scale)))
    top = 2 * _MARGIN + _TITLE
    lines = max(len(panel.notes) for panel in panels) + 1
    room = max(size[0], 360)
    page = Image.new(
        "RGBA",
        (
            _MARGIN + len(panels) * (room + _MARGIN),
            top + size[1] + _MARGIN // 2 + lines * 24 + _MARGIN // 2,
        ),
        _PAPER,
    )
    for index, panel in enumerate(panels):
        left = _MARGIN + index * (room + _MARGIN)
        _draw(page, panel, (left, top), size, turn)
    if metres_across:
        key = 0 if not (panels[0].key or panels[0].ramp) else size[0] * 2 // 3
        below = top + size[1] + _MARGIN // 2
        _scale_bar(page, (_MARGIN + key, below), size[0], metres_across)
    return page


def png(page: Image.Image) -> bytes:
    """The picture as the content of a file."""
    content = io.BytesIO()
    page.save(content, format="PNG", compress_level=6)
    return content.getvalue()


def _draw(
    page: Image.Image, panel: Panel, corner: tuple[int, int], size: tuple[int, int], turn: Turn
) -> None:
    draw = ImageDraw.Draw(page)
    left, top = corner
    draw.text((left, top - _TITLE - 10), panel.title, _INK, ImageFont.load_default(_TITLE))
    shown = turn.apply(np.asarray(_enlarge(panel, turn.size(*size))))
    page.paste(Image.fromarray(shown), corner)  # paste replaces: nodata stays transparent
    if panel.mark is not None:
        x, y = turn.point(*panel.mark)
        _circle(draw, left + x * size[0], top + y * size[1])
    _words(page, panel, (left, top + size[1] + _MARGIN // 2), size[0])


def _enlarge(panel: Panel, size: tuple[int, int]) -> Image.Image:
    """Resize smoothly; what is transparent lends no colour to its neighbours."""
    box = (0.0, 0.0, *(panel.cells or panel.image.shape[1::-1]))
    colours = Image.fromarray(_spread(panel.image)[..., :3]).resize(
        size, Image.Resampling.BICUBIC, box
    )
    if panel.mask is None:
        shown = Image.fromarray(panel.image[..., 3]).resize(size, Image.Resampling.NEAREST, box)
    else:
        shown = Image.fromarray(panel.mask).convert("L").resize(size, Image.Resampling.NEAREST)
    colours.putalpha(shown)
    return colours


def _spread(image: Rgba) -> Rgba:
    """Give the two rings of transparent cells next to opaque ones the mean of those colours."""
    known = image[..., 3] > 0
    if known.all() or not known.any():
        return image
    colours = image[..., :3].astype(np.float32)
    for _ in range(2):
        total = np.zeros_like(colours)
        count = np.zeros(known.shape, np.float32)
        padded, opaque = np.pad(colours, ((1, 1), (1, 1), (0, 0))), np.pad(known, 1)
        for row, col in ((0, 1), (2, 1), (1, 0), (1, 2), (0, 0), (0, 2), (2, 0), (2, 2)):
            part = (slice(row, row + known.shape[0]), slice(col, col + known.shape[1]))
            total += padded[part] * opaque[part][..., None]
            count += opaque[part]
        new = ~known & (count > 0)
        colours[new] = total[new] / count[new][:, None]
        known = known | new
    return np.dstack((np.rint(colours).astype(np.uint8), image[..., 3]))


def _words(page: Image.Image, panel: Panel, corner: tuple[int, int], width: int) -> None:
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(_NOTE)
    left, y = corner
    notes = y + 24
    if panel.key:
        x = left
        for colour, meaning in panel.key:
            draw.rectangle((x, y + 3, x + 12, y + 15), (*colour, 255), _FAINT)
            draw.text((x + 19, y), meaning, _INK, font)
            x += 19 + round(draw.textlength(meaning, font)) + 18
    if panel.ramp is not None:
        colours, low, high = panel.ramp
        x = left + round(draw.textlength(low, font)) + 8
        strip = Image.fromarray(colours[None]).resize((width // 3, 13))
        draw.text((left, y), low, _INK, font)
        page.paste(strip, (x, y + 3))
        draw.text((x + width // 3 + 8, y), high, _INK, font)
    for number, note in enumerate(panel.notes):
        draw.text((left, notes + 24 * number), note, _FAINT, font)


def _circle(draw: ImageDraw.ImageDraw, x: float, y: float) -> None:
    for radius, colour, width in ((11, (0, 0, 0, 255), 5), (11, (255, 255, 255, 255), 2)):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), None, colour, width)


def _scale_bar(
    page: Image.Image, corner: tuple[int, int], width: int, metres_across: float
) -> None:
    """A bar of a round length below the first panel."""
    length = _round_down(metres_across / 4)
    pixels = width * length / metres_across
    text = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(_NOTE)
    left, y = corner
    draw.rectangle((left, y + 4, left + pixels / 2, y + 10), _INK, _INK)
    draw.rectangle((left + pixels / 2, y + 4, left + pixels, y + 10), _PAPER, _INK)
    draw.text((left + pixels + 10, y - 1), text, _INK, font)


def _round_down(length: float) -> float:
    """The largest 1, 2 or 5 times a power of ten that is not above `length`."""
    power = 10.0 ** math.floor(math.log10(length))
    return next(step * power for step in (5, 2, 1) if step * power <= length * (1 + 1e-9))
