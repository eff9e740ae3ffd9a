"""Mapping scenes with tuned networks: equal to the network on the whole, tiled, resumed."""

import json
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import torch
from PIL import Image
from rasterio.transform import from_origin

from deo.bands import MODEL_BANDS
from deo.contracts import fit_contract
from deo.errors import ConfigError, OutputError, SceneError, WeightsError
from deo.maps import compute
from deo.maps.class_map import NODATA, colours
from deo.maps.spool import Spool
from deo.maps.stream import RowBand
from deo.scene.opening import open_scene
from deo.scene.window import Window
from deo.sensors.known.sentinel2 import SENTINEL2
from deo.training.tasks.backbones import open_backbone
from deo.training.tasks.heads import build_network
from deo.training.tasks.predict import Prediction, predict, predict_many
from deo.training.tasks.tuned import Description, Tuned, load_tuned, save_tuned

NAMES = [band.name for band in SENTINEL2]


def write_scene(path: Path, *, height: int = 96, width: int = 80, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    values = rng.integers(200, 4000, (13, height, width), np.uint16)
    values[:, :10, :20] = 0
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=13,
        height=height,
        width=width,
        dtype="uint16",
        nodata=0,
        crs="EPSG:32630",
        transform=from_origin(5e5, 4e6, 10, 10),
    ) as out:
        out.write(values)
        out.descriptions = NAMES
    return path


def make(folder: Path, task: str = "segment", *, contract: str = "s2", classes: int = 3) -> Tuned:
    torch.manual_seed(0)
    backbone = open_backbone("test_deo_swin", bands=MODEL_BANDS, untrained=True).model
    head = "linear" if task == "classify" else "upernet"
    network = build_network(task, backbone, classes=classes, head=head, width=8)
    with torch.no_grad():  # give every class a share
        network.head.score.weight.mul_(30)  # type: ignore[union-attr, operator]
    description = Description(
        task=task,
        backbone="test_deo_swin",
        weights="untrained",
        bands=MODEL_BANDS.names,
        classes=tuple(f"class{label}" for label in range(classes)),
        head=head,
        width=8,
        contract=fit_contract(contract, bands=MODEL_BANDS).record(),
        dataset="toy",
        size=32 if task == "classify" else 384,
        whole=False,
    )
    folder.mkdir(exist_ok=True)
    save_tuned(network, description, folder / "best.safetensors")
    return load_tuned(folder)


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as source:
        found: np.ndarray = source.read()
    return found


def test_predict__equals_the_network_on_the_whole_scene(tmp_path: Path) -> None:
    tuned = make(tmp_path / "run")
    scene = write_scene(tmp_path / "scene.tif")
    target, probabilities = tmp_path / "map.tif", tmp_path / "shares.tif"
    assert predict(tuned, [scene], target, probabilities=probabilities) == [target, probabilities]
    with open_scene(scene) as opened:
        pixels = opened.read(Window(row=0, col=0, height=96, width=80), MODEL_BANDS)
    image = torch.from_numpy(tuned.contract.apply(pixels))[None]
    with torch.inference_mode():
        wanted = tuned.network(image).softmax(1)[0].numpy()
    shares = read(probabilities)
    np.testing.assert_allclose(shares[:, pixels.valid], wanted[:, pixels.valid], atol=1e-5)
    assert np.isnan(shares[:, ~pixels.valid]).all()
    classes = read(target)[0]
    assert (classes[pixels.valid] == wanted.argmax(0)[pixels.valid]).mean() > 0.999
    assert (classes[~pixels.valid] == NODATA).all()
    assert len(np.unique(classes)) >= 3


def test_predict__map_has_place_colours_names_and_provenance(tmp_path: Path) -> None:
    tuned = make(tmp_path / "run")
    scene = write_scene(tmp_path / "scene.tif")
    predict(tuned, [scene], tmp_path / "map.tif")
    with rasterio.open(tmp_path / "map.tif") as found, rasterio.open(scene) as source:
        assert found.crs == source.crs
        assert found.transform == source.transform
        assert found.nodata == NODATA
        assert found.dtypes == ("uint8",)
        table = found.colormap(1)
        assert all(table[label] == colours(3)[label] for label in range(3))
        assert found.tags(1)["CLASS_2"] == "class2"
        assert found.tags()["DEO_WEIGHTS_SHA256"] == tuned.sha256
        assert '"name": "s2"' in found.tags()["DEO_CONTRACT"]
        assert found.profile["tiled"]
        assert found.compression.name == "zstd"


