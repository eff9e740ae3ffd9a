"""`deo convert`: whole files or one message."""

from pathlib import Path

import pytest
import timm
import torch
from click.testing import CliRunner, Result

import deo  # noqa: F401
from deo.cli import cli
from deo.errors import DeoError, ModelError, OutputError, WeightsError
from deo.models import weight_files, weights

MODEL = "test_deo_vit"


def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    ours = timm.create_model(MODEL).state_dict()
    published = {name.replace("embed.ms", "embed_ms"): tensor for name, tensor in ours.items()}
    published = {name.replace("embed.rgb", "embed_rgb"): t for name, t in published.items()}
    return published | {"head_ms.mlp.0.weight": torch.zeros(2, 2)}


def convert(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["convert", *map(str, arguments), "--model", MODEL])


def failure(error: type[DeoError], *arguments: object) -> str:
    result = convert(*arguments)
    assert isinstance(result.exception, error)
    assert "\n" not in str(result.exception)
    return str(result.exception)


@pytest.fixture
def released(tmp_path: Path) -> Path:
    path = tmp_path / "released.pth"
    torch.save(state(), path)
    return path


def test_convert__writes_a_file_that_loads(released: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    result = convert(released, out)
    assert result.exit_code == 0
    assert "used    56 tensors of test_deo_vit, dropped 1 " in result.output
    assert f"sha256  {weight_files.sha256(released)}" in result.output
    assert f"sha256  {weight_files.sha256(out)}" in result.output
    loaded = weights.load_backbone(MODEL, weights=out, features_only=False)
    expected = state()
    assert torch.equal(
        loaded.model.patch_embed.ms.proj.weight, expected["patch_embed_ms.proj.weight"]
    )
    again = tmp_path / "again.safetensors"
    assert convert(out, again).exit_code == 0
    assert weights.load_backbone(MODEL, weights=again).weights.source == "file:again.safetensors"


def test_convert__chooses_student_or_teacher(tmp_path: Path) -> None:
    trained, out = tmp_path / "checkpoint.pth", tmp_path / "out.safetensors"
    student = {f"module.{name}": t for name, t in state().items()}
    teacher = {name: t + 1 for name, t in student.items() if "rgb" not in name}
    torch.save({"student": student, "teacher": teacher, "epoch": 3}, trained)
    assert "its student" in convert(trained, out).output
    result = convert(trained, out, "--teacher", "--overwrite")
    assert "its teacher" in result.output
    loaded = weights.load_backbone(MODEL, weights=out, features_only=False)
    assert torch.equal(loaded.model.norm.weight, teacher["module.norm.weight"])


def test_convert__does_not_overwrite_unasked(released: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    out.write_bytes(b"precious")
    assert "--overwrite" in failure(OutputError, released, out)
    assert out.read_bytes() == b"precious"
    assert convert(released, out, "--overwrite").exit_code == 0


def test_convert__failures_leave_nothing(released: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    broken = tmp_path / "broken.pth"
    torch.save({n: t for n, t in state().items() if n != "norm.bias"}, broken)
    assert "1 missing (norm.bias)" in failure(WeightsError, broken, out)
    broken.write_bytes(released.read_bytes()[:-100])
    assert "truncated" in failure(WeightsError, broken, out)
    assert "cannot read" in failure(WeightsError, tmp_path / "absent.pth", out)
    assert "cannot write" in failure(OutputError, released, tmp_path / "absent" / "out")
    result = CliRunner().invoke(cli, ["convert", str(released), str(out), "--model", "resnet18"])
    assert isinstance(result.exception, ModelError)
    assert "deo_swin_b" in str(result.exception)
    other = CliRunner().invoke(
        cli, ["convert", str(released), str(out), "--model", "test_deo_swin"]
    )
    assert isinstance(other.exception, WeightsError)
    assert {path.name for path in tmp_path.iterdir()} == {"released.pth", "broken.pth"}
