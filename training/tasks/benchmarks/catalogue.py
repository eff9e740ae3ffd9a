"""The benchmarks of the paper's tables: what each is, where its numbers stand, how to open it."""

from dataclasses import replace

from deo.bands import RGB_BANDS, BandSet
from deo.errors import BandError, DataError
from deo.sensors.known.sentinel2 import SENTINEL2
from deo.training.tasks.benchmarks.chips import EUROSAT_CLASSES, EuroSAT, Sen1Floods11
from deo.training.tasks.benchmarks.geobench import BandKeys, GeoBench
from deo.training.tasks.benchmarks.pairs import LEVIR, OSCD
from deo.training.tasks.benchmarks.parcels import PASTIS, SpaceNet1
from deo.training.tasks.dataset import Unit
from deo.training.tasks.task import Benchmark, Task


def _table(*rows: Benchmark) -> dict[str, Benchmark]:
    return {row.name: row for row in rows}


_PRODUCT = tuple(band.name for band in SENTINEL2)
_NO_CIRRUS = BandSet(name for name in _PRODUCT if name != "B10")
_SO2SAT = BandSet(("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"))


def _geobench(
    name: str,
    bands: BandSet,
    classes: int | tuple[str, ...],
    *,
    task: Task = Task.SEGMENT,
    unit: Unit = Unit.DN,
    paper: float,
    paper_tenth: float | None = None,
    shapes: str,
) -> Benchmark:
    metrics = {Task.CLASSIFY: "accuracy", Task.MULTILABEL: "micro_f1", Task.SEGMENT: "macro_iou"}
    count = classes if isinstance(classes, int) else len(classes)
    layout = GeoBench(name=name, bands=bands, classes=count, multilabel=task is Task.MULTILABEL)
    return Benchmark(
        name=name,
        task=task,
        classes=classes,
        layout=layout,
        unit=unit,
        metric=metrics[task],
        paper=paper,
        paper_tenth=paper_tenth,
        shapes=shapes,
    )


BENCHMARKS: dict[str, Benchmark] = _table(
    Benchmark(
        name="eurosat-ms",
        task=Task.CLASSIFY,
        classes=EUROSAT_CLASSES,
        layout=EuroSAT(),
        metric="accuracy",
        shapes="13 x 64 x 64 uint16, digital numbers",
    ),
    _geobench(
        "m-eurosat",
        BandSet(_PRODUCT),
        EUROSAT_CLASSES,
        task=Task.CLASSIFY,
        paper=97.0,
        shapes="13 x 64 x 64, digital numbers",
    ),
    _geobench(
        "m-bigearthnet",
        _NO_CIRRUS,
        43,
        task=Task.MULTILABEL,
        paper=58.43,
        paper_tenth=51.89,
        shapes="12 x 120 x 120, digital numbers",
    ),
    _geobench(
        "m-so2sat",
        _SO2SAT,
        17,
        task=Task.CLASSIFY,
        unit=Unit.REFLECTANCE,
        paper=52.23,
        shapes="10 x 32 x 32, reflectance (radar is not read)",
    ),
    _geobench(
        "m-nz-cattle",
        RGB_BANDS,
        ("background", "cattle"),
        unit=Unit.BYTE,
        paper=80.21,
        shapes="3 x 500 x 500 uint8 RGB",
    ),
    _geobench(
        "m-pv4ger-seg",
        RGB_BANDS,
        ("background", "solar panel"),
        unit=Unit.BYTE,
        paper=94.41,
        shapes="3 x 320 x 320 uint8 RGB",
    ),
    _geobench(
        "m-chesapeake",
        BandSet(("B04", "B03", "B02", "B08")),
        7,
        unit=Unit.BYTE,
        paper=72.47,
        shapes="red, green, blue, near infrared x 256 x 256, 0..1",
    ),
    _geobench(
        "m-SA-crop-type",
        _NO_CIRRUS,
        10,
        unit=Unit.BYTE,
        paper=37.96,
        paper_tenth=28.98,
        shapes="12 x 256 x 256, 8-bit-like",
    ),
    _geobench(
        "m-cashew-plant", _NO_CIRRUS, 7, paper=68.56, shapes="12 x 256 x 256, digital numbers"
    ),
    Benchmark(
        name="sen1floods11",
        task=Task.SEGMENT,
        classes=("dry", "water"),
        layout=Sen1Floods11(),
        metric="micro_iou",
        paper=94.32,
        shapes="13 x 512 x 512 int16, digital numbers",
    ),
    Benchmark(
        name="pastis",
        task=Task.SEGMENT,
        classes=19,
        layout=PASTIS(),
        metric="macro_iou",
        paper=28.96,
        shapes="T x 10 x 128 x 128 int16, digital numbers; median over time",
    ),
    Benchmark(
        name="spacenet1",
        task=Task.SEGMENT,
        classes=("ground", "building"),
        layout=SpaceNet1(),
        unit=Unit.BYTE,
        metric="macro_iou",
        paper=80.83,
        paper_tenth=76.46,
        shapes="3 x about 406 x 439 uint8 RGB",
    ),
    Benchmark(
        name="levir-cd",
        task=Task.CHANGE,
        classes=("unchanged", "changed"),
        layout=LEVIR(),
        unit=Unit.BYTE,
        metric="f1",
        paper=91.3,
        shapes="2 x 3 x 1024 x 1024 uint8 RGB",
    ),
    Benchmark(
        name="oscd",
        task=Task.CHANGE,
        classes=("unchanged", "changed"),
        layout=OSCD(),
        metric="f1",
        paper=60.4,
        shapes="2 x 13 x about 600 x 600 uint16, digital numbers",
    ),
)


def benchmark(
    name: str,
    *,
    keys: BandKeys | None = None,
    partition: str | None = None,
    stored: BandSet | None = None,
) -> Benchmark:
    """Look a benchmark up.

    Args:
        keys: how to read the band keys of m-eurosat; None: corrected.
        partition: which `<partition>_partition.json` of GEO-Bench; None: `default`.
        stored: the order the caller believes the files have; compared, never followed.

    Raises:
        DataError: unknown (the message lists all names), or an option that it does not have.
        BandError: `stored` is not the order of this data set.
    """
    if name not in BENCHMARKS:
        known = ", ".join((*sorted(BENCHMARKS), "folder"))
        raise DataError(f"unknown data set {name!r}; known are {known}")
    found = BENCHMARKS[name]
    if stored is not None and stored != found.layout.bands:
        raise BandError(
            f"wrong band order declared: {name} stores {found.layout.bands}, not {stored}; "
            "leave the declaration out"
        )
    if keys is not None and name != "m-eurosat":
        raise DataError(f"band keys are in question for m-eurosat only, not for {name}")
    if not isinstance(found.layout, GeoBench):
        if partition is not None:
            raise DataError(f"only GEO-Bench has partitions; {name} has none")
        return found
    layout = replace(
        found.layout, keys=keys or found.layout.keys, partition=partition or found.layout.partition
    )
    return replace(found, layout=layout)
