"""Who may import whom: read from the source, so that no drift goes unsaid."""

import ast
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
        ".".join(("deo.training", path.stem)).removesuffix(".__init__"): path
        for path in sorted((PACKAGE / "training").glob("*.py"))
    }

BASE = {"deo.errors", "deo.bands", "deo.atomic", "deo.documents", "deo.records"}
PIXELS = BASE | {"deo.radiometry", "deo.preprocess"}
# the first prefix that matches a module says what it may import from deo (prefixes)
ALLOWED: list[tuple[str, set[str]]] = [
    ("deo.errors", set()),
    ("deo.atomic", set()),
    ("deo.records", set()),
    ("deo.bands", {"deo.errors"}),
    ("deo.documents", {"deo.errors"}),
    ("deo.radiometry", BASE),
    ("deo.preprocess", PIXELS),
    ("deo.models", BASE | {"deo.models", "deo.assets"}),
    ("deo.raster.windows", {"deo.errors"}),
    ("deo.raster", PIXELS | {"deo.raster"}),
    ("deo.api", PIXELS | {"deo.models", "deo.raster"}),
    ("deo.synthetic", {"deo.bands"}),
    ("deo.demo", PIXELS | {"deo.models", "deo.raster", "deo.api", "deo.synthetic"}),
    ("deo.assets", set()),
    ("deo.cli", {"deo"}),
    ("deo.training.losses", set()),
    ("deo.training.schedules", set()),
    ("deo.training.config", {"deo.errors"}),
    ("deo.training.evaluate", PIXELS | {"deo.models", "deo.training", "deo.raster", "deo.api"}),
    ("deo.training.finetune", PIXELS | {"deo.models", "deo.training", "deo.raster", "deo.api"}),
    ("deo.training.predict", PIXELS | {"deo.models", "deo.training", "deo.raster"}),
    ("deo.training.class_map", PIXELS | {"deo.training", "deo.raster"}),
    ("deo.training.predictions", PIXELS | {"deo.models", "deo.training", "deo.raster", "deo.api"}),
    *(
        (f"deo.training.{name}", PIXELS | {"deo.training", "deo.raster"})
        # what reads rasters: samples and labelled images are opened as scenes are
        for name in ("store", "prepare", "archives", "fmow", "listing", "reading", "folders")
    ),
    ("deo.training", PIXELS | {"deo.models", "deo.training", "deo.raster.doors"}),
    ("deo", BASE | {"deo.models", "deo.api"}),
]
HEAVY = {
    "h5py", "pyarrow", "geopandas", "xformers", "segmentation_models_pytorch", "sklearn", "wandb",
    "tensorboard", "zarr", "matplotlib", "webdataset", "pystac", "torchvision", "kornia",
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
    names = imports(MODULES[module], top_level=False)
    assert not {name for name in names if within(name, {"deo.training"})}


def test_training__no_module_shadows_the_standard_library() -> None:
    import sys

    names = {module.rsplit(".", 1)[1] for module in MODULES if module.startswith("deo.training.")}
    assert not names & set(sys.stdlib_module_names)
