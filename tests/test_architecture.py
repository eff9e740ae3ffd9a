"""Who may import whom: read from the source, so that no drift goes unsaid."""

import ast
from collections.abc import Collection
from pathlib import Path

import pytest

import deo

PACKAGE = Path(deo.__file__).parent
MODULES = {
    ".".join(("deo", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
if not any(name.startswith("deo.training") for name in MODULES):  # rglob follows no links
    MODULES |= {
        ".".join(
            ("deo.training", *path.relative_to(PACKAGE / "training").with_suffix("").parts)
        ).removesuffix(".__init__"): path
        for path in sorted((PACKAGE / "training").rglob("*.py"))
    }

# the first prefix that matches a module says which folders or modules of ours it may import
GROUND = {"deo.errors", "deo.files", "deo.bands", "deo.sensors"}
ALLOWED: list[tuple[str, set[str]]] = [
    ("deo.errors", set()),
    ("deo.files", {"deo.errors", "deo.files"}),
    ("deo.bands", {"deo.errors", "deo.sensors"}),
    ("deo.sensors", {"deo.errors", "deo.files", "deo.bands", "deo.sensors"}),
    ("deo.contracts", GROUND),
    ("deo.models", {"deo.errors", "deo.files", "deo.bands", "deo.models", "deo.assets"}),
    ("deo.scene", GROUND | {"deo.scene"}),
    ("deo.describe", {"deo.describe"}),
    ("deo.maps", GROUND | {"deo.scene", "deo.contracts", "deo.describe", "deo.maps"}),
    ("deo.layers", GROUND | {"deo.maps", "deo.models"}),
    ("deo.api", GROUND | {"deo.contracts", "deo.scene", "deo.maps", "deo.models", "deo.layers"}),
    ("deo.index", GROUND | {"deo.contracts", "deo.scene", "deo.maps", "deo.api"}),
    ("deo.labelled", GROUND | {"deo.scene", "deo.maps", "deo.api"}),
    ("deo.explorer", GROUND | {"deo.scene", "deo.maps", "deo.explorer"}),
    ("deo.synthetic", {"deo.bands"}),
    ("deo.demo", GROUND | {"deo.scene", "deo.maps", "deo.api", "deo.synthetic"}),
    ("deo.assets", set()),
    ("deo.cli", {"deo"}),
    # inside training: run -> method -> data; losses, schedules and config import no sibling
    ("deo.training.config", {"deo.errors", "deo.training.method.config"}),
    ("deo.training.method.config", {"deo.errors"}),
    ("deo.training.method.losses", set()),
    ("deo.training.run.schedules", set()),
    ("deo.training.data", GROUND | {"deo.scene", "deo.maps", "deo.training.data"}),
    (
        "deo.training.method",
        GROUND
        | {
            "deo.models",
            "deo.training.method",
        },
    ),
    # joins a run and its probe of labelled data: the only module of a run that knows tasks
    (
        "deo.training.run.pretraining",
        GROUND
        | {"deo.training.config", "deo.training.settings", "deo.training.data"}
        | {"deo.training.method", "deo.training.run", "deo.training.tasks.online"},
    ),
    (
        "deo.training.run",
        GROUND
        | {"deo.models", "deo.contracts", "deo.describe"}
        | {"deo.training.config", "deo.training.settings"}
        | {"deo.training.data", "deo.training.method", "deo.training.run"},
    ),
    (
        "deo.training.tasks",
        GROUND
        | {"deo.models", "deo.contracts", "deo.scene", "deo.maps", "deo.training.data"}
        | {"deo.training.run", "deo.training.tasks"},
    ),
    ("deo.training", GROUND | {"deo.models", "deo.training"}),
    ("deo.registration", {"deo.models"}),
    (
        "deo",
        {"deo.errors", "deo.bands", "deo.sensors", "deo.registration"}
        | {"deo.api", "deo.labelled", "deo.contracts", "deo.maps.similar", "deo.models.weights"}
        | {"deo.maps.classify", "deo.scene.opening", "deo.explorer.serve"},
    ),
]
HEAVY = {
    "h5py", "pyarrow", "geopandas", "xformers", "segmentation_models_pytorch", "sklearn", "wandb",
    "tensorboard", "zarr", "usearch", "matplotlib", "webdataset", "pystac", "torchvision", "kornia",
    "xarray", "dask", "pystac_client", "stac_geoparquet", "starlette", "uvicorn",
}  # fmt: skip


def imports(path: Path, *, top_level: bool) -> set[str]:
    """Full names imported in a file: at module level only, or anywhere."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level else list(ast.walk(tree))
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def within(name: str, prefixes: set[str]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports__only_what_the_plan_allows(module: str) -> None:
    allowed = next(may for prefix, may in ALLOWED if within(module, {prefix}))
    own = {name for name in imports(MODULES[module], top_level=False) if within(name, {"deo"})}
    strangers = {
        name for name in own if not within(name, allowed | {module}) and name != "deo.__version__"
    }
    assert not strangers, f"{module} may import {sorted(allowed)}, imports {sorted(strangers)}"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports__extras_only_where_used(module: str) -> None:
    at_top = {name.split(".")[0] for name in imports(MODULES[module], top_level=True)}
    assert not at_top & HEAVY, f"{module} imports {sorted(at_top & HEAVY)} when it is imported"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports__training_behind_the_command_line_only(module: str) -> None:
    if within(module, {"deo.training", "deo.cli"}):
        return
    # looked up when they are first used; for readers of types alone they are imported
    late = {f"deo.training.tasks.predict.{name}" for name in ("predict", "predict_many")}
    public = late if module == "deo" else set()
    names = imports(MODULES[module], top_level=False) - public
    assert not {name for name in names if within(name, {"deo.training"})}


def test_training__no_module_shadows_the_standard_library() -> None:
    import sys

    names = {module.rsplit(".", 1)[1] for module in MODULES if module.startswith("deo.training.")}
    assert not names & set(sys.stdlib_module_names)


# Lists of exceptions, which must only shrink: whoever mends one takes it out.
LONG_MODULES = {
    "deo.api": "the front door: its functions are mostly signature and docstring",
    "deo.cli.options": "every option declared once, with its help",
    "deo.contracts": "one record and the ways to fit, save and find it",
    "deo.files.lock": "locks of every system, to be compared side by side",
    "deo.maps.sinks": "the protocol of outputs beside its four kinds, a few lines each",
    "deo.maps.spool": "one folder on disk: what writes its files and journal also takes them up",
    "deo.scene.assets": "the bands of files, from one file to a folder of them",
    "deo.scene.earth": "one geometry: places, boxes and outlines in degrees, which need each other",
    "deo.scene.formats": "one rule, which is to be read whole: what each door lets GDAL open",
    "deo.scene.raster": "one class: a file opened, with what it marks as missing",
    "deo.scene.safe": "one product format, whose versions are told apart here",
    "deo.scene.scene": "one class: a scene read and sampled on its grid",
    "deo.training.tasks.benchmarks.geobench": "one benchmark, and the formats of its two versions",
    "deo.training.tasks.predict": "the network that is mapped is to have a module of its own",
    "deo.training.tasks.tune": "not parted yet",
}
"""Modules of more than 250 lines, with the reason."""

LONG_FUNCTIONS = {
    "deo.training.tasks.benchmarks.folder.folder_benchmark": "tells the layouts of a folder apart",
}
"""Functions of more than 40 lines without their docstring, with the reason."""


def compare(offenders: set[str], listed: Collection[str], wanted: str) -> None:
    """Refuse new offenders, and names on a list that have no place there any more."""
    assert not offenders - set(listed), f"{wanted}: {sorted(offenders - set(listed))}"
    assert not set(listed) - offenders, f"take out of the list: {sorted(set(listed) - offenders)}"


def test_tests__mirror_the_tree() -> None:
    tests = Path(__file__).parent
    untested = set()
    for module, path in MODULES.items():
        folders = module.split(".")[1:-1]
        beside = tests.joinpath(*folders, f"test_{path.stem}.py")
        if path.stem != "__init__" and not beside.is_file():
            untested.add(module)
    assert not untested, f"give these modules a test file of their name: {sorted(untested)}"


def test_modules__have_one_noun() -> None:
    lengths = {module: len(path.read_text().splitlines()) for module, path in MODULES.items()}
    long = {module for module, length in lengths.items() if length > 250}
    compare(long, LONG_MODULES, "more than 250 lines: look for the second noun")


def test_functions__have_one_verb() -> None:
    long = {
        f"{module}.{node.name}"
        for module, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and length_without_docstring(node) > 40
    }
    compare(long, LONG_FUNCTIONS, "more than 40 lines: look for the second verb")


def length_without_docstring(function: ast.FunctionDef) -> int:
    body = function.body[1:] if ast.get_docstring(function) else function.body
    docstring = body[0].lineno - function.body[0].lineno if body else 0
    return (function.end_lineno or 0) - function.lineno + 1 - docstring
