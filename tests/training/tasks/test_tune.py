"""Tuning learns, stops, keeps the best, and resumes to the same numbers."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from deo.bands import MODEL_BANDS, BandSet
from deo.contracts import fit_contract
from deo.errors import ConfigError, DataError, OutputError, WeightsError
from deo.training.run import checkpoint
from deo.training.tasks.backbones import open_backbone
from deo.training.tasks.dataset import Sample, Split, Unit
from deo.training.tasks.heads import Network, build_network
from deo.training.tasks.inference import confusions
from deo.training.tasks.patches import Example, Examples, batches
from deo.training.tasks.progress import Epoch
from deo.training.tasks.scores import IGNORE, STATISTICS, macro_iou
from deo.training.tasks.task import Benchmark, Task
from deo.training.tasks.tune import tune
from deo.training.tasks.tuneconfig import TuneConfig


@dataclass(frozen=True)
class Squares:
    """Bright squares on dark ground: a mask; or two dates, where a square appears."""

    pair: bool = False
    side: int = 64

    @property
    def bands(self) -> BandSet:
        return MODEL_BANDS

    def problems(self, root: Path) -> list[str]:
        return []

    def splits(self, root: Path) -> dict[str, tuple[str, ...]]:
        return {"train": ("0", "1", "2", "3"), "valid": ("4",), "test": ("5",)}

    def read(self, root: Path, name: str) -> Sample:
        rng = np.random.default_rng(int(name))
        mask = np.zeros((self.side, self.side), np.int64)
        row, col = rng.integers(0, self.side // 2, 2)
        mask[row : row + self.side // 2, col : col + self.side // 2] = 1
        ground = rng.normal(800, 30, (10, self.side, self.side))
        image = (ground + 2500 * mask).astype(np.float32)
        if self.pair:
            image = np.stack((ground.astype(np.float32), image))
        mask[0] = IGNORE
        return Sample(image, mask, np.ones(mask.shape, bool))


def toy(*, pair: bool = False) -> Benchmark:
    return Benchmark(
        name="squares",
        task=Task.CHANGE if pair else Task.SEGMENT,
        classes=("dark", "bright"),
        layout=Squares(pair=pair),
        metric="f1" if pair else "macro_iou",
    )


CONFIG = TuneConfig(
    width=8, epochs=3, warmup=1, batch=4, rate=3e-3, crop=32, loss="ce", weight_decay=0.0
)


def examples(bench: Benchmark, root: Path = Path()) -> dict[str, Examples]:
    contract = fit_contract("s2", bands=MODEL_BANDS)
    splits = {
        name: Split(root=root, layout=bench.layout, names=names, bands=MODEL_BANDS, classes=2)
        for name, names in bench.layout.splits(root).items()
    }
    return {
        name: Examples(split=split, unit=Unit.DN, contract=contract)
        for name, split in splits.items()
    }


def network(bench: Benchmark, *, name: str = "test_deo_swin") -> Network:
    torch.set_num_threads(1)
    backbone = open_backbone(name, bands=MODEL_BANDS, untrained=True).model
    return build_network(bench.task.value, backbone, classes=2, head="upernet", width=8)


@pytest.mark.parametrize("pair", [False, True])
def test_tune__learns(pair: bool) -> None:
    bench = toy(pair=pair)
    parts, model = examples(bench), network(bench)
    config = replace(CONFIG, epochs=6, balance="on" if pair else "off")
    epochs = list(tune(model, bench, parts["train"], parts["valid"], config))
    assert epochs[-1].loss < 0.85 * epochs[0].loss
    units = confusions(model, parts["test"], bench, size=64)
    score = STATISTICS[bench.metric](units.matrices.sum(0))
    assert score > 0.7


def test_tune__ends_with_the_best_weights() -> None:
    bench = toy()
    parts, model = examples(bench), network(bench)
    epochs = list(tune(model, bench, parts["train"], parts["valid"], CONFIG))
    best = max(epoch.score for epoch in epochs)
    assert epochs[-1].best == best
    again = confusions(model, parts["valid"], bench, size=64)
    assert macro_iou(again.matrices.sum(0)) == pytest.approx(best)


def test_tune__stops_without_progress() -> None:
    bench = toy()
    parts, model = examples(bench), network(bench)
    config = replace(CONFIG, epochs=9, rate=1e-12, patience=1)
    epochs = list(tune(model, bench, parts["train"], parts["valid"], config))
    assert len(epochs) == 3  # the first, then two that are no better


def test_tune__without_validation_keeps_the_last() -> None:
    bench = toy()
    parts, model = examples(bench), network(bench)
    epochs = list(tune(model, bench, parts["train"], None, replace(CONFIG, epochs=2)))
    assert len(epochs) == 2
    assert np.isnan(epochs[-1].score)


@pytest.mark.parametrize(
    ("scores", "kept"),
    [
        ([np.nan, 0.4, 0.3], 2),
        ([0.4, np.nan, 0.3], 1),
        ([np.nan, 0.0, np.nan], 2),
        ([np.nan] * 3, 3),
    ],
)
def test_tune__an_undefined_score_is_never_the_best(
    scores: list[float], kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, given = toy(), iter(scores)
    monkeypatch.setitem(STATISTICS, bench.metric, lambda _: next(given))
    parts, model = examples(bench), network(bench)
    after: dict[int, torch.Tensor] = {}
    held: list[int] = []
    run = tune(
        model,
        bench,
        parts["train"],
        parts["valid"],
        CONFIG,
        keep=lambda score: held.append(len(after) + 1),
    )
    for epoch in run:
        after[epoch.number] = model.head.state_dict()["score.weight"].clone()
    assert epoch.best == pytest.approx(scores[kept - 1], nan_ok=True)
    assert held[-1] == kept  # what is written on the way is what the run ends with
    assert torch.equal(model.head.state_dict()["score.weight"], after[kept])


def test_tune__resume_equals_straight_through(tmp_path: Path) -> None:
    bench = toy()
    parts = examples(bench)

    def go(folder: Path, *, stop: int | None, resume: bool) -> tuple[list[Epoch], Network]:
        model, done = network(bench), []
        for epoch in tune(
            model, bench, parts["train"], parts["valid"], CONFIG, folder=folder, resume=resume
        ):
            done.append(epoch)
            if epoch.number == stop:
                break
        return done, model

    straight, wanted = go(tmp_path / "a", stop=None, resume=False)
    first, _ = go(tmp_path / "b", stop=1, resume=False)
    rest, found = go(tmp_path / "b", stop=None, resume=True)
    assert first + rest == straight
    for name, tensor in wanted.state_dict().items():
        assert torch.equal(tensor, found.state_dict()[name]), name
    assert len((tmp_path / "b/log.jsonl").read_text().splitlines()) == 3


def test_tune__resume_refuses_other_settings_and_nothing(tmp_path: Path) -> None:
    bench = toy()
    parts, model = examples(bench), network(bench)
    with pytest.raises(OutputError, match="no checkpoint to resume from"):
        next(tune(model, bench, parts["train"], None, CONFIG, folder=tmp_path, resume=True))
    short = replace(CONFIG, epochs=1)
    list(tune(model, bench, parts["train"], None, short, folder=tmp_path))
    other = replace(short, rate=1e-3)
    with pytest.raises(ConfigError, match=r"other settings: rate: 0\.003 -> 0\.001"):
        next(tune(model, bench, parts["train"], None, other, folder=tmp_path, resume=True))
    with pytest.raises(ConfigError, match="other samples"):
        next(tune(model, bench, parts["valid"], None, short, folder=tmp_path, resume=True))


def test_tune__resumes_from_the_one_before_a_damaged_checkpoint(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench = toy()
    parts = examples(bench)

    def go(resume: bool) -> tuple[list[Epoch], Network]:
        model = network(bench)
        run = tune(
            model, bench, parts["train"], parts["valid"], CONFIG, folder=tmp_path, resume=resume
        )
        return list(run), model

    straight, wanted = go(resume=False)
    log = (tmp_path / "log.jsonl").read_bytes()
    before, last = checkpoint.saved(tmp_path)
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.write_bytes(content)
    (tmp_path / "log.jsonl").write_bytes(log + b"\xff\x00\n[]\ncut")
    again, found = go(resume=True)
    assert f"the checkpoint before it, {before}" in caplog.text
    assert again == straight[2:]
    for name, tensor in wanted.state_dict().items():
        assert torch.equal(tensor, found.state_dict()[name]), name
    assert (tmp_path / "log.jsonl").read_bytes() == log
    before.write_bytes(b"")
    last.unlink()
    with pytest.raises(WeightsError, match=r"no checkpoint in .* is whole"):
        go(resume=True)


@pytest.mark.parametrize("part", ["train", "valid"])
def test_tune__resume_refuses_other_pixels_under_the_same_names(part: str, tmp_path: Path) -> None:
    bench = toy()
    parts, short = examples(bench), replace(CONFIG, epochs=1)
    list(tune(network(bench), bench, parts["train"], parts["valid"], short, folder=tmp_path))
    moved = examples(bench, Path("elsewhere"))
    for found in (parts, moved):
        rest = tune(
            network(bench), bench, found["train"], found["valid"], short,
            folder=tmp_path, resume=True,
        )  # fmt: skip
        assert list(rest) == []
    name = parts[part].split.names[0]
    image, target = parts[part][0]
    changed = image.copy()
    changed[0, 0, 0] += 1
    parts[part]._kept[0] = Example(changed, target)
    with pytest.raises(ConfigError, match=rf"{part} data, what differs: {name} \(other content\)"):
        next(
            tune(
                network(bench), bench, parts["train"], parts["valid"], short,
                folder=tmp_path, resume=True,
            )
        )  # fmt: skip


def test_tune__a_loss_that_is_not_finite_ends_the_run(tmp_path: Path) -> None:
    bench = toy()
    parts, model = examples(bench), network(bench)
    run = tune(
        model, bench, parts["train"], parts["valid"], replace(CONFIG, crop=None, batch=2),
        folder=tmp_path,
    )  # fmt: skip
    next(run)
    with torch.no_grad():
        model.head.score.bias.fill_(torch.nan)
    with pytest.raises(
        ConfigError, match=r"epoch 2, step 1 of 2: the loss is nan .* samples \d, \d"
    ):
        next(run)
    found = checkpoint.newest(tmp_path)
    assert found is not None
    assert found.checkpoint.step == 1
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_tune__pixels_that_are_not_finite_are_refused_by_name(value: float) -> None:
    bench = toy()
    parts = examples(bench)
    image, target = parts["train"][2]
    broken = image.copy()
    broken[4, 3, 3] = value
    parts["train"]._kept[2] = Example(broken, target)
    with pytest.raises(DataError, match="not finite: 2 below"):
        next(tune(network(bench), bench, parts["train"], None, CONFIG))


def one(part: Examples, count: int = 1) -> Examples:
    split = part.split.subset(range(count))
    return Examples(split=split, unit=part.unit, contract=part.contract)


def test_tune__one_sample_and_batches_of_one() -> None:
    bench = toy()
    train, whole = examples(bench)["train"], replace(CONFIG, crop=None, epochs=1)
    for part, config in ((one(train), whole), (train, replace(whole, batch=1))):
        with pytest.raises((DataError, ConfigError), match=r"batch normalisation .* needs 2"):
            next(tune(network(bench), bench, part, None, config))
    assert next(tune(network(bench), bench, one(train), None, replace(whole, crop=32))).loss > 0
    backbone = open_backbone("test_deo_swin", bands=MODEL_BANDS, untrained=True).model
    linear = build_network("segment", backbone, classes=2, head="linear", width=8)
    seen = list(batches(one(train, 3), size=2, crop=None, flips=False, seed=0, epoch=0))
    assert [len(batch.images) for batch in seen] == [2, 1]
    assert next(tune(linear, bench, one(train), None, replace(whole, batch=1))).loss > 0
