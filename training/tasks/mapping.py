"""A tuned network as a model of maps: at the size and under the contract that it was tuned at."""

from typing import NamedTuple

import torch
from torch import Tensor

from deo.bands import BandSet
from deo.contracts import InputContract
from deo.errors import ConfigError
from deo.maps.pair import PairContract
from deo.maps.runner import FeatureModel, plan_tiles
from deo.maps.windows import DEFAULT_TILE, Tiling
from deo.scene.scene import Scene
from deo.training.tasks.heads import ChangeDetector, Classifier
from deo.training.tasks.tuned import Description, Tuned


class Mapped(NamedTuple):
    """What the map of one scene, or of a pair of dates, is computed by."""

    model: FeatureModel
    contract: InputContract
    tiling: Tiling
    batch_size: int


def mapped(
    tuned: Tuned,
    scene: Scene,
    *,
    tile: int | None = None,
    overlap: int | None = None,
    device: torch.device,
    precision: str = "fp32",
) -> Mapped:
    """Decide how a tuned network maps a scene, so that the map is what the network was scored by.

    A classifier sees windows of the size of its training tiles, and a cell of its map is the step
    from one window to the next; where they overlap, a cell blends those that cover it. All other
    networks map pixels in tiles of the size that they were tuned at.

    Args:
        scene: the first one, which says where the map lies.
        tile: in pixels; None: the size that the network was tuned at. A classifier has no other.
        overlap: of neighbouring tiles in pixels; None: a quarter, of a classifier's windows none.

    Raises:
        ConfigError: a size that cannot work, or a contract that only the samples had.
    """
    description = tuned.description
    side = description.size if tile is None else tile
    step = 1
    if isinstance(tuned.network, Classifier):
        overlap = overlap or 0
        step = _step(side, overlap, description.size)
    model = _model(tuned, step, device, precision)
    return Mapped(
        model=model,
        contract=_contract(tuned, side),
        tiling=plan_tiles(scene, model, tile=side, overlap=overlap),
        # as many pixels at once as usual; small windows one by one would take most of the time
        batch_size=model.batch_size * max(1, (DEFAULT_TILE // side) ** 2),
    )


def _step(side: int, overlap: int, size: int) -> int:
    """Pixels from one window of a classifier to the next."""
    if side != size:
        raise ConfigError(
            f"a tile of {side} pixels: this classifier was tuned on tiles of {size} pixels and is "
            "right about windows of that size alone; leave --tile out"
        )
    step = size - overlap
    if not 0 < step <= size or size % step:
        fitting = [size - size // parts for parts in (1, 2, 4, 8) if size % parts == 0]
        raise ConfigError(
            f"overlap of {overlap} pixels: windows of {size} pixels move by a whole part of "
            f"their side; try {' or '.join(map(str, fitting))}"
        )
    return step


def _contract(tuned: Tuned, side: int) -> InputContract:
    """The contract of the samples; for each of two dates by itself.

    One that measures each image by itself is right about tiles only if each is as a sample was.
    """
    contract, description = tuned.contract, tuned.description
    if contract.per_image and not (description.whole and side == description.size):
        raise ConfigError(
            f"this network was tuned under contract {contract.record()['name']!r}, which divides "
            "each sample by a maximum of its own; "
            + (
                f"it maps only in tiles as large as the samples, {description.size} pixels"
                if description.whole
                else "a scene cannot be cut into tiles like those samples. Tune the network again "
                "with --contract fixed"
            )
        )
    return PairContract(each=contract) if description.task == "change" else contract


def _model(tuned: Tuned, step: int, device: torch.device, precision: str) -> FeatureModel:
    """The network's class probabilities as the one layer of a model, in cells of `step` pixels."""
    description = tuned.description
    network = tuned.network.to(device)

    def call(images: Tensor) -> list[Tensor]:
        if isinstance(network, ChangeDetector):
            images = images.reshape(len(images), 2, -1, *images.shape[-2:])
        shares = network.probabilities(images)
        if isinstance(network, Classifier):
            rows, cols = (side // step for side in images.shape[-2:])
            shares = shares[:, :, None, None].expand(-1, -1, rows, cols)
        return [shares]

    return FeatureModel(
        call=call,
        channels=(len(description.classes),),
        reductions=(step,),
        bands=BandSet(description.bands),
        multiple=step,
        device=device,
        precision=precision,
        identity=_identity(description, tuned.sha256),
    )


def _identity(description: Description, sha256: str) -> dict[str, str]:
    return {
        "model": description.backbone,
        "weights": f"tuned for {description.task} on {description.dataset}",
        "weights_sha256": sha256,
    }