def test_predict__blended_shares_sum_to_one_and_keep_the_nodata(tmp_path: Path) -> None:
    tuned = make(tmp_path / "run")
    scene = write_scene(tmp_path / "scene.tif", height=160, width=130)
    for name, tile in (("whole", 256), ("tiled", 64)):
        predict(
            tuned,
            [scene],
            tmp_path / f"{name}.tif",
            probabilities=tmp_path / f"{name}_p.tif",
            tile=tile,
        )
    whole, tiled = read(tmp_path / "whole_p.tif"), read(tmp_path / "tiled_p.tif")
    valid = np.isfinite(whole[0])
    assert (np.isfinite(tiled[0]) == valid).all()
    np.testing.assert_allclose(tiled.sum(0)[valid], 1, atol=1e-5)


def test_predict__killed_run_leaves_no_map_and_resumes_to_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned = make(tmp_path / "run")
    scene = write_scene(tmp_path / "scene.tif", height=160)
    predict(tuned, [scene], tmp_path / "straight.tif", tile=64)
    interrupted(tuned, scene, tmp_path / "map.tif", monkeypatch)
    assert not (tmp_path / "map.tif").exists()
    assert (tmp_path / "map.tif.partial").is_dir()
    seen: list[tuple[int, int]] = []
    predict(
        tuned,
        [scene],
        tmp_path / "map.tif",
        tile=64,
        resume=True,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert 0 < seen[-1][0] < seen[-1][1]  # the rows of the killed run are not counted again
    assert np.array_equal(read(tmp_path / "map.tif"), read(tmp_path / "straight.tif"))
    assert not (tmp_path / "map.tif.partial").exists()


def interrupted(tuned: Tuned, scene: Path, target: Path, patch: pytest.MonkeyPatch) -> None:
    """Leave the first row of tiles, as a killed run does."""
    rows = compute.extract_rows

    def dies(*args: object, **named: object) -> Iterator[object]:
        yield next(rows(*args, **named))  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with patch.context() as context:
        context.setattr(compute, "extract_rows", dies)
        with pytest.raises(KeyboardInterrupt):
            predict(tuned, [scene], target, tile=64)


def test_predict__rows_of_another_batch_size_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tuned = make(tmp_path / "run")
    scene, target = write_scene(tmp_path / "scene.tif", height=160), tmp_path / "map.tif"
    interrupted(tuned, scene, target, monkeypatch)
    assert "1 of 3 rows of tiles are kept in" in caplog.text
    with pytest.raises(OutputError, match=r"other settings \(batch_size: 144 -> 3\)"):
        predict(tuned, [scene], target, tile=64, batch_size=3, resume=True)


def test_predict__with_resume_keeps_what_is_complete(tmp_path: Path) -> None:
    tuned = make(tmp_path / "run")
    scene = write_scene(tmp_path / "scene.tif")
    target, shares = tmp_path / "map.tif", tmp_path / "p.tif"
    predict(tuned, [scene], target)
    before, told = target.read_bytes(), list[int]()

    def tell(done: int, total: int) -> None:
        told.append(done)

    predict(tuned, [scene], target, resume=True, progress=tell)
    assert not told
    assert target.read_bytes() == before
    predict(tuned, [scene], target, probabilities=shares, resume=True)
    assert (read(shares)[:, read(target)[0] != NODATA].argmax(0) < 3).all()
    with pytest.raises(OutputError, match="made otherwise"):
        predict(tuned, [scene], target, tile=64, resume=True)
    with pytest.raises(OutputError, match="not made by deo as a class map"):
        predict(tuned, [scene], shares, resume=True)
    with pytest.raises(OutputError, match="not made by deo as a GeoTIFF of probabilities"):
        predict(tuned, [scene], tmp_path / "new.tif", probabilities=target, resume=True)


def test_predict__makes_again_what_is_damaged_or_of_another_input(tmp_path: Path) -> None:
    tuned = make(tmp_path / "run")
    scene, target = write_scene(tmp_path / "scene.tif"), tmp_path / "map.tif"
    predict(tuned, [scene], target)
    whole = target.read_bytes()
    target.write_bytes(whole[: len(whole) // 2])
    predict(tuned, [scene], target, resume=True)
    assert target.read_bytes() == whole
    write_scene(scene, seed=1)
    predict(tuned, [scene], target, resume=True)
    assert target.read_bytes() != whole


def test_predict__an_input_that_changes_gives_no_map(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned = make(tmp_path / "run")
    scene, append = write_scene(tmp_path / "scene.tif"), Spool.append

    def change(self: Spool, band: RowBand) -> None:
        append(self, band)
        os.utime(scene, ns=(0, 10**9))

    monkeypatch.setattr(Spool, "append", change)
    with pytest.raises(SceneError, match="changed while being read"):
        predict(tuned, [scene], tmp_path / "map.tif")
    assert not list(tmp_path.glob("map.tif*"))


def test_predict__change_takes_two_dates_of_one_grid(tmp_path: Path) -> None:
    tuned = make(tmp_path / "run", "change", contract="fixed", classes=2)
    first, second = (write_scene(tmp_path / f"{seed}.tif", seed=seed) for seed in (0, 1))
    target, shares = tmp_path / "map.tif", tmp_path / "p.tif"
    predict(tuned, [first, second], target, probabilities=shares)
    images = []
    for path in (first, second):
        with open_scene(path) as scene:
            pixels = scene.read(Window(row=0, col=0, height=96, width=80), MODEL_BANDS)
            images.append(torch.from_numpy(tuned.contract.apply(pixels)))
    with torch.inference_mode():
        wanted = tuned.network(torch.stack(images)[None]).softmax(1)[0].numpy()
    np.testing.assert_allclose(read(shares)[:, pixels.valid], wanted[:, pixels.valid], atol=1e-5)
    with rasterio.open(target) as found:
        assert '"rgb_maximum": 5000' in found.tags()["DEO_CONTRACT"]
    other = write_scene(tmp_path / "other.tif", height=64)
    with pytest.raises(SceneError, match=r"mismatched pair: 0.tif is 96 x 80 .*, other.tif 64"):
        predict(tuned, [first, other], tmp_path / "no.tif")
    with pytest.raises(
        ConfigError, match="needs two scenes of one grid, FIRST and SECOND; got one"
    ):
        predict(tuned, [first], tmp_path / "no.tif")


def test_predict__refuses_targets_before_work(tmp_path: Path) -> None:
    tuned = make(tmp_path / "run")
    scene = write_scene(tmp_path / "scene.tif")
    (tmp_path / "there.tif").touch()
    for target, message in (
        ("there.tif", "use --overwrite"),
        ("map.png", "give a name with .tif"),
        ("no/map.tif", "there is no folder"),
    ):
        with pytest.raises(OutputError, match=message):
            predict(tuned, [scene], tmp_path / target)


@pytest.mark.parametrize("kind", ["itself", "symbolic link", "hard link", "VRT's source"])
@pytest.mark.parametrize("which", ["map", "probabilities"])
def test_predict__never_writes_over_what_it_reads(kind: str, which: str, tmp_path: Path) -> None:
    tuned = make(tmp_path / "run", "change", contract="s2", classes=2)
    first, second = (write_scene(tmp_path / f"{seed}.tif", seed=seed) for seed in (0, 1))
    target = tmp_path / "other.tif"
    given = second
    if kind == "itself":
        target = second
    elif kind == "symbolic link":
        target.symlink_to(second)
    elif kind == "hard link":
        target.hardlink_to(second)
    else:
        given = tmp_path / "second.vrt"
        rasterio.shutil.copy(second, given, driver="VRT")
        target = second
    before = second.read_bytes()
    targets = {"map": (target, None), "probabilities": (tmp_path / "map.tif", target)}[which]
    with pytest.raises(OutputError, match="is what is being read"):
        predict(tuned, [first, given], targets[0], probabilities=targets[1], overwrite=True)
    assert second.read_bytes() == before
    assert not list(tmp_path.glob("*.partial"))


def test_predict__two_results_of_one_name_are_refused(tmp_path: Path) -> None:
    tuned = make(tmp_path / "run")
    scene = write_scene(tmp_path / "scene.tif")
    (tmp_path / "link.tif").symlink_to(tmp_path / "map.tif")
    with pytest.raises(OutputError, match="are both to be written"):
        predict(tuned, [scene], tmp_path / "map.tif", probabilities=tmp_path / "link.tif")


def test_load_tuned__is_strict_and_knows_its_own(tmp_path: Path) -> None:
    tuned = make(tmp_path / "run")
    again = load_tuned(tmp_path / "run/best.safetensors")
    assert again.description == tuned.description
    for name, tensor in tuned.network.state_dict().items():
        assert torch.equal(tensor, again.network.state_dict()[name])
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="no network tuned by deo finetune"):
        load_tuned(tmp_path / "other.safetensors")


def test_predict__without_an_output_gives_what_the_files_hold(tmp_path: Path) -> None:
    tuned = make(tmp_path / "run")
    scene = write_scene(tmp_path / "scene.tif", height=160)
    written = predict(
        tmp_path / "run", scene, tmp_path / "map.tif", probabilities=tmp_path / "p.tif"
    )
    told = list[tuple[int, int]]()
    shares = predict(tuned, scene, tile=None, progress=lambda *counts: told.append(counts))
    assert np.array_equal(shares.array, read(written[1]), equal_nan=True)
    assert np.array_equal(shares.classes(), read(written[0])[0])
    assert shares.names == ("class0", "class1", "class2")
    assert told[-1][0] == told[-1][1]
    with rasterio.open(written[1]) as file:
        assert (shares.crs, shares.transform) == (file.crs, file.transform)
    with open_scene(scene) as opened:
        assert np.array_equal(predict(tuned, opened).array, shares.array, equal_nan=True)
    with pytest.raises(ConfigError, match="are written beside an output"):
        predict(tuned, scene, stac=True)
    with pytest.raises(ConfigError, match="no setting 'tiles'; did you mean 'tile'"):
        predict(tuned, scene, tiles=64)


def test_predict__draws_the_classes_of_a_run_and_of_a_complete_map(tmp_path: Path) -> None:
    make(tmp_path / "run")
    scene, picture = write_scene(tmp_path / "scene.tif"), tmp_path / "map.png"
    predict(tmp_path / "run", scene, tmp_path / "map.tif", preview=picture)
    drawn = picture.read_bytes()
    seen = set(map(tuple, np.asarray(Image.open(picture))[..., :3].reshape(-1, 3).tolist()))
    labels = set(np.unique(read(tmp_path / "map.tif"))) - {NODATA}
    assert {colours(3)[label][:3] for label in labels} <= seen
    picture.unlink()
    predict(tmp_path / "run", scene, tmp_path / "map.tif", preview=picture, resume=True)
    assert picture.read_bytes() == drawn


def test_predict_many__goes_through_a_list_as_extraction_does(tmp_path: Path) -> None:
    make(tmp_path / "run")
    good, other = (write_scene(tmp_path / f"{name}.tif") for name in ("a", "b"))
    broken = tmp_path / "broken.tif"
    broken.write_bytes(b"no raster")
    plan = Prediction(tuned=tmp_path / "run")
    output, shares = f"{tmp_path}/maps/{{name}}.tif", tmp_path / "shares"
    results = list(predict_many(plan, [good, broken, other], output, probabilities=f"{shares}/"))
    assert [result.state for result in results] == ["done", "failed", "done"]
    assert results[0].outputs == (tmp_path / "maps/a.tif", shares / "a.tif")
    again = list(predict_many(plan, [good], output, probabilities=f"{shares}/"))
    assert [result.state for result in again] == ["skipped"]
    assert len(plan._loaded) == 1
    assert pickle.loads(pickle.dumps(plan)) == plan


def test_predict_many__pairs_of_dates(tmp_path: Path) -> None:
    tuned = make(tmp_path / "run", "change", classes=2)
    first, second = (write_scene(tmp_path / f"{seed}.tif", seed=seed) for seed in (0, 1))
    (result,) = predict_many(tuned, [(first, second)], f"{tmp_path}/maps/{{name}}.tif")
    assert result.outputs == (tmp_path / "maps/0.tif",)
    predict(tuned, [first, second], tmp_path / "one.tif")
    assert np.array_equal(read(tmp_path / "one.tif"), read(tmp_path / "maps/0.tif"))
    with pytest.raises(ConfigError, match="is not two scenes"):
        predict_many(tuned, [first], f"{tmp_path}/maps/{{name}}.tif")
    with pytest.raises(OutputError, match="would be written over"):
        predict_many(tuned, [(first, second, second)], None)


def test_predict__items_of_class_maps_validate(tmp_path: Path, valid: Callable[..., None]) -> None:
    tuned = make(tmp_path / "run")
    scenes = [(write_scene(tmp_path / f"{n}.tif"), tmp_path / f"map{n}.tif") for n in (0, 1)]
    shares = tmp_path / "shares.tif"
    predict(tuned, *scenes[0], probabilities=shares, stac=True)
    item, model, share = (
        json.loads((tmp_path / name).read_text())
        for name in ("map0.stac.json", "map0.mlm.json", "shares.stac.json")
    )
    for each in (item, share):
        valid(each, "stac/item.json")
        valid(each, "projection.json")
    valid(model, "stac/item.json")
    valid(model, "mlm.json")
    classes = item["assets"]["map"]["classification:classes"]
    assert [each["name"] for each in classes] == ["class0", "class1", "class2", "no-data"]
    assert [band["name"] for band in share["assets"]["map"]["bands"]] == list(
        tuned.description.classes
    )
    assert model["properties"]["mlm:tasks"] == ["semantic-segmentation"]
    list(predict_many(tuned, scenes, None, stac=True))
    valid(json.loads((tmp_path / "collection.json").read_text()), "stac/collection.json")
