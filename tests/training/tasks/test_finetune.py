"""The public function: plain settings in, a tuned network with its scores out."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from rasterio.transform import from_origin

from deo.bands import MODEL_BANDS
from deo.errors import ConfigError, OutputError
from deo.training.tasks.finetune import finetune
from deo.training.tasks.tuned import load_tuned


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images of a bright stripe, with masks."""
    root, rng = tmp_path_factory.mktemp("fields"), np.random.default_rng(0)
    for number in range(3):
        mask = np.zeros((1, 32, 32), np.uint8)
        mask[:, 8 * number : 8 * number + 16] = 1
        image = rng.normal(900, 50, (10, 32, 32)).astype(np.uint16) + np.uint16(2000) * mask
        for folder, values in (("images", image), ("masks", mask)):
            path = root / folder / f"{number}.tif"
            path.parent.mkdir(exist_ok=True)
            with rasterio.open(
                path, "w", driver="GTiff", count=len(values), height=32, width=32,
                dtype=values.dtype, crs="EPSG:32630", transform=from_origin(5e5, 4e6, 10, 10),
            ) as out:  # fmt: skip
                out.write(values)
    return root


SETTINGS: dict[str, Any] = {
    "dataset": "folder", "classes": ("ground", "field"), "stored_bands": MODEL_BANDS,
    "model": "test_deo_swin", "untrained": True, "device": "cpu", "head": "linear",
    "frozen": True, "epochs": 2, "batch": 2, "baselines": False,
}  # fmt: skip


def test_finetune__returns_the_best_network_and_its_scores(fields: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    epochs: list[tuple[int, int]] = []
    finished = finetune(
        "segment", data=str(fields), output=tmp_path / "run", test=("images/2.tif",), seed=3,
        valid=0.5, progress=lambda seed, epoch: epochs.append((seed, epoch.number)), **SETTINGS,
    )  # fmt: skip
    assert epochs == [(3, 1), (3, 2)]
    assert finished.path == tmp_path / "run/best.safetensors"
    description = finished.tuned.description
    assert (description.dataset, description.classes) == ("folder", ("ground", "field"))
    assert description == load_tuned(tmp_path / "run").description
    assert finished.test is not None
    assert description.score is not None
    assert finished.summary == (
        f"validation macro_iou {100 * description.score:.1f} %, "
        f"test macro_iou {100 * finished.test:.1f} %"
    )
    assert finished.comparison is not None
    assert finished.comparison.rows[0].score.value == finished.test
    scores = json.loads((tmp_path / "run/scores.json").read_text())
    assert scores == finished.comparison.record()
    kept = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with pytest.raises(OutputError, match="--resume to go on, --overwrite to replace"):
        finetune("segment", data=fields, output=tmp_path / "run", **SETTINGS)
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == kept


def test_finetune__without_test_names_all_samples_train(fields: Path, tmp_path: Path) -> None:
    settings = {**SETTINGS, "epochs": 1, "valid": 0.0}
    finished = finetune("segment", data=fields, output=tmp_path, **settings)
    assert (finished.test, finished.summary) == (None, "last epoch")
    assert finished.comparison is None  # nothing is there to be scored


def test_finetune__scores_baselines_on_the_validation_part_where_nothing_tests(
    fields: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {**SETTINGS, "epochs": 1, "valid": 0.3, "baselines": True}
    finished = finetune("segment", data=fields, output=tmp_path, progress=True, **settings)
    assert finished.test is None
    assert finished.comparison is not None
    assert finished.comparison.part == "valid"
    scores = {row.name: row.score.value for row in finished.comparison.rows}
    assert scores["logistic regression on bands"] == 1  # the stripe is far brighter
    said = capsys.readouterr().err
    assert "train: 2 samples; labelled pixels: ground 1024, field 1024" in said
    assert "1 passes over the training samples, 1 steps each, 1 steps in all" in said
    assert "the validation part holds 1 sample(s), too few to choose an epoch by" in said


def test_finetune__refuses_what_does_not_fit(fields: Path, tmp_path: Path) -> None:
    given: dict[str, Any] = {**SETTINGS, "data": fields, "output": tmp_path / "run"}
    with pytest.raises(ConfigError, match="no task 'count'; choose one of classify, segment"):
        finetune("count", **given)
    with pytest.raises(ConfigError, match="raw-bands is no network"):
        finetune("segment", **{**given, "model": "raw-bands"})
    with pytest.raises(ConfigError, match="did you mean 'epochs'"):
        finetune("segment", **given, epoch=3)
    assert not (tmp_path / "run").exists()
