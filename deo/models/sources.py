"""A backbone's weights and where they come from: the Hub, this package, a file, a state dict."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import torch

from deo.bands import MODEL_BANDS, BandSet
from deo.errors import WeightsError
from deo.files.documents import parse_json
from deo.models import convert, hub, weight_files
from deo.models.registry import SPECS, Spec, shapes
from deo.models.stems import MS

MS_WEIGHT = f"patch_embed.{MS}.proj.weight"
"""The tensor whose second axis is the multispectral stem's bands."""

NORM = "norm."
"""How the names of the last norm's tensors begin."""

HEAD = "head."
"""How the names of a classifier's tensors begin."""

TUNED = "deo_tuned"
"""What the metadata of a file hold under this name when it is a network tuned for a task."""


@dataclass(frozen=True, kw_only=True)
class WeightsRecord:
    """Where a model's weights came from, to be written into everything made with it.

    Args:
        model: the backbone's name.
        source: `hub:repo@commit/file`, `file:name`, `embedded` or `untrained`.
        sha256: of the released or given file; None for untrained.
        contract: the record of the input contract stored with the weights, if there is one.
    """

    model: str
    source: str
    sha256: str | None = None
    contract: dict[str, Any] | None = None


class Backbone(NamedTuple):
    """Every tensor of a backbone, of both stems or one, and what its multispectral stem takes.

    `bands` is None when that stem takes channels without names; `layout` and `dropped` are those
    of `deo.models.convert.Conversion`.
    """

    tensors: dict[str, torch.Tensor]
    bands: BandSet | None
    record: WeightsRecord
    layout: str = "state dict with our names"
    dropped: tuple[str, ...] = ()

    @property
    def has_norm(self) -> bool:
        """Whether the last norm is there, which a `features_only` model has no use for."""
        return any(name.startswith(NORM) for name in self.tensors)


def released(spec: Spec, *, cache_dir: str | Path | None = None) -> Backbone:
    """The weights that belong to a backbone: inside this package, or on the Hub.

    Raises:
        WeightsError: there are none, or they cannot be had whole and verified.
    """
    if spec.asset is not None:
        with resources.as_file(resources.files("deo.assets") / spec.asset) as path:
            return from_file(path, spec, source="embedded")
    if spec.published is None:
        public = [other.name for other in SPECS.values() if other.published or other.asset]
        raise WeightsError(
            f"{spec.name} has no public weights (those exist for {', '.join(public)}). Pass a "
            "file, weights=FILE (--weights FILE), or ask for random weights, untrained=True "
            "(--untrained)"
        )
    fetched = hub.fetch(spec.name, spec.published, lambda: shapes(spec), cache_dir=cache_dir)
    record = WeightsRecord(model=spec.name, source=fetched.source, sha256=fetched.sha256)
    content = weight_files.read(fetched.path).content
    return from_state_dict(content, spec, record=record, bands=MODEL_BANDS)


def from_file(
    path: Path,
    spec: Spec,
    *,
    source: str | None = None,
    bands: BandSet | None = None,
    teacher: bool = False,
) -> Backbone:
    """The weights in a file of any of the layouts that `deo.models.convert` knows.

    Args:
        path: the file.
        spec: the backbone that they must fit.
        source: for the record; default `file:` and the file's name.
        bands: what the file's multispectral stem takes, where the file does not say.
        teacher: from a training checkpoint take the EMA teacher; see `convert.to_deo`.

    Raises:
        WeightsError: unreadable, damaged, of another model, or not whole.
    """
    stored = weight_files.read(path)
    said = stored.metadata or {}
    if TUNED in said:
        raise WeightsError(
            f"{path} is a network tuned for a task, not a bare backbone; use it with deo predict"
        )
    if said.get("model", spec.name) != spec.name:
        raise WeightsError(
            f"{path} holds weights of {said['model']}, not of {spec.name}; "
            f"name that model, or give a file made for {spec.name}"
        )
    record = WeightsRecord(
        model=spec.name,
        source=source or f"file:{path.name}",
        sha256=weight_files.sha256(path),
        contract=_contract(said["contract"], path) if "contract" in said else None,
    )
    if "bands" in said:
        bands = BandSet.parse(said["bands"])
    try:
        return from_state_dict(stored.content, spec, record=record, bands=bands, teacher=teacher)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error


def _contract(text: str, path: Path) -> dict[str, Any]:
    try:
        record = parse_json(text, str(path))
    except ValueError:
        record = None
    if not isinstance(record, dict):
        raise WeightsError(f"{path}: its metadata hold no contract but {text[:60]!r}")
    return record


def from_state_dict(
    content: Mapping[str, Any],
    spec: Spec,
    *,
    record: WeightsRecord,
    bands: BandSet | None = None,
    teacher: bool = False,
) -> Backbone:
    """Check and rename a state dict or training checkpoint.

    Under our own names a file may also hold a classifier, lack the last norm (a `features_only`
    model has none), and have a multispectral stem of another width.

    Raises:
        WeightsError: it is not a whole backbone of this spec.
    """
    expected = dict(shapes(spec))
    if not convert.is_published(content):
        expected = _with_liberties(expected, content)
    converted = convert.to_deo(content, expected, model=spec.name, teacher=teacher)
    width = ms_width(converted.tensors)
    if bands is None and width in (None, len(MODEL_BANDS)):
        bands = MODEL_BANDS
    if bands is not None and width not in (None, len(bands)):
        raise WeightsError(f"the multispectral stem takes {width} channels, not {bands}")
    return Backbone(
        tensors=converted.tensors,
        bands=bands,
        record=record,
        layout=converted.layout,
        dropped=converted.dropped,
    )


def ms_width(tensors: Mapping[str, torch.Tensor]) -> int | None:
    """Channels of the multispectral stem, or None where there is no such stem."""
    return tensors[MS_WEIGHT].shape[1] if MS_WEIGHT in tensors else None


def _with_liberties(
    expected: dict[str, convert.Shape], content: Mapping[str, Any]
) -> dict[str, convert.Shape]:
    given = {n: tuple(t.shape) for n, t in content.items() if isinstance(t, torch.Tensor)}
    expected = expected | {n: shape for n, shape in given.items() if n.startswith(HEAD)}
    if not any(name.startswith(NORM) for name in given):
        expected = {n: shape for n, shape in expected.items() if not n.startswith(NORM)}
    if len(given.get(MS_WEIGHT, ())) == 4:
        dim, _, *patch = expected[MS_WEIGHT]
        expected[MS_WEIGHT] = (dim, given[MS_WEIGHT][1], *patch)
    return expected
