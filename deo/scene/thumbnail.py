"""What a notebook shows of a scene or a map: a small picture beside a few facts."""

import base64
import html
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deo.bands import RGB_BANDS, BandSet, Pixels
from deo.errors import DeoError
from deo.scene.raster import RasterSource
from deo.scene.window import Window

if TYPE_CHECKING:
    from deo.scene.scene import Scene

SIDE = 256
"""Longest side of a thumbnail in pixels."""

_WHOLE = 2**25  # pixels of a scene up to which it is thinned whole, which takes under a second
_MIDDLE = 1024  # side in pixels of the part that is shown of a larger one


def stretch(
    values: NDArray[np.float32], valid: NDArray[np.bool_], *, gamma: float = 1.0
) -> NDArray[np.uint8]:
    """Colours (H, W, 3) -> (H, W, 4) uint8: percentiles 2 to 98 of each channel fill the range.

    Cells that are not valid are transparent. A `gamma` below 1 lifts the dark.
    """
    out = np.zeros((*values.shape[:2], 4), np.uint8)
    if valid.any():
        bottom, top = np.percentile(values[valid], (2, 98), axis=0)
        scaled = (values[valid] - bottom) / np.maximum(top - bottom, 1e-12)
        out[valid, :3] = np.rint(np.clip(scaled, 0, 1) ** gamma * 255)
        out[valid, 3] = 255
    return out


def card(title: str, facts: Mapping[str, str], image: NDArray[np.uint8] | None, note: str) -> str:
    """HTML of a picture (H, W, 4) beside facts, without anything that has to be fetched.

    Args:
        note: what the picture shows, or why there is none.
    """
    rows = "".join(
        f'<tr><th style="text-align:left;font-weight:normal;opacity:.7">{html.escape(name)}</th>'
        f'<td style="text-align:left">{html.escape(text)}</td></tr>'
        for name, text in facts.items()
    )
    picture = "" if image is None else f'<img src="{_data_uri(image)}" alt="{html.escape(note)}">'
    return (
        '<div style="display:flex;gap:16px;align-items:flex-start;flex-wrap:wrap">'
        f'{picture}<div><strong>{html.escape(title)}</strong><table style="margin:4px 0">{rows}'
        f'</table><small style="opacity:.7">{html.escape(note)}</small></div></div>'
    )


def scene_card(scene: "Scene") -> str:
    """A scene as HTML; at most some millions of its pixels are read, and none over a network."""
    facts = {
        "Bands": str(scene.bands),
        "Pixels": f"{scene.height} × {scene.width}",
        "Pixel size": " × ".join(f"{side:g}" for side in scene.grid.pixel),
        "Reference system": "none" if scene.crs is None else scene.crs.to_string()[:60],
        "Validity": scene.mask_source,
    }
    remote = any(
        isinstance(asset.source, RasterSource) and asset.source.handle.is_remote
        for asset in scene.assets
    )
    if remote:
        return card(scene.name, facts, None, "No picture: it would have to be fetched.")
    rgb = all(band in scene.bands for band in RGB_BANDS)
    bands = RGB_BANDS if rgb else BandSet(scene.bands.names[:1])
    shown = "True colour" if rgb else f"Band {bands}"
    whole = scene.height * scene.width <= _WHOLE
    try:
        pixels = scene.sample(bands, size=SIDE) if whole else _middle(scene, bands)
    except DeoError as error:  # what describes a scene must not fail where it cannot be read
        return card(scene.name, facts, None, f"No picture: {error}")
    colours = np.broadcast_to(pixels.values.transpose(1, 2, 0), (*pixels.valid.shape, 3))
    image = stretch(colours, pixels.valid, gamma=0.75)
    note = f"{shown}." if whole else f"{shown} of {_MIDDLE} pixels in the middle."
    return card(scene.name, facts, image, note)


def _middle(scene: "Scene", bands: BandSet) -> Pixels:
    height, width = min(_MIDDLE, scene.height), min(_MIDDLE, scene.width)
    window = Window(
        row=(scene.height - height) // 2,
        col=(scene.width - width) // 2,
        height=height,
        width=width,
    )
    values, valid = scene.read(window, bands)
    step = _MIDDLE // SIDE
    return Pixels(values[:, ::step, ::step], valid[::step, ::step])


def _data_uri(image: NDArray[np.uint8]) -> str:
    content = io.BytesIO()
    Image.fromarray(image).save(content, "PNG")
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
