from collections.abc import Sequence
from pathlib import Path

import pytest

from deo.errors import ConfigError, OutputError
from deo.maps.worklist import Entry, Item, pair


def items(sources: Sequence[str], output: str | None, preview: str | None = None) -> list[Item]:
    return pair([Entry(source) for source in sources], output, preview)


def test_pair__a_file_for_one(tmp_path: Path) -> None:
    (item,) = items(["a.tif"], str(tmp_path / "b.tif"))
    assert item == Item("a.tif", tmp_path / "b.tif")


def test_pair__a_folder_or_template_for_many(tmp_path: Path) -> None:
    scenes = ["in/a.tif", "https://host/b.tif?token=c/d", "P_N0509.SAFE", "Q.SAFE.zip"]
    folder = items(scenes, str(tmp_path / "out"), f"{tmp_path}/{{name}}_seen.png")
    names = ["a", "b", "P_N0509", "Q"]
    assert [item.output for item in folder] == [tmp_path / "out" / f"{n}.tif" for n in names]
    assert [item.preview for item in folder] == [tmp_path / f"{n}_seen.png" for n in names]
    assert (tmp_path / "out").is_dir()
    template = items(scenes[:1], f"{tmp_path}/{{name}}.parquet")
    assert template[0].output == tmp_path / "a.parquet"


def test_pair__a_list_of_one_may_name_a_folder_or_a_file(tmp_path: Path) -> None:
    folder = pair([Entry("a.tif")], str(tmp_path / "new"), None, several=True)
    assert folder[0].output == tmp_path / "new" / "a.tif"
    file = pair([Entry("a.tif")], str(tmp_path / "b.tif"), None, several=True)
    assert file[0].output == tmp_path / "b.tif"


def test_pair__makes_the_folder_of_a_template(tmp_path: Path) -> None:
    items(["a.tif"], str(tmp_path / "out" / "{name}.tif"), str(tmp_path / "seen" / "{name}.png"))
    assert (tmp_path / "out").is_dir()
    assert (tmp_path / "seen").is_dir()


def test_pair__refuses_one_file_for_many(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"map_\{name\}.tif"):
        items(["a.tif", "b.tif"], str(tmp_path / "map.tif"))
    with pytest.raises(OutputError, match="would both be written"):
        items(["x/a.tif", "y/a.tif"], str(tmp_path))


def test_pair__what_a_line_says_goes_first(tmp_path: Path) -> None:
    out = tmp_path / "out"
    paired = pair(
        [
            Entry("in/a.tif"),
            Entry("in/b.tif", "second"),
            Entry("in/c.tif", "third.parquet", "third.png"),
            Entry("in/d.tif", f"{tmp_path}/else/d.zarr", f"{tmp_path}/seen/d.png"),
        ],
        str(out),
        None,
    )
    assert [item.output for item in paired] == [
        out / "a.tif", out / "second.tif", out / "third.parquet", tmp_path / "else" / "d.zarr"
    ]  # fmt: skip
    assert [item.preview for item in paired] == [
        None, None, Path("third.png"), tmp_path / "seen" / "d.png"
    ]  # fmt: skip
    assert (tmp_path / "else").is_dir()
    named = pair([Entry("a.tif", "x"), Entry("b.tif", "y.tif")], f"{out}/{{name}}_f.zarr", None)
    assert [item.output for item in named] == [out / "x_f.zarr", out / "y.tif"]
    alone = pair([Entry("a.tif", "x.zarr"), Entry("b.tif", "y")], None, None)
    assert [item.output for item in alone] == [Path("x.zarr"), Path("y.tif")]
    with pytest.raises(ConfigError, match=r"b.tif has no output"):
        pair([Entry("a.tif", "x.tif"), Entry("b.tif")], None, None)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("data/S2A_P1.SAFE/MTD_MSIL2A.xml", "S2A_P1"),
        ("data/S2A_P2.SAFE/MTD_MSIL1C.xml", "S2A_P2"),
        ("https://host/S2A_P3.SAFE/manifest.safe?token=a/b", "S2A_P3"),
        ("/vsizip/P4.SAFE.zip/P4.SAFE/MTD_MSIL2A.xml", "P4"),
        ("P5.SAFE/GRANULE/L2A_T33TUL_A1/MTD_TL.xml", "L2A_T33TUL_A1"),
        ("P5.SAFE/GRANULE/L2A_T33TUL_A1/IMG_DATA/R10m/", "L2A_T33TUL_A1"),
        ("P6.SAFE/GRANULE/", "P6"),
    ],
)
def test_pair__what_every_product_has_inside_is_named_by_the_product(
    tmp_path: Path, source: str, name: str
) -> None:
    first, _ = items([source, "other.tif"], str(tmp_path))
    assert first.output == tmp_path / f"{name}.tif"


def test_pair__product_metadata_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Q.SAFE").mkdir()
    monkeypatch.chdir(tmp_path / "Q.SAFE")
    first, _ = items(["MTD_MSIL2A.xml", "other.tif"], str(tmp_path))
    assert first.output == tmp_path / "Q.tif"


def test_pair__a_scene_listed_twice_is_taken_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scene = tmp_path / "a.tif"
    scene.touch()
    (tmp_path / "link.tif").symlink_to(scene)
    spellings = [str(scene), f"{tmp_path}/./a.tif", f"{tmp_path}/link.tif", "https://h/b.tif"]
    paired = items([*spellings, "https://h/b.tif"], str(tmp_path / "out"))
    assert [item.source for item in paired] == [spellings[0], *spellings[2:]]
    assert caplog.text.count("listed twice") == 2


def test_pair__names_all_that_collide(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"x/a.tif and y/a.tif[^$]*x/b.tif and y/b.tif") as caught:
        items(["x/a.tif", "x/b.tif", "y/a.tif", "y/b.tif", "y/c.tif"], str(tmp_path))
    assert "second column" in str(caught.value)
    assert "c.tif" not in str(caught.value)
    with pytest.raises(OutputError, match="would both be written"):
        pair([Entry("a.tif", "x.tif"), Entry("b.tif", "./x.tif")], None, None)


def test_pair__refuses_to_write_one_scene_over_another(tmp_path: Path) -> None:
    for name in ("a.tif", "b.tif"):
        (tmp_path / name).touch()
    first, second = str(tmp_path / "a.tif"), str(tmp_path / "b.tif")
    with pytest.raises(OutputError, match=r"a.tif would be written over .*b.tif, another scene"):
        pair([Entry(first, second), Entry(second, str(tmp_path / "c.tif"))], None, None)
