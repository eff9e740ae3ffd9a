"""A stand-in for the Hugging Face Hub on the loopback interface."""

import hashlib
import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "f973d29f6324fb12fca734778cf9d2ae539524bb"


@dataclass(frozen=True, kw_only=True)
class Hosted:
    """One file: what the Hub says of it, and what it sends.

    Args:
        content: what was uploaded; its hash is the ETag and its length is announced.
        sent: what arrives instead.
        etag: said instead of the hash.
    """

    content: bytes
    sent: bytes | None = None
    etag: str | None = None


class Hub(ThreadingHTTPServer):
    """Serves `repos[repo][file]` at one commit, and counts what it is asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repos: dict[str, dict[str, Hosted]] = {}
        self.requests: list[str] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def asked(self) -> list[str]:
        """The requests since the last time."""
        requests, self.requests = self.requests, []
        return requests


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0].strip("/")
        self.server.requests.append(f"{self.command} {path}")
        parts = path.split("/")
        if parts[:2] == ["api", "models"] and parts[4] == "tree":
            self._list("/".join(parts[2:4]))
        elif len(parts) > 4 and parts[2] == "resolve":
            self._file("/".join(parts[:2]), "/".join(parts[4:]), body=body)
        else:
            self._send(404, b"", {"X-Error-Code": "RepoNotFound"})

    def _list(self, repo: str) -> None:
        files = self.server.repos.get(repo, {})
        listed = [
            {"type": "file", "path": name, "size": len(hosted.content), "oid": "0" * 40}
            for name, hosted in files.items()
        ]
        self._send(200, json.dumps(listed).encode(), {"Content-Type": "application/json"})

    def _file(self, repo: str, name: str, *, body: bool) -> None:
        hosted = self.server.repos.get(repo, {}).get(name)
        if hosted is None:
            code = "EntryNotFound" if repo in self.server.repos else "RepoNotFound"
            self._send(404, b"", {"X-Error-Code": code, "X-Repo-Commit": COMMIT})
            return
        etag = hosted.etag or hashlib.sha256(hosted.content).hexdigest()
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
        content = hosted.content if hosted.sent is None else hosted.sent
        self._send(200, content if body else b"", headers, length=len(hosted.content))

    def _send(
        self, status: int, content: bytes, headers: dict[str, str], *, length: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content)
        if self.command == "GET" and length not in (None, len(content)):
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing on stderr."""
