"""Searches in a STAC API on this machine."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from deo.errors import ConfigError, SceneError
from deo.scene.stac_item import item_addresses
from deo.scene.stac_search import Search

pytest.importorskip("pystac_client")


class Api(BaseHTTPRequestHandler):
    """The least that pystac-client asks of an API: a landing page and a search."""

    items: list[Any] = []
    asked: list[Any] = []
    status = 200

    def do_GET(self) -> None:
        address = f"http://127.0.0.1:{self.server.server_address[1]}"
        self._send(
            {
                "type": "Catalog", "stac_version": "1.0.0", "id": "api", "description": "synthetic",
                "conformsTo": [
                    "https://api.stacspec.org/v1.0.0/core",
                    "https://api.stacspec.org/v1.0.0/item-search",
                ],
                "links": [
                    {"rel": rel, "href": f"{address}{path}", "method": method, "type": kind}
                    for rel, path, method, kind in (
                        ("self", "/", "GET", "application/json"),
                        ("root", "/", "GET", "application/json"),
                        ("search", "/search", "POST", "application/geo+json"),
                    )
                ],
            }
        )  # fmt: skip

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append(json.loads(body))
        self._send({"type": "FeatureCollection", "features": self.items, "links": []})

    def _send(self, value: Any) -> None:
        content = json.dumps(value).encode()
        self.send_response(self.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(Api, "items", [])
    monkeypatch.setattr(Api, "asked", [])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()
    thread.join()


def test_search__keeps_what_it_finds(
    api: str, stac_item: Callable[..., Any], tmp_path: Path
) -> None:
    item = stac_item(tmp_path)
    Api.items = [{**item, "id": "b"}, {**item, "id": "a"}]
    search = Search(
        url=api, collection="sentinel-2-l2a", bbox=(15, 45, 16, 46), dates="2020-01/2020-02"
    )
    path = search.save(tmp_path)
    assert path.name == search.file_name
    assert item_addresses(str(path)) == [f"{path}#a", f"{path}#b"]
    (asked,) = Api.asked
    assert asked["collections"] == ["sentinel-2-l2a"]
    assert asked["bbox"] == [15, 45, 16, 46]
    assert asked["datetime"] == "2020-01-01T00:00:00Z/2020-02-29T23:59:59Z"


def test_search__that_finds_nothing_says_what_was_asked(api: str, tmp_path: Path) -> None:
    search = Search(url=api, collection="sentinel-2-l2a", bbox=(15, 45, 16, 46), dates="2020-01")
    with pytest.raises(SceneError, match="has nothing of sentinel-2-l2a in 15,45,16,46 at 2020-01"):
        search.save(tmp_path)
    assert not list(tmp_path.iterdir())


def test_search__that_cannot_be_asked_may_be_tried_again(
    api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Api, "status", 503)
    with pytest.raises(SceneError, match="cannot be asked for a") as caught:
        Search(url=api, collection="a").run()
    assert caught.value.retriable


def test_search__of_impossible_settings_is_refused(api: str) -> None:
    with pytest.raises(ConfigError, match="is no box; give west,south,east,north"):
        Search(url=api, collection="a", bbox=(1, 2, 3))
    with pytest.raises(ConfigError, match="was not asked for a at last summer"):
        Search(url=api, collection="a", dates="last summer").run()


def test_file_name__is_that_of_the_same_search() -> None:
    one, same = (Search(url="u", collection="c", dates="2020") for _ in range(2))
    other = Search(url="u", collection="c", dates="2021")
    assert one.file_name == same.file_name != other.file_name
