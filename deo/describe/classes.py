"""Classes of a map for STAC, under its Classification extension."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

CLASSIFICATION = "https://stac-extensions.github.io/classification/v2.0.0/schema.json"


def classes_of(
    names: Sequence[str], colours: Mapping[int, tuple[int, int, int, int]], *, nodata: int
) -> list[dict[str, Any]]:
    """The classes with their values and colours, and the value that stands for no data.

    A name may hold letters, digits, dashes and underscores; the title is the name as it was given.
    """
    classes = [
        {
            "value": value,
            "name": re.sub(r"[^0-9A-Za-z_-]+", "-", name) or f"class-{value}",
            "title": name,
            "color_hint": "{:02X}{:02X}{:02X}".format(*colours[value]),
        }
        for value, name in enumerate(names)
    ]
    return [*classes, {"value": nodata, "name": "no-data", "title": "No data", "nodata": True}]
