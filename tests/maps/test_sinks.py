import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil

from deo.errors import ConfigError, OutputError
from deo.maps.sinks import check_apart, check_target, feature_sink

Make = Callable[..., Any]


def read_tags(path: Path) -> dict[str, str] | None:
    return feature_sink(path).read_tags(path)


def damage(path: Path) -> str | None:
    return feature_sink(path).damage(path)


@pytest.mark.parametrize("suffix", [".tif", ".parquet", ".zarr"])
def test_write_output__refuses_what_float16_cannot_hold(
    held_rows: Make,
    info: Make,
    write: Make,
    tmp_path: Path,
    suffix: str,
) -> None:
    rows = held_rows()
    rows.data[20:] = 1e6
    with pytest.raises(OutputError, match="does not fit into float16"):
        write(rows, info(dtype="float16"), tmp_path / f"map{suffix}", chip=8)
    assert not (tmp_path / f"map{suffix}").exists()


@pytest.mark.parametrize("suffix", [".tif", ".parquet", ".zarr"])
@pytest.mark.parametrize("dangling", [False, True])
def test_write_output__replaces_a_link_and_leaves_what_it_led_to(
    held_rows: Make,
    info: Make,
    write: Make,
    tmp_path: Path,
    suffix: str,
    dangling: bool,
) -> None:
    link, other = tmp_path / f"link{suffix}", tmp_path / "other"
    if not dangling:
        other.mkdir()
        (other / "mine").touch()
    link.symlink_to(other)
    write(held_rows(), info(), link, chip=8)
    assert not link.is_symlink()
    assert read_tags(link) == info().tags
    assert (other / "mine").exists() is not dangling
    assert {path.name for path in tmp_path.iterdir()} <= {link.name, "other", "work"}


@pytest.mark.parametrize(
    ("name", "changes", "error", "said"),
    [
        ("map.jpg", {}, OutputError, "its suffix says nothing; known are .tif"),
        ("map", {}, OutputError, "its suffix says nothing"),
        ("missing/map.tif", {}, OutputError, "no folder"),
        ("folder.tif", {}, OutputError, "it is a folder"),
        ("map.tif", {"dtype": "float64"}, ConfigError, "float64"),
    ],
)
def test_check_target__refuses_beforehand(
    info: Make,
    tmp_path: Path,
    name: str,
    changes: dict[str, Any],
    error: type[Exception],
    said: str,
) -> None:
    (tmp_path / "folder.tif").mkdir()
    path = tmp_path / name

    def check() -> None:
        check_target(path, info(**changes), feature_sink(path), height=8, width=8)

    with pytest.raises(error, match=said):
        check()
    assert [path.name for path in tmp_path.iterdir()] == ["folder.tif"]


@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize("suffix", [".parquet", ".zarr"])
def test_write_output__the_same_rows_give_the_same_bytes(
    held_rows: Make, info: Make, write: Make, tmp_path: Path, suffix: str, dtype: str
) -> None:
    """A resumed run reads the rows that a run in one piece reads, and writes what it writes."""
    paths = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for path in paths:
        write(held_rows(60, 70), info(dtype=dtype), path, chip=8)
    first, second = (
        {
            file.relative_to(path): file.read_bytes()
            for file in (path.rglob("*") if path.is_dir() else [path])
            if file.is_file()
        }
        for path in paths
    )
    assert first == second
    assert first


def test_read_tags__none_for_files_of_others(tmp_path: Path) -> None:
    for suffix in (".tif", ".parquet", ".zarr"):
        (tmp_path / f"other{suffix}").write_text("something else")
        assert read_tags(tmp_path / f"other{suffix}") is None


@pytest.mark.parametrize("suffix", [".tif", ".parquet"])
def test_damage__of_a_file_cut_anywhere(
    held_rows: Make,
    info: Make,
    write: Make,
    tmp_path: Path,
    suffix: str,
) -> None:
    path = tmp_path / f"map{suffix}"
    write(held_rows(600, 300, 3), info(3), path, chip=32)
    content = path.read_bytes()
    assert damage(path) is None
    for share in (0, 1e-4, 0.01, 0.1, 0.34, 0.67, 0.99):
        path.write_bytes(content[: int(share * len(content))])
        assert damage(path), share
    path.write_bytes(content[:-1])
    assert damage(path)


@pytest.mark.parametrize("suffix", [".tif", ".parquet", ".zarr"])
def test_damage__of_what_is_surely_another_s_is_none(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"map{suffix}"
    path.write_text("a letter, not a map")
    assert damage(path) is None
    if suffix == ".zarr":
        path.unlink()
        path.mkdir()
        (path / "letter").touch()
        assert damage(path) is None


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("suffix", [".tif", ".zarr", ".parquet"])
def test_room__is_about_what_is_taken(
    hold: Make,
    info: Make,
    write: Make,
    tmp_path: Path,
    suffix: str,
    dtype: str,
) -> None:
    rng = np.random.default_rng(0)
    data = rng.normal(size=(700, 6, 600)).astype(np.float32)
    rows = hold(data)
    path, about = tmp_path / f"map{suffix}", info(6, dtype=dtype)
    write(rows, about, path, chip=32)
    files = path.rglob("*") if path.is_dir() else [path]
    taken = sum(file.stat().st_size for file in files if file.is_file())
    estimate = feature_sink(path, chip=32).room(rows.shape, about).output
    assert 0.8 * taken < estimate < 1.35 * taken + 20_000


def test_check_apart__knows_a_file_by_any_name(
    held_rows: Make,
    info: Make,
    write: Make,
    tmp_path: Path,
) -> None:
    source, other = tmp_path / "scene.tif", tmp_path / "other.tif"
    write(held_rows(), info(), source)
    write(held_rows(), info(), other)
    (tmp_path / "hard.tif").hardlink_to(source)
    (tmp_path / "link.tif").symlink_to(source)
    (tmp_path / "here").symlink_to(tmp_path)
    rasterio.shutil.copy(source, tmp_path / "all.vrt", driver="VRT")
    (tmp_path / "scene.tif.aux.xml").write_text("<PAMDataset></PAMDataset>")
    for name in ("scene.tif", "hard.tif", "link.tif", "here/scene.tif", "scene.tif.aux.xml"):
        for given in (source, tmp_path / "all.vrt", f"file://{source}"):
            with pytest.raises(OutputError, match="is what is being read"):
                check_apart([tmp_path / name], [given])
    check_apart([other, tmp_path / "new.tif"], [source, "https://host/scene.tif"])


def test_check_apart__refuses_a_folder_that_holds_the_input(
    held_rows: Make,
    info: Make,
    write: Make,
    tmp_path: Path,
) -> None:
    store = tmp_path / "map.zarr"
    store.mkdir()
    write(held_rows(), info(), store / "scene.tif")
    shutil.rmtree(store / "work")
    with pytest.raises(OutputError, match=r"holds what is being read \(.*scene.tif\)"):
        check_apart([store], [store / "scene.tif"])
    with pytest.raises(OutputError, match="is what is being read"):
        check_apart([store / "scene.tif"], [store])


def test_check_apart__rows_of_another_run_may_go_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, rows = tmp_path / "scene.tif", tmp_path / "out.tif.partial"
    source.touch()
    rows.mkdir()

    def same(one: Path, other: str) -> bool:
        rows.rmdir()
        return one.stat() == Path(other).stat()

    monkeypatch.setattr("os.path.samefile", same)
    check_apart([rows], [source])
    assert not rows.exists()
