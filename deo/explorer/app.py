"""The page's application: fixed files, and an interface that takes numbers and short texts only.

No address and no value that a request holds is ever made into a path.
"""

import json
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

from deo.errors import ConfigError, DeoError, require
from deo.explorer.exports import LABELS_NAME, MAP_NAME
from deo.explorer.guard import Guard
from deo.explorer.learning import Cell
from deo.explorer.session import Session

EXTRA = "explore"
_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/map.js": ("map.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    "/leaflet.js": ("leaflet.js", "text/javascript; charset=utf-8"),
    "/leaflet.css": ("leaflet.css", "text/css; charset=utf-8"),
}
_ENDPOINT = Callable[[Session, Mapping[str, Any]], Any]


def make_app(session: Session, *, port: int, token: str, framed: bool = False) -> Any:
    """The guarded application, to be served on 127.0.0.1.

    Raises:
        MissingExtraError: the extra `explore` is not installed.
    """
    applications = require("starlette.applications", extra=EXTRA)
    routing = require("starlette.routing", extra=EXTRA)
    routes = [routing.Route(path, _file(*named), methods=["GET"]) for path, named in _FILES.items()]
    routes.append(routing.Route("/api/state", _answering(session, _state), methods=["GET"]))
    routes.append(routing.Route("/api/tile", _tile(session), methods=["GET"]))
    routes += [
        routing.Route(f"/api/{name}", _answering(session, change), methods=["POST"])
        for name, change in _CHANGES.items()
    ]
    routes.append(routing.Route("/api/labels", _labels(session), methods=["POST"]))
    routes.append(routing.Route("/api/map", _map(session), methods=["POST"]))
    hosts = [f"{name}:{port}" for name in ("127.0.0.1", "localhost")]
    return Guard(applications.Starlette(routes=routes), hosts=hosts, token=token, framed=framed)


def _state(session: Session, _: Mapping[str, Any]) -> None:
    """Nothing changes."""


def _similar(session: Session, asked: Mapping[str, Any]) -> None:
    session.choose_reference(_cell(asked))


def _example(session: Session, asked: Mapping[str, Any]) -> None:
    session.add_example(_cell(asked), _integer(asked, "class"))


def _class(session: Session, asked: Mapping[str, Any]) -> None:
    session.add_class(_text(asked, "name"))


def _restyle(session: Session, asked: Mapping[str, Any]) -> None:
    session.change_class(
        _integer(asked, "class"), name=_text(asked, "name"), colour=_text(asked, "colour")
    )


def _remove(session: Session, asked: Mapping[str, Any]) -> None:
    session.remove_class(_integer(asked, "class"))


def _undo(session: Session, _: Mapping[str, Any]) -> None:
    session.undo()


_CHANGES: dict[str, _ENDPOINT] = {
    "similar": _similar,
    "example": _example,
    "class": _class,
    "restyle": _restyle,
    "remove": _remove,
    "undo": _undo,
}


def _file(name: str, kind: str) -> Any:
    content = files("deo.explorer").joinpath("static", name).read_bytes()
    responses = require("starlette.responses", extra=EXTRA)

    async def serve(request: Any) -> Any:
        return responses.Response(content, headers={"content-type": kind})

    return serve


def _answering(session: Session, change: _ENDPOINT) -> Any:
    """Does something to a session and answers with its state."""
    concurrency = require("starlette.concurrency", extra=EXTRA)
    responses = require("starlette.responses", extra=EXTRA)

    def work(body: bytes) -> Any:
        try:
            change(session, _parsed(body))
            return responses.JSONResponse(session.state())
        except DeoError as error:
            return responses.JSONResponse({"error": str(error)}, status_code=422)

    async def serve(request: Any) -> Any:
        return await concurrency.run_in_threadpool(work, await request.body())

    return serve


def _tile(session: Session) -> Any:
    concurrency = require("starlette.concurrency", extra=EXTRA)
    responses = require("starlette.responses", extra=EXTRA)

    def work(asked: Mapping[str, str]) -> Any:
        try:
            level, row, col = (_whole(asked.get(name, "")) for name in ("level", "row", "col"))
            content = session.png(asked.get("view", ""), level, row, col)
        except DeoError as error:
            return responses.JSONResponse({"error": str(error)}, status_code=422)
        return responses.Response(content, media_type="image/png")

    async def serve(request: Any) -> Any:
        return await concurrency.run_in_threadpool(work, request.query_params)

    return serve


def _labels(session: Session) -> Any:
    return _download(lambda: session.labels().encode(), "application/geo+json", LABELS_NAME)


def _map(session: Session) -> Any:
    def content() -> bytes:
        with session.exported_map() as path:
            return path.read_bytes()

    return _download(content, "image/tiff", MAP_NAME)


def _download(content: Callable[[], bytes], kind: str, name: str) -> Any:
    concurrency = require("starlette.concurrency", extra=EXTRA)
    responses = require("starlette.responses", extra=EXTRA)

    def work() -> Any:
        try:
            headers = {
                "content-type": kind,
                "content-disposition": f'attachment; filename="{name}"',
            }
            return responses.Response(content(), headers=headers)
        except DeoError as error:
            return responses.JSONResponse({"error": str(error)}, status_code=422)

    async def serve(request: Any) -> Any:
        return await concurrency.run_in_threadpool(work)

    return serve


def _parsed(body: bytes) -> Mapping[str, Any]:
    try:
        asked = json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise ConfigError("this request is no JSON") from error
    if not isinstance(asked, dict):
        raise ConfigError("this request is no JSON object")
    return asked


def _cell(asked: Mapping[str, Any]) -> Cell:
    return Cell(_integer(asked, "row"), _integer(asked, "col"))


def _integer(asked: Mapping[str, Any], name: str) -> int:
    value = asked.get(name)
    if type(value) is not int:  # a bool is an int to isinstance
        raise ConfigError(f"{name} has to be a whole number")
    return value


def _text(asked: Mapping[str, Any], name: str) -> str:
    value = asked.get(name)
    if not isinstance(value, str):
        raise ConfigError(f"{name} has to be a text")
    return value


def _whole(text: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 10):
        raise ConfigError("level, row and col have to be whole numbers")
    return int(text)
