"""The benchmarks of the paper's tables, collected from the modules beside this one."""

from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pkgutil import iter_modules

from deo.bands import BandSet
from deo.errors import BandError, DataError
from deo.training.tasks import benchmarks
from deo.training.tasks.benchmarks.geobench import BandKeys, GeoBench
from deo.training.tasks.dataset import Rasters, Unit
from deo.training.tasks.task import Benchmark


def _published() -> Iterator[Benchmark]:
    """Module by module in alphabetical order."""
    for module in iter_modules(benchmarks.__path__, f"{benchmarks.__name__}."):
        if module.name != __name__:
            yield from getattr(import_module(module.name), "PUBLISHED", ())


BENCHMARKS: dict[str, Benchmark] = {row.name: row for row in _published()}


def benchmark(
    name: str,
    *,
    keys: BandKeys | None = None,
    partition: str | None = None,
    stored: BandSet | None = None,
    scale: float | None = None,
    offset: float | None = None,
) -> Benchmark:
    """Look up a benchmark.

    Args:
        keys: how to interpret the band keys of m-eurosat; None: corrected.
        partition: which `<partition>_partition.json` of GEO-Bench; None: `default`.
        stored: the band order that the caller believes the files have. It is compared with the
            order of the data set and never replaces it.
        scale, offset: see `Rasters`; for a copy whose files do not say it themselves.

    Raises:
        DataError: the name is unknown (the message lists all names), or an option does not apply
            to this benchmark.
        BandError: `stored` is not the order of this data set.
    """
    if name not in BENCHMARKS:
        known = ", ".join((*sorted(BENCHMARKS), "folder"))
        raise DataError(f"unknown data set {name!r}; known are {known}")
    row = BENCHMARKS[name]
    layout = row.layout
    if stored is not None and stored != layout.bands:
        raise BandError(
            f"wrong band order declared: {name} stores {layout.bands}, not {stored}; "
            "leave the declaration out"
        )
    if keys is not None and name != "m-eurosat":
        raise DataError(f"band keys are in question for m-eurosat only, not for {name}")
    if scale is not None or offset is not None:
        if not isinstance(layout, Rasters) or row.unit is not Unit.DN:
            raise DataError(
                f"--scale and --offset are for rasters of digital numbers or reflectance; {name} "
                "has numbers of another kind, whose unit is known"
            )
        return replace(row, layout=replace(layout, scale=scale, offset=offset))
    if isinstance(layout, GeoBench):
        chosen = replace(layout, keys=keys or layout.keys, partition=partition or layout.partition)
        return replace(row, layout=chosen)
    if partition is not None:
        raise DataError(f"only GEO-Bench has partitions; {name} has none")
    return row
