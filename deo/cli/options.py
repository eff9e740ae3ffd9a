"""The options of all commands, each worded once, and the types of the values they take."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import click

from deo.bands import BandSet
from deo.contracts import CONTRACTS
from deo.errors import ConfigError

Command = Callable[..., Any]
Option = Callable[[Command], Command]

PATH = click.Path(path_type=Path)
FOLDER = click.Path(path_type=Path, file_okay=False)


class BandNames(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.3 on
    """Names of bands with commas between them."""

    name = "bands"

    def convert(self, value: Any, param: Any, ctx: Any) -> BandSet | None:
        return BandSet.parse(value) if value else None


class Numbers(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.3 on
    """Numbers with commas between them; `kind` makes each of its text, `words` stand for some."""

    name = "numbers"

    def __init__(
        self,
        kind: type[int] | type[float] = float,
        words: Mapping[str, tuple[float, ...] | None] = MappingProxyType({}),
    ) -> None:
        self.kind, self.words = kind, words

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[float, ...] | None:
        if isinstance(value, tuple):
            return value
        if value in self.words:
            return self.words[value]
        try:
            return tuple(self.kind(part) for part in value.split(","))
        except ValueError as error:
            numbers = "whole numbers" if self.kind is int else "numbers"
            raise ConfigError(
                f"{param.opts[0]} {value!r} is no list of {numbers} with commas between them"
            ) from error


class Names(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.3 on
    """Names with commas between them."""

    name = "names"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        return tuple(part.strip() for part in value.split(",") if part.strip())


class CountOrFile(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.3 on
    """A whole number, or the path of a file."""

    name = "count or file"

    def convert(self, value: Any, param: Any, ctx: Any) -> int | Path:
        return int(value) if str(value).lstrip("-").isdecimal() else Path(value)


class Layer(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.3 on
    """One of a model's layers, or None for all of them."""

    name = "layer"

    def convert(self, value: Any, param: Any, ctx: Any) -> int | None:
        from deo.layers import parse_layer

        return parse_layer(value)


