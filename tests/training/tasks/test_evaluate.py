"""Protocols from request to result, on toy data."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import rasterio
import rasterio.transform

from deo.bands import MODEL_BANDS, BandSet
from deo.errors import ConfigError, DataError, DeoError, ModelError
from deo.training.tasks.dataset import Layout, Sample, Unit
from deo.training.tasks.evaluate import evaluate, measure
from deo.training.tasks.protocols import Evaluation
from deo.training.tasks.scores import IGNORE
from deo.training.tasks.splits import divide
from deo.training.tasks.task import Benchmark, Task
from deo.training.tasks.tuneconfig import TuneConfig


class Levels:
    """Ten-band noise around a level that says the class; optionally split, masked or paired.

    Args:
        split: into parts; or names of the samples of each.
        broken: samples with pixels that are not finite.
    """

    bands = MODEL_BANDS

    def __init__(
        self, task: Task, *, split: bool | dict[str, tuple[str, ...]], broken: tuple[str, ...] = ()
    ) -> None:
        self.task, self.split, self.broken = task, split, broken

    def problems(self, root: Path) -> list[str]:
        return []

    def splits(self, root: Path) -> dict[str, tuple[str, ...]]:
        names = tuple(str(number) for number in range(24))
        if isinstance(self.split, dict):
            return self.split
        if not self.split:
            return {"all": names if self.task is Task.CLASSIFY else names[:3]}
        return {"train": names[:16], "valid": names[16:20], "test": names[20:]}

    def read(self, root: Path, name: str) -> Sample:
        rng = np.random.default_rng(int(name))
        label = int(name) % 2
        valid = np.ones((32, 32), bool)
        ground = rng.normal(1000, 40, (10, 32, 32)).astype(np.float32)
        if name in self.broken:
            ground[3, 5, 5] = np.nan
        if self.task in (Task.CLASSIFY, Task.MULTILABEL):
            hot = np.array([label, 1 - label, 0])
            target = hot if self.task is Task.MULTILABEL else np.asarray(label)
            return Sample(ground + np.float32(1500 * label), target.astype(np.int64), valid)
        mask = np.zeros((32, 32), np.int64)
        mask[8 + label : 20, :] = 1
        mask[0] = IGNORE
        bright = ground + np.float32(1500) * (mask == 1)
        image = np.stack((ground, bright)) if self.task is Task.CHANGE else bright
        return Sample(image, mask, valid)


METRICS = {
    Task.CLASSIFY: "accuracy",
    Task.MULTILABEL: "micro_f1",
    Task.SEGMENT: "macro_iou",
    Task.CHANGE: "f1",
}


def toy(task: Task, *, split: bool = True) -> Benchmark:
    layout: Layout = Levels(task, split=split)  # type: ignore[assignment]
    return Benchmark(
        name="toy",
        task=task,
        classes=3 if task is Task.MULTILABEL else 2,
        layout=layout,
        metric=METRICS[task],
        paper=50.0,
        paper_tenth=40.0,
    )


def request(protocol: str, bench: Benchmark, tmp_path: Path, **settings: object) -> Evaluation:
    defaults = {"model": "test_deo_swin", "untrained": True, "baselines": False}
    return Evaluation(
        protocol=protocol,
        benchmark=bench,
        data=tmp_path,
        **{**defaults, **settings},  # type: ignore[arg-type]
    )


BASELINE = {"model": "band-statistics", "untrained": False}


@pytest.mark.parametrize("protocol", ["knn", "probe"])
@pytest.mark.parametrize(
    ("task", "split"),
    [(Task.CLASSIFY, False), (Task.CLASSIFY, True), (Task.MULTILABEL, True)],
)
def test_classification__separable_levels(
    protocol: str, split: bool, task: Task, tmp_path: Path
) -> None:
    result = measure(request(protocol, toy(task, split=split), tmp_path, **BASELINE))
    assert result.value == 100
    assert result.units == (4 if split else 24)
    assert result.model["model"] == "band-statistics"


@pytest.mark.parametrize("model", ["test_deo_swin", "test_resnet", "test_vit"])
def test_knn__any_model_and_its_random_twins(model: str, tmp_path: Path) -> None:
    result = measure(
        request("knn", toy(Task.CLASSIFY), tmp_path, model=model, seeds=(0, 1), contract="s2")
    )
    assert len(result.per_seed) == 2
    assert result.value == pytest.approx(np.mean(result.per_seed))
    assert result.value >= 50
    assert result.model["weights"] == "untrained"


def test_share__of_the_labels_takes_the_papers_other_number(tmp_path: Path) -> None:
    whole = measure(request("knn", toy(Task.CLASSIFY), tmp_path, k=1, **BASELINE))
    assert whole.paper == 50
    quarter = measure(request("knn", toy(Task.CLASSIFY), tmp_path, fraction=0.25, k=1, **BASELINE))
    assert quarter.paper is None
    unsplit = measure(request("knn", toy(Task.CLASSIFY, split=False), tmp_path, k=1, **BASELINE))
    assert unsplit.paper is None
    tenth = measure(request("knn", toy(Task.CLASSIFY), tmp_path, fraction=0.1, k=1, **BASELINE))
    assert tenth.paper == 40
    with pytest.raises(ConfigError, match="needs a train split"):
        measure(request("knn", toy(Task.CLASSIFY, split=False), tmp_path, fraction=0.1, **BASELINE))


def test_pixels__left_half_trains(tmp_path: Path) -> None:
    bench = toy(Task.SEGMENT, split=False)
    result = measure(request("pixels", bench, tmp_path, model="raw-bands", untrained=False))
    assert result.value > 99
    layers = measure(request("pixels", bench, tmp_path, layers=None))
    assert layers.model["layers"] == [0, 1, 2, 3]
    assert layers.value > 60


TUNING = TuneConfig(width=8, epochs=1, warmup=0, batch=4, rate=3e-3, loss="ce")


@pytest.mark.parametrize("frozen", [False, True])
def test_segment__tunes_and_scores_the_test_part(frozen: bool, tmp_path: Path) -> None:
    seen: list[int] = []
    result = measure(
        request(
            "segment",
            toy(Task.SEGMENT),
            tmp_path,
            tuning=replace(TUNING, frozen=frozen, head="linear" if frozen else "upernet"),
            report=lambda seed, epoch: seen.append(epoch.number),
        )
    )
    assert seen == [1]
    assert result.unit.startswith("block of 64")
    assert set(result.scores) == {"macro_iou", "micro_iou", "accuracy", "iou", "f1"}
    assert result.settings["frozen"] is frozen


def test_change__network_and_threshold(tmp_path: Path) -> None:
    bench = toy(Task.CHANGE, split=False)
    result = measure(request("change", bench, tmp_path, tuning=TUNING, test=("1",), valid=0.0))
    assert result.settings["test"] == ["1"]
    baseline = measure(
        request("change", bench, tmp_path, model="raw-bands", untrained=False, test=("1",))
    )
    assert baseline.value > 99
    assert baseline.model["model"] == "threshold on standardised differences"


def test_requests__that_do_not_fit(tmp_path: Path) -> None:
    classify, segment = toy(Task.CLASSIFY), toy(Task.SEGMENT)
    for wrong, message in (
        (request("knn", segment, tmp_path), "protocol knn classifies tiles; toy is segment"),
        (request("segment", classify, tmp_path), "protocol segment does not fit toy: classify"),
        (request("pixels", segment, tmp_path), "single scenes without splits"),
        (request("segment", segment, tmp_path, **BASELINE), "band-statistics cannot be tuned"),
        (request("knn", classify, tmp_path, metric="l1"), "choose one of l2, cosine"),
    ):
        with pytest.raises(ConfigError, match=message):
            measure(wrong)
    with pytest.raises(ModelError, match="unknown model 'resnet5000'"):
        measure(request("knn", classify, tmp_path, model="resnet5000"))
    with pytest.raises(ConfigError, match="no protocol"):
        request("nearest", classify, tmp_path)
    with pytest.raises(ConfigError, match="neither --weights nor --untrained"):
        request("knn", classify, tmp_path, model="raw-bands", untrained=True)
    display = replace(classify, unit=Unit.BYTE)
    with pytest.raises(ConfigError, match="display values"):
        measure(request("knn", display, tmp_path, contract="s2"))


def broken(task: Task, **options: Any) -> Benchmark:
    bench = toy(task)
    return replace(bench, layout=cast(Layout, Levels(task, **options)))


PARTS: dict[str, dict[str, tuple[str, ...]]] = {
    "all of one": {"all": ("0",)},
    "all of two": {"all": ("0", "1")},
    "all of three": {"all": ("0", "1", "2")},
    "train and test": {"train": ("0", "1", "2", "3", "4"), "test": ("5", "6")},
    "one of each": {"train": ("0",), "test": ("1",)},
    "train and valid": {"train": ("0", "1", "2"), "valid": ("3",)},
    "train": {"train": ("0", "1", "2")},
    "all parts of one": {"train": ("0",), "valid": ("1",), "test": ("2",)},
}
FEW = [
    ("knn", Task.CLASSIFY),
    ("knn", Task.MULTILABEL),
    ("probe", Task.CLASSIFY),
    ("probe", Task.MULTILABEL),
    ("pixels", Task.SEGMENT),
    ("classify", Task.CLASSIFY),
    ("segment", Task.SEGMENT),
    ("change", Task.CHANGE),
]


@pytest.mark.parametrize(("protocol", "task"), FEW)
@pytest.mark.parametrize("parts", PARTS)
def test_few_samples__are_scored_or_refused(
    parts: str, protocol: str, task: Task, tmp_path: Path
) -> None:
    bench = broken(task, split=PARTS[parts])
    tuned = protocol in ("classify", "segment", "change")
    for batch in (1, 2) if tuned else (1,):
        model: dict[str, Any] = {} if tuned else BASELINE
        wanted = request(
            protocol, bench, tmp_path, k=1, folds=3, tuning=replace(TUNING, batch=batch), **model
        )
        said = ""
        try:
            value = measure(wanted).value
        except DeoError as error:
            said, value = str(error), 0.0
        assert np.isfinite(value)
        normalised = tuned and protocol != "classify"  # a head with batch normalisation
        if parts == "train and test" and protocol != "pixels" and (batch > 1 or not normalised):
            assert not said
        if parts in ("train", "train and valid") and protocol != "pixels":
            assert "no test part" in said


@pytest.mark.parametrize("protocol", ["knn", "probe"])
def test_classification__without_a_valid_part(protocol: str, tmp_path: Path) -> None:
    names = tuple(str(number) for number in range(24))
    bench = broken(Task.CLASSIFY, split={"train": names[:16], "test": names[16:]})
    result = measure(request(protocol, bench, tmp_path, **BASELINE))
    assert result.value == 100
    wanted = {"knn": "train -> test", "probe": "train, valid -> test"}  # a part held out
    assert result.settings["split"] == wanted[protocol]
    bare = measure(request(protocol, bench, tmp_path, valid=0.0, **BASELINE))
    assert (bare.value, bare.settings["split"]) == (100, "train -> test")


@pytest.mark.parametrize(("protocol", "task"), [*FEW, ("change raw", Task.CHANGE)])
def test_pixels_that_are_not_finite__are_refused_by_name(
    protocol: str, task: Task, tmp_path: Path
) -> None:
    split: Any = protocol != "pixels"
    bench = broken(task, split=split, broken=("2", "22"))
    raw: Any = {"model": "raw-bands", "untrained": False} if "raw" in protocol else {}
    with pytest.raises(DataError, match=r"not finite.* 2\b"):
        measure(request(protocol.split()[0], bench, tmp_path, tuning=TUNING, contract="s2", **raw))


def test_unseen_classes__are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    even = {"train": ("0", "2", "4"), "test": ("1", "3")}
    bench = replace(broken(Task.CLASSIFY, split=even), classes=("dry", "wet"))
    assert measure(request("knn", bench, tmp_path, k=1, **BASELINE)).value == 0
    assert "no training sample shows wet; it cannot be learned" in caplog.text


@pytest.mark.parametrize("folds", [0, 1, 2])
def test_probe__needs_three_folds(folds: int, tmp_path: Path) -> None:
    bench = toy(Task.CLASSIFY, split=False)
    with pytest.raises(DataError, match=f"{folds} folds; wanted 3 or more"):
        measure(request("probe", bench, tmp_path, folds=folds, **BASELINE))


@pytest.mark.parametrize("share", [-0.1, 1.0, 2.0, float("nan")])
def test_divide__refuses_a_share_that_is_none(share: float, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="validation part of"):
        divide(toy(Task.CLASSIFY).open(tmp_path), valid=share)


def test_divide__names_test_samples_and_holds_out(tmp_path: Path) -> None:
    splits = toy(Task.CHANGE, split=False).open(tmp_path)
    parts = divide(splits, test=("0",), valid=0.5)
    assert parts["test"].names == ("0",)
    assert len(parts["train"]) == len(parts["valid"]) == 1
    assert "valid" not in divide(splits, valid=0.0)
    with pytest.raises(DataError, match="no sample 9; there are 0, 1, 2"):
        divide(splits, test=("9",))


def test_bands__subset_reaches_the_model(tmp_path: Path) -> None:
    bands = BandSet(["B04", "B03", "B02"])
    result = measure(request("knn", toy(Task.CLASSIFY), tmp_path, bands=bands))
    assert result.model["bands"] == list(bands)
    assert result.model["contract"]["bands"] == list(bands)


def test_evaluate__takes_plain_settings_and_says_which_it_does_not_know(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, level in (("dry", 900), ("wet", 3000)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(3):
            with rasterio.open(
                tmp_path / "data" / name / f"{number}.tif", "w", driver="GTiff", count=10,
                height=32, width=32, dtype="uint16", crs="EPSG:32630",
                transform=rasterio.transform.from_origin(5e5, 4e6, 10, 10),
            ) as image:  # fmt: skip
                image.write(rng.normal(level, 50, (10, 32, 32)).astype(np.uint16))
    common: dict[str, Any] = {
        "dataset": "folder", "data": str(tmp_path / "data"), "stored_bands": list(MODEL_BANDS),
        "model": "test_deo_swin", "untrained": True, "device": "cpu",
    }  # fmt: skip
    result = evaluate("knn", k=1, bands="B04,B03,B02", seeds=[0, 1], **common)
    assert (result.dataset, result.seeds, result.samples) == ("folder", (0, 1), {"all": 6})
    assert result.model["bands"] == ["B04", "B03", "B02"]
    with pytest.raises(ConfigError, match="no setting 'seed_s'; did you mean 'seeds'"):
        evaluate("knn", seed_s=(0,), **common)
    with pytest.raises(ConfigError, match="give seeds"):
        evaluate("knn", seed=1, **common)
    with pytest.raises(ConfigError, match="no protocol 'nearest'; choose one of knn, probe"):
        evaluate("nearest", **common)
