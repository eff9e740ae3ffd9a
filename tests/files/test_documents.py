"""JSON of strangers is read within bounds, and every fault is one error."""

from pathlib import Path

import pytest

from deo.errors import DataError
from deo.files.documents import DEEPEST_JSON, load_json, parse_json


def test_parse_json__what_is_sound() -> None:
    assert parse_json('{"a": [1, {"b": null}]}', "it") == {"a": [1, {"b": None}]}
    deepest = "[" * DEEPEST_JSON + "]" * DEEPEST_JSON
    assert parse_json(deepest, "it")
    assert parse_json(b"3", "it") == 3


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[1, 2",
        "[" * (DEEPEST_JSON + 1) + "]" * (DEEPEST_JSON + 1),
        '{"a":' * 200 + "1" + "}" * 200,
        "[" * 10**6,
        "9" * 10_000,
        b"\xff\xfe\x00",
    ],
)
def test_parse_json__what_is_not(text: str | bytes, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the label"):
        parse_json(text, "the label")
    path = tmp_path / "x.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=r"x\.json"):
        load_json(path)


def test_parse_json__too_large(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("deo.files.documents.LARGEST_JSON", 100)
    (tmp_path / "x.json").write_text("[" + " " * 200 + "]")
    with pytest.raises(DataError, match="MiB"):
        load_json(tmp_path / "x.json")
