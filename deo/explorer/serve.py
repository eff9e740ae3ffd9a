"""Opens the page: a server on 127.0.0.1 at a free port, the browser, or a frame in a notebook."""

import contextlib
import html
import os
import secrets
import socket
import threading
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from deo.errors import DataError, DeoError, require
from deo.explorer.app import EXTRA, make_app
from deo.explorer.session import Session, open_session
from deo.maps.memory import MapArray
from deo.maps.sinks import feature_sink
from deo.maps.stack import FeatureMap

_HOST = "127.0.0.1"
_HEIGHT = 640  # of the frame in a notebook, in pixels


def explore(
    features: FeatureMap | Sequence[FeatureMap], scene: Any = None, *, height: int = _HEIGHT
) -> "Page":
    """Look at features and label places in a notebook: `deo.explore`.

    The page is served on 127.0.0.1 of the machine that Python runs on, until `close()`.

    Args:
        features: what `deo extract` wrote or `deo.extract` returned; several layers or dates of
            one place.
        scene: that they were made from, for true colour: what `deo.open_scene` takes.
        height: of the cell, in pixels.

    Returns:
        What a notebook shows as the page; its `url` opens in a browser.

    Raises:
        SceneError: something cannot be read, or the scene lies elsewhere.
        MissingExtraError: the extra `explore` is not installed.
    """
    return Page(_several(features), scene, height=height)


class Page:
    """A page that is being served in the background.

    Args:
        url: its address, which holds the secret that opens it.
    """

    def __init__(self, features: Sequence[FeatureMap], scene: Any, *, height: int) -> None:
        self._height = height
        self._opened = contextlib.ExitStack()
        session = self._opened.enter_context(open_session(features, scene))
        server = self._opened.enter_context(served(session, framed=True))
        self.url = server.url

    def close(self) -> None:
        """Stop the server and close the files."""
        self._opened.close()

    def __enter__(self) -> "Page":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Page at {self.url.partition('#')[0]}>"

    def _repr_html_(self) -> str:
        return (
            f'<iframe src="{html.escape(self.url)}" width="100%" height="{self._height}" '
            'style="border: 1px solid #8884; border-radius: 6px" '
            'title="Features, explored"></iframe>'
        )


class Server:
    """uvicorn in a thread of its own.

    Args:
        url: the page's address with its secret.
    """

    def __init__(self, session: Session, *, framed: bool = False) -> None:
        uvicorn = require("uvicorn", extra=EXTRA)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.bind((_HOST, 0))
        port = self._socket.getsockname()[1]
        token = secrets.token_urlsafe(32)
        self.url = f"http://{_HOST}:{port}/#{token}"
        app = make_app(session, port=port, token=token, framed=framed)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=1,
            ws="none",
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True
        )
        self._socket.listen()
        self._thread.start()

    def wait(self) -> None:
        """Until the server ends, or Ctrl-C."""
        while self._thread.is_alive():
            self._thread.join(timeout=0.5)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=10)
        self._socket.close()


@contextlib.contextmanager
def served(session: Session, *, framed: bool = False) -> Iterator[Server]:
    """Serve a session as long as the context lasts."""
    server = Server(session, framed=framed)
    try:
        yield server
    finally:
        server.stop()


def run_page(
    features: Sequence[Path], scene: Any, *, browse: bool, say: Callable[[str], None]
) -> None:
    """Serve the page until Ctrl-C.

    Args:
        browse: open it in the browser.
        say: told the address.
    """
    with open_session(features, scene) as session, served(session) as server:
        say(server.url)
        if browse:
            webbrowser.open(server.url)
        with contextlib.suppress(KeyboardInterrupt):
            server.wait()


def part_inputs(paths: Sequence[Path]) -> tuple[list[Path], Path | None]:
    """Of paths, those that hold features, and the one that is a scene.

    Raises:
        DataError: none holds features, or several do not.
    """
    features = [path for path in paths if _holds_features(path)]
    others = [path for path in paths if path not in features]
    if not features:
        raise DataError(
            f"{paths[0]} holds no features; make some first: deo extract {paths[0]} -o features.tif"
        )
    if len(others) > 1:
        raise DataError(
            f"{' and '.join(map(str, others))} hold no features; give one scene at most beside "
            "the features"
        )
    return features, others[0] if others else None


def _holds_features(path: Path) -> bool:
    try:
        return feature_sink(path).read_tags(path) is not None
    except DeoError:
        return False


def _several(features: FeatureMap | Sequence[FeatureMap]) -> Sequence[FeatureMap]:
    return [features] if isinstance(features, str | os.PathLike | MapArray) else list(features)
