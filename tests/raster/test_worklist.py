from pathlib import Path

import pytest

from deo.errors import ConfigError, OutputError
from deo.raster.worklist import Shard, pair, read_sources


def test_read_sources__arguments_and_lists(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("# scenes\na.tif\n\n  https://host/b.tif  \n")
    found = read_sources(["x.tif", f"@{tmp_path / 'list.txt'}", "y.SAFE"])
    assert found == ["x.tif", "a.tif", "https://host/b.tif", "y.SAFE"]


@pytest.mark.parametrize("content", [b"", b"# nothing\n", b"\xff\xfe\x00"])
def test_read_sources__refuses_lists_with_nothing_in_them(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(ConfigError, match=r"no scenes given|cannot be read"):
        read_sources([f"@{tmp_path / 'list.txt'}"])


def test_read_sources__names_a_missing_list() -> None:
    with pytest.raises(ConfigError, match=r"nowhere.txt cannot be read"):
        read_sources(["@nowhere.txt"])


def test_pair__a_file_for_one(tmp_path: Path) -> None:
    ((source, output, preview),) = pair(["a.tif"], str(tmp_path / "b.tif"), None)
    assert (source, output, preview) == ("a.tif", tmp_path / "b.tif", None)


def test_pair__a_folder_or_template_for_many(tmp_path: Path) -> None:
    sources = ["in/a.tif", "https://host/b.tif?token=c/d", "P_N0509.SAFE", "Q.SAFE.zip"]
    folder = pair(sources, str(tmp_path / "out"), f"{tmp_path}/{{name}}_seen.png")
    names = ["a", "b", "P_N0509", "Q"]
    assert [item.output for item in folder] == [tmp_path / "out" / f"{n}.tif" for n in names]
    assert [item.preview for item in folder] == [tmp_path / f"{n}_seen.png" for n in names]
    assert (tmp_path / "out").is_dir()
    template = pair(sources[:1], f"{tmp_path}/{{name}}.parquet", None)
    assert template[0].output == tmp_path / "a.parquet"


def test_pair__a_list_of_one_may_name_a_folder_or_a_file(tmp_path: Path) -> None:
    folder = pair(["a.tif"], str(tmp_path / "new"), None, several=True)
    assert folder[0].output == tmp_path / "new" / "a.tif"
    file = pair(["a.tif"], str(tmp_path / "b.tif"), None, several=True)
    assert file[0].output == tmp_path / "b.tif"


def test_pair__makes_the_folder_of_a_template(tmp_path: Path) -> None:
    pair(["a.tif"], str(tmp_path / "out" / "{name}.tif"), str(tmp_path / "seen" / "{name}.png"))
    assert (tmp_path / "out").is_dir()
    assert (tmp_path / "seen").is_dir()


def test_read_sources__a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes("\ufeffa.tif\nb.tif\n".encode())
    assert read_sources([f"@{tmp_path / 'list.txt'}"]) == ["a.tif", "b.tif"]


def test_pair__refuses_one_file_for_many(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"map_\{name\}.tif"):
        pair(["a.tif", "b.tif"], str(tmp_path / "map.tif"), None)
    with pytest.raises(OutputError, match="would both be written"):
        pair(["x/a.tif", "y/a.tif"], str(tmp_path), None)


def test_shard__parts_are_disjoint_and_whole() -> None:
    items = pair([f"{number}.tif" for number in range(11)], "{name}.tif", None)
    parts = [Shard.parse(f"{index}/4").of(items) for index in range(4)]
    assert sorted(item for part in parts for item in part) == sorted(items)


@pytest.mark.parametrize("text", ["4/4", "1", "a/b", "1/0", "-1/3", ""])
def test_shard__refuses_nonsense(text: str) -> None:
    with pytest.raises(ConfigError, match="shard"):
        Shard.parse(text)


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, Shard()),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, Shard()),
        (
            {"SLURM_PROCID": "2", "SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "4"},
            Shard(index=2, count=4),
        ),
        ({"RANK": "1", "WORLD_SIZE": "2"}, Shard(index=1, count=2)),
    ],
)
def test_shard__from_slurm_and_torchrun(environment: dict[str, str], wanted: Shard) -> None:
    assert Shard.from_environment(environment) == wanted
