"""Export: the trained trunk, loadable by timm, with a card and an MLM item."""

import json
import shutil
import types
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors import safe_open

import deo  # noqa: F401  (registers the backbones)
from deo.bands import MODEL_BANDS
from deo.errors import DataError, OutputError
from deo.models.weights import load_backbone
from deo.training.run.export import export, push
from deo.training.run.trained import load_trained


def images(channels: int) -> torch.Tensor:
    return torch.randn(2, channels, 32, 32, generator=torch.Generator().manual_seed(0))


def test_export__timm_and_deo_load_the_same_network(trained: Path, tmp_path: Path) -> None:
    written = export(trained, tmp_path / "model.safetensors")
    expected = load_trained(trained).model
    model = timm.create_model(
        "test_deo_swin",
        pretrained=True,
        num_classes=0,
        in_chans=10,
        pretrained_cfg_overlay={"file": str(written.weights)},
    ).eval()
    with torch.no_grad():
        assert torch.equal(model(images(10)), expected(images(10)))
    loaded = load_backbone("test_deo_swin", weights=written.weights)
    assert loaded.bands == MODEL_BANDS
    assert loaded.weights.contract is not None
    assert loaded.weights.contract["name"] == "pretrain"


def test_export__a_distilled_student_has_both_stems(distilled: Path, tmp_path: Path) -> None:
    written = export(distilled, tmp_path / "model.safetensors")
    overlay = {"file": str(written.weights)}
    for channels in (10, 3):
        model = timm.create_model(
            "test_deo_swin",
            pretrained=True,
            in_chans=channels,
            num_classes=0,
            pretrained_cfg_overlay=overlay,
        ).eval()
        with torch.no_grad():
            expected = load_trained(distilled).model(images(channels))
            assert torch.equal(model(images(channels)), expected)
    assert load_trained(distilled, teacher=True).provenance.stems == ("ms",)
    with safe_open(written.weights, "pt") as file:
        metadata = file.metadata()
    assert metadata["model"] == "test_deo_swin"
    assert metadata["optical_teacher"] == "test_vit"
    assert json.loads(metadata["data"])["samples"] == 24


@pytest.mark.parametrize("name", ["mine.json", "mine.md", "mine", "mine.pt"])
def test_export__weights_are_safetensors(trained: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match=r"give the weights a name with \.safetensors"):
        export(trained, tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".safetensors", ".md", ".json"])
def test_export__replaces_nothing_unasked(trained: Path, tmp_path: Path, suffix: str) -> None:
    there = tmp_path / f"mine{suffix}"
    there.write_text("precious")
    with pytest.raises(OutputError, match=rf"mine\{suffix} exists; --overwrite"):
        export(trained, tmp_path / "mine.safetensors")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["precious"]
    written = export(trained, tmp_path / "mine.safetensors", overwrite=True)
    assert sorted(tmp_path.iterdir()) == sorted(written)
    assert there.read_bytes() != b"precious"


def test_export__no_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is it the output of `deo pretrain`"):
        export(tmp_path, tmp_path / "model.safetensors")


class Hub:
    """What timm asks of the Hub; keeps what is uploaded in `folder`."""

    folder: Path

    def __init__(self, **options: Any) -> None:
        pass

    def create_repo(self, repository: str, **options: Any) -> Any:
        return types.SimpleNamespace(repo_id=repository)

    def file_exists(self, **options: Any) -> bool:
        return False

    def upload_folder(self, *, folder_path: str, **options: Any) -> None:
        shutil.copytree(folder_path, self.folder)


def test_push__what_timm_uploads_loads_again(
    distilled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hub, "folder", tmp_path / "hub", raising=False)
    monkeypatch.setattr("timm.models._hub.HfApi", Hub)
    push(distilled, "someone/deo-micro")
    readme = (tmp_path / "hub" / "README.md").read_text()
    assert "license: other" in readme
    assert "optical teacher: test_vit" in readme
    assert json.loads((tmp_path / "hub" / "config.json").read_text())["architecture"] == (
        "test_deo_swin"
    )
    model = timm.create_model(f"local-dir:{tmp_path / 'hub'}", pretrained=True).eval()
    with torch.no_grad():
        expected = load_trained(distilled).model(images(10))
        assert torch.equal(model(images(10)), expected)
