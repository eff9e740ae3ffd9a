"""Multi-crop views: one function driven by a table of specs, on batches of any band count.

A sample's views depend on (seed, epoch, sample, view) alone: on no worker, batch, rank or device.
All decisions are drawn on the host, so a GPU never waits for one; pixels stay where they are.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deo.bands import AERIAL_MEAN, AERIAL_STD, MODEL_BANDS, RGB_BANDS, BandSet
from deo.errors import BandError, DataError
from deo.training.method.colour import KINDS, Choices, augment
from deo.training.method.crops import ATTEMPTS, Boxes, Crops, random_boxes, resize_crops
from deo.training.method.randomness import uniforms
from deo.training.method.viewspecs import ViewSpec

_CHUNK = 150_000
"""RGB values made together on a CPU: about what its second-level cache holds (measured)."""

_SLOTS: tuple[str, ...] = (
    "horizontal_flip",
    "vertical_flip",
    "jitter",
    "order",
    "brightness",
    "contrast",
)
_SLOTS += ("saturation", "hue", "grayscale", "blur", "blur_sigma", "solarize", "common_gain")
_BOX = 2 * ATTEMPTS + 2
_COLUMN = {name: _BOX + column for column, name in enumerate(_SLOTS)}
"""Which of a view's numbers decides what: fixed, so that no option moves another's draw."""
_FIXED = _BOX + len(_SLOTS)


def make_views(
    images: Tensor,
    samples: Tensor,
    specs: Sequence[ViewSpec],
    *,
    seed: int,
    epoch: int,
    bands: BandSet = MODEL_BANDS,
) -> list[Tensor]:
    """All views of a batch, normalised.

    RGB is divided by the crop's own maximum, augmented and z-scored with the aerial statistics; any
    other band is z-scored with its Sentinel-2 statistics. A BandSet without red, green and blue
    gets no colour operations.

    Args:
        images: (B, C, H, W), any real dtype; RGB on any positive scale, others in digital numbers.
        samples: (B,) int64, the samples' numbers in the data set: with seed, epoch and the view's
            place in `specs` they are the key of all randomness. On the CPU, or a device waits.
        bands: what the C channels are.

    Returns:
        One (B, C, size, size) float32 tensor per spec, on the device of `images`. Equal specs share
        one tensor's memory.

    Raises:
        DataError: images, samples and bands do not fit together.
        BandError: `bands` has some but not all of red, green and blue.
    """
    if images.ndim != 4 or images.shape[1] != len(bands) or samples.shape != images.shape[:1]:
        raise DataError(
            f"views got images {tuple(images.shape)}, samples {tuple(samples.shape)} and the bands "
            f"{bands}; wanted (B, {len(bands)}, H, W) and (B,)"
        )
    ordered = _rgb_first(bands)
    pixels = _reorder(images, bands, ordered).to(torch.float32)
    keys = samples.cpu().numpy()
    views: list[Tensor] = [images] * len(specs)
    chunks: list[Callable[[], None]] = []
    # views of one spec are made together: one batch of products, one pass of each operator
    for spec in dict.fromkeys(specs):
        places = np.array([place for place, other in enumerate(specs) if other == spec])
        drawn = uniforms(
            np.tile(keys, len(places)),
            np.repeat(places, len(keys)),
            _FIXED + len(bands),
            seed=seed,
            epoch=epoch,
        )
        out = pixels.new_empty(len(drawn), len(bands), spec.size, spec.size)
        chunks += _equal_views(pixels, spec, drawn, ordered, out)
        for place, view in zip(places.tolist(), torch.split(out, len(keys)), strict=True):
            views[place] = view
    _run(chunks, device=images.device.type)
    return [_reorder(view, ordered, bands) for view in views]


def view_places(
    samples: Tensor, specs: Sequence[ViewSpec], *, height: int, width: int, seed: int, epoch: int
) -> list[Tensor]:
    """Where the views of `make_views` lie on their samples, mirrored as they are.

    Args:
        height, width: of the samples, in pixels.

    Returns:
        Per view (B, 2, 3), as `torch.nn.functional.affine_grid` takes it: from the view's
        coordinates, -1 to 1 from edge to edge, to the sample's.
    """
    keys = samples.cpu().numpy()
    places = []
    for place, spec in enumerate(specs):
        drawn = uniforms(keys, np.full(len(keys), place), _FIXED, seed=seed, epoch=epoch)
        box = random_boxes(
            drawn[:, :_BOX], height=height, width=width, area=spec.area, aspect=spec.aspect
        )
        at = np.zeros((len(keys), 2, 3))
        at[:, 0, 0] = box.width / width
        at[:, 1, 1] = box.height / height
        at[:, 0, 2] = (2 * box.left + box.width) / width - 1
        at[:, 1, 2] = (2 * box.top + box.height) / height - 1
        at[drawn[:, _COLUMN["horizontal_flip"]] < spec.horizontal_flip, 0, 0] *= -1
        at[drawn[:, _COLUMN["vertical_flip"]] < spec.vertical_flip, 1, 1] *= -1
        places.append(torch.from_numpy(at).float())
    return places


def _run(chunks: Sequence[Callable[[], None]], *, device: str) -> None:
    """Chunks in full precision; on a CPU side by side, each on one thread: what a product of
    matrices returns depends, in the last bit, on the threads that share it, and small operations
    are not worth sharing."""
    threads = torch.get_num_threads() if device == "cpu" else 1
    inference = torch.is_inference_mode_enabled()  # of this thread, so of none of the workers

    def run(chunk: Callable[[], None]) -> None:
        with (
            torch.inference_mode(inference),
            torch.no_grad(),
            torch.autocast(device, enabled=False),
        ):
            chunk()

    if threads == 1:
        for chunk in chunks:
            run(chunk)
        return
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for done in [pool.submit(run, chunk) for chunk in chunks]:
                done.result()
    finally:
        torch.set_num_threads(threads)  # a worker's setting is the default of later threads


def _rgb_first(bands: BandSet) -> BandSet:
    colours = [name for name in RGB_BANDS if name in bands]
    if len(colours) not in (0, len(RGB_BANDS)):
        raise BandError(f"views need all of red, green, blue ({RGB_BANDS}) or none; got {bands}")
    return BandSet((*colours, *(name for name in bands if name not in colours)))


def _reorder(images: Tensor, given: BandSet, wanted: BandSet) -> Tensor:
    return images if given == wanted else images[:, list(wanted.positions_in(given.names))]


def _equal_views(
    images: Tensor, spec: ViewSpec, drawn: NDArray[np.float64], bands: BandSet, out: Tensor
) -> Iterator[Callable[[], None]]:
    """Work that fills `out` (N, C, size, size): view n is of image n modulo B, decided by row n of
    `drawn`."""
    count, colours = len(drawn), len(RGB_BANDS) if RGB_BANDS[0] in bands else 0
    height, width = images.shape[-2:]
    boxes = random_boxes(
        drawn[:, :_BOX], height=height, width=width, area=spec.area, aspect=spec.aspect
    )
    crops = _crops(np.arange(count) % len(images), boxes, spec, drawn, bands, images.device)
    choices = _choices(spec, drawn)

    def fill(which: NDArray[np.int64]) -> None:
        resize_crops(images, crops, which, out)
        if colours:
            index = torch.from_numpy(which).to(out.device)
            rgb = out[index, :colours].transpose(0, 1).contiguous()
            augment(rgb, choices.part(which), mean=AERIAL_MEAN, std=AERIAL_STD)
            out[index, :colours] = rgb.transpose(0, 1)

    # on a CPU a chunk is what stays in cache through all operators; a GPU wants one large batch
    step = max(1, _CHUNK // (3 * spec.size**2)) if images.device.type == "cpu" else count
    ranking = choices.ranking()
    for start in range(0, count, step):
        yield partial(fill, ranking[start : start + step])


def _crops(
    source: NDArray[np.int64],
    boxes: Boxes,
    spec: ViewSpec,
    drawn: NDArray[np.float64],
    bands: BandSet,
    device: torch.device,
) -> Crops:
    """The z-score and the gains of bands other than RGB are an affine map: it commutes with the
    resize, whose weights sum to one, and is cheaper before it."""
    common = 1 + spec.common_gain * (2 * drawn[:, _COLUMN["common_gain"], None] - 1)
    gain = common * (1 + spec.band_gain * (2 * drawn[:, _FIXED:] - 1))
    colour = np.array([name in RGB_BANDS for name in bands])
    scale = np.where(colour, 1.0, gain / bands.std)
    shift = np.where(colour, 0.0, -np.array(bands.mean) / bands.std)
    return Crops(
        source=source,
        boxes=boxes,
        flip_rows=drawn[:, _COLUMN["vertical_flip"]] < spec.vertical_flip,
        flip_columns=drawn[:, _COLUMN["horizontal_flip"]] < spec.horizontal_flip,
        scale=torch.from_numpy(scale).to(device, torch.float32),
        shift=torch.from_numpy(np.broadcast_to(shift, scale.shape).copy()).to(
            device, torch.float32
        ),
    )


def _choices(spec: ViewSpec, drawn: NDArray[np.float64]) -> Choices:
    def chosen(name: str) -> NDArray[np.bool_]:
        return np.asarray(drawn[:, _COLUMN[name]] < getattr(spec, name))

    reach = [getattr(spec, kind) for kind in KINDS]
    # uniform in -1..1; factors lie around 1, the hue's shift around 0
    signed = 2 * drawn[:, [_COLUMN[kind] for kind in KINDS]] - 1
    low, high = spec.blur_sigma
    return Choices(
        jitter=chosen("jitter"),
        order=np.floor(drawn[:, _COLUMN["order"]] * 24).astype(np.int64),
        factors=np.array([1.0, 1.0, 1.0, 0.0]) + signed * reach,
        grayscale=chosen("grayscale"),
        blur=chosen("blur"),
        sigma=low + (high - low) * drawn[:, _COLUMN["blur_sigma"]],
        kernel=spec.blur_kernel,
        solarize=chosen("solarize"),
    )
