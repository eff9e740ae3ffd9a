"""A tuned network with everything that is needed to use it again, in one safetensors file."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from deo.bands import BandSet
from deo.contracts import InputContract
from deo.errors import WeightsError
from deo.files.documents import parse_json
from deo.models import weight_files
from deo.models.sources import TUNED
from deo.training.tasks.backbones import open_backbone
from deo.training.tasks.heads import Network, build_network
from deo.training.tasks.inputs import contract_from_record

BEST = "best.safetensors"


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a tuned network is.

    Args:
        task: `classify`, `multilabel`, `segment` or `change`.
        backbone: its name.
        weights: where the backbone's weights came from before tuning.
        bands: input channels, per date.
        classes: names in label order.
        head, width: of the head.
        contract: record of the contract from pixels to input.
        dataset, score: what it was tuned on, and its validation score.
        size: side of the tiles that it maps in, see `training_size`.
        whole: whether each training sample was one such tile.
    """

    task: str
    backbone: str
    weights: str
    bands: tuple[str, ...]
    classes: tuple[str, ...]
    head: str
    width: int
    contract: Mapping[str, Any]
    dataset: str
    size: int
    whole: bool
    score: float | None = None
    deo: str = version("deo")


class Tuned(NamedTuple):
    """A network in evaluation mode, its contract, and what is known about it."""

    network: Network
    contract: InputContract
    description: Description
    sha256: str


def save_tuned(network: Network, description: Description, path: Path) -> None:
    """Write network and description; the file appears whole or not at all.

    Raises:
        OutputError: it cannot be written there.
    """
    tensors = {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}
    weight_files.write(tensors, path, {TUNED: json.dumps(asdict(description))})


def load_tuned(path: Path) -> Tuned:
    """Build and fill, strictly, what `save_tuned` wrote. A folder means its `best.safetensors`.

    Raises:
        WeightsError: the file is missing, damaged, or is no tuned network.
    """
    path = path / BEST if path.is_dir() else path
    stored = weight_files.read(path)
    if not stored.metadata or TUNED not in stored.metadata:
        raise WeightsError(f"{path} is no network tuned by deo finetune; give its best.safetensors")
    try:
        fields = parse_json(stored.metadata[TUNED], "its description")
        for name in ("bands", "classes"):
            fields[name] = tuple(fields[name])
        description = Description(**fields)
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path} does not say which network it holds: {error}") from error
    backbone = open_backbone(
        description.backbone, bands=BandSet(description.bands), untrained=True
    ).model
    network = build_network(
        description.task,
        backbone,
        bands=len(description.bands),
        classes=len(description.classes),
        head=description.head,
        width=description.width,
        frozen=False,
    )
    try:
        network.load_state_dict({**stored.content}, strict=True)
    except RuntimeError as error:
        raise WeightsError(f"{path} does not fit {description.backbone}: {error}") from error
    network.requires_grad_(False)
    contract = contract_from_record(description.contract)
    return Tuned(network.eval(), contract, description, weight_files.sha256(path))
