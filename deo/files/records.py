"""Facts that decide a result, as JSON, and in which of them two runs differ.

A number is the same whoever gave it: 0, 0.0 and NumPy's zeros are one setting, as are lists and
tuples of equal items.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np


class Difference(NamedTuple):
    """One fact that two records hold differently; None stands for an absent one."""

    name: str
    before: Any
    now: Any

    def __str__(self) -> str:
        """The one way in which messages tell of it: what was recorded, and what is asked for."""
        return f"{self.name}: {self.before!r} -> {self.now!r}"


def plain(value: Any) -> Any:
    """The value in JSON's own types: NumPy's numbers become Python's, and tuples lists."""
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    """The facts in which two records differ, those of nested objects by their path `a.b`.

    Text that holds a JSON object or list counts as that object or list.
    """
    before, now = dict(_leaves(old)), dict(_leaves(new))
    return [
        Difference(name, before.get(name), now.get(name))
        for name in {**before, **now}
        if _canonical(before.get(name)) != _canonical(now.get(name))
    ]


def _leaves(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, stored in record.items():
        value = _parsed(stored)
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _parsed(value: Any) -> Any:
    if not isinstance(value, str) or value[:1] not in ("{", "["):
        return plain(value)
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _canonical(value: Any) -> str:
    return json.dumps(_whole_numbers(value), sort_keys=True)


def _whole_numbers(value: Any) -> Any:
    """Floats without a fraction as integers, which JSON would spell otherwise."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _whole_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole_numbers(item) for item in value]
    return value
