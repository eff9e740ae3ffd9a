"""Clicks, undo, suggestions and exports, without a browser."""

import filecmp
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from deo.cli import cli
from deo.errors import ConfigError, DataError, SceneError
from deo.explorer.exports import LABELS_NAME, MAP_NAME
from deo.explorer.learning import Cell
from deo.explorer.session import Session
from deo.maps.classify import classify

Make = Callable[..., Any]
WEST, EAST = [Cell(4, 2), Cell(9, 7), Cell(15, 12)], [Cell(5, 18), Cell(11, 22), Cell(17, 28)]


@pytest.fixture
def session(synthetic: Make, write_map: Make, explored: Make) -> Session:
    made: Session = explored(write_map(synthetic()))
    return made


def label(session: Session) -> None:
    """Six clicks on two classes, those of the class that comes second in the alphabet first."""
    session.add_class("west")
    session.add_class("east", "#ff0000")
    for number, cells in enumerate((WEST, EAST)):
        for cell in cells:
            session.add_example(cell, number)


def test_views__appear_as_there_is_something_to_see(session: Session) -> None:
    assert list(session.state()["views"]) == ["components"]
    session.choose_reference(Cell(9, 20))
    assert "similarity" in session.state()["views"]
    session.add_class("west")
    session.add_example(WEST[0], 0)
    assert "classes" not in session.state()["views"]
    session.add_class("east")
    session.add_example(EAST[0], 1)
    state = session.state()
    assert {"classes", "uncertainty"} < set(state["views"])
    assert [each["count"] for each in state["classes"]] == [1, 1]
    assert json.dumps(state)


def test_undo__takes_back_every_step(session: Session) -> None:
    states = []
    for act in (
        lambda: session.add_class("west"),
        lambda: session.add_class("east"),
        lambda: session.add_example(WEST[0], 0),
        lambda: session.add_example(EAST[0], 1),
        lambda: session.change_class(0, name="left", colour="#112233"),
        lambda: session.remove_class(0),
    ):
        states.append(session.state())
        act()
    for before in reversed(states):
        session.undo()
        after = session.state()
        assert after["version"] > before["version"]
        assert after | {"version": 0} == before | {"version": 0}
    session.undo()  # there is nothing left to take back
    assert session.state()["undo"] == 0


def test_suggestions__are_uncertain_and_apart(session: Session) -> None:
    label(session)
    suggested = session.state()["suggestions"]
    assert len(suggested) == 5
    cells = [*suggested, *WEST, *EAST]
    for position, one in enumerate(suggested):
        for other in cells[:position] + cells[position + 1 :]:
            assert np.hypot(one[0] - other[0], one[1] - other[1]) >= 0.08 * 30
    uncertainty = session._views["uncertainty"]
    values = uncertainty.of(session._sample.vectors)  # type: ignore[attr-defined]
    vector = session._levels.vector(*suggested[0])
    assert vector is not None
    assert uncertainty.of(vector[None])[0] > np.median(values)  # type: ignore[attr-defined]


def test_export__is_the_map_of_the_command_byte_for_byte(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    label(session)
    place = tmp_path / "elsewhere"
    place.mkdir()
    monkeypatch.chdir(place)
    (place / LABELS_NAME).write_text(session.labels(), encoding="utf-8")
    program, *arguments = shlex.split(session.state()["command"])
    assert program == "deo"
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    with session.exported_map() as path:
        assert filecmp.cmp(path, place / MAP_NAME, shallow=False)
    assert not path.exists()


def test_live_classifier__is_that_of_deo_classify(session: Session, tmp_path: Path) -> None:
    label(session)
    labels = tmp_path / LABELS_NAME
    labels.write_text(session.labels(), encoding="utf-8")
    made = classify(tmp_path / "features.tif", tmp_path / "map.tif", labels=labels)
    live, stored = session._classifier, made.classifier.classifier
    assert live is not None
    assert live.classes == stored.classes == ("east", "west")
    for name, values in stored.arrays.items():
        np.testing.assert_array_equal(live.arrays[name], values)


def test_clicks__where_nothing_is_are_refused(session: Session) -> None:
    session.add_class("west")
    for cell, said in ((Cell(0, 3), "nodata"), (Cell(20, 0), "outside"), (Cell(-1, 0), "outside")):
        with pytest.raises(ConfigError, match=said):
            session.choose_reference(cell)
        with pytest.raises(ConfigError, match=said):
            session.add_example(cell, 0)


@pytest.mark.parametrize(
    "asked",
    [
        ("x", 0, 0, 0),
        ("components", 1, 0, 0),
        ("components", -1, 0, 0),
        ("components", 0, 1, 0),
        ("components", 0, 0, -1),
    ],
)
def test_png__of_no_tile_is_refused(session: Session, asked: tuple[str, int, int, int]) -> None:
    with pytest.raises(ConfigError):
        session.png(*asked)


def test_exports__without_examples_say_so(session: Session) -> None:
    with pytest.raises(ConfigError, match="no examples"):
        session.labels()
    session.add_class("west")
    session.add_example(WEST[0], 0)
    with pytest.raises(DataError, match="two"), session.exported_map():
        pass


def test_change__is_there_for_two_dates_alone(
    synthetic: Make, write_map: Make, explored: Make
) -> None:
    first, second = write_map(synthetic(), "a.tif"), write_map(synthetic(seed=1), "b.zarr")
    state = explored(first, second).state()
    assert "change" in state["views"]
    assert state["map"]["channels"] == 12
    assert "change" not in explored(first).state()["views"]


def test_session__of_a_map_without_data_is_refused(
    synthetic: Make, write_map: Make, explored: Make
) -> None:
    with pytest.raises(SceneError, match="all of it is nodata"):
        explored(write_map(np.full_like(synthetic(), np.nan)))
