"""A run's configuration as TOML, and changed from the command line.

None is an absent key. Every value is checked against its annotation before a section is made.
"""

import dataclasses
import difflib
import tomllib
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import tomli_w

from deo.errors import ConfigError
from deo.training.config import Config
from deo.training.method.config import Switches


def load(path: Path, *, base: Config | None = None) -> Config:
    """Read a TOML file; what it does not say is as in `base`.

    Raises:
        ConfigError: the file cannot be read, or says something unknown or impossible.
    """
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"cannot read the configuration {path}: {error}") from error
    return from_dict(tree, base=base)


def from_dict(tree: Mapping[str, Any], *, base: Config | None = None) -> Config:
    """Sections from nested dictionaries; what is absent is as in `base`.

    Raises:
        ConfigError: a key is unknown, or a value has another type or cannot work.
    """
    config: Config = _merge(base or Config(), tree, "")
    return config


def to_dict(config: Config) -> dict[str, dict[str, Any]]:
    """Nested dictionaries of plain values, as JSON and TOML know them; None is left out."""
    return {name: _plain(value) for name, value in dataclasses.asdict(config).items()}


def dumps(config: Config) -> str:
    """The configuration as TOML; `from_dict(tomllib.loads(dumps(config)))` equals it."""
    return tomli_w.dumps(to_dict(config))


def override(config: Config, assignments: Iterable[str]) -> Config:
    """Apply `section.name=value` texts in order; `none` unsets what may be absent.

    A value is read as TOML, and as plain text where it is none. `switches=original` and
    `switches=default` set all switches.

    Raises:
        ConfigError: a text has no `=`, a name is unknown, or a value cannot work.
    """
    for text in assignments:
        path, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not path:
            raise ConfigError(f"cannot read the setting {text!r}; write section.name=value")
        tree: Any = _value(value)
        for part in reversed(path.split(".")):
            tree = {part: tree}
        config = from_dict(tree, base=config)
    return config


def _merge(base: Any, tree: Any, path: str) -> Any:
    """A copy of the dataclass `base` with the values of `tree`."""
    if isinstance(base, Switches) and isinstance(tree, str):
        return Switches.preset(tree)
    if not isinstance(tree, Mapping):
        raise ConfigError(f"{path} is a section; write {path}.name=value, got {tree!r}")
    hints = get_type_hints(type(base))
    changes = {}
    for name, value in tree.items():
        full = f"{path}.{name}" if path else name
        if name not in hints:
            raise ConfigError(_unknown(full, name, list(hints)))
        if dataclasses.is_dataclass(hints[name]):
            changes[name] = _merge(getattr(base, name), value, full)
        elif get_origin(hints[name]) is not None and isinstance(value, Mapping):
            changes[name] = {**(getattr(base, name) or {}), **_checked(value, hints[name], full)}
        else:
            changes[name] = _checked(value, hints[name], full)
    return dataclasses.replace(base, **changes)


def _unknown(full: str, name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(known)}"
    return f"unknown setting {full}; {hint}"


def _checked(value: Any, hint: Any, path: str) -> Any:
    """The value as the annotation has it: lists become tuples, whole numbers floats."""
    for choice in get_args(hint) if _is_union(hint) else (hint,):
        fits, converted = _convert(value, choice)
        if fits:
            return converted
    raise ConfigError(f"{path} is {value!r}; it must be {_wanted(hint)}")


def _convert(value: Any, hint: Any) -> tuple[bool, Any]:
    """Whether a value fits a plain annotation, and what it becomes."""
    origin, args = get_origin(hint), get_args(hint)
    if hint is type(None):
        return value is None or value == "none", None
    if origin is Literal:
        return value in args, value
    if origin is tuple:
        items = (
            [_convert(item, args[0]) for item in value] if isinstance(value, list | tuple) else []
        )
        fine = bool(items) and all(fits for fits, _ in items) and len(items) == len(args)
        return fine, tuple(item for _, item in items)
    if origin is not None:
        return isinstance(value, Mapping), value
    if isinstance(value, bool) or hint is bool:
        return isinstance(value, bool) and hint is bool, value
    if hint is float:
        return isinstance(value, int | float), float(value) if isinstance(value, int) else value
    return isinstance(value, hint), value


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType)


def _wanted(hint: Any) -> str:
    """An annotation in words."""
    origin, args = get_origin(hint), get_args(hint)
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    if hint is type(None):
        return "none"
    if _is_union(hint):
        return " or ".join(_wanted(arg) for arg in args)
    if origin is Literal:
        return f"one of {', '.join(map(str, args))}"
    if origin is tuple:
        return f"{len(args)} values, each {_wanted(args[0])}"
    return words.get(hint, "a table")


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items() if v is not None}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value
