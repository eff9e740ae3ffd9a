"""JSON from users' files and tags, read within bounds.

Python's own reader answers deep nesting with RecursionError and a huge file with all of the
memory; whoever calls it expects ValueError.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from deo.errors import DataError

LARGEST_JSON = 256 * 2**20
"""Bytes; the largest that this package meets lists a data set's samples in some 30 MiB."""

DEEPEST_JSON = 64
"""Levels; GeoJSON needs ten. What is deeper would break whoever walks through it later."""


def parse_json(text: str | bytes, label: str) -> Any:
    """The value that a JSON text holds.

    Args:
        label: how messages call the text.

    Raises:
        DataError: it is no JSON, or larger or deeper than any of ours.
    """
    if len(text) > LARGEST_JSON:
        raise DataError(
            f"{label} has more than {LARGEST_JSON >> 20} MiB, and JSON as large as that is not read"
        )
    try:
        value = json.loads(text)
    except (RecursionError, MemoryError) as error:
        raise DataError(f"{label} is JSON nested too deeply, or too large, to be read") from error
    except ValueError as error:
        raise DataError(f"{label} is not JSON: {error}") from error
    level = [value]
    for _ in range(DEEPEST_JSON):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return value
    raise DataError(f"{label} is JSON of more than {DEEPEST_JSON} levels, which is not read")


def _inside(value: Any) -> Iterable[Any]:
    """What a value holds that may hold values itself."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (one for one in inner if isinstance(one, dict | list))


def load_json(path: Path) -> Any:
    """The value that a JSON file holds.

    Raises:
        DataError: as for `parse_json`.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return parse_json(file.read(LARGEST_JSON + 1), str(path))
