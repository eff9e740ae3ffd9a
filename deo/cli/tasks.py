"""Options of the commands on tasks, and what they mean."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deo.bands import BandSet
from deo.errors import ConfigError

if TYPE_CHECKING:
    from deo.training.tasks.tune import Epoch

FILE = click.Path(path_type=Path)
Command = Callable[..., None]

DATA = (
    click.option("--dataset", required=True, help="A benchmark's name, or `folder`."),
    click.option("--data", type=FILE, required=True, help="Where it lies."),
    click.option("--classes", help="Names of mask values, for `folder`: background,water,..."),
    click.option("--stored-bands", help="Order of the bands in files that do not name them."),
    click.option("--bands", help="Bands to use. [default: the model's ten, as far as stored]"),
    click.option("--band-keys", type=click.Choice(["corrected", "as_published"]),
                 help="How to read m-eurosat's shifted keys. [default: corrected]"),
    click.option("--partition", help="GEO-Bench partition, e.g. 0.10x_train."),
)  # fmt: skip

MODEL = (
    click.option("--model", default="deo_swin_n", show_default=True, help="Any timm model."),
    click.option("--weights", type=FILE, help="Weights of a deo backbone."),
    click.option("--untrained", is_flag=True, help="Random weights: the twin to compare with."),
    click.option("--contract", type=click.Choice(["pretrain", "scene", "s2", "stats"]),
                 help="[default: the weights' own]"),
    click.option("--device", help="[default: cuda if there is one, else cpu]"),
)  # fmt: skip

TUNING = (
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


def with_options(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """Decorate a command with several options at once."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def common(given: dict[str, Any]) -> dict[str, Any]:
    """The options of DATA, MODEL and TUNING as keywords of `evaluate` and `finetune`."""
    plain = (
        *("dataset", "data", "model", "weights", "untrained", "contract", "band_keys", "partition"),
        *("fraction", "valid", "head", "width", "frozen", "layer_decay", "loss", "balance"),
        *("epochs", "warmup", "rate", "weight_decay", "crop", "patience"),
    )
    return {
        **{name: given[name] for name in plain},
        "batch": given["batch_size"],
        "bands": bands(given["bands"]),
        "stored_bands": bands(given["stored_bands"]),
        "classes": names(given["classes"]),
        "test": names(given["test"]),
        "device": given["device"],
    }


@contextmanager
def tile_bar(name: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A progress bar, shown on a terminal, for what tells (tiles dealt with, tiles in all)."""
    from tqdm import tqdm

    with tqdm(desc=name, unit="tile", disable=quiet or None) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show


def report(seed: int, epoch: "Epoch") -> None:
    """Print an epoch where it does not mix with results."""
    judged = f"validation {100 * epoch.score:.1f} (best {100 * epoch.best:.1f})"
    if math.isnan(epoch.score):
        judged = "no validation part"
    click.echo(
        f"seed {seed} epoch {epoch.number}: loss {epoch.loss:.4f}, {judged}",
        err=True,
    )


def device(name: str | None) -> str:
    """The name of a device that can be used: CUDA where there is any, unless one is asked for."""
    from deo.models.devices import choose_device

    return str(choose_device(name))


def bands(text: str | None) -> BandSet | None:
    """Bands from comma-separated names."""
    return None if text is None else BandSet.parse(text)


def names(text: str | None) -> tuple[str, ...]:
    """Comma-separated names."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def integers(option: str, text: str) -> tuple[int, ...]:
    """Comma-separated whole numbers."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"{option} {text!r} is no list of whole numbers: 0,1,2") from error


def layers(text: str) -> tuple[int, ...] | None:
    """Positions of maps; None means all."""
    named: dict[str, tuple[int, ...] | None] = {"last": (-1,), "all": None}
    return named[text] if text in named else integers("--layers", text)
