"""What identifies the data of a run: a resumed run refuses other data, wherever they lie.

An identity is plain values: how many samples, a fingerprint of their content, and the checksums
of the parts from which a message says what differs.
"""

import hashlib
import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from deo.files.records import differences
from deo.training.data.samples import Samples
from deo.training.data.shards import Shards

COMPARED = 64
"""Samples of a store without an index of checksums that are read for its identity."""

_PARTS = "parts"
_SHOWN = 5


def samples_identity(samples: Samples) -> dict[str, Any]:
    """Of pretraining data: every checksum of shards; of other stores `COMPARED` samples.

    Those are spread evenly over the store. A store of one's own that draws its samples at random
    has nothing but its length.
    """
    if isinstance(samples, Shards):
        parts = {
            shard.file: f"{shard.count} samples, {_short(shard.crc32)}"
            for shard in samples.index.shards
        }
        return _identity(len(samples), parts) | {"fingerprint": samples.index.fingerprint}
    numbers = np.unique(np.linspace(0, len(samples) - 1, COMPARED).astype(int)).tolist()
    if not numbers or sample_checksum(samples[numbers[0]]) != sample_checksum(samples[numbers[0]]):
        return {"samples": len(samples)}
    parts = {f"sample {number}": sample_checksum(samples[number]) for number in numbers}
    return _identity(len(samples), parts)


def named_identity(checksums: Mapping[str, str]) -> dict[str, Any]:
    """Of samples that have names: name -> checksum, in order."""
    return _identity(len(checksums), dict(checksums))


def sample_checksum(*arrays: np.typing.NDArray[Any]) -> str:
    """Eight hexadecimal digits of the CRC-32 of arrays: shapes, types and values."""
    checksum = 0
    for array in arrays:
        checksum = zlib.crc32(f"{array.shape} {array.dtype.str}".encode(), checksum)
        checksum = zlib.crc32(np.ascontiguousarray(array).data, checksum)
    return f"{checksum:08x}"


def summary(identity: Mapping[str, Any]) -> dict[str, Any]:
    """An identity without its parts: short enough for a model card."""
    return {name: value for name, value in identity.items() if name != _PARTS}


def changed_data(saved: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """One line for each fact that differs, and one that names parts that do; empty when equal."""
    lines = [f"data, {one}" for one in differences(summary(saved), summary(given))]
    if not lines:
        return []
    old, new = saved.get(_PARTS, {}), given.get(_PARTS, {})
    other = [_changed(name, old, new) for name in {**old, **new} if old.get(name) != new.get(name)]
    if other:
        more = f" and {len(other) - _SHOWN} more" if len(other) > _SHOWN else ""
        lines.append(f"data, what differs: {', '.join(other[:_SHOWN])}{more}")
    return lines


def _changed(name: str, old: Mapping[str, str], new: Mapping[str, str]) -> str:
    if name not in old:
        return f"{name} (new)"
    return f"{name} (other content)" if name in new else f"{name} (missing)"


def _identity(count: int, parts: dict[str, str]) -> dict[str, Any]:
    return {"samples": count, "fingerprint": _short(json.dumps(list(parts.items()))), _PARTS: parts}


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
