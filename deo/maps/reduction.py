"""Features on a few principal components: fitted once, kept as a record, given again."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from deo.errors import ConfigError, DataError, OutputError
from deo.files.documents import load_json
from deo.files.publish import Room, asked_for, write_file
from deo.maps.components import Components, fit_components, project_rows
from deo.maps.metadata import MapInfo
from deo.maps.rows import RowReader, Shape
from deo.maps.sinks import Sink

_KIND = "deo components"
SUFFIX = ".components.json"


class Features(NamedTuple):
    """Which features components are of; those of others mean something else."""

    model: str
    weights_sha256: str
    layer: int
    channels: int


@dataclass(frozen=True, kw_only=True)
class Reduction:
    """What takes maps of features to maps of components.

    Args:
        count: of components.
        features: what they are of.
        given: fitted before; None: to be fitted on each map, and written beside its output.

    Raises:
        ConfigError: there are not so many.
    """

    count: int
    features: Features
    given: Components | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.count <= self.features.channels:
            raise ConfigError(
                f"{self.features.model} has {self.features.channels} features in layer "
                f"{self.features.layer}, so that there are 1 to {self.features.channels} "
                f"components; got {self.count}"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Of the channels."""
        return tuple(f"component {index}" for index in range(self.count))

    @property
    def tag(self) -> str:
        """What outputs say: how many, and of which record or of this map's own."""
        of = "this map" if self.given is None else f"record {_digest(self.features, self.given)}"
        return f"{self.count} of {self.features.channels}, fitted on {of}"

    def reduced(self, sink: Sink) -> "ReducedSink":
        """A sink that is given features and writes components."""
        return ReducedSink(sink=sink, reduction=self)


@dataclass(frozen=True, kw_only=True)
class ReducedSink:
    """A sink behind a reduction; its outputs hold components."""

    sink: Sink
    reduction: Reduction

    @property
    def title(self) -> str:
        return self.sink.title

    def check(self, info: MapInfo, *, height: int, width: int) -> None:
        self.sink.check(info, height=height, width=width)

    def room(self, shape: Shape, info: MapInfo) -> Room:
        reduced = shape._replace(channels=self.reduction.count)
        written = self.sink.room(reduced, info)
        return written._replace(scratch=written.scratch + reduced.bytes)

    def write(
        self, rows: RowReader, info: MapInfo, target: Path, *, height: int, width: int
    ) -> None:
        components = self.reduction.given
        if components is None:
            components = fit_components(rows, self.reduction.count).rounded()
            path = components_path(asked_for(target))
            _refuse_strangers(path)
            write_file(path, _record(self.reduction.features, components))
        reduced = project_rows(rows, components, target.with_name(f".{target.name}.rows"))
        self.sink.write(reduced, info, target, height=height, width=width)

    def read_tags(self, path: Path) -> dict[str, str] | None:
        return self.sink.read_tags(path)

    def damage(self, path: Path) -> str | None:
        lack = self.sink.damage(path)
        record = components_path(path)
        if lack is None and self.reduction.given is None and not record.is_file():
            return f"{record.name} is not beside it"
        return lack


def plan_reduction(chosen: int | Path, features: Features) -> Reduction:
    """The reduction to so many components, or to those of a record.

    Raises:
        ConfigError: there are not so many, or the record is of other features.
        DataError: the file is no record of components.
    """
    if isinstance(chosen, int):
        return Reduction(count=chosen, features=features)
    stored, components = load_components(chosen)
    if stored != features:
        raise ConfigError(
            f"{chosen} holds components of layer {stored.layer} of {stored.model} (weights "
            f"{stored.weights_sha256[:12]}), and not of layer {features.layer} of "
            f"{features.model} (weights {features.weights_sha256[:12]})"
        )
    return Reduction(count=components.axes.shape[1], features=features, given=components)


def components_path(output: Path) -> Path:
    """Where the components are kept that were fitted for an output."""
    return output.with_suffix(SUFFIX)


def load_components(path: Path) -> tuple[Features, Components]:
    """A record that was written beside an output.

    Raises:
        DataError: it cannot be read, or is no record of components.
    """
    try:
        record = load_json(path)
        features = Features(**{name: record[name] for name in Features._fields})
        mean, axes, share = (np.array(record[name], float) for name in Components._fields)
        if axes.T.shape != (len(mean), len(share)) or len(mean) != features.channels:
            raise ValueError(f"{axes.shape} axes for {len(mean)} features")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except (DataError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} is no record of components, such as `deo extract --components 64` writes "
            f"beside its output ({error})"
        ) from error
    return features, Components(mean, axes.T, share)


def _record(features: Features, components: Components) -> str:
    """Components as JSON; the axes one after the other."""
    record: dict[str, Any] = {"kind": _KIND, **features._asdict()}
    columns = components.mean, components.axes.T, components.share
    for name, values in zip(Components._fields, columns, strict=True):
        record[name] = values.tolist()
    return json.dumps(record) + "\n"


def _digest(features: Features, components: Components) -> str:
    return hashlib.sha256(_record(features, components).encode()).hexdigest()[:12]


def _refuse_strangers(path: Path) -> None:
    """Refuse to replace a file that holds no components."""
    try:
        known = not path.exists() or load_json(path)["kind"] == _KIND
    except (DataError, OSError, KeyError, TypeError):
        known = False
    if not known:
        raise OutputError(f"{path} is in the way: it holds no components; move it")