def with_options(*options: Option) -> Callable[[Command], Command]:
    """Decorate a command with several options at once; its help lists them in this order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def output(text: str, *, required: bool = True, kind: Any = PATH) -> Option:
    """-o, which every command that writes has, with what this one writes."""
    return click.option("-o", "--output", type=kind, required=required, help=text)


def bands(text: str) -> Option:
    """--bands; what they choose from differs between commands."""
    return click.option("--bands", type=BandNames(), help=text)


def contract(*names: str, default: str) -> Option:
    """--contract, with the contracts that a command can fit."""
    text = f"How digital numbers become a model's input. [default: {default}]"
    return click.option("--contract", type=click.Choice(names), help=text)


CONTRACT_OR_FILE = click.option(
    "--contract",
    metavar=f"[{'|'.join(CONTRACTS)}|FILE]",
    help="How digital numbers become the model's input; or a file that holds a fitted contract, "
    ".json or features whose contract is taken. [default: that of the weights, else fixed]",
)
OVERWRITE = click.option("--overwrite", is_flag=True, help="Replace what is there.")
RESUME = click.option("--resume", is_flag=True, help="Go on with what a run that ended early left.")
QUIET = click.option("--quiet", is_flag=True, help="Show no progress bar.")
PREVIEW = click.option("--preview", type=PATH, help="Also draw a picture, a PNG.")
LAYERS = click.option(
    "--layers",
    type=Numbers(int, MappingProxyType({"last": (-1,), "all": None})),
    default="last",
    show_default=True,
    help="Layers to take features from: last, all, or numbers such as 0,1,2,3.",
)
UNTRAINED = click.option("--untrained", is_flag=True, help="Use random weights, for comparison.")
MODEL = click.option(
    "--model", default="deo_swin_n", show_default=True, help="A backbone that `deo models` lists."
)
MODEL_OR_BASELINE = click.option(
    "--model", default="deo_swin_n", show_default=True, help="Any timm model."
)
WEIGHTS = click.option("--weights", type=PATH, help="A file with weights of that model.")
TEACHER = click.option("--teacher", is_flag=True, help="Take the EMA teacher, not the student.")
DEVICE = click.option(
    "--device", help="cpu, cuda, cuda:1, ... [default: cuda if there is one, else cpu]"
)
LAYER = click.option(
    "--layer",
    type=Layer(),
    default="last",
    show_default=True,
    help="0 for the finest layer, last, or all, which writes one file for each.",
)
TILE = click.option(
    "--tile",
    type=int,
    help="Side of a tile in pixels. [default: near 384; of a tuned network that of its samples]",
)
OVERLAP = click.option(
    "--overlap",
    type=int,
    help="Pixels that neighbouring tiles share. [default: a quarter; of tile classifiers none]",
)
RESOLUTION = click.option("--resolution", type=float, help="Pixel size in units of the CRS.")
SCALING = (
    click.option(
        "--scale",
        type=float,
        help="Take digital number = stored number x SCALE + OFFSET, without regard to the metadata."
        " Stored reflectance has the scale 10000.",
    ),
    click.option(
        "--offset",
        type=float,
        help="See --scale. Digital numbers of processing baseline 04.00 and later have -1000.",
    ),
)
MASKING = (
    click.option(
        "--mask",
        help="Leave pixels out: clouds, by the scene classification (SCL) beside the bands, or a "
        "raster FILE on any grid, where it is not 0.",
    ),
    click.option(
        "--mask-classes",
        type=Numbers(int),
        help="Numbers of the mask that are out. [default of clouds: 0,1,3,8,9,10,11]",
    ),
)

COMPUTING = (
    TILE,
    OVERLAP,
    click.option("--batch-size", type=int, help="Tiles at once. [default: 32 on CUDA, else 4]"),
    click.option(
        "--precision",
        type=click.Choice(["fp32", "bf16", "fp16"]),
        default="fp32",
        show_default=True,
        help="Arithmetic of the model.",
    ),
    DEVICE,
)
SCENE_BANDS = bands("Bands to use. A file that names none needs all of its bands, in order.")
WRITING = (
    click.option("--stac", is_flag=True, help="Write STAC and MLM items beside the output."),
    OVERWRITE,
    RESUME,
    click.option("--shard", help="i/n: take every n-th scene from number i on, counted from 0."),
    QUIET,
)

SEARCH = (
    click.option("--search", metavar="URL", help="Take the scenes that this STAC API finds."),
    click.option("--collection", help="What to search in, such as sentinel-2-l2a."),
    click.option("--bbox", type=Numbers(), metavar="W,S,E,N", help="Where to search, in degrees."),
    click.option("--dates", help="When to search, such as 2024-05-01/2024-09-30 or 2024-06."),
)

EXTRACTION = (
    click.option(
        "--model",
        help="A backbone that `deo models` lists. [default: that of --weights, else deo_swin_n]",
    ),
    WEIGHTS,
    UNTRAINED,
    LAYER,
    SCENE_BANDS,
    CONTRACT_OR_FILE,
    click.option("--mean", type=Numbers(), help="Mean of each band, for --contract stats."),
    click.option(
        "--std", type=Numbers(), help="Standard deviation of each band, for --contract stats."
    ),
    *COMPUTING,
    click.option(
        "--dtype",
        type=click.Choice(["float32", "float16", "int8"]),
        default="float32",
        show_default=True,
        help="Type of the stored features; int8 has one scale for each channel.",
    ),
    *SCALING,
    RESOLUTION,
    *MASKING,
    click.option(
        "--chip", type=int, default=224, show_default=True, help="Side of a .parquet's chips."
    ),
    click.option(
        "--components",
        type=CountOrFile(),
        metavar="K|FILE",
        help="Write K principal components in place of the features, fitted on each map and kept"
        " beside it as NAME.components.json; or take those of such a FILE.",
    ),
)

DATA = (
    click.option("--dataset", required=True, help="A benchmark's name, or `folder`."),
    click.option("--data", type=PATH, required=True, help="The folder that holds the data."),
    click.option(
        "--classes", type=Names(), default="", help="Names of a folder's mask values: ground,water."
    ),
    click.option(
        "--stored-bands",
        type=BandNames(),
        help="The bands of files that do not name them, in order.",
    ),
    bands("Bands to use. [default: those of the model's ten that the data hold]"),
    click.option(
        "--band-keys",
        type=click.Choice(["corrected", "as_published"]),
        help="How to read m-eurosat's shifted keys. [default: corrected]",
    ),
    click.option("--partition", help="A partition of GEO-Bench, such as 0.10x_train."),
    *SCALING,
    click.option(
        "--fraction", type=float, default=1.0, show_default=True, help="Share of labels to use."
    ),
    click.option(
        "--test", type=Names(), default="", help="Names of test samples, for data without splits."
    ),
    click.option(
        "--valid",
        type=float,
        help="Share of the training samples held out where there is no validation split. "
        "[default: 0.15, or none where that is too few]",
    ),
)

BACKBONE = (
    MODEL_OR_BASELINE,
    WEIGHTS,
    UNTRAINED,
    contract(*CONTRACTS, default="fixed; that of the weights for knn, probe and pixels"),
    DEVICE,
)

TUNING = (
    click.option(
        "--head",
        type=click.Choice(["auto", "fusion", "upernet", "linear"]),
        default="auto",
        show_default=True,
        help="What turns features into classes. auto is fusion; upernet is for maps alone.",
    ),
    click.option(
        "--width",
        type=int,
        help="Channels inside a head of maps. [default: 32 for fusion, 512 for upernet]",
    ),
    click.option(
        "--frozen/--tuned",
        default=None,
        help="Keep or tune the backbone. [default: tuned; frozen for fewer than 500 tiles and for "
        "evaluate segment]",
    ),
    click.option("--layer-decay", type=float, help="Factor of the rate from layer to layer below."),
    click.option(
        "--loss",
        type=click.Choice(["bce", "ce"]),
        default="ce",
        show_default=True,
        help="One-hot BCE or cross-entropy. Both ignore unknown pixels.",
    ),
    click.option(
        "--balance",
        type=click.Choice(["auto", "on", "off"]),
        default="auto",
        show_default=True,
        help="Give rare classes more weight. auto does where one class is ten times another.",
    ),
    click.option(
        "--epochs", type=int, help="Passes over the samples. [default: 20, and at least 300 steps]"
    ),
    click.option("--steps", type=int, help="Length in steps, in the place of --epochs."),
    click.option("--warmup", type=int, default=2, show_default=True, help="Epochs of warm-up."),
    click.option(
        "--batch-size", "batch", type=int, default=8, show_default=True, help="Samples at once."
    ),
    click.option("--rate", type=float, default=1e-3, show_default=True, help="Learning rate."),
    click.option(
        "--weight-decay", type=float, default=0.05, show_default=True, help="Weight decay of AdamW."
    ),
    click.option(
        "--crop",
        type=int,
        help="Side of training patches. [default: samples up to 256 pixels whole, else 96]",
    ),
    click.option(
        "--patience", type=int, help="Stop after so many epochs without progress. [default: never]"
    ),
    click.option(
        "--baselines/--no-baselines",
        default=True,
        show_default=True,
        help="Compare with classical methods on the same samples.",
    ),
    click.option(
        "--twin", is_flag=True, help="Compare with the same network tuned from random weights."
    ),
)
