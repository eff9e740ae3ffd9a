from typing import Any

import numpy as np
import pytest

from deo.files.records import Difference, differences, plain


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (0, 0.0),
        (1.0, np.float32(1)),
        ((1, 2.5), [1.0, 2.5]),
        (np.arange(2), [0.0, 1.0]),
        ('{"offset": [0, 0]}', '{"offset": [0.0, 0.0]}'),
        ({"a": {"b": 1}}, {"a": {"b": np.int64(1)}}),
        (float("nan"), float("nan")),
        (None, None),
    ],
)
def test_differences__numbers_are_equal_whoever_gave_them(one: Any, other: Any) -> None:
    assert differences({"x": one}, {"x": other}) == []


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ({"x": 0}, {"x": 0.5}, [("x", 0, 0.5)]),
        ({"x": 1}, {"x": True}, [("x", 1, True)]),
        ({"x": "1"}, {"x": 1}, [("x", "1", 1)]),
        ({"x": 1}, {}, [("x", 1, None)]),
        ({}, {"x": 1}, [("x", None, 1)]),
        ({"x": '{"a": 1, "b": 2}'}, {"x": '{"a": 1, "b": 3}'}, [("x.b", 2, 3)]),
        ({"x": {"a": {"b": 1}}}, {"x": {"a": {"b": 2}}}, [("x.a.b", 1, 2)]),
        ({"x": "{broken"}, {"x": "{broken too"}, [("x", "{broken", "{broken too")]),
    ],
)
def test_differences__are_named_by_their_path(old: Any, new: Any, wanted: Any) -> None:
    assert differences(old, new) == [Difference(*each) for each in wanted]
    for one, (name, before, now) in zip(differences(old, new), wanted, strict=True):
        assert str(one) == f"{name}: {before!r} -> {now!r}"


def test_plain__is_what_json_gives_back() -> None:
    import json

    value = {"a": (np.float32(0.5), np.int64(3)), "b": np.zeros((1, 2)), 3: None, "c": "text"}
    assert json.loads(json.dumps(plain(value))) == plain(value)
