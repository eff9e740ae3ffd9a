"""A search in a STAC API, as far as finding scenes goes; pystac-client does the asking."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deo.errors import ConfigError, SceneError, require
from deo.files.publish import write_file


@dataclass(frozen=True, kw_only=True)
class Search:
    """What is looked for.

    Args:
        url: of the API.
        collection: of scenes, such as `sentinel-2-l2a`.
        bbox: west, south, east, north in degrees; None: anywhere.
        dates: as STAC spells them: `2024-05-01/2024-09-30`, `2024-06`; None: any time.

    Raises:
        ConfigError: the box is none.
    """

    url: str
    collection: str
    bbox: tuple[float, ...] | None = None
    dates: str | None = None

    def __post_init__(self) -> None:
        if self.bbox is not None and (
            len(self.bbox) != 4 or self.bbox[1] > self.bbox[3] or max(map(abs, self.bbox)) > 180
        ):
            raise ConfigError(
                f"--bbox {self.bbox} is no box; give west,south,east,north in degrees"
            )

    def __str__(self) -> str:
        where = "" if self.bbox is None else f" in {','.join(f'{side:g}' for side in self.bbox)}"
        return f"{self.collection}{where}{'' if self.dates is None else f' at {self.dates}'}"

    @property
    def file_name(self) -> str:
        """Of the file that what is found is kept in: the same for the same search."""
        text = json.dumps([self.url, self.collection, self.bbox, self.dates])
        return f"items-{hashlib.sha256(text.encode()).hexdigest()[:8]}.json"

    def run(self) -> dict[str, Any]:
        """A collection of items, as plain JSON.

        Raises:
            ConfigError: the dates cannot be read.
            SceneError: the API cannot be asked, or nothing is there.
            MissingExtraError: pystac-client is not installed.
        """
        client: Any = require("pystac_client", extra="stac")
        faults: Any = require("pystac_client.exceptions", extra="stac")
        requests: Any = require("requests", extra="stac")
        try:
            api = client.Client.open(self.url)
            items = list(self._asked(api).items_as_dicts())
        except (faults.APIError, requests.RequestException, OSError) as error:
            raise SceneError(
                f"the STAC API {self.url} cannot be asked for {self}: {error}", retriable=True
            ) from error
        if not items:
            raise SceneError(
                f"the STAC API {self.url} has nothing of {self}; check the collection's name, the "
                "order of the box (west,south,east,north) and the dates"
            )
        return {"type": "FeatureCollection", "features": items}

    def _asked(self, api: Any) -> Any:
        """The search as pystac-client puts it, before anything is asked."""
        try:
            return api.search(collections=[self.collection], bbox=self.bbox, datetime=self.dates)
        except Exception as error:  # it raises Exception itself for dates
            raise ConfigError(
                f"the STAC API {self.url} was not asked for {self}: {error}"
            ) from error

    def save(self, folder: Path) -> Path:
        """Search, and keep what is found in a file of a folder, replacing that of before.

        Raises:
            ConfigError, SceneError: as for `run`.
            OutputError: it cannot be written.
        """
        path = folder / self.file_name
        write_file(path, json.dumps(_without_self(self.run())) + "\n")
        return path


def _without_self(collection: Mapping[str, Any]) -> dict[str, Any]:
    """The collection without what differs between two equal searches."""
    return {**collection, "features": sorted(collection["features"], key=lambda item: item["id"])}
