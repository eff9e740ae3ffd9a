import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

import deo
from deo.errors import ConfigError, DataError, OutputError
from deo.maps.components import fit_components, project
from deo.maps.reduction import Features, Reduction, components_path, load_components, plan_reduction
from deo.maps.sinks import feature_sink, write_output

Make = Callable[..., Any]
TOY = Features(model="toy", weights_sha256="0" * 64, layer=1, channels=5)


def write(rows: Any, reduction: Reduction, info: Make, target: Path) -> None:
    folder = target.parent / "a.partial"
    folder.mkdir(exist_ok=True)
    about = info(names=reduction.names)
    sink = reduction.reduced(feature_sink(target, chip=8))
    write_output(rows, about, target, sink, folder=folder, height=117, width=163)
    assert list(folder.iterdir()) == []
    assert sink.damage(target) is None


@pytest.mark.parametrize("suffix", [".tif", ".zarr", ".parquet"])
def test_reduction__a_record_gives_the_same_components_again(
    held_rows: Make, info: Make, tmp_path: Path, suffix: str
) -> None:
    rows, first, second = held_rows(), tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    write(rows, plan_reduction(3, TOY), info, first)
    record = components_path(first)
    again = plan_reduction(record, TOY)
    assert again.count == 3
    write(rows, again, info, second)
    assert not components_path(second).exists()
    if first.is_file():
        assert first.read_bytes() == second.read_bytes()
    if suffix == ".tif":
        with rasterio.open(first) as file:
            assert file.descriptions == ("component 0", "component 1", "component 2")
            stored = file.read()
        wanted = project(rows, fit_components(rows, 3)).transpose(2, 0, 1)
        np.testing.assert_allclose(stored, wanted, rtol=1e-4, atol=1e-3)


def test_load_components__gives_back_what_was_kept(
    held_rows: Make, info: Make, tmp_path: Path
) -> None:
    rows = held_rows()
    write(rows, plan_reduction(2, TOY), info, tmp_path / "a.tif")
    features, components = load_components(tmp_path / "a.components.json")
    assert features == TOY
    for kept, fitted in zip(components, fit_components(rows, 2).rounded(), strict=True):
        np.testing.assert_array_equal(kept, fitted)
    np.testing.assert_allclose(components.axes.T @ components.axes, np.eye(2), atol=1e-6)


@pytest.mark.parametrize("count", [0, -1, 6])
def test_reduction__refuses_more_components_than_there_are(count: int) -> None:
    with pytest.raises(ConfigError, match="there are 1 to 5 components"):
        plan_reduction(count, TOY)


def test_plan_reduction__refuses_records_of_other_features_and_other_files(
    held_rows: Make, info: Make, tmp_path: Path
) -> None:
    write(held_rows(), plan_reduction(2, TOY), info, tmp_path / "a.tif")
    record = tmp_path / "a.components.json"
    for changes in ({"layer": 2}, {"model": "other"}, {"weights_sha256": "1" * 64}):
        with pytest.raises(ConfigError, match="holds components of layer 1 of toy"):
            plan_reduction(record, TOY._replace(**changes))
    content = json.loads(record.read_text())
    for broken in (content | {"axes": content["axes"][:1]}, {}, [], {**content, "mean": "x"}):
        record.write_text(json.dumps(broken))
        with pytest.raises(DataError, match="is no record of components"):
            plan_reduction(record, TOY)
    with pytest.raises(DataError, match="cannot be read"):
        plan_reduction(tmp_path / "missing.json", TOY)


def test_reduction__replaces_records_alone(held_rows: Make, info: Make, tmp_path: Path) -> None:
    mine = tmp_path / "a.components.json"
    mine.write_text('{"kind": "mine"}')
    with pytest.raises(OutputError, match="in the way: it holds no components"):
        write(held_rows(), plan_reduction(2, TOY), info, tmp_path / "a.tif")
    assert mine.read_text() == '{"kind": "mine"}'
    assert not (tmp_path / "a.tif").exists()


def test_reduction__an_output_without_its_record_is_not_whole(
    held_rows: Make, info: Make, tmp_path: Path
) -> None:
    reduction = plan_reduction(2, TOY)
    write(held_rows(), reduction, info, tmp_path / "a.tif")
    components_path(tmp_path / "a.tif").unlink()
    sink = reduction.reduced(feature_sink(tmp_path / "a.tif"))
    assert sink.damage(tmp_path / "a.tif") == "a.components.json is not beside it"


def test_extract__components_of_one_scene_for_another(
    scene_file: Callable[..., Path], tmp_path: Path
) -> None:
    micro: dict[str, Any] = {"model": "test_deo_swin", "untrained": True, "tile": 64, "layer": 0}
    one, other = scene_file(name="one.tif"), scene_file(name="other.tif", height=64)
    deo.extract(one, tmp_path / "a.tif", components=4, **micro)
    record = tmp_path / "a.components.json"
    deo.extract(other, tmp_path / "b.tif", components=record, **micro)
    with rasterio.open(tmp_path / "a.tif") as a, rasterio.open(tmp_path / "b.tif") as b:
        assert a.count == b.count == 4
        assert a.tags()["DEO_COMPONENTS"] == "4 of 16, fitted on this map"
        assert "fitted on record" in b.tags()["DEO_COMPONENTS"]
    deo.extract(one, tmp_path / "a.tif", components=4, resume=True, **micro)  # it is complete
    with pytest.raises(OutputError, match="DEO_COMPONENTS"):
        deo.extract(one, tmp_path / "a.tif", components=3, resume=True, **micro)
    with pytest.raises(ConfigError, match="components"):
        deo.extract(one, tmp_path / "c.tif", components=record, **micro | {"layer": 1})
