"""A whole run from Python: what cannot work is said first, and one's own teacher and views."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deo.errors import ConfigError, DataError, DeoError, OutputError
from deo.training import settings
from deo.training.config import Config
from deo.training.data.shards import Shards
from deo.training.method.layers import Widths
from deo.training.method.optical import OpticalFeatures
from deo.training.run import checkpoint as checkpoints
from deo.training.run import distributed, pretraining
from deo.training.run.checkpoint import CHECKPOINTS_NAME
from deo.training.run.distributed import Context
from deo.training.run.pretraining import prepare, pretrain
from deo.training.run.trained import load_trained


class ToyTeacher(nn.Module):
    """Pooled pixels in another basis, as an optical teacher of one's own."""

    widths = Widths(3, 3, 3)
    licence = "toy licence"

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.register_buffer(
            "basis", torch.randn(3, 3, generator=torch.Generator().manual_seed(seed))
        )

    @torch.no_grad()
    def forward(self, images: Tensor) -> OpticalFeatures:
        maps = torch.einsum(
            "nchw,cd->ndhw", F.adaptive_avg_pool2d(images, 2), self.get_buffer("basis")
        )
        return OpticalFeatures(maps.mean((2, 3)), maps, maps)


def toy_views(images: Tensor, keys: Tensor, epoch: int) -> Sequence[Tensor]:
    """Both halves of the image, and its top."""
    x = images / 3000 - 0.5
    return [x[..., :16], x[..., 16:], x[..., :16, :16]]


def square_views(images: Tensor, keys: Tensor, epoch: int) -> Sequence[Tensor]:
    """The image and its mirror image, and one quarter."""
    x = images / 3000 - 0.5
    return [x, x.flip(-1), x[..., :16, :16]]


def test_prepare__steps_override_epochs(tiny_config: Config) -> None:
    epochs = settings.override(tiny_config, ["run.steps=none", "run.epochs=3"])
    assert prepare(epochs, None, Context()).state.steps == 18
    assert prepare(tiny_config, None, Context()).state.steps == 8


@pytest.mark.parametrize(
    ("assignments", "error", "message"),
    [
        (["data.source=/none"], DataError, "does not exist"),
        (["run.batch_size=25"], DataError, "24 samples do not fill one step of 25"),
        (["data.split=30"], DataError, "asks for 30 samples"),
        (["run.device=cuda:77"], ConfigError, "cuda"),
    ],
)
def test_pretrain__what_cannot_work_is_said_before_anything_is_written(
    tiny_config: Config, tmp_path: Path, assignments: list[str], error: type[DeoError], message: str
) -> None:
    with pytest.raises(error, match=message):
        pretrain(
            settings.override(tiny_config, assignments), output=tmp_path / "out", progress=False
        )
    assert not (tmp_path / "out" / "config.toml").exists()


def test_pretrain__an_unwritable_output_is_said(tiny_config: Config, tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(OutputError, match=r"cannot write .*out"):
        pretrain(tiny_config, output=tmp_path / "out", progress=False)


def test_pretrain__the_main_process_alone_makes_the_folder(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(device: str) -> AbstractContextManager[Context]:
        return nullcontext(Context(rank=1))

    monkeypatch.setattr(distributed, "connect", connect)
    monkeypatch.setattr(pretraining, "prepare", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        pretrain(tiny_config, output=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def student_of(output: Path) -> dict[str, Tensor]:
    newest = checkpoints.newest(output / CHECKPOINTS_NAME)
    assert newest is not None
    student: dict[str, Tensor] = newest.checkpoint.state["student"]
    return student


def test_pretrain__a_teacher_and_views_of_ones_own_resume_to_the_bit(
    tiny_config: Config, tmp_path: Path
) -> None:
    state = pretrain(
        tiny_config, output=tmp_path / "a", optical=ToyTeacher(), views=square_views, progress=False
    )
    assert state.step == 8
    for path in checkpoints.saved(tmp_path / "a" / CHECKPOINTS_NAME)[1:]:
        path.unlink()
    again = pretrain(
        tiny_config, output=tmp_path / "a", optical=ToyTeacher(), views=square_views, progress=False
    )
    for name, value in state.student.state_dict().items():
        assert torch.equal(value, again.student.state_dict()[name]), name
    provenance = load_trained(tmp_path / "a").provenance
    assert provenance.stems == ("ms", "rgb")
    assert provenance.licence == "toy licence"
    assert provenance.config.optical.name.endswith("ToyTeacher")


@pytest.mark.parametrize(
    ("optical", "views", "message"),
    [
        (None, square_views, r"optical\.name: .*ToyTeacher.* -> None"),
        (ToyTeacher(seed=1), square_views, r"optical\.weights: '\w+' -> '\w+'"),
        (ToyTeacher(), toy_views, r"views\.name: .*square_views.* -> .*toy_views"),
        (ToyTeacher(), None, r"views\.name: .*square_views.* -> None"),
    ],
)
def test_pretrain__another_teacher_or_view_maker_is_refused(
    tiny_config: Config,
    tmp_path: Path,
    optical: ToyTeacher | None,
    views: pretraining.ViewMaker | None,
    message: str,
) -> None:
    config = settings.override(tiny_config, ["run.steps=1"])
    pretrain(config, output=tmp_path, optical=ToyTeacher(), views=square_views, progress=False)
    with pytest.raises(ConfigError, match=message):
        pretrain(config, output=tmp_path, optical=optical, views=views, progress=False)


def test_pretrain__takes_a_folder_or_samples_as_data(tiny_config: Config, tmp_path: Path) -> None:
    source = tiny_config.data.source
    config = settings.override(tiny_config, ["run.steps=1", "data.source=nowhere"])
    for name, data in (("path", Path(source)), ("text", source), ("own", Shards(Path(source)))):
        pretrain(config, data=data, output=tmp_path / name, progress=False)
    students = [student_of(tmp_path / name) for name in ("path", "text", "own")]
    for name, value in students[0].items():
        assert torch.equal(value, students[1][name])
        assert torch.equal(value, students[2][name])
    with pytest.raises(ConfigError, match="no data"):
        pretrain(Config(), output=tmp_path / "none", progress=False)


def test_pretrain__resume_false_refuses_a_run(tiny_config: Config, tmp_path: Path) -> None:
    config = settings.override(tiny_config, ["run.steps=1"])
    pretrain(config, output=tmp_path, resume=False, progress=False)
    with pytest.raises(OutputError, match="holds a run"):
        pretrain(config, output=tmp_path, resume=False, progress=False)
