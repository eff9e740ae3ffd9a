"""The interface over HTTP, with uvicorn on a free port."""

import http.client
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from deo.explorer.serve import served

Make = Callable[..., Any]
Ask = Callable[..., tuple[int, bytes, http.client.HTTPMessage]]


@pytest.fixture
def ask(synthetic: Make, write_map: Make, explored: Make) -> Iterator[Ask]:
    """Sends a request with the token to a page of synthetic features."""
    with served(explored(write_map(synthetic()))) as server:
        parts = urlsplit(server.url)

        def send(path: str, body: Any = None, **headers: str) -> Any:
            connection = http.client.HTTPConnection(parts.netloc, timeout=20)
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            if body is None:
                content = b""
            connection.putrequest("GET" if body is None else "POST", path)
            given = {"X-Deo-Token": parts.fragment, "Content-Length": str(len(content)), **headers}
            for name, value in given.items():
                connection.putheader(name, value)
            connection.endheaders(content or None)
            response = connection.getresponse()
            answer = response.status, response.read(), response.headers
            connection.close()
            return answer

        yield send


def test_page__is_whole_and_asks_nothing_of_other_addresses(ask: Ask) -> None:
    status, page, headers = ask("/")
    assert status == 200
    assert headers["content-type"].startswith("text/html")
    for name in (b"leaflet.js", b"leaflet.css", b"page.js", b"page.css", b"map.js", b"icon.svg"):
        assert name in page
        status, content, _ = ask(f"/{name.decode()}")
        assert status == 200
        assert len(content) > 100
        if not name.startswith((b"leaflet", b"icon")):
            assert b"http" not in content
    assert b"http" not in page
    assert b"innerHTML" not in ask("/page.js")[1] + ask("/map.js")[1]


def test_interface__labels_and_exports(ask: Ask) -> None:
    assert json.loads(ask("/api/class", {"name": "<b>west</b>"})[1])["classes"][0]["count"] == 0
    ask("/api/class", {"name": "east"})
    ask("/api/example", {"row": 9, "col": 7, "class": 0})
    status, body, headers = ask("/api/example", {"row": 11, "col": 22, "class": 1})
    assert (status, headers["content-type"]) == (200, "application/json")
    state = json.loads(body)
    assert state["classes"][0]["name"] == "<b>west</b>"
    status, body, headers = ask(
        f"/api/tile?view=classes&level=0&row=0&col=0&version={state['version']}"
    )
    assert (status, headers["content-type"], body[:4]) == (200, "image/png", b"\x89PNG")
    status, body, headers = ask("/api/labels", {})
    assert "labels.geojson" in headers["content-disposition"]
    assert len(json.loads(body)["features"]) == 2
    status, body, headers = ask("/api/map", {})
    assert (status, body[:2]) == (200, b"II")
    assert json.loads(ask("/api/undo", {})[1])["classes"][1]["count"] == 0


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/api/tile?view=../../etc/passwd&level=0&row=0&col=0", None, 422),
        ("/api/tile?view=components&level=0&row=../../x&col=0", None, 422),
        ("/api/tile?view=components&level=0&row=99999999999999&col=0", None, 422),
        ("/api/tile?view=components", None, 422),
        ("/../pyproject.toml", None, 404),
        ("/%2e%2e/pyproject.toml", None, 404),
        ("/static/page.js", None, 404),
        ("/api/example", {"row": "1", "col": 2, "class": 0}, 422),
        ("/api/example", {"row": True, "col": 2, "class": 0}, 422),
        ("/api/similar", {"row": 10**30, "col": 0}, 422),
        ("/api/similar", [1, 2], 422),
        ("/api/similar", b"{", 422),
        ("/api/similar", b"[" * 10000, 422),
        ("/api/class", {"name": 5}, 422),
        ("/api/class", None, 405),
    ],
)
def test_interface__refuses_what_is_no_request_of_the_page(
    ask: Ask, path: str, body: Any, status: int
) -> None:
    answer = ask(path, body)
    assert answer[0] == status, answer
    assert b"root:" not in answer[1]
    assert b"Traceback" not in answer[1]


def test_attacks__over_the_wire(ask: Ask) -> None:
    assert ask("/api/state", Host="evil.example")[0] in (400, 421)
    assert ask("/api/state", Origin="http://evil.example")[0] == 403
    assert ask("/api/undo", b"x" * 20_000)[0] == 413
    assert ask("/api/state")[0] == 200
