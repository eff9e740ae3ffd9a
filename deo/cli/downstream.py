"""Commands on tasks: evaluate, finetune, predict."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deo.bands import BandSet
from deo.errors import ConfigError

if TYPE_CHECKING:
    from deo.training.finetune import Epoch
    from deo.training.tasks import Benchmark

_FILE = click.Path(path_type=Path)
_Command = Callable[..., None]

_DATA = (
    click.option("--dataset", required=True, help="A benchmark's name, or `folder`."),
    click.option("--data", type=_FILE, required=True, help="Where it lies."),
    click.option("--classes", help="Names of mask values, for `folder`: background,water,..."),
    click.option("--stored-bands", help="Order of the bands in files that do not name them."),
    click.option("--bands", help="Bands to use. [default: the model's ten, as far as stored]"),
    click.option("--band-keys", type=click.Choice(["corrected", "as_published"]),
                 help="How to read m-eurosat's shifted keys. [default: corrected]"),
    click.option("--partition", help="GEO-Bench partition, e.g. 0.10x_train."),
)  # fmt: skip

_MODEL = (
    click.option("--model", default="deo_swin_n", show_default=True, help="Any timm model."),
    click.option("--weights", type=_FILE, help="Weights of a deo backbone."),
    click.option("--untrained", is_flag=True, help="Random weights: the twin to compare with."),
    click.option("--contract", type=click.Choice(["pretrain", "scene", "s2", "stats"]),
                 help="[default: the weights' own]"),
    click.option("--device", help="[default: cuda if there is one, else cpu]"),
)  # fmt: skip

_TUNING = (
    click.option("--head", type=click.Choice(["upernet", "linear"]), default="upernet",
                 show_default=True),
    click.option("--width", type=int, default=512, show_default=True, help="Inside UPerNet."),
    click.option("--frozen/--tuned", default=None,
                 help="The backbone. [default: tuned, but frozen for evaluate segment]"),
    click.option("--layer-decay", type=float, help="Lower layers learn slower by this factor."),
    click.option("--loss", type=click.Choice(["bce", "ce"]), default="bce", show_default=True,
                 help="One-hot BCE or cross-entropy; both ignore unknown pixels."),
    click.option("--balance", is_flag=True, help="Weigh rare classes more."),
    click.option("--epochs", type=int, default=50, show_default=True),
    click.option("--warmup", type=int, default=5, show_default=True, help="Epochs."),
    click.option("--batch-size", type=int, default=16, show_default=True),
    click.option("--rate", type=float, default=1e-4, show_default=True, help="Learning rate."),
    click.option("--weight-decay", type=float, default=0.05, show_default=True),
    click.option("--crop", type=int, help="Side of training patches. [default: whole samples]"),
    click.option("--patience", type=int, help="Epochs without progress. [default: no limit]"),
    click.option("--test", help="Test samples by name, for data without splits: a,b"),
    click.option("--valid", type=float, default=0.15, show_default=True,
                 help="Share of the training samples held out where there is no valid split."),
)  # fmt: skip


def _with(*options: Callable[[Any], Any]) -> Callable[[_Command], _Command]:
    def decorate(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


@click.command()
@click.argument("protocol", type=click.Choice(["knn", "probe", "pixels", "segment", "change"]))
@_with(*_DATA, *_MODEL, *_TUNING)
@click.option("--layers", default="last", show_default=True, help="last, all, or 0,1,2,3.")
@click.option("--size", type=int, help="Resize chips to this side, for knn and probe.")
@click.option("--k", type=int, default=5, show_default=True, help="Neighbours.")
@click.option("--metric", type=click.Choice(["l2", "cosine"]), default="l2", show_default=True)
@click.option("--temperature", type=float, help="Weigh votes by exp(similarity / T).")
@click.option("--folds", type=int, default=5, show_default=True, help="Of probe, without splits.")
@click.option("--fraction", type=float, default=1.0, show_default=True, help="Of the labels.")
@click.option("--seeds", default="0", show_default=True, help="One run each: 0,1,2")
@click.option("--json", "json_file", type=_FILE, help="Write the result here.")
def evaluate(protocol: str, **given: Any) -> None:
    """Measure a backbone by PROTOCOL on a data set, beside the paper's number.

    knn and probe classify tiles from frozen features; pixels is a logistic probe per pixel of a
    single scene; segment and change tune a head, and the backbone unless --frozen. --model also
    takes raw-bands and band-statistics.
    """
    from deo.training.protocols import run
    from deo.training.request import Evaluation
    from deo.training.results import check_target, markdown, write_json

    json_file = given["json_file"]
    if json_file is not None:
        check_target(json_file)
    task = {"segment": "segment", "pixels": "segment", "change": "change"}.get(protocol, "classify")
    request = Evaluation(
        protocol=protocol,
        benchmark=_benchmark(given, task),
        data=given["data"],
        model=given["model"],
        weights=given["weights"],
        untrained=given["untrained"],
        seeds=_integers("--seeds", given["seeds"]),
        share=given["fraction"],
        bands=_bands(given["bands"]),
        contract=given["contract"],
        layers=_layers(given["layers"]),
        size=given["size"],
        k=given["k"],
        metric=given["metric"],
        temperature=given["temperature"],
        folds=given["folds"],
        test=_names(given["test"]),
        valid=given["valid"],
        tuning=_tuning(given, seed=0, frozen=protocol == "segment"),
        device=_device(given["device"]),
        report=_report,
    )
    result = run(request)
    if json_file is not None:
        write_json(result, json_file)
    click.echo(markdown([result.record()]), nl=False)


@click.command()
@click.option("--task", type=click.Choice(["classify", "segment", "change"]), required=True)
@_with(*_DATA, *_MODEL, *_TUNING)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--fraction", type=float, default=1.0, show_default=True, help="Of the labels.")
@click.option("-o", "--output", type=_FILE, required=True, help="Folder of the run.")
@click.option("--resume", is_flag=True, help="Go on with the run in the folder.")
@click.option("--overwrite", is_flag=True, help="Start anew in a folder that holds a run.")
def finetune(task: str, **given: Any) -> None:
    """Tune a backbone for a task; the best epoch is kept for `deo predict`."""
    from deo.training.tuned_run import TunedRun, run_tuning

    result = run_tuning(
        TunedRun(
            benchmark=_benchmark(given, task),
            data=given["data"],
            model=given["model"],
            weights=given["weights"],
            untrained=given["untrained"],
            bands=_bands(given["bands"]),
            contract=given["contract"],
            test=_names(given["test"]),
            valid=given["valid"],
            share=given["fraction"],
            tuning=_tuning(given, seed=given["seed"], frozen=False),
            device=_device(given["device"]),
        ),
        task=task,
        folder=given["output"],
        resume=given["resume"],
        overwrite=given["overwrite"],
        report=lambda epoch: _report(given["seed"], epoch),
    )
    click.echo(f"{result.path}: {result.summary}")
    click.echo(f"next: deo predict {given['output']} SCENE -o map.tif")


@click.command()
@click.argument("tuned", type=_FILE)
@click.argument("scenes", nargs=-1, required=True, type=_FILE, metavar="SCENE [SECOND_DATE]")
@click.option("-o", "--output", type=_FILE, required=True, help="Class map, a GeoTIFF.")
@click.option("--probabilities", type=_FILE, help="Also write one band per class here.")
@click.option("--bands", help="Order of the scene's bands, for a file that names none.")
@click.option("--tile", type=int, help="Side in pixels. [default: near 384]")
@click.option("--overlap", type=int, help="Pixels shared by tiles. [default: a quarter]")
@click.option("--batch-size", type=int, default=4, show_default=True)
@click.option("--device", help="[default: cuda if there is one, else cpu]")
@click.option("--scale", type=float, help="Digital number = stored x SCALE + OFFSET, whatever")
@click.option("--offset", type=float, help="the metadata say (reflectance x 10000, no offset).")
@click.option("--resume", is_flag=True, help="Go on with what a killed run left.")
@click.option("--overwrite", is_flag=True, help="Replace maps that are there.")
def predict(tuned: Path, scenes: tuple[Path, ...], output: Path, **given: Any) -> None:
    """Map a scene with the network in TUNED, a folder that `deo finetune` made.

    Networks for change take two dates on one grid. Any size of scene: it is read, computed and
    written in parts.
    """
    from deo.training.predict import Prediction, predict
    from deo.training.tuned import load_tuned

    written = predict(
        load_tuned(tuned),
        list(scenes),
        output,
        probabilities=given["probabilities"],
        settings=Prediction(
            tile=given["tile"],
            overlap=given["overlap"],
            batch_size=given["batch_size"],
            device=_device(given["device"]),
            bands=_bands(given["bands"]),
            scale=given["scale"],
            offset=given["offset"],
        ),
        resume=given["resume"],
        overwrite=given["overwrite"],
    )
    for path in written:
        click.echo(os.fspath(path))


def _benchmark(given: dict[str, Any], task: str) -> "Benchmark":
    from deo.training.benchmarks import benchmark
    from deo.training.folders import FOLDER, folder_benchmark
    from deo.training.geobench import BandKeys
    from deo.training.tasks import Task

    stored = _bands(given["stored_bands"])
    if given["dataset"] == FOLDER:
        return folder_benchmark(
            Task(task), given["data"], bands=stored, classes=_names(given["classes"])
        )
    if given["classes"] is not None:
        raise ConfigError(f"--classes is for --dataset {FOLDER}; benchmarks name their own")
    keys = given["band_keys"]
    return benchmark(
        given["dataset"],
        keys=BandKeys(keys) if keys else None,
        partition=given["partition"],
        stored=stored,
    )


def _tuning(given: dict[str, Any], *, seed: int, frozen: bool) -> Any:
    from deo.training.tuning import TuneConfig

    return TuneConfig(
        head=given["head"],
        width=given["width"],
        frozen=frozen if given["frozen"] is None else given["frozen"],
        layer_decay=given["layer_decay"],
        loss=given["loss"],
        balance=given["balance"],
        epochs=given["epochs"],
        warmup=min(given["warmup"], given["epochs"]),
        batch=given["batch_size"],
        rate=given["rate"],
        weight_decay=given["weight_decay"],
        crop=given["crop"],
        patience=given["patience"],
        seed=seed,
    )


def _report(seed: int, epoch: "Epoch") -> None:
    click.echo(
        f"seed {seed} epoch {epoch.number}: loss {epoch.loss:.4f}, "
        f"validation {100 * epoch.score:.1f} (best {100 * epoch.best:.1f})",
        err=True,
    )


def _device(name: str | None) -> str:
    import torch

    return name or ("cuda" if torch.cuda.is_available() else "cpu")


def _bands(text: str | None) -> BandSet | None:
    return None if text is None else BandSet.parse(text)


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def _integers(option: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"{option} {text!r} is no list of whole numbers: 0,1,2") from error


def _layers(text: str) -> tuple[int, ...] | None:
    named: dict[str, tuple[int, ...] | None] = {"last": (-1,), "all": None}
    return named[text] if text in named else _integers("--layers", text)
