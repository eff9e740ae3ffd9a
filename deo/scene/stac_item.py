"""STAC items, wherever they stand: JSON files, GeoParquet, pystac objects, plain dicts.

An item of a collection is spelt `FILE#ID`, so that lists of scenes, names of outputs and messages
can tell one from the other.
"""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from deo.errors import DataError, DeoError, SceneError, require
from deo.files.documents import LARGEST_JSON, load_json, parse_json
from deo.scene.gdal import gdal, gdal_path, is_remote, public
from deo.scene.stac_href import locate
from deo.scene.vsi import open_virtual
from deo.sensors.recognise import Recognised, recognise_sensor

SUFFIXES = (".json", ".geojson", ".parquet")


class StacItem(NamedTuple):
    """An item.

    place: path or address of the file it stands in, against which its hrefs are told; None in
        memory.
    """

    name: str
    properties: Mapping[str, Any]
    assets: Mapping[str, Mapping[str, Any]]
    place: str | None

    def __str__(self) -> str:
        return self.name

    @property
    def tags(self) -> dict[str, str]:
        """Its properties as text; lists of texts with commas between them."""
        return as_tags(self.properties)

    @property
    def recognised(self) -> Recognised:
        """Whose it is, by its properties."""
        return recognise_sensor([], self.tags, ())

    def locate(self, href: str) -> str:
        """The path or address that an href means.

        Raises:
            SceneError: it may not be read.
        """
        return locate(href, place=self.place, name=self.name)


def as_tags(values: Mapping[str, Any]) -> dict[str, str]:
    """Fields that hold a text, a number or a list of texts, as text."""
    return {
        key: ", ".join(value) if isinstance(value, list) else str(value)
        for key, value in values.items()
        if isinstance(value, str | bool | int | float)
        or (isinstance(value, list) and all(isinstance(each, str) for each in value))
    }


def is_stac_path(source: Any) -> bool:
    """Whether something is a path or address that is spelt as one of STAC: `x.parquet#ID`."""
    if not isinstance(source, str | os.PathLike):
        return False
    return os.fspath(source).partition("#")[0].partition("?")[0].lower().endswith(SUFFIXES)


def is_stac_object(source: Any) -> bool:
    """Whether something is an item or a collection of items in memory."""
    if isinstance(source, StacItem):
        return True
    if isinstance(source, Mapping):
        return source.get("type") in ("Feature", "FeatureCollection")
    pystac: Any = sys.modules.get("pystac")
    return pystac is not None and isinstance(source, pystac.Item | pystac.ItemCollection)


def read_items(source: Any) -> list[StacItem]:
    """All items of a source: a path or address, with `#ID` for one of them, or an object.

    Raises:
        SceneError: it cannot be read, holds no item, or items of several sensors.
    """
    if isinstance(source, str | os.PathLike):
        text = os.fspath(source)
        path, _, name = text.partition("#")
        items = list(_of_file(path))
        if name:
            items = [item for item in items if item.name == name]
            if not items:
                raise SceneError(f"{public(path)} holds no item {name}")
    elif isinstance(source, StacItem):
        return [source]
    else:
        text = "the collection"
        items = list(_of_object(source, None))
    if not items:
        raise SceneError(f"{text} holds no STAC item")
    _refuse_mixed(items, text)
    return items


def item_addresses(text: str) -> list[str]:
    """How each of a collection's items is spelt; a single item, or any other path, is left alone.

    Raises:
        SceneError: as for `read_items`.
    """
    if not is_stac_path(text) or "#" in text:
        return [text]
    items = read_items(text)
    if len(items) == 1:
        return [text]
    return [f"{text}#{item.name}" for item in items]


def single_item(source: Any) -> StacItem:
    """The item that a scene is made of.

    Raises:
        SceneError: there are several.
    """
    items = read_items(source)
    if len(items) > 1:
        names = ", ".join(item.name for item in items[:3])
        raise SceneError(
            f"the collection holds {len(items)} items ({names}, ...), and each is a scene; name "
            "one as FILE#ID, or give all of them to `deo extract` (deo.extract_many)"
        )
    return items[0]


def _of_file(path: str) -> Iterator[StacItem]:
    if not is_remote(path) and not os.path.isfile(path):
        raise SceneError(f"{path} cannot be read as a STAC item: there is no such file")
    if path.lower().endswith(".parquet"):
        yield from _of_parquet(path)
        return
    try:
        value = parse_json(_fetch(path), public(path)) if is_remote(path) else load_json(Path(path))
    except (OSError, DataError) as error:
        raise SceneError(f"{public(path)} cannot be read as a STAC item: {error}") from error
    yield from _of_object(value, path)


def _fetch(path: str) -> bytes:
    with gdal(path, "read it"), open_virtual(gdal_path(path)) as file:
        if file.size > LARGEST_JSON:
            raise SceneError(f"{public(path)} is too large for a STAC item: {file.size} bytes")
        return b"".join(file.chunks())


def _of_parquet(path: str) -> Iterator[StacItem]:
    arrow: Any = require("stac_geoparquet.arrow", extra="stac")
    parquet: Any = require("pyarrow.parquet", extra="stac")
    try:
        for item in arrow.stac_table_to_items(parquet.read_table(path)):
            yield from _of_object(item, path)
    except DeoError:
        raise
    except Exception as error:  # a table of anything else fails wherever it differs first
        raise SceneError(
            f"{path} cannot be read as STAC GeoParquet: {type(error).__name__}: {error}"
        ) from error


def _of_object(value: Any, place: str | None) -> Iterator[StacItem]:
    if isinstance(value, Mapping):
        if value.get("type") == "FeatureCollection" and isinstance(value.get("features"), Sequence):
            for feature in value["features"]:
                yield from _of_object(feature, place)
            return
        if not (isinstance(value.get("assets"), Mapping) and "stac_version" in value):
            raise SceneError(
                f"{place or 'the object'} is no STAC item or collection of items: its type is "
                f"{value.get('type', 'not said')}"
                + ("" if "assets" in value else ", and it has no assets")
            )
        assets = {
            str(key): asset
            for key, asset in value["assets"].items()
            if isinstance(asset, Mapping) and isinstance(asset.get("href"), str)
        }
        said = value.get("properties")
        yield StacItem(
            str(value.get("id")), said if isinstance(said, Mapping) else {}, assets, place
        )
    elif hasattr(value, "to_dict"):
        for item in getattr(value, "items", None) or [value]:
            plain = item.to_dict(include_self_link=False, transform_hrefs=False)
            yield from _of_object(plain, place or item.get_self_href())
    else:
        name = place or "the object"
        raise SceneError(f"{name} is no STAC item: it holds {type(value).__name__}")


def _refuse_mixed(items: Sequence[StacItem], text: str) -> None:
    strangers = [(item.name, sign) for item in items if (sign := item.recognised.sign)]
    if strangers and len(strangers) < len(items):
        name, sign = strangers[0]
        raise SceneError(
            f"{text} mixes sensors: {name} is told by {sign}, and {len(items) - len(strangers)} "
            "other items are not; keep those of one sensor"
        )
