"""The model card and the MLM item of an exported backbone."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from deo.bands import MODEL_BANDS
from deo.training.run.export import export
from deo.training.run.trained import load_trained


def test_model_card__card_and_item_say_where_it_comes_from(distilled: Path, tmp_path: Path) -> None:
    written = export(distilled, tmp_path / "model.safetensors")
    card = written.card.read_text()
    for text in ("optical teacher: test_vit", "samples 24", "[optim]", "| head_cosine |"):
        assert text in card
    item = json.loads(written.mlm.read_text())
    assert item["properties"]["mlm:input"][0]["bands"] == list(MODEL_BANDS)
    assert item["properties"]["mlm:total_parameters"] == sum(
        parameter.numel() for parameter in load_trained(distilled).model.parameters()
    )
    assert item["assets"]["weights"]["href"] == "./model.safetensors"
    pystac = pytest.importorskip("pystac")
    assert pystac.Item.from_dict(item, preserve_dict=True).id == "test_deo_swin-student-1"


def test_model_card__its_own_example_runs(trained: Path, tmp_path: Path, monkeypatch: Any) -> None:
    written = export(trained, tmp_path / "model.safetensors")
    code = written.card.read_text().split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["model"](torch.zeros(2, 10, 32, 32)).shape == (2, 128)


def test_model_card__a_damaged_journal_does_not_matter(trained: Path, tmp_path: Path) -> None:
    run_folder = tmp_path / "run"
    shutil.copytree(trained, run_folder)
    with (run_folder / "metrics.jsonl").open("ab") as file:
        file.write(b'\xff\x00\n[]\n{"step": 2, "loss": "nan", "comp": "lost"}\n')
    card = export(run_folder, tmp_path / "model.safetensors").card.read_text()
    assert "| loss | nan |" in card
