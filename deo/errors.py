"""What `deo` raises when the input, not the program, is wrong.

Each message says what was got, what was wanted and what to do. The command line prints the
message alone and exits with status 1; library users catch `DeoError` or a child of it.
"""

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType


class DeoError(Exception):
    """Base of every error that a user can mend.

    `retriable` says that the same call may succeed later without a change: the network or another
    run was at fault, not the input.
    """

    retriable: bool = False

    def __init__(self, *args: object, retriable: bool | None = None) -> None:
        super().__init__(*args)
        if retriable is not None:
            self.retriable = retriable


class BandError(DeoError, ValueError):
    """Bands are unknown, missing, repeated or unnamed."""


class RadiometryError(DeoError, ValueError):
    """The scale or offset of the pixels is contradictory or unusable."""


class SceneError(DeoError, ValueError):
    """A raster cannot be opened or read as a scene."""


class OutputError(DeoError, OSError):
    """A result cannot be written where it was asked for."""


class BusyError(OutputError):
    """Another run is writing this output now."""

    retriable = True


class WeightsError(DeoError, RuntimeError):
    """Weights cannot be found, verified or matched to the model."""


class ModelError(DeoError, ValueError):
    """A model cannot be built as asked."""


class ConfigError(DeoError, ValueError):
    """A setting has a value that cannot work."""


class DataError(DeoError, ValueError):
    """A training or evaluation data set is missing, incomplete or corrupt."""


class MissingExtraError(DeoError, ImportError):
    """An optional dependency is not installed."""


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional dependency, or say which extra of `deo` installs it.

    Raises:
        MissingExtraError: `module` is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingExtraError(
            f"{module} is not installed; this feature needs it. "
            f'Install it with: pip install "deo[{extra}]"'
        ) from error


def nearest(name: str, choices: Iterable[str]) -> list[str]:
    """The choices that a mistyped name may stand for, at most two."""
    return difflib.get_close_matches(name, list(choices), n=2, cutoff=0.7)


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest of the choices, else all of them."""
    known = list(choices)
    near = nearest(name, known)
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    return f"choose one of {', '.join(known)}"
