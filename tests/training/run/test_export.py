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
from deo.errors import DataError, OutputError, WeightsError
from deo.models.weights import load_backbone
from deo.training import settings
from deo.training.config import Config
from deo.training.run import checkpoint as checkpoints
from deo.training.run.checkpoint import CHECKPOINTS_NAME
from deo.training.run.export import export, load_trained, push
from deo.training.run.pretraining import pretrain


@pytest.fixture(scope="module")
def trained(tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = settings.override(tiny_config, ["run.steps=2", "run.checkpoint_every=1"])
    output = tmp_path_factory.mktemp("trained")
    pretrain(config, output=output, progress=False)
    return output


@pytest.fixture(scope="module")
def distilled(tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = settings.override(
        tiny_config, ["run.steps=1", "optical.name=test_vit", "optical.pretrained=false"]
    )
    output = tmp_path_factory.mktemp("distilled")
    pretrain(config, output=output, progress=False)
    return output


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


def test_export__student_and_teacher_and_steps_differ(trained: Path) -> None:
    networks = [
        load_trained(trained),
        load_trained(trained, teacher=True),
        load_trained(trained, step=1),
    ]
    with torch.no_grad():
        outputs = [network.model(images(10)) for network in networks]
    assert not torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])
    with pytest.raises(DataError, match="no checkpoint of step 7; it has those of 1, 2"):
        load_trained(trained, step=7)


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


def test_export__card_and_item_say_where_it_comes_from(distilled: Path, tmp_path: Path) -> None:
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


def test_card__its_own_example_runs(trained: Path, tmp_path: Path, monkeypatch: Any) -> None:
    written = export(trained, tmp_path / "model.safetensors")
    code = written.card.read_text().split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["model"](images(10)).shape == (2, 128)


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


def test_export__passes_over_a_damaged_checkpoint(
    trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    harmed = tmp_path / "run"
    shutil.copytree(trained, harmed)
    first, last = checkpoints.saved(harmed / CHECKPOINTS_NAME)
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.write_bytes(content)
    assert load_trained(harmed).provenance.step == 1
    assert str(first) in caplog.text
    assert str(last) in caplog.text
    for wanted in ({"run": harmed, "step": 2}, {"run": last}):
        with pytest.raises(WeightsError, match="damaged: it does not match its checksum"):
            load_trained(**wanted)
    with pytest.raises(WeightsError, match="damaged"):  # read as anybody's checkpoint
        load_backbone("test_deo_swin", weights=last)
    assert not list(tmp_path.glob("*.safetensors"))


def test_export__a_damaged_or_odd_journal_does_not_matter(trained: Path, tmp_path: Path) -> None:
    run_folder = tmp_path / "run"
    shutil.copytree(trained, run_folder)
    with (run_folder / "metrics.jsonl").open("ab") as file:
        file.write(b'\xff\x00\n[]\n{"step": 2, "loss": "nan", "comp": "lost"}\n')
    card = export(run_folder, tmp_path / "model.safetensors").card.read_text()
    assert "| loss | nan |" in card


def test_export__the_card_names_the_data_shortly(trained: Path) -> None:
    assert load_trained(trained).provenance.data.keys() == {"samples", "fingerprint"}


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
