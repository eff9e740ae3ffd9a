"""A contract from a file: one that was saved, or that of features that were extracted before."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from deo.bands import BandSet, Pixels
from deo.contracts import CONTRACTS, Contract
from deo.errors import ConfigError, did_you_mean
from deo.files.documents import parse_json
from deo.maps import cog, geoparquet, zarr_store

_OF_EACH = 2**18  # pixels of each scene that a contract over several looks at
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


class Several:
    """Samples of several scenes as one, for `fit_contract`."""

    def __init__(self, samples: Sequence[Pixels]) -> None:
        # evenly spread numbers of each, so that any number of scenes fits into memory
        thinned = [sample.values[:, sample.valid] for sample in samples]
        self.values = [one[:, :: max(1, one.shape[1] // _OF_EACH)] for one in thinned]

    def sample(self, bands: BandSet) -> Pixels:
        """All of them in one row; the bands are those that the samples were taken in."""
        if not self.values:
            return Pixels(np.zeros((len(bands), 1, 0), np.float32), np.zeros((1, 0), np.bool_))
        joined = np.concatenate(self.values, axis=1)[:, None]
        return Pixels(joined, np.ones(joined.shape[1:], np.bool_))


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
