"""A contract from a file: one that was saved, or that of features that were extracted before."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from deo.contracts import CONTRACTS, Contract
from deo.errors import ConfigError, did_you_mean
from deo.files.documents import parse_json
from deo.maps import cog, geoparquet, zarr_store

_TAGS: Mapping[str, Callable[[Path], dict[str, str] | None]] = {
    ".tif": cog.read_tags,
    ".tiff": cog.read_tags,
    ".parquet": geoparquet.read_tags,
    ".zarr": zarr_store.read_tags,
}


def load_contract(path: str | os.PathLike[str]) -> Contract:
    """The contract in a JSON file of `Contract.save`, or that of features (.tif, .parquet, .zarr).

    Features of another scene, made under the contract that is returned, can be compared with those.

    Raises:
        ConfigError: there is no such file, or it holds no contract.
    """
    path = Path(path)
    if path.suffix.lower() not in _TAGS:
        return Contract.load(path)
    if not path.exists():
        raise ConfigError(f"there is no file {path} to take the contract from")
    tags = _TAGS[path.suffix.lower()](path)
    if tags is None or "DEO_CONTRACT" not in tags:
        raise ConfigError(f"{path} holds no contract: it is no file of features made by deo")
    return Contract.from_record(parse_json(tags["DEO_CONTRACT"], f"the contract of {path}"))


def parse_contract(said: str | os.PathLike[str] | Contract | None) -> str | Contract | None:
    """A contract as users say it: a name stays one, a file is read.

    Raises:
        ConfigError: it is neither.
    """
    if said is None or isinstance(said, Contract) or said in CONTRACTS:
        return said
    if Path(said).suffix.lower() in (".json", *_TAGS):
        return load_contract(said)
    raise ConfigError(
        f"no contract {os.fspath(said)!r}; {did_you_mean(os.fspath(said), CONTRACTS)} Or give a "
        "file that holds one: .json, .tif, .parquet or .zarr"
    )
