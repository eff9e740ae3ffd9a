"""The wheel holds what the tree holds, and importing the package stays light."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_wheel__holds_every_module_and_asset_of_the_tree(tmp_path: Path) -> None:
    if not (ROOT / "deo" / "__init__.py").is_file():
        pytest.skip("needs the source tree beside the tests")
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    copy = tmp_path / "source"
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", str(ROOT), str(copy)], check=True)
    subprocess.run([*build, "-w", str(tmp_path), str(copy)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    tracked = subprocess.run(
        ["git", "ls-files", "deo", "training"], cwd=copy, check=True, capture_output=True, text=True
    ).stdout.split()
    expected = {
        f"deo/{name}" if name.startswith("training/") else name
        for name in tracked
        if name != "deo/training"
    }
    assert packed == expected


def test_import__brings_nothing_heavier_than_timm() -> None:
    heavy = {"click", "geopandas", "h5py", "matplotlib", "pyarrow", "rasterio", "sklearn", "tqdm"}
    code = (
        "import sys, timm; before = set(sys.modules); import deo; "
        "print(*sorted({m.split('.')[0] for m in set(sys.modules) - before}))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()
    assert "deo" in loaded
    assert not set(loaded) & heavy


def test_command_line__is_installed_and_names_its_commands() -> None:
    shown = subprocess.run(
        [sys.executable, "-c", "from deo.cli import main; main()", "--version"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert shown.startswith("deo ")
